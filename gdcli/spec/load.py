"""A spec with its data and its shapes: what depends on several sections at once, still without torch.

>>> from gdcli.spec.document import read
>>> from gdcli.spec.schema import parse
>>> text = "{data: {x: [1, 2], y: [2, 4]}, model: linear, loss: mse, optimizer: sgd}"
>>> load(parse(read(text, "f"), "line"), Path()).architecture.shapes
{'weight': (1, 1), 'bias': (1,)}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gdcli.errors import Problem, SpecError
from gdcli.report.styles import STYLES
from gdcli.spec import expected_names, fits, metrics, preconditions, sizes, starting, watch
from gdcli.spec.data_sections import HeldOutFile
from gdcli.spec.document import MAX_PROBLEMS
from gdcli.spec.models import (
    constant_error,
    detached_error,
    group_problems,
    layer_problems,
    name_problems,
    start_shapes,
)
from gdcli.spec.rows import rows_of
from gdcli.spec.sections import RunSpec
from gdcli.spec.signature import Path as KeyPath
from gdcli.zoo import data as sources
from gdcli.zoo.data_files import Moved
from gdcli.zoo.models import MODELS, Architecture, Chain, Objective, Sizes, Stack
from gdcli.zoo.naming import ArgumentError
from gdcli.zoo.parquet_file import require_pyarrow
from gdcli.zoo.preprocessing import Preprocessing
from gdcli.zoo.table import Floats, Table
from gdcli.zoo.weight_files import Weights


@dataclass(frozen=True, slots=True)
class Loaded:
    """A spec that can be run: its rows (None for an objective; no choice looks at the test rows), and its model."""

    spec: RunSpec
    training: Table | None
    validation: Table | None
    architecture: Architecture
    warnings: tuple[str, ...] = ()
    data_sha256: str = ""
    bounded: bool = True  # size limits count
    cores: int | None = None  # that `threads: auto` counts with; None: those of this machine
    layer_shapes: Mapping[str, tuple[int, ...]] | None = None  # of torch's own layers, once they have been built
    weights: Weights | None = None  # that the model starts with
    test: Table | None = None
    preprocessing: Preprocessing | None = None  # what the training rows say of how rows are made; None: an objective
    files: Mapping[str, HeldOutFile] = field(default_factory=dict)  # of the data, by key; where they were, if moved

    @property
    def data_file(self) -> Path | None:
        """The resolved path of a data file."""
        return Path(self.files["file"].file) if "file" in self.files else None

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]] | None:
        """The shape of each parameter by its full name; None for torch's own layers that have not been built.

        A bias that its layer's units share has the shape [1].
        """
        if isinstance(self.architecture, Stack):
            return self.layer_shapes
        shapes, stored = self.architecture.shapes, {} if self.weights is None else self.weights.header.tensors
        biases = self.architecture.biases if isinstance(self.architecture, Chain) else ()
        shared = {name: (1,) for name in biases if name in stored and stored[name].shape == (1,)}
        return start_shapes({**shapes, **shared}, self.spec.model.init)

    def prepared(self, x: Floats) -> Floats:
        """Return rows [..., D] as the model takes them: standardized as the training rows are, in the data's shape."""
        x = x if self.preprocessing is None else self.preprocessing.scaled(x)
        return x.reshape(*x.shape[:-1], *self.row_shape)

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of a row as the model takes it; of an objective, which has none, it is empty."""
        if isinstance(self.architecture, Stack):
            return self.architecture.shape
        return () if self.training is None else self.training.x.shape[1:]

    @property
    def tables(self) -> list[Table]:
        """The training rows and those held out, as far as there are any."""
        return [table for table in (self.training, self.validation, self.test) if table is not None]

    def in_units(self, output: NDArray[Any]) -> NDArray[Any]:
        """Return outputs [..., O] in the units of the targets, where those are standardized."""
        return output if self.preprocessing is None else self.preprocessing.in_units(output)

    @property
    def samples(self) -> int:
        """Rows of training data; 0 for an objective."""
        return 0 if self.training is None else len(self.training.x)


def load(
    spec: RunSpec, base: Path, *, bounded: bool = True, cores: int | None = None, moved: Moved | None = None
) -> Loaded:
    """Read or make the data, work out the shapes and check everything against everything.

    ``base`` is the folder that a data file's path is relative to; one that is not there, but known by its content, is
    looked for as ``moved`` says, or around the base. Without ``bounded`` size limits do not count. ``cores`` is for
    `threads: auto`, by default this machine's.
    Raises SpecError with every problem; MachineError if an optional package is missing.
    """
    if bounded:
        _refuse([*_too_large_data(spec), *_too_deep(spec)])
    rows = None if spec.data is None else rows_of(spec, base, moved)
    training = None if rows is None else rows.training
    problems: list[Problem] = []
    architecture = _architecture(spec, training, problems)
    if problems or architecture is None:
        raise SpecError(problems)
    loaded = Loaded(spec, training, None, architecture, (), bounded=bounded, cores=cores)
    if rows is not None:
        loaded = replace(
            loaded, validation=rows.validation, test=rows.test, preprocessing=rows.preprocessing, files=rows.files,
            data_sha256=rows.training.sha256,
        )  # fmt: skip
    if spec.model.weights is not None:
        weights = starting.weights_for(spec, architecture, base, moved)
        loaded = replace(loaded, spec=starting.with_digest(spec, weights), weights=weights)
    is_identity = isinstance(architecture, Chain) and not architecture.layers
    checked = [] if rows is None else rows.sources(whole_rows=is_identity)
    problems += fits.problems(spec, training, checked, architecture)
    if not isinstance(architecture, Stack):  # torch's own layers are checked when they are built
        problems += name_problems(spec, architecture.shapes)
    problems += [*_engine(loaded), *_style(loaded), *watch.problems(loaded)]
    problems += metrics.problems(spec, training, held_out=loaded.validation is not None)
    problems += islice(expected_names.problems(loaded, loaded.shapes), MAX_PROBLEMS)
    if spec.record.format == "parquet":
        require_pyarrow("record.format: parquet")
    if bounded:
        problems += [*_too_large(loaded), *_too_long(loaded)]
    _refuse(problems)
    notes = [] if rows is None else [spec.problem(path, what) for path, what in rows.notes]
    if loaded.weights is not None:
        notes += starting.prepared_otherwise(spec, loaded.weights, loaded.preprocessing)
    return replace(loaded, warnings=tuple(dict.fromkeys(map(str, (*notes, *_warnings(loaded, checked))))))


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise SpecError(problems)


def respecified(loaded: Loaded, spec: RunSpec) -> Loaded:
    """Return the same data and model under a spec that differs in optimizer and seeds alone, and draws the same data.

    Raises SpecError for groups of the optimizer that the model has not.
    """
    if spec.optimizer is not None and spec.optimizer.groups and loaded.shapes is not None:
        _refuse(list(islice(group_problems(spec, loaded.shapes), MAX_PROBLEMS)))
    return replace(loaded, spec=spec)


# --- data -------------------------------------------------------------------------------------------------------------


def _too_large_data(spec: RunSpec) -> Iterator[Problem]:
    if spec.data is None or spec.data.source != "generate":
        return
    arguments = dict(spec.data.arguments)
    count = sources.points(arguments.pop("kind"), arguments)
    path: KeyPath = ("data", "generate", "n")
    path = path if spec.document.find(path) is not None else path[:2]
    if count > sizes.MAX_POINTS:
        yield spec.problem(path, f"{count:,} numbers, more than {sizes.MAX_POINTS:,}", sizes.RAISE)
    else:
        yield from sizes.too_much_memory(spec, path, f"{count:,} numbers take", sizes.data_memory(spec, count))


def _too_deep(spec: RunSpec) -> Iterator[Problem]:
    given = spec.model.arguments.get("layers", ())  # a plugin's model may have something else of that name
    count = len(given) - 1 if isinstance(given, list) else 0  # the first is the input's width
    if count > sizes.MAX_LAYERS:
        what = f"{count:,} layers, more than {sizes.MAX_LAYERS:,}"
        yield spec.problem(("model", "layers"), what, sizes.RAISE)


# --- model ------------------------------------------------------------------------------------------------------------


def _architecture(spec: RunSpec, training: Table | None, problems: list[Problem]) -> Architecture | None:
    sizes = Sizes(0, 0)
    if training is not None:
        outputs = training.classes or (training.y.shape[1] if training.y.ndim == 2 else 1)
        sizes = Sizes(training.x.shape[1], outputs)
    try:
        model = MODELS[spec.model.name](sizes, **spec.model.arguments)
    except ArgumentError as error:
        problems += spec.problems_below(("model",), error)
        return None
    return fits.shaped(spec, model, training, problems)


def _engine(loaded: Loaded) -> Iterator[Problem]:
    """Check what torch's own layers and an objective cannot have."""
    spec, model = loaded.spec, loaded.architecture
    if spec.settings.engine == "by_hand" and not isinstance(model, Chain):
        what = f"the model {spec.model.name} has no backward pass written out by hand"
        yield spec.problem(("engine",), what, "Use auto or autograd")
    if isinstance(model, Objective) and (error := constant_error(model)):
        yield spec.problem(("model", "expression"), f"{error}, at character {error.column}")
    if isinstance(model, Objective) and (what := detached_error(model, spec.model.freeze)):
        yield spec.problem(("model", "expression"), what)
    if isinstance(model, Stack):
        yield from layer_problems(spec, model)


