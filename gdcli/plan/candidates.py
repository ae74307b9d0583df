"""The rows of a comparison, from the command line or the spec's compare block; learning rates to try, and the seeds.

The seeds that tune and those that report are never the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext
from itertools import product
from math import inf
from typing import Any, Literal

from gdcli.errors import SpecError, nearest, nearest_or_own
from gdcli.plan.trials import ChangeOrigin, Trial, with_overrides
from gdcli.spec import grids
from gdcli.spec.data_sections import MAX_SEED
from gdcli.spec.document import read_value
from gdcli.spec.nodes import Node
from gdcli.spec.overrides import COMMAND_LINE
from gdcli.spec.scalars import with_point
from gdcli.spec.sections import Batch, RunSpec, mode_of
from gdcli.spec.signature import arguments
from gdcli.zoo.optimizers import OPTIMIZERS


def optimizers(text: str, spec: RunSpec) -> dict[str, tuple[dict[str, Any], str]]:
    """Return settings and the lr's origin by label, from ``sgd,adam`` or ``momentum=sgd:lr=1:momentum=0.5``.

    A bare name takes the spec's compare entry of that label; the optimizer that the spec has takes the spec's settings;
    the rest are torch's defaults. Raises SpecError for a repeated label, an unknown optimizer or a setting that is not
    KEY=VALUE.
    """
    block = spec.compare.optimizers if spec.compare else {}
    own = _chosen(spec, "optimizer")
    found: dict[str, tuple[dict[str, Any], str]] = {}
    parts = text.split(",")
    for k, part in enumerate(parts):
        label, *settings = part.strip().split(":")
        label, equals, name = label.partition("=")
        if k and (point := with_point(parts[k - 1].rpartition("=")[2] + f",{part}")):
            raise SpecError(f"--optimizers {parts[k - 1]},{part}: a number has a point: {point}")
        if label in found:
            raise SpecError(
                f"--optimizers: the label '{label}' is given twice. A label of your own: {label}2={name or label}"
            )
        of_spec = own if own.get("name") == (name or label) else {}
        entry = of_spec if equals else block.get(label, of_spec)
        found[label] = _of_block(name or label, entry, _settings(label, settings))
        chosen = found[label][0]["name"]
        if chosen not in OPTIMIZERS:
            hint = nearest_or_own(chosen, {*OPTIMIZERS, *block})
            raise SpecError(f"--optimizers: unknown optimizer '{chosen}'. {hint}")
    return found


def _of_block(name: str, entry: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the settings of an entry of the compare block, with those given beside it, and the lr's origin."""
    origin = "given" if "lr" in given else "spec" if "lr" in entry else "default"
    return {"name": name, **entry, **given}, origin


def _settings(label: str, texts: Sequence[str]) -> dict[str, Any]:
    settings = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise SpecError(f"--optimizers {label}: a setting is :KEY=VALUE (got '{text}')")
        try:
            settings[key] = read_value(value, COMMAND_LINE).plain()
        except SpecError as error:
            raise SpecError(f"--optimizers {label}: {key}: {error.problems[0].message}") from None
    return settings


def _chosen(spec: RunSpec, key: str) -> dict[str, Any]:
    """Return the choice of a key and its settings as the spec gives them; nothing for its short form."""
    node = spec.document.find((key,))
    return node.plain() if node is not None and isinstance(node.value, dict) else {}


def batches(text: str, spec: RunSpec) -> dict[str, dict[str, Any]]:
    """Return batch settings by label, from ``full,stochastic,mini-batch:32``; the spec's own mode has its settings."""
    own = _chosen(spec, "batch")
    found: dict[str, dict[str, Any]] = {}
    for part in text.split(","):
        label = part.strip()
        mode, colon, size = label.partition(":")
        if label in found:
            raise SpecError(f"--batches: '{label}' is given twice")
        if mode not in ("full", "stochastic", "mini-batch"):
            raise SpecError(f"--batches: unknown mode '{mode}'. {nearest(mode, ('full', 'stochastic', 'mini-batch'))}")
        if colon and (mode != "mini-batch" or not size.isdecimal() or int(size) < 1):
            raise SpecError(f"--batches: '{label}' is not mini-batch:SIZE with a size of at least 1")
        of_spec = own if spec.batch.mode == mode else {}
        found[label] = {"mode": mode, **of_spec, **({"size": int(size)} if colon else {})}
    return found


