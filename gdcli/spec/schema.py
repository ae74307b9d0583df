"""The spec: what each key takes, from a document with places to one frozen :class:`RunSpec`.

Every problem is found in one reading. Sections of fixed shape are pydantic models here; ingredients (model, loss,
optimizer, data) are checked against the signatures of the zoo.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from dataclasses import replace as replace_fields
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Len, Lt
from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from gdcli.errors import Place, Problem, SpecError, nearest
from gdcli.report.styles import STYLES
from gdcli.spec import grids
from gdcli.spec.document import MAX_KEY, MAX_PROBLEMS, Node
from gdcli.spec.signature import STRICT, Complaint, Integer, Path, arguments, check, entries, got
from gdcli.zoo.data import GENERATORS, DatasetName
from gdcli.zoo.losses import LOSSES
from gdcli.zoo.models import MODELS
from gdcli.zoo.optimizers import OPTIMIZERS
from gdcli.zoo.schedulers import SCHEDULERS

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
MAX_SEED = 2**63 - 1
MAX_GLOBS = 100  # in one place

Positive = Annotated[float, Gt(0)]
Count = Annotated[Integer, Ge(1)]
Seed = Annotated[Integer, Ge(0), Le(MAX_SEED)]


class Section(BaseModel):
    """A part of the spec with keys of its own: strict types, no unknown keys, no change after it is made."""

    model_config = STRICT


class Batch(Section):
    """How the rows of an epoch are cut into steps."""

    mode: Literal["full", "stochastic", "mini-batch"] = "full"
    size: Count = 32  # rows a step in mode mini-batch
    shuffle: bool | None = None
    drop_last: bool = False

    @property
    def shuffles(self) -> bool:
        """Whether each epoch draws an order of its own."""
        return self.mode == "mini-batch" if self.shuffle is None else self.shuffle

    def rows(self, samples: int) -> int:
        """Rows a step."""
        return min({"full": samples, "stochastic": 1, "mini-batch": self.size}[self.mode], samples)

    def steps(self, samples: int) -> int:
        """Steps an epoch; 1 for an objective, which has no samples."""
        if samples == 0:
            return 1
        rows = self.rows(samples)
        return samples // rows if self.drop_last else -(-samples // rows)


class Stop(Section):
    """When to stop before the last epoch: checked once an epoch, max_steps and max_seconds every step."""

    loss: float | None = None
    gradient_norm: Annotated[float, Ge(0)] | None = None
    max_steps: Count | None = None
    max_seconds: Positive | None = None
    patience: Count | None = None


def _known_style(style: str) -> str:
    if style not in STYLES:
        raise PydanticCustomError("unknown_name", "{kind}", {"kind": "style", "names": sorted(STYLES)})
    return style


class Print(Section):
    """What is printed: the style, and the number or row whose prediction is shown before and after training."""

    style: Annotated[str, AfterValidator(_known_style), Field(json_schema_extra={"enum": sorted(STYLES)})] | None = None
    predict: Any = None


class Record(Section):
    """What gradients.csv holds, and every how many steps."""

    gradients: Literal["auto", "values", "norms", "none"] = "auto"
    every: Count = 1


class Checkpoint(Section):
    """How often a run writes its state, from which `gdcli resume` goes on."""

    every_seconds: Annotated[float, Ge(0)] = 30.0


class Sweep(Section):
    """What `gdcli sweep` does when the command line names no axis."""

    parameters: Annotated[dict[str, Any], Len(1)]


def _in_order(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] >= ends[1]:
        raise ValueError("must be low and high in order")
    return ends


class Compare(Section):
    """What `gdcli compare` does when the command line names no axis."""

    optimizers: dict[str, dict[str, Any]] = Field(default_factory=dict)
    batches: list[Any] = Field(default_factory=list)
    seeds: Count = 1  # runs of each row, which differ in weights and batch order alone
    closed_form: bool = False  # the least-squares solution as one more row
    target: float | None = None  # a loss; the table tells when each row reached it
    tune: Annotated[Integer, Ge(2)] | None = None  # learning rates that are tried for each optimizer
    tune_range: Annotated[tuple[Positive, Positive], entries(2), AfterValidator(_in_order)] | None = None


@dataclass(frozen=True, slots=True)
class Ingredient:
    """A named ingredient of the zoo with all its arguments, defaults filled in."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Data:
    """Where the rows come from: ``inline``, ``file``, ``generate`` (arguments hold its kind) or ``dataset``."""

    source: str
    arguments: Mapping[str, Any]
    standardize: bool = False
    validation: float | None = None
    seed: int | None = None  # of the rows and of the split; None: the spec's