# --- printing and size ------------------------------------------------------------------------------------------------


def _style(loaded: Loaded) -> Iterator[Problem]:
    """Check that the spec can supply the columns that its style prints."""
    spec, columns = loaded.spec, STYLES[loaded.spec.style].columns
    path = ("print", "style")
    if "sample" in columns and (loaded.samples == 0 or spec.batch.rows(loaded.samples) != 1):
        yield spec.problem(path, f"the style {spec.style} prints single samples", "Set batch: stochastic")
    if spec.style == "trace" and not isinstance(loaded.architecture, Objective):
        yield spec.problem(path, "the style trace prints the variables of an objective")
    if "output" in columns and loaded.training is None:
        yield spec.problem(path, f"the style {spec.style} prints outputs, and an objective has none")
    if spec.style == "epoch" and spec.settings.epochs == 0:
        where = path if spec.print.style else ("epochs",)
        hint = "Set print: {style: loss}"
        yield spec.problem(where, "the style epoch prints one line an epoch, and epochs is 0", hint)
    predict = spec.print.predict
    if predict is not None and loaded.training is None:
        yield spec.problem(("print", "predict"), "an objective has no input to predict from")
    elif predict is not None and loaded.training is not None:
        width, features = len(predict) if isinstance(predict, list) else 1, loaded.training.x.shape[1]
        if width != features:
            what = f"has {width} number{'' if width == 1 else 's'}, a row of the data has {features}"
            yield spec.problem(("print", "predict"), what)