def rows(
    document: Node,
    spec: RunSpec,
    by_optimizer: str | None,
    by_batch: str | None,
    overrides: Sequence[tuple[str, str, Node]] = (),
) -> list[Trial]:
    """Return the rows of a comparison: the product of optimizers and batch modes; values are label, lr, lr_from.

    Without either option the spec's compare block gives them. ``overrides`` of the command line reach every row that
    does not name the setting itself. Raises SpecError if there is no row.
    """
    given = {path: node.plain() for _, path, node in overrides}
    chosen, cuts = _asked(spec, by_optimizer, by_batch)
    found, own = [], list[bool]()
    for (label, row), (cut_label, cut) in product(chosen.items() or [("", None)], cuts.items() or [("", None)]):
        changes: list[tuple[str, Any]] = []
        origins: dict[str, ChangeOrigin] = {}
        lr, lr_from = spec.optimizer.arguments["lr"] if spec.optimizer else None, "spec"
        if row is not None:
            (settings, lr_from), entry = row, document.find(("compare", "optimizers", label))
            lr = _lr(settings)
            changes.append(("optimizer", settings))
            if by_optimizer is None and entry is not None:
                origins["optimizer"] = ChangeOrigin(entry.place, f"compare.optimizers.{label}")
        own.append(document.find(("compare", "optimizers", label, "lr")) is not None)
        if cut is not None:
            changes.append(("batch", cut))
        name = " ".join(filter(None, (label, cut_label)))
        found.append(Trial(name, (name, lr, lr_from), tuple(changes), origins))
    found = with_overrides(found, overrides, document)
    if "optimizer.lr" not in given:
        return found
    return [
        trial if names_lr else _with_lr(trial, given["optimizer.lr"])
        for trial, names_lr in zip(found, own, strict=True)
    ]


def _with_lr(trial: Trial, lr: Any) -> Trial:
    """Return a row whose learning rate is the command line's, where that is the case."""
    label, old, origin = trial.values
    if ("optimizer.lr", lr) in trial.changes or (origin == "spec" and old == lr):
        return replace(trial, values=(label, lr, "given"))
    return trial


def _asked(
    spec: RunSpec, by_optimizer: str | None, by_batch: str | None
) -> tuple[dict[str, tuple[dict[str, Any], str]], dict[str, dict[str, Any]]]:
    """Return optimizers and batch modes by label; neither's own is empty: the spec's then."""
    block = spec.compare
    chosen = optimizers(by_optimizer, spec) if by_optimizer is not None else {}
    cuts = _labelled(spec, [*batches(by_batch, spec).items()], of_block=False) if by_batch is not None else {}
    if by_optimizer is None and by_batch is None and block is not None:
        chosen = {label: _of_block(label, entry, {}) for label, entry in block.optimizers.items()}
        cuts = _labelled(spec, [(_batch_label(entry), entry) for entry in map(_batch, block.batches)], of_block=True)
    elif by_optimizer is None and spec.optimizer is None and block is not None and block.optimizers:
        label, entry = next(iter(block.optimizers.items()))
        chosen = {label: _of_block(label, entry, {})}
    if not chosen and not cuts:
        raise SpecError("what to compare? Give --optimizers sgd,adam or --batches full,stochastic, or a compare block")
    return chosen, cuts


def _lr(settings: Mapping[str, Any]) -> Any:
    """Return the learning rate of an optimizer's settings, the default filled in; as given where it is no number."""
    given = {key: value for key, value in settings.items() if key not in ("name", "groups")}
    return arguments(OPTIMIZERS[settings["name"]], given)[0].get("lr", given.get("lr"))


def _batch(value: Any) -> dict[str, Any]:
    return {"mode": value} if isinstance(value, str) else dict(value)