@dataclass(frozen=True, slots=True)
class Model:
    """The model, what its parameters start from, and which of them are not trained."""

    name: str
    arguments: Mapping[str, Any]
    init: Mapping[str, Any] = field(default_factory=dict)
    freeze: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Optimizer:
    """The optimizer, and the settings of groups of parameters, by name or glob."""

    name: str
    arguments: Mapping[str, Any]
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scheduler:
    """The schedule of the learning rate, and those of groups of parameters, by name or glob."""

    base: Ingredient | None  # None: the groups alone have one
    groups: Mapping[str, Ingredient] = field(default_factory=dict)


class Settings(Section):
    """The keys at the top of a spec that hold one value each."""

    name: Annotated[str, Field(pattern=f"^{NAME}$")]
    description: str | None = None
    epochs: Annotated[Integer, Ge(0)] = 1
    device: Annotated[str, Field(pattern=r"^(cpu|cuda|cuda:[0-9]{1,3}|mps|auto)$")] = "cpu"
    dtype: Literal["float32", "float64"] = "float32"
    seed: Seed = 0
    threads: Annotated[Integer, Ge(1), Le(1024)] | Literal["auto"] = "auto"
    engine: Literal["auto", "by_hand", "autograd"] = "auto"


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One experiment, checked: everything below may rely on it. ``document`` keeps the places for later messages."""

    settings: Settings
    data: Data | None
    model: Model
    loss: Ingredient | None
    optimizer: Optimizer | None
    scheduler: Scheduler | None
    batch: Batch
    stop: Stop
    print: Print
    record: Record
    checkpoint: Checkpoint
    sweep: Sweep | None
    compare: Compare | None
    document: Node = field(compare=False, repr=False)

    @property
    def name(self) -> str:
        """The experiment's name, also of its folder."""
        return self.settings.name

    @property
    def style(self) -> str:
        """The style that is printed: as given, else `trace` for an objective and `epoch` for the rest."""
        return self.print.style or ("trace" if self.model.name == "objective" else "epoch")

    @property
    def data_seed(self) -> int:
        """The seed of generated rows and of the validation split: the data's own, else the spec's."""
        own = self.data.seed if self.data is not None else None
        return self.settings.seed if own is None else own

    def with_settings(self, **changes: Any) -> RunSpec:
        """Return the spec with other top-level settings."""
        return replace_fields(self, settings=self.settings.model_copy(update=changes))

    def problem(self, path: Path, message: str, hint: str = "", *, at_key: bool = False) -> Problem:
        """Return a problem at the place of a key, or of the nearest key above it that the document has."""
        return problem_at(self.document, Complaint(path, message, hint, at_key))


def is_glob(pattern: str) -> bool:
    """Say whether a name of parameters stands for several."""
    return any(mark in pattern for mark in "*?[")


def at_most(problems: list[Problem]) -> list[Problem]:
    """Return the problems, of very many the first and a word that there are more."""
    if len(problems) <= MAX_PROBLEMS:
        return problems
    message = f"these are {MAX_PROBLEMS} problems, and the reading stops here"
    return [*problems[:MAX_PROBLEMS], Problem(problems[MAX_PROBLEMS - 1].place, "", message)]


