"""The spec: what each key takes, from a document with places to one frozen :class:`RunSpec`.

Every problem is found in one reading. Sections of fixed shape are pydantic models here; ingredients (model, loss,
optimizer, data) are checked against the signatures of the zoo.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace as replace_fields
from typing import Any

from gdcli.errors import SpecError, nearest, nearest_or_own
from gdcli.spec import grids
from gdcli.spec.data_sections import DATA_KEYS, SOURCES, Data, DataCommon, FileData
from gdcli.spec.effects import require_effects
from gdcli.spec.expectations import Expectation
from gdcli.spec.nodes import Node
from gdcli.spec.overrides import key_of
from gdcli.spec.section_reader import SectionReader
from gdcli.spec.sections import (
    EXPECT,
    KEYS,
    MODEL_KEYS,
    NAME,
    SECTIONS,
    Batch,
    Ingredient,
    Model,
    Optimizer,
    RunSpec,
    Scheduler,
    Settings,
    StartWeights,
)
from gdcli.spec.signature import Complaint, Path, arguments, check, got, wrong_in_all
from gdcli.zoo.data import GENERATORS
from gdcli.zoo.losses import LOSSES
from gdcli.zoo.models import MODELS
from gdcli.zoo.optimizers import OPTIMIZERS
from gdcli.zoo.schedulers import SCHEDULERS


def parse(document: Node, stem: str, *, alone: bool = True) -> RunSpec:
    """Check a document and return the spec; ``stem`` is its name when it gives none.

    One that is not ``alone``, but of one run of many or what many are made of, may have keys that have their effect in
    other runs, and no optimizer. Raises SpecError with every problem of every section, or, where there is none, with
    the keys that have no effect.
    """
    spec = _Reading(document, stem, document.plain(), alone=alone).spec()
    if alone:
        require_effects(spec)
    return spec


RESPECIFIED = ("optimizer", "seed", "data.seed")
"""The keys that :func:`respec` reads anew; of the optimizer everything below it too."""


def respecified_key(path: str) -> str:
    """Return the key to be read anew for a change at a path."""
    return "optimizer" if path.startswith("optimizer.") else path


def respec(spec: RunSpec, document: Node, changed: Collection[str]) -> RunSpec:
    """Return the spec of a document that differs from the spec's own below keys of RESPECIFIED alone.

    Only those are checked, in microseconds whatever the size of the rest; ``changed`` are whole paths. Keys without
    effect are none of its problems. Raises SpecError with every problem.
    """
    keys = {respecified_key(path) for path in changed}
    path = {key: key.split(".") for key in keys}
    given = {key: node.plain() for key in keys if (node := document.find(path[key])) is not None}
    reading = _Reading(document, spec.name, {key: value for key, value in given.items() if key != "data.seed"})
    changes: dict[str, Any] = {"document": document}
    if "seed" in keys and (settings := reading.settings()) is not None:
        changes["settings"] = spec.settings.model_copy(update={"seed": settings.seed})
    if "data.seed" in keys and spec.data is not None:
        common = reading.checked(DataCommon, {"seed": given.get("data.seed")}, ("data",))
        changes["data"] = replace_fields(spec.data, seed=None if common is None else common.seed)
    if "optimizer" in keys:
        changes["optimizer"] = reading.optimizer()
    reading.end()
    return replace_fields(spec, **changes)


class _Reading(SectionReader):
    """One reading of a document: sections are checked one by one, complaints collected."""

    def __init__(self, document: Node, stem: str, raw: dict[str, Any], *, alone: bool = False) -> None:
        super().__init__(document)
        self.stem, self.raw, self.alone = stem, raw, alone

    def spec(self) -> RunSpec:
        for key in self.raw:
            if key not in KEYS:
                path = key_of(key)
                known = KEYS if key == "extends" else (*KEYS, "extends")  # which a record's spec has not
                hint = f"Did you mean '{path}'?" if path and "." in path else nearest(key, known)
                self.complain((key,), "unknown key", hint, at_key=True)
        settings = self.settings()
        data, model, loss, optimizer = self.data(), self.model(), self.loss(), self.optimizer()
        scheduler = self.scheduler()
        given = {"sweep": None, "compare": None, **self.raw}
        sections = {key: self.section((key,), kind, given.get(key, {})) for key, kind in SECTIONS.items()}
        expect = self.expectations()
        for rest in (self.predict, self.grids, self.contenders, self.across, self.end):
            rest()
        assert settings is not None
        assert model is not None
        spec = RunSpec(settings, data, model, loss, optimizer, scheduler, **sections, document=self.document)  # type: ignore[arg-type]  # by key
        return replace_fields(spec, expect=expect)

    def settings(self) -> Settings | None:
        given = {key: self.raw[key] for key in Settings.model_fields if key in self.raw}
        checked, complaints = check(Settings, {"name": self.stem, **given})
        for item in complaints:
            if item.path[0] == "name":
                item = item._replace(message=f"must match {NAME} {got(given.get('name', self.stem))}", at_key=False)
            elif item.path[0] == "threads":
                item = Complaint(("threads",), f"must be an integer from 1 to 1024, or auto {got(given['threads'])}")
            elif item.path[0] == "device" and isinstance(given["device"], str):
                hint = nearest(given["device"], ("cpu", "cuda", "cuda:0", "mps", "auto"))
                item = Complaint(("device",), f"unknown device {got(given['device'])}", hint)
            self.complaints.append(item)
        return checked

    def data(self) -> Data | None:
        value = self.raw.get("data")
        if "data" not in self.raw:
            return None
        if not isinstance(value, dict):
            self.complain(("data",), f"must be a mapping {got(value)}")
            return None
        common = self.checked(DataCommon, {k: value[k] for k in DataCommon.model_fields if k in value}, ("data",))
        rest = {k: v for k, v in value.items() if k not in DataCommon.model_fields}
        sources = [key for key in rest if key in SOURCES]  # those of the command line come last
        if len(sources) != 1:
            hint = "Give one of x and y, file, idx, generate, dataset"
            for key in sources[1:]:
                self.complain(("data", key), f"a second source of data, beside {sources[0]}", hint, at_key=True)
            for key in rest if not sources else ():
                if key not in DATA_KEYS:
                    self.complain(("data", key), "unknown key", nearest(key, DATA_KEYS), at_key=True)
            if not sources:
                self.complain(("data",), "has no source", hint, at_key=True)
            return None
        if common is not None:
            for path, what in common.contradictions():
                self.complain(("data", *path), what)
        name, given = self.source(sources[0], rest)
        return None if given is None or common is None else Data(name, given, **dict(common))

    def source(self, source: str, rest: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
        beside = DataCommon.model_fields if source != "generate" else ()
        checked = self.checked(SOURCES[source], rest, ("data",), beside)
        if source == "generate":
            inner = rest["generate"]
            if not isinstance(inner, dict):
                self.complain(("data", "generate"), f"must be a mapping with 'kind' {got(inner)}")
                return source, None
            kind = inner.get("kind")
            if not isinstance(kind, str) or kind not in GENERATORS:
                at_key, hint = "kind" not in inner, nearest_or_own(str(kind), GENERATORS)
                message = "is required: what to generate" if at_key else f"unknown generator {got(kind)}"
                self.complain(("data", "generate", "kind"), message, hint, at_key=at_key)
                self.below(("data", "generate"), wrong_in_all(GENERATORS, inner))
                return source, None
            settings = {k: v for k, v in inner.items() if k != "kind"}
            values = self.arguments(GENERATORS[kind], settings, ("data", "generate"), ["kind"])
            return source, None if values is None else {"kind": kind, **values}
        if isinstance(checked, FileData):
            for path, what in checked.contradictions():
                self.complain(("data", *path), what)
        name = "inline" if source == "x" else source
        return name, None if checked is None else checked.model_dump()

    def model(self) -> Model | None:
        if "model" not in self.raw:
            self.complain(("model",), "is required")
            return None
        if (found := self.named(("model",), self.raw["model"], MODELS, "type")) is None:
            return None
        name, rest = found
        init, freeze = rest.pop("init", {}), rest.pop("freeze", [])
        start: dict[str, Any] = {key: rest.pop(key) for key in ("from", "sha256") if key in rest}
        values = self.arguments(MODELS[name], rest, ("model",), ("type", *MODEL_KEYS))
        init = self.by_name(("model", "init"), init, "parameter names")
        if isinstance(freeze, str):
            freeze = [freeze]
        if not isinstance(freeze, list) or not all(isinstance(item, str) for item in freeze):
            self.complain(("model", "freeze"), f"must be a list of parameter names or globs {got(freeze)}")
            freeze = []
        self.patterns(("model", "freeze"), freeze)
        weights = self.checked(StartWeights, start, ("model",)) if start else None
        sha256 = None if weights is None else weights.sha256
        return None if values is None else Model(name, values, init, tuple(freeze), start.get("from"), sha256)

    def loss(self) -> Ingredient | None:
        value = self.raw.get("loss")
        if "loss" not in self.raw or (found := self.named(("loss",), value, LOSSES)) is None:
            return None
        values = self.arguments(LOSSES[found[0]], found[1], ("loss",), ["name"])
        return None if values is None else Ingredient(found[0], values)

    def optimizer(self) -> Optimizer | None:
        value = self.raw.get("optimizer")
        if "optimizer" not in self.raw or (found := self.named(("optimizer",), value, OPTIMIZERS)) is None:
            return None
        name, rest = found
        groups = rest.pop("groups", {})
        values = self.rule(name, rest, ("optimizer",))
        return None if values is None else Optimizer(name, values, self.groups(name, groups, values))

    def scheduler(self) -> Scheduler | None:
        if "scheduler" not in self.raw:
            return None
        value = self.raw["scheduler"]
        groups = self.by_name(("scheduler", "groups"), value.get("groups", {}) if isinstance(value, dict) else {})
        base = None
        if not (isinstance(value, dict) and groups and "name" not in value):
            base = self.schedule(("scheduler",), value, beside=("groups",))
        elif extra := [key for key in value if key != "groups"]:
            self.complain(("scheduler", extra[0]), "needs a name beside it: that of the scheduler", at_key=True)
        found = {
            pattern: self.schedule(("scheduler", "groups", pattern), settings) for pattern, settings in groups.items()
        }
        return Scheduler(base, {pattern: item for pattern, item in found.items() if item is not None})

    def schedule(self, path: Path, value: Any, beside: tuple[str, ...] = ()) -> Ingredient | None:
        """Check one schedule: its name, or a mapping of the name and its arguments."""
        if isinstance(value, dict) and "name" not in value:
            self.complain(path, "needs a name: that of the scheduler", nearest("None", SCHEDULERS))
            return None
        if (found := self.named(path, value, SCHEDULERS)) is None:
            return None
        name, given = found
        rest = {key: item for key, item in given.items() if key not in beside}
        if name == "warmup" and rest.get("then") is not None:
            after = self.schedule((*path, "then"), rest["then"])
            if after is None:
                return None
            rest["then"] = {"name": after.name, **after.arguments}
        values = self.arguments(SCHEDULERS[name], rest, path, ("name", *beside), made=True)
        return None if values is None else Ingredient(name, values)

    def rule(self, name: str, given: dict[str, Any], path: Path) -> dict[str, Any] | None:
        return self.arguments(OPTIMIZERS[name], given, path, ("name", "groups"), made=True)

    def groups(self, name: str, groups: Any, values: dict[str, Any]) -> dict[str, dict[str, Any]]:
        groups = self.by_name(("optimizer", "groups"), groups)
        for pattern, settings in groups.items():
            path = ("optimizer", "groups", pattern)
            if not isinstance(settings, dict):
                self.complain(path, f"must be a mapping of the optimizer's arguments {got(settings)}")
            else:
                given, complaints = arguments(OPTIMIZERS[name], settings, partial=True)
                self.below(path, complaints)
                if not complaints:
                    self.rule(name, {**values, **given}, path)
        return {pattern: dict(settings) for pattern, settings in groups.items() if isinstance(settings, dict)}

    def expectations(self) -> dict[str, Expectation]:
        """Return what is expected of the run's end, by name; of which names there are nothing is known yet."""
        value = self.raw.get(EXPECT, {})
        if not isinstance(value, dict):
            self.complain((EXPECT,), f"must be a mapping of names {got(value)}", "final_loss: {at_most: 0.01}")
            return {}
        found = {}
        for name, each in value.items():
            if not isinstance(each, dict):
                hint = f"{{equals: {each}}}" if type(each) in (int, float) else "{at_most: 0.01}, for example"
                self.complain((EXPECT, name), f"must be a mapping {got(each)}", f"Write {hint}")
            elif (checked := self.checked(Expectation, each, (EXPECT, name))) is not None:
                found[name] = checked
        return found

    def predict(self) -> None:
        value = self.raw["print"].get("predict") if isinstance(self.raw.get("print"), dict) else None
        row = value if isinstance(value, list) else [value]
        if value is not None and not (row and all(type(item) in (int, float) for item in row)):
            self.complain(("print", "predict"), f"must be a number or a row of numbers {got(value)}")

    def grids(self) -> None:
        """Check the grids of the sweep block."""
        block = self.raw["sweep"].get("parameters") if isinstance(self.raw.get("sweep"), dict) else None
        for name, value in block.items() if isinstance(block, dict) else ():
            try:
                (grids.zip_from_spec if name == "zip" else grids.from_spec)(value)
            except SpecError as error:
                self.complain(("sweep", "parameters", name), str(error))

    def contenders(self) -> None:
        """Check the optimizers and batch modes of the compare block."""
        block = self.raw.get("compare")
        rows, cuts = (block.get("optimizers"), block.get("batches")) if isinstance(block, dict) else ({}, [])
        for label, settings in rows.items() if isinstance(rows, dict) else ():
            path: Path = ("compare", "optimizers", label)
            if not isinstance(settings, dict):
                continue  # complained of with the section
            name = settings.get("name", label)
            if not isinstance(name, str) or name not in OPTIMIZERS:
                given, where = ("name" in settings), (*path, "name") if "name" in settings else path
                hint = nearest_or_own(str(name), OPTIMIZERS)
                self.complain(where, f"unknown optimizer {got(name)}", hint, at_key=not given)
                self.below(path, wrong_in_all(OPTIMIZERS, settings))
            else:
                self.rule(name, {key: settings[key] for key in settings if key not in ("name", "groups")}, path)
        for index, value in enumerate(cuts) if isinstance(cuts, list) else ():
            path = ("compare", "batches", index)
            if isinstance(value, str | dict):
                self.section(path, Batch, value)
            else:
                self.complain(path, f"must be a batch mode, or a mapping with 'mode' {got(value)}")

    def across(self) -> None:
        """Check what depends on several sections."""
        model = self.raw.get("model")
        objective = isinstance(model, dict) and model.get("type") == "objective"
        for key in ("data", "loss"):
            if objective and key in self.raw:
                given = self.raw[key] if isinstance(self.raw[key], dict) else {}
                near = [name for name in given if self.document.find(("model", "start", name)) is not None]
                hint = f"Did you mean 'model.start.{near[0]}'?" if near else ""
                self.complain((key,), f"an objective has no {key}: its value is the loss", hint, at_key=True)
            elif not objective and "model" in self.raw and key not in self.raw:
                self.complain((key,), "is required, unless the model is an objective")
        no_update = self.raw.get("epochs", 1) == 0 or "sweep" in self.raw or "compare" in self.raw
        if self.alone and "optimizer" not in self.raw and not no_update:
            self.complain(("optimizer",), "is required, unless epochs is 0")
        batch = self.raw.get("batch")
        if objective and batch not in (None, "full", {"mode": "full"}):
            self.complain(("batch",), "an objective has no data to cut into batches", at_key=True)