def _labelled(
    spec: RunSpec, entries: Sequence[tuple[str, dict[str, Any]]], *, of_block: bool
) -> dict[str, dict[str, Any]]:
    """Return batches by labels of their own, which say whether they are shuffled where that differs.

    Raises SpecError for one that is there twice, in the compare block or on the command line.
    """
    checked = [Batch.model_validate(entry) for _, entry in entries]
    differ = len({batch.shuffles for batch in checked if batch.mode != "full"}) > 1
    found: dict[str, dict[str, Any]] = {}
    for k, (batch, (given, entry)) in enumerate(zip(checked, entries, strict=True)):
        label = f"{given} drop_last" if batch.drop_last else given
        label += f" accumulate {batch.accumulate}" if batch.accumulate > 1 else ""
        if differ and batch.mode != "full":
            label += " shuffled" if batch.shuffles else " unshuffled"
        if label in found or batch in checked[:k]:
            if of_block:
                raise SpecError(spec.problem(("compare", "batches", k), "stands there twice"))
            raise SpecError(f"--batches: '{given}' is the batch of '{entries[checked.index(batch)][0]}'")
        found[label] = entry
    return found


def _batch_label(entry: Mapping[str, Any]) -> str:
    size = f":{entry['size']}" if "size" in entry else ""
    return f"{entry.get('mode', mode_of(entry))}{size}"


# --- learning rates to try, and seeds ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seeds:
    """The seeds of a comparison: ``reporting`` for its table, ``tuning`` to choose learning rates by."""

    reporting: tuple[int, ...]
    tuning: tuple[int, ...]


def seeds(count: int, base_seed: int) -> Seeds:
    """Return ``count`` seeds of each kind.

    Reporting: s, s + 1, ..., s the base seed. Tuning: s + 2^62 + (SHA-256 of s) mod 2^61, and on from there. All modulo
    2^63: fewer than 2^61 seeds of one kind never meet each other nor those of the other kind. A choice made on the
    seeds that are reported would flatter whatever has more settings to choose from.

    >>> seeds(2, 7).reporting
    (7, 8)
    >>> set(seeds(1000, 7).reporting) & set(seeds(1000, 7).tuning)
    set()
    """
    digest = int.from_bytes(hashlib.sha256(f"tuning {base_seed}".encode()).digest())
    first = base_seed + 2**62 + digest % 2**61
    return Seeds(*(tuple((start + k) % (MAX_SEED + 1) for k in range(count)) for start in (base_seed, first)))


def tuning_grid(count: int, low: float, high: float) -> list[float]:
    """Return the learning rates to try: ``geomspace(low, high, count)``. Raises SpecError for what is no such grid.

    >>> tuning_grid(4, 1e-4, 1e-1)
    [0.0001, 0.001, 0.01, 0.1]
    """
    if count < 2:
        raise SpecError(f"--tune takes a number of learning rates from 2 on (got {count})")
    if not 0 < low < inf or not 0 < high < inf:
        raise SpecError(f"--tune-range takes two learning rates above 0 (got {low:g},{high:g})")
    if low >= high:
        raise SpecError(f"--tune-range takes the lower learning rate first (got {low:g},{high:g})")
    return [*grids.parse(f"geomspace({low!r},{high!r},{count})").array().tolist()]


def extended(grid: list[float], edge: Literal["low", "high"]) -> list[float]:
    """Return a tuning grid that goes on beyond one edge, for a winner that lies there.

    By half as many points as it has, at least one, in the same ratio; what a float64 cannot hold is left out.

    >>> extended([0.001, 0.01, 0.1], "high"), extended([0.001, 0.01, 0.1, 1.0], "low")
    ([0.001, 0.01, 0.1, 1.0], [1e-05, 0.0001, 0.001, 0.01, 0.1, 1.0])
    """
    count, more = len(grid), max(len(grid) // 2, 1)
    with localcontext(grids.PRECISION):
        first = Decimal(repr(grid[0])).log10()
        step = (Decimal(repr(grid[-1])).log10() - first) / (count - 1)
        numbers = range(-more, 0) if edge == "low" else range(count, count + more)
        beyond = [lr for i in numbers if 0 < (lr := float(Decimal(10) ** (first + step * i))) < inf]
    return [*beyond, *grid] if edge == "low" else [*grid, *beyond]