def problem_at(document: Node, complaint: Complaint) -> Problem:
    """Give a complaint its place: of the key or value at its path, or of the nearest one above that exists."""
    path = complaint.path
    place = document.place
    node = document
    for known, step in enumerate(path, 1):
        child = node.find((step,))
        if child is None:
            if isinstance(step, int) and not isinstance(node.value, tuple):  # `freeze: bias` stands for [bias]
                path, place = path[: known - 1], node.place
            break
        place = child.place
        if isinstance(node.value, dict) and (complaint.at_key or known < len(path)):
            place = node.value[str(step)].key
        node = child
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
    return Problem(place, text, complaint.message, complaint.hint)


def parse(document: Node, stem: str) -> RunSpec:
    """Check a document and return the spec; ``stem`` is its name when it gives none.

    Raises SpecError with every problem of every section.
    """
    return _Reading(document, stem, document.plain()).spec()


RESPECIFIED = ("optimizer", "seed", "data.seed")
"""The keys that :func:`respec` reads anew; of the optimizer everything below it too."""


def respec(spec: RunSpec, document: Node, keys: Collection[str]) -> RunSpec:
    """Return the spec of a document that differs from the spec's own below these keys of RESPECIFIED alone.

    Only those are checked, in microseconds whatever the size of the rest. Raises SpecError with every problem.
    """
    path = {key: key.split(".") for key in keys}
    given = {key: node.plain() for key in keys if (node := document.find(path[key])) is not None}
    reading = _Reading(document, spec.name, {key: value for key, value in given.items() if key != "data.seed"})
    changes: dict[str, Any] = {"document": document}
    if "seed" in keys and (settings := reading.settings()) is not None:
        changes["settings"] = spec.settings.model_copy(update={"seed": settings.seed})
    if "data.seed" in keys and spec.data is not None:
        common = reading.common({"seed": given.get("data.seed")})
        changes["data"] = replace_fields(spec.data, seed=None if common is None else common.seed)
    if "optimizer" in keys:
        changes["optimizer"] = reading.optimizer()
    reading.end()
    return replace_fields(spec, **changes)


SECTIONS: dict[str, type[Section]] = {
    "batch": Batch, "stop": Stop, "print": Print, "record": Record, "checkpoint": Checkpoint, "sweep": Sweep,
    "compare": Compare,
}  # fmt: skip
INGREDIENTS = ("data", "model", "loss", "optimizer", "scheduler")
KEYS = (*Settings.model_fields, *INGREDIENTS, *SECTIONS)


