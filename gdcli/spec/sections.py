"""The parts of a spec, checked and frozen: sections of fixed shape, ingredients with their arguments, the whole."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from dataclasses import replace as replace_fields
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Len
from pydantic import AfterValidator, Field, model_validator

from gdcli.errors import Place, Problem
from gdcli.report.styles import STYLES
from gdcli.spec.data_sections import Data, Seed
from gdcli.spec.document import MAX_PROBLEMS
from gdcli.spec.expectations import Expectation
from gdcli.spec.nodes import Node
from gdcli.spec.signature import Complaint, Integer, Path, Section, entries, one_of
from gdcli.zoo.metrics import METRICS
from gdcli.zoo.naming import ArgumentError, OneOf

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
MAX_GLOBS = 100  # in one place

Positive = Annotated[float, Gt(0)]
Count = Annotated[Integer, Ge(1)]


def mode_of(keys: Collection[str]) -> str:
    """Return the mode of a batch that gives none, by its keys."""
    return "mini-batch" if "size" in keys else "full"


class Batch(Section):
    """How the rows of an epoch are cut into steps; a size without a mode means mini-batch."""

    mode: Literal["full", "stochastic", "mini-batch"] = "full"
    size: Count = 32  # rows a step in mode mini-batch
    shuffle: bool | None = None
    drop_last: bool = False
    accumulate: Count = 1  # batches whose gradients make one step

    @model_validator(mode="before")
    @classmethod
    def _sized(cls, value: Any) -> Any:
        return {"mode": mode_of(value), **value} if isinstance(value, dict) and "size" in value else value

    @property
    def shuffles(self) -> bool:
        """Whether each epoch draws an order of its own."""
        return self.mode != "full" if self.shuffle is None else self.shuffle

    def without_effect(self) -> list[str]:
        """Return the keys that this mode does not read, at values that are not their defaults."""
        if self.mode == "mini-batch":
            return []
        unread = ("size", "drop_last", "accumulate") if self.mode == "full" else ("size", "drop_last")
        return [key for key in unread if getattr(self, key) != type(self).model_fields[key].default]

    def pass_rows(self, samples: int) -> int:
        """Rows of one forward and backward pass."""
        return min({"full": samples, "stochastic": 1, "mini-batch": self.size}[self.mode], samples)

    def rows(self, samples: int) -> int:
        """Rows a step: of all passes whose gradients it accumulates."""
        return min(self.pass_rows(samples) * self.accumulate, samples)

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
    metric: str | None = None  # that patience watches
    min_delta: Annotated[float, Ge(0)] = 0.0
    restore: bool = False


class Clip(Section):
    """The largest gradient that an update takes: by the norm of all of it, or entry by entry."""

    norm: Positive | None = None
    value: Positive | None = None

    @model_validator(mode="after")
    def _one(self) -> Clip:
        if self.norm is not None and self.value is not None:
            raise ValueError("takes norm or value, not both")
        return self

    @property
    def is_on(self) -> bool:
        """Whether anything is clipped."""
        return self != Clip()


class Penalty(Section):
    """What is added to the training loss for the size of the weights: l1 Σ|w| + l2 Σw²."""

    l1: Annotated[float, Ge(0)] = 0.0
    l2: Annotated[float, Ge(0)] = 0.0

    @property
    def is_on(self) -> bool:
        """Whether anything is added."""
        return bool(self.l1 or self.l2)


class Print(Section):
    """What is printed: the style, and the number or row whose prediction is shown before and after training."""

    style: Annotated[str, *one_of(OneOf("style", STYLES))] | None = None
    predict: Any = None


class Recording(Section):
    """What is recorded of the gradients, and besides them, every how many steps."""

    gradients: Literal["auto", "values", "norms", "none"] = "auto"
    every: Count = 1
    format: Literal["csv", "parquet", "npy"] = "csv"  # of the gradients
    parameters: bool = False
    layers: bool = False


class Checkpoint(Section):
    """How often a run writes its state, from which `gdcli resume` goes on."""

    every_seconds: Annotated[float, Ge(0)] = 30.0


class SweepGrid(Section):
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
class Model(Ingredient):
    """The model, what its parameters start from, and which of them are not trained."""

    init: Mapping[str, Any] = field(default_factory=dict)
    freeze: tuple[str, ...] = ()
    weights: str | None = None  # `from`: a safetensors file or a record whose weights it starts with
    sha256: str | None = None  # of that file


@dataclass(frozen=True, slots=True)
class Optimizer(Ingredient):
    """The optimizer, and the settings of groups of parameters, by name or glob."""

    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scheduler:
    """The schedule of the learning rate, and those of groups of parameters, by name or glob."""

    base: Ingredient | None  # None: the groups alone have one
    groups: Mapping[str, Ingredient] = field(default_factory=dict)


class StartWeights(Section):
    """The weights that a model starts with, in place of random ones; ``from`` is no name in Python."""

    weights: Annotated[str, Len(1)] = Field(alias="from")
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None


MODEL_KEYS = ("init", "freeze", "from", "sha256")
"""What every model takes beside its own arguments."""


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
    metrics: list[Annotated[str, *one_of(OneOf("metric", METRICS))]] | None = None
    metric: str | None = None
    watch: Annotated[list[Annotated[str, Len(1, 200)]], Len(1, MAX_GLOBS)] | None = None  # values with gradients
    world_size: Annotated[Integer, Ge(1), Le(1024)] | None = None  # processes of torchrun; None: as many as there are


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
    penalty: Penalty
    clip: Clip
    stop: Stop
    print: Print
    record: Recording
    checkpoint: Checkpoint
    sweep: SweepGrid | None
    compare: Compare | None
    document: Node = field(compare=False, repr=False)
    expect: Mapping[str, Expectation] = field(default_factory=dict)  # of the run's end, by name

    @property
    def name(self) -> str:
        """The experiment's name, also of its folder."""
        return self.settings.name

    @property
    def style(self) -> str:
        """The style that is printed: as given, else `trace` for an objective and `epoch` for the rest."""
        return self.print.style or ("trace" if self.model.name == "objective" else "epoch")

    @property
    def draws_data(self) -> bool:
        """Whether the rows, or their split, come from a generator of random numbers: another seed, other data."""
        if self.data is None or self.data.held_out.draws:
            return self.data is not None
        given = self.data.arguments
        return self.data.source == "generate" and (given["kind"] != "xor" or given["noise"] != 0)

    @property
    def all_folds(self) -> range:
        """The folds that the runs of a sweep or comparison take in turn: all, where the spec names none of them."""
        data = self.data
        return range(0) if data is None or data.folds is None or data.fold is not None else range(data.folds)

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

    def problems_below(self, prefix: Path, error: ArgumentError) -> list[Problem]:
        """Return what is wrong below a section, in the order of the file."""
        errors = (error, *error.others)
        complaints = [Complaint((*prefix, *each.path), each.message, each.hint) for each in errors]
        return problems_at(self.document, complaints)


def is_glob(pattern: str) -> bool:
    """Say whether a name of parameters stands for several."""
    return any(mark in pattern for mark in "*?[")


def problems_at(document: Node, complaints: Iterable[Complaint]) -> list[Problem]:
    """Return complaints as problems in the order of the file, and not too many.

    Those of files that it was merged with come after its own, those of the command line last.
    """
    problems = [problem_at(document, complaint) for complaint in complaints]

    def order(place: Place) -> tuple[bool, bool, str, int, int]:
        is_other = place.file != document.place.file
        return (place.file == "command line", is_other, place.file, place.line, place.column)

    problems.sort(key=lambda each: order(each.place))
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


SECTIONS: dict[str, type[Section]] = {
    "batch": Batch, "penalty": Penalty, "clip": Clip, "stop": Stop, "print": Print, "record": Recording,
    "checkpoint": Checkpoint, "sweep": SweepGrid, "compare": Compare,
}  # fmt: skip
INGREDIENTS = ("data", "model", "loss", "optimizer", "scheduler")
EXPECT = "expect"
KEYS = (*Settings.model_fields, *INGREDIENTS, *SECTIONS, EXPECT)