def _too_large(loaded: Loaded) -> Iterator[Problem]:
    spec, model = loaded.spec, loaded.architecture
    if isinstance(model, Stack):  # known to torch alone
        return
    key: KeyPath = ("model", "layers") if spec.model.name == "mlp" else ("model",)
    count = sizes.parameters(model)
    if count > sizes.MAX_PARAMETERS:
        what = f"the model has {count:,} parameters, more than {sizes.MAX_PARAMETERS:,}"
        yield spec.problem(key, what, sizes.RAISE)
    else:
        yield from sizes.too_much_memory(spec, key, f"a run of {count:,} parameters takes", memory(loaded))
    yield from sizes.too_many_recorded(spec, count)


def memory(loaded: Loaded, runs: int = 1) -> int:
    """Return the bytes that so many runs at once need at least; 0 for torch's own layers, whose size torch knows."""
    if isinstance(loaded.architecture, Stack):
        return 0
    tables = loaded.tables
    columns = tables[0].x.shape[1] + (tables[0].y.shape[1] if tables[0].y.ndim == 2 else 1) if tables else 0
    return sizes.memory(loaded.spec, loaded.architecture, sum(len(table.x) for table in tables), columns, runs)


def require_memory(loaded: Loaded, runs: int) -> None:
    """Raise SpecError if the machine has no memory for so many runs of a fleet at once."""
    what, hint = f"{runs:,} runs at once take", "--fleet off trains them one by one"
    _refuse([*sizes.too_much_memory(loaded.spec, ("model",), what, memory(loaded, runs), hint)])


def _too_long(loaded: Loaded) -> Iterator[Problem]:
    spec, model = loaded.spec, loaded.architecture
    steps = spec.settings.epochs * spec.batch.steps(loaded.samples)
    epochs = f"{spec.settings.epochs:,} epochs are {steps:,} steps"
    watched = watch.columns(watch.values_of(loaded), watch.step_rows(spec, loaded.samples))
    size = 0 if isinstance(model, Stack) else sizes.record(spec, model, steps, watched)
    if steps > sizes.MAX_STEPS:
        yield spec.problem(("epochs",), f"{epochs}, more than {sizes.MAX_STEPS:,}", sizes.RAISE)
    elif size > sizes.MAX_RECORD:
        what = f"{epochs}, about {sizes.gigabytes(size)} of steps.csv and gradients.csv, more than"
        hint = f"record.every and record.gradients make it less; {sizes.RAISE}"
        yield spec.problem(("epochs",), f"{what} {sizes.gigabytes(sizes.MAX_RECORD)}", hint)


def _warnings(loaded: Loaded, checked: Sequence[Table]) -> Iterator[Problem]:
    spec = loaded.spec
    if not checked or spec.loss is None:
        return
    rows = spec.batch.size * spec.batch.accumulate
    if spec.batch.mode == "mini-batch" and rows > loaded.samples:
        what = f"{rows} rows a step, the data have {loaded.samples}: one step an epoch"
        yield spec.problem(("batch", "size" if spec.batch.size > loaded.samples else "accumulate"), what)
    named = loaded.preprocessing is not None and bool(loaded.preprocessing.classes)
    for table in checked:
        yield from preconditions.warnings(spec, table, loaded.architecture, named=named)