class _Reading:
    """One reading of a document: sections are checked one by one, complaints collected."""

    def __init__(self, document: Node, stem: str, raw: dict[str, Any]) -> None:
        self.document, self.stem, self.raw = document, stem, raw
        self.complaints: list[Complaint] = []

    def complain(self, path: Path, message: str, hint: str = "", *, at_key: bool = False) -> None:
        self.below(path, [Complaint((), message, hint, at_key)])

    def below(self, path: Path, complaints: list[Complaint]) -> None:
        self.complaints += [item._replace(path=(*path, *item.path)) for item in complaints]
        if len(self.complaints) > MAX_PROBLEMS:
            self.end()

    def spec(self) -> RunSpec:
        for key in self.raw:
            if key not in KEYS:
                self.complain((key,), "unknown key", nearest(key, KEYS), at_key=True)
        settings = self.settings()
        data, model, loss, optimizer = self.data(), self.model(), self.loss(), self.optimizer()
        scheduler = self.scheduler()
        sections = {key: self.section(key, kind) for key, kind in SECTIONS.items()}
        self.predict()
        self.grids()
        self.contenders()
        self.across()
        self.end()
        assert settings is not None
        assert model is not None
        return RunSpec(settings, data, model, loss, optimizer, scheduler, **sections, document=self.document)  # type: ignore[arg-type]  # by key

    def end(self) -> None:
        """Raise SpecError if anything was complained of."""
        if self.complaints:
            raise SpecError(at_most(sorted((problem_at(self.document, c) for c in self.complaints), key=_by_place)))

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
            if item not in self.complaints:
                self.complaints.append(item)
        return checked  # type: ignore[return-value]  # a Settings

    def section(self, key: str, kind: type[Section]) -> Section | None:
        value = self.raw.get(key)
        if value is None and key in ("sweep", "compare"):
            return None
        if key == "batch" and isinstance(value, str):
            value = {"mode": value}
        if value is None and key not in self.raw:
            value = {}
        if not isinstance(value, dict):
            self.complain((key,), f"must be a mapping {got(value)}")
            return None
        checked, complaints = check(kind, value)
        if key == "batch" and self.raw.get("batch") == value.get("mode"):  # the short form has no key of its own
            complaints = [item._replace(path=()) for item in complaints]
        self.below((key,), complaints)
        return checked  # type: ignore[return-value]  # a kind

    def named(self, key: str, kind: str, table: Mapping[str, Any], tag: str) -> tuple[str, dict[str, Any]] | None:
        """Return the name of an ingredient and its other keys, from ``key: NAME`` or ``key: {tag: NAME, ...}``."""
        value = self.raw[key]
        name: Any
        path: Path
        if isinstance(value, str):
            name, rest, path = value, {}, (key,)
        elif isinstance(value, dict):
            rest = {k: v for k, v in value.items() if k != tag}
            name, path = value.get(tag), (key, tag)
            if tag not in value:
                self.complain((key, tag), f"is required: the name of {_a(kind)}", at_key=True)
                return None
        else:
            self.complain((key,), f"must be the name of {_a(kind)}, or a mapping with '{tag}' {got(value)}")
            return None
        if not isinstance(name, str) or name not in table:
            self.complain(path, f"unknown {kind} {got(name)}", nearest(str(name), table))
            return None
        return name, rest

    def data(self) -> Data | None:
        value = self.raw.get("data")
        if "data" not in self.raw:
            return None
        if not isinstance(value, dict):
            self.complain(("data",), f"must be a mapping {got(value)}")
            return None
        common = self.common({k: value[k] for k in _Common.model_fields if k in value})
        rest = {k: v for k, v in value.items() if k not in _Common.model_fields}
        sources = [key for key in ("x", "file", "generate", "dataset") if key in rest]
        if len(sources) != 1:
            what = "has more than one source: " + ", ".join(sources) if sources else "has no source"
            hint = "Give one of x and y, file, generate, dataset"
            for key in rest if not sources else ():
                if key in DATA_KEYS:
                    continue
                self.complain(("data", key), "unknown key", nearest(key, DATA_KEYS), at_key=True)
            self.complain(("data",), what, hint, at_key=True)
            return None
        name, given = self.source(sources[0], rest)
        if given is None or common is None:
            return None
        return Data(name, given, **common.model_dump())

    def common(self, given: dict[str, Any]) -> _Common | None:
        """Return the keys of data that every source takes."""
        checked, complaints = check(_Common, given)
        self.below(("data",), complaints)
        return checked  # type: ignore[return-value]  # a _Common

    def source(self, source: str, rest: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
        if source == "generate":
            self.below(("data",), check(_Generate, rest)[1])
            inner = rest["generate"]
            if not isinstance(inner, dict):
                self.complain(("data", "generate"), f"must be a mapping with 'kind' {got(inner)}")
                return source, None
            kind = inner.get("kind")
            if not isinstance(kind, str) or kind not in GENERATORS:
                at_key = "kind" not in inner
                message = "is required: what to generate" if at_key else f"unknown generator {got(kind)}"
                self.complain(("data", "generate", "kind"), message, nearest(str(kind), GENERATORS), at_key=at_key)
                return source, None
            settings = {k: v for k, v in inner.items() if k != "kind"}
            values, complaints = arguments(GENERATORS[kind], settings, beside=["kind"])
            self.below(("data", "generate"), complaints)
            return source, None if complaints else {"kind": kind, **values}
        kinds: dict[str, type[Section]] = {"x": _Inline, "file": _File, "dataset": _Dataset}
        checked, complaints = check(kinds[source], rest, _Common.model_fields)
        self.below(("data",), complaints)
        name = "inline" if source == "x" else source
        return name, None if checked is None else checked.model_dump()

    def model(self) -> Model | None:
        if "model" not in self.raw:
            self.complain(("model",), "is required")
            return None
        found = self.named("model", "model", MODELS, "type")
        if found is None:
            return None
        name, rest = found
        init, freeze = rest.pop("init", {}), rest.pop("freeze", [])
        values, complaints = arguments(MODELS[name], rest, beside=("type", "init", "freeze"))
        self.below(("model",), complaints)
        if not isinstance(init, dict):
            self.complain(("model", "init"), f"must be a mapping of parameter names {got(init)}")
            init = {}
        if isinstance(freeze, str):
            freeze = [freeze]
        if not isinstance(freeze, list) or not all(isinstance(item, str) for item in freeze):
            self.complain(("model", "freeze"), f"must be a list of parameter names or globs {got(freeze)}")
            freeze = []
        self.patterns(("model", "init"), init)
        self.patterns(("model", "freeze"), freeze)
        return None if complaints else Model(name, values, init, tuple(freeze))

    def patterns(self, path: Path, patterns: Collection[str]) -> None:
        """Check the size of names and globs of parameters, since every glob is matched with every name."""
        for index, pattern in enumerate(patterns):
            if len(pattern) > MAX_KEY:
                place = (*path, index if isinstance(patterns, list) else pattern)
                self.complain(place, f"a name has at most {MAX_KEY} characters {got(pattern)}")
        if (count := sum(map(is_glob, patterns))) > MAX_GLOBS:
            self.complain(path, f"more than {MAX_GLOBS} names with *, ? or [ (got {count:,})", "Use fewer, wider ones")

    def loss(self) -> Ingredient | None:
        if "loss" not in self.raw:
            return None
        found = self.named("loss", "loss", LOSSES, "name")
        if found is None:
            return None
        values, complaints = arguments(LOSSES[found[0]], found[1], beside=["name"])
        self.below(("loss",), complaints)
        return None if complaints else Ingredient(found[0], values)

    def optimizer(self) -> Optimizer | None:
        if "optimizer" not in self.raw:
            return None
        found = self.named("optimizer", "optimizer", OPTIMIZERS, "name")
        if found is None:
            return None
        name, rest = found
        groups = rest.pop("groups", {})
        values = self.optimizer_arguments(name, rest, ("optimizer",))
        return None if values is None else Optimizer(name, values, self.groups(name, groups, values))

    def scheduler(self) -> Scheduler | None:
        if "scheduler" not in self.raw:
            return None
        value = self.raw["scheduler"]
        groups = value.get("groups", {}) if isinstance(value, dict) else {}
        if not isinstance(groups, dict):
            self.complain(("scheduler", "groups"), f"must be a mapping of parameter names or globs {got(groups)}")
            groups = {}
        self.patterns(("scheduler", "groups"), groups)
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
        given = {"name": value} if isinstance(value, str) else value
        if not isinstance(given, dict):
            self.complain(path, f"must be the name of a scheduler, or a mapping with 'name' {got(value)}")
            return None
        name = given.get("name")
        if not isinstance(name, str) or name not in SCHEDULERS:
            place = path if isinstance(value, str) or "name" not in given else (*path, "name")
            what = f"unknown scheduler {got(name)}" if "name" in given else "needs a name: that of the scheduler"
            self.complain(place, what, nearest(str(name), SCHEDULERS))
            return None
        rest = {key: item for key, item in given.items() if key not in ("name", *beside)}
        values, complaints = arguments(SCHEDULERS[name], rest, beside=("name", *beside))
        self.below(path, complaints)
        if complaints:
            return None
        try:
            SCHEDULERS[name](**values)
        except ValueError as error:
            self.complain(path, str(error), at_key=True)
            return None
        return Ingredient(name, values)

    def optimizer_arguments(self, name: str, given: dict[str, Any], path: Path) -> dict[str, Any] | None:
        values, complaints = arguments(OPTIMIZERS[name], given, beside=("name", "groups"))
        self.below(path, complaints)
        if complaints:
            return None
        try:
            OPTIMIZERS[name](**values)
        except ValueError as error:  # rules between arguments
            self.complain(path, str(error), at_key=True)
            return None
        return values

    def groups(self, name: str, groups: Any, values: dict[str, Any]) -> dict[str, dict[str, Any]]:
        if not isinstance(groups, dict):
            self.complain(("optimizer", "groups"), f"must be a mapping of parameter names or globs {got(groups)}")
            return {}
        self.patterns(("optimizer", "groups"), groups)
        for pattern, settings in groups.items():
            path = ("optimizer", "groups", pattern)
            if not isinstance(settings, dict):
                self.complain(path, f"must be a mapping of the optimizer's arguments {got(settings)}")
            else:
                given, complaints = arguments(OPTIMIZERS[name], settings, partial=True)
                self.below(path, complaints)
                if not complaints:
                    self.optimizer_arguments(name, {**values, **given}, path)
        return {pattern: dict(settings) for pattern, settings in groups.items() if isinstance(settings, dict)}

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
                grids.from_spec(value)
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
                self.complain(where, f"unknown optimizer {got(name)}", nearest(str(name), OPTIMIZERS), at_key=not given)
            else:
                rest = {key: value for key, value in settings.items() if key not in ("name", "groups")}
                self.optimizer_arguments(name, rest, path)
        for index, value in enumerate(cuts) if isinstance(cuts, list) else ():
            if isinstance(value, str | dict):
                complaints = check(Batch, {"mode": value} if isinstance(value, str) else value)[1]
                short = [item._replace(path=()) for item in complaints]  # the short form has no key of its own
                self.below(("compare", "batches", index), short if isinstance(value, str) else complaints)
            else:
                self.complain(
                    ("compare", "batches", index), f"must be a batch mode, or a mapping with 'mode' {got(value)}"
                )

    def across(self) -> None:
        """Check what depends on several sections."""
        model = self.raw.get("model")
        objective = isinstance(model, dict) and model.get("type") == "objective"
        for key in ("data", "loss"):
            if objective and key in self.raw:
                self.complain((key,), f"an objective has no {key}: its value is the loss", at_key=True)
            elif not objective and "model" in self.raw and key not in self.raw:
                self.complain((key,), "is required, unless the model is an objective")
        no_update = self.raw.get("epochs", 1) == 0 or "sweep" in self.raw or "compare" in self.raw
        if "optimizer" not in self.raw and not no_update:
            self.complain(("optimizer",), "is required, unless epochs is 0")
        batch = self.raw.get("batch")
        if objective and batch not in (None, "full", {"mode": "full"}):
            self.complain(("batch",), "an objective has no data to cut into batches", at_key=True)


class _Common(Section):
    standardize: bool = False
    validation: Annotated[float, Gt(0), Lt(1)] | None = None
    seed: Seed | None = None


class _Inline(Section):
    x: list[Any]
    y: list[Any]


class _File(Section):
    file: Annotated[str, Len(1)]
    features: list[str] | None = None
    target: str | list[str]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None


class _Dataset(Section):
    dataset: DatasetName


class _Generate(Section):
    generate: Any


DATA_KEYS = {key for kind in (_Common, _Inline, _File, _Dataset, _Generate) for key in kind.model_fields}


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _by_place(problem: Problem) -> tuple[int, int]:
    on_command_line = problem.place.file == Place("command line", 1, 1).file
    return (10**9 if on_command_line else problem.place.line, problem.place.column)
