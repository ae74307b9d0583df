"""A spec with every default filled in, as plain data: what config.yaml holds, and what names a run's folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from gdcli.spec.class_weights import for_outputs
from gdcli.spec.data_sections import DataCommon, HeldOutFile
from gdcli.spec.effects import without_effect
from gdcli.spec.load import Loaded
from gdcli.spec.sections import EXPECT, Ingredient, RunSpec
from gdcli.spec.signature import Path


def filled_in(spec: RunSpec) -> dict[str, Any]:
    """Return the spec as nested data with all defaults, ``auto`` left as it is, keys in the order of the contract."""
    settings = _given(spec.settings.model_dump())
    found: dict[str, Any] = {key: settings.pop(key) for key in ("name", "description") if key in settings}
    if spec.data is not None:
        found["data"] = _data(spec)
    start = {"from": spec.model.weights, "sha256": spec.model.sha256}
    found["model"] = _named(spec.model, "type", init=spec.model.init, freeze=spec.model.freeze, **start)
    if spec.loss is not None:
        found["loss"] = _named(spec.loss)
        if not found["loss"].get("label_smoothing", True):  # newer than records that have no such key
            del found["loss"]["label_smoothing"]
        if spec.loss.name == "bce_with_logits" and found["loss"].get("pos_weight") == 1:
            del found["loss"]["pos_weight"]
    if spec.optimizer is not None:
        found["optimizer"] = _named(spec.optimizer, groups=spec.optimizer.groups)
    if spec.scheduler is not None:
        groups = {key: _named(item) for key, item in spec.scheduler.groups.items()}
        found["scheduler"] = _named(spec.scheduler.base, groups=groups)
    found["epochs"] = settings.pop("epochs")
    if spec.data is not None:
        unread = () if spec.batch.mode == "mini-batch" else ("size", "drop_last")
        cut = {key: value for key, value in spec.batch.model_dump().items() if key not in unread}
        if spec.batch.accumulate == 1:
            del cut["accumulate"]
        found["batch"] = cut | {"shuffle": spec.batch.shuffles}
    if penalty := {key: value for key, value in spec.penalty.model_dump().items() if value}:
        found["penalty"] = penalty
    if clip := _given(spec.clip.model_dump()):
        found["clip"] = clip
    found |= settings
    if stop := _given(spec.stop.model_dump(exclude_defaults=True)):
        found["stop"] = stop
    found["print"] = _given({"style": spec.style, "predict": spec.print.predict})
    newer = spec.record.model_dump(exclude_defaults=True, exclude={"gradients", "every"})
    found["record"] = {"gradients": spec.record.gradients, "every": spec.record.every, **newer}
    found["checkpoint"] = spec.checkpoint.model_dump()
    for key, section in (("sweep", spec.sweep), ("compare", spec.compare)):
        if section is not None:
            found[key] = _given(section.model_dump())
    if spec.expect:
        found[EXPECT] = {name: each.plain() for name, each in spec.expect.items()}
    plain: dict[str, Any] = _plain(found)
    for idle in without_effect(spec):  # in other runs of a sweep they have one
        _leave_out(plain, idle.path)
    return plain


def _leave_out(found: dict[str, Any], path: Path) -> None:
    *above, last = path
    for step in above:
        within = found.get(str(step))
        if not isinstance(within, dict):  # an entry of a list stays as it is
            return
        found = within
    found.pop(str(last), None)


def resolved(
    loaded: Loaded, *, device: str, threads: int, engine: str, keep: str, world_size: int = 1
) -> dict[str, Any]:
    """Return :func:`filled_in` with every ``auto`` resolved; a data file by its whole path and digest."""
    spec = loaded.spec if world_size == 1 else loaded.spec.with_settings(world_size=world_size)
    found = filled_in(spec) | {"device": device, "threads": threads, "engine": engine}
    found["record"] = {**found["record"], "gradients": keep}
    loss, training = loaded.spec.loss, loaded.training
    if loss is not None and (weights := for_outputs(loss, training, loaded.architecture)) is not None:
        found["loss"] = {**found["loss"], "class_weights": weights}
    if loaded.weights is not None:
        found["model"] = {**found["model"], "from": str(loaded.weights.path)}
    if loaded.files:
        exact = {key: file.file for key, file in loaded.files.items() if key not in DataCommon.model_fields}
        # in the order that a spec which gives the digest has, so that a config run again writes the same bytes
        common = {key: found["data"].pop(key) for key in DataCommon.model_fields if key in found["data"]}
        held_out = {key: {"file": f.file, "sha256": f.sha256} for key, f in loaded.files.items() if key in common}
        source: dict[str, Any] = {**exact} if "file" in exact else {"idx": exact}
        found["data"] = {**found["data"], **source, "sha256": loaded.data_sha256, **common, **held_out}
    return found


def digest(filled: dict[str, Any]) -> str:
    """Return 8 hex digits of a filled-in spec, whatever the order of its keys, and whatever it expects."""
    text = json.dumps({key: value for key, value in filled.items() if key != EXPECT}, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _named(item: Ingredient | None, tag: str = "name", **beside: Any) -> dict[str, Any]:
    """Return an ingredient as a mapping, and what stands beside its arguments where there is any."""
    named = {} if item is None else {tag: item.name, **_given(item.arguments)}
    return named | {key: value for key, value in beside.items() if value}


def _data(spec: RunSpec) -> dict[str, Any]:
    assert spec.data is not None
    given = _given(spec.data.arguments)
    found: dict[str, Any] = {"generate": given} if spec.data.source == "generate" else given
    common = {key: getattr(spec.data, key) for key in DataCommon.model_fields}
    for key, value in common.items():
        if isinstance(value, HeldOutFile):
            common[key] = _given({"file": value.file, "sha256": value.sha256})
    if not spec.data.stratify:  # newer than records that have no such key
        del common["stratify"]
    return found | _given(common)


def _given(arguments: Any) -> dict[str, Any]:
    return {key: value for key, value in dict(arguments).items() if value is not None}


def _plain(value: Any) -> Any:
    """Tuples as lists, at every depth."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
