"""A spec with its data and its shapes: what depends on several sections at once, still without torch.

>>> from gdcli.spec.document import read
>>> from gdcli.spec.schema import parse
>>> text = "{data: {x: [1, 2], y: [2, 4]}, model: linear, loss: mse, optimizer: sgd}"
>>> load(parse(read(text, "f"), "line"), Path()).architecture.shapes
{'weight': (1, 1), 'bias': (1,)}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gdcli.errors import Problem, SpecError
from gdcli.report.styles import STYLES
from gdcli.spec import preconditions, sizes
from gdcli.spec.data_sections import HeldOutFile
from gdcli.spec.document import MAX_PROBLEMS
from gdcli.spec.models import constant_error, group_problems, layer_problems, name_problems
from gdcli.spec.rows import rows_of
from gdcli.spec.sections import RunSpec
from gdcli.spec.signature import Path as KeyPath
from gdcli.zoo import data as sources
from gdcli.zoo.data_files import Moved
from gdcli.zoo.models import MODELS, Architecture, Chain, Objective, Sizes, Stack
from gdcli.zoo.naming import ArgumentError
from gdcli.zoo.preprocessing import Preprocessing
from gdcli.zoo.table import Floats, Table


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
    test: Table | None = None
    preprocessing: Preprocessing | None = None  # what the training rows say of how rows are made; None: an objective
    files: Mapping[str, HeldOutFile] = field(default_factory=dict)  # of the data, by key; where they were, if moved

    @property
    def data_file(self) -> Path | None:
        """The resolved path of a data file."""
        return Path(self.files["file"].file) if "file" in self.files else None

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]] | None:
        """The shape of each parameter by its full name; None for torch's own layers that have not been built."""
        return self.layer_shapes if isinstance(self.architecture, Stack) else self.architecture.shapes

    def prepared(self, x: Floats) -> Floats:
        """Return rows [..., D] as the model takes them: standardized as the training rows are, in their shape."""
        return x if self.preprocessing is None else self.preprocessing.scaled(x)

    def in_units(self, output: NDArray[Any]) -> NDArray[Any]:
        """Return outputs [N, O] in the units of the targets, where those are standardized."""
        return output if self.preprocessing is None else self.preprocessing.in_units(output)

    @property
    def features(self) -> int:
        """Numbers of a row; 0 for an objective."""
        return 0 if self.preprocessing is None else self.preprocessing.width

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
    notes = [] if rows is None else [spec.problem(path, what) for path, what in rows.notes]
    warnings = tuple(map(str, (*notes, *_warnings(spec, training, architecture))))
    loaded = Loaded(spec, training, None, architecture, warnings, bounded=bounded, cores=cores)
    if rows is not None:
        loaded = replace(
            loaded, validation=rows.validation, test=rows.test, preprocessing=rows.preprocessing, files=rows.files,
            data_sha256=rows.training.sha256,
        )  # fmt: skip
    problems += _shapes(loaded)
    if not isinstance(architecture, Stack):  # torch's own layers are checked when they are built
        problems += name_problems(spec, architecture.shapes)
    problems += [*_engine(loaded), *_style(loaded)]
    if bounded:
        problems += [*_too_large(loaded), *_too_long(loaded)]
    _refuse(problems)
    return loaded


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
        yield from _too_much_memory(spec, path, f"{count:,} numbers take", sizes.data_memory(spec, count))


def _too_much_memory(
    spec: RunSpec, path: KeyPath, what: str, needed: int, hint: str = sizes.RAISE
) -> Iterator[Problem]:
    there = sizes.machine()
    if there is not None and needed > there:
        what += f" at least {sizes.gigabytes(needed)} of memory, this machine has {sizes.gigabytes(there)}"
        yield spec.problem(path, what, hint)


def _too_deep(spec: RunSpec) -> Iterator[Problem]:
    count = len(spec.model.arguments.get("layers", ())) - 1  # the first is the input's width
    if count > sizes.MAX_LAYERS:
        what = f"{count:,} layers, more than {sizes.MAX_LAYERS:,}"
        yield spec.problem(("model", "layers"), what, sizes.RAISE)


# --- model ------------------------------------------------------------------------------------------------------------


def _architecture(spec: RunSpec, training: Table | None, problems: list[Problem]) -> Architecture | None:
    sizes = Sizes(0, 0)
    if training is not None:
        outputs = training.classes or (training.y.shape[1] if training.y.ndim == 2 else 1)
        sizes = Sizes(prod(training.x.shape[1:]), outputs)
    try:
        return MODELS[spec.model.name](sizes, **spec.model.arguments)
    except ArgumentError as error:
        problems.append(spec.problem(("model", *error.path), error.message, error.hint))
    return None


def _shapes(loaded: Loaded) -> list[Problem]:
    """Check the data against the model and the loss."""
    spec, table, model = loaded.spec, loaded.training, loaded.architecture
    if table is None or spec.loss is None:
        return []
    problems = list(preconditions.problems(spec, table, model))
    if not isinstance(model, Chain) or problems:
        return problems
    features = loaded.features
    inputs, outputs = (model.layers[0].inputs, model.layers[-1].outputs) if model.layers else (features, features)
    if inputs != features:
        path: KeyPath = ("model", "layers", 0) if spec.model.name == "mlp" else ("model", "in_features")
        problems.append(spec.problem(path, f"the model takes {inputs} inputs, the data have {features}"))
    tables = [each for each in (table, loaded.validation, loaded.test) if each is not None]
    return problems + next(filter(None, (list(_outputs(spec, each, outputs)) for each in tables)), [])


def _outputs(spec: RunSpec, table: Table, outputs: int) -> Iterator[Problem]:
    last: dict[str, KeyPath] = {"linear": ("model", "out_features"), "identity": ("data", "y")}
    path = last.get(spec.model.name, ("model", "layers", len(spec.model.arguments.get("layers", ())) - 1))
    if table.y.ndim == 1:
        highest = int(table.y.max())
        if highest >= outputs:
            row = int(table.y.argmax())
            where: KeyPath = ("data", "y", row) if spec.data and spec.data.source == "inline" else path
            yield spec.problem(where, f"class {highest} does not exist: the model has {outputs} outputs, from 0")
    elif table.y.shape[1] != outputs:
        yield spec.problem(path, f"the model gives {outputs} outputs, the data have {table.y.shape[1]} targets")


def _engine(loaded: Loaded) -> Iterator[Problem]:
    """Check what torch's own layers and an objective cannot have."""
    spec, model = loaded.spec, loaded.architecture
    if spec.settings.engine == "by_hand" and not isinstance(model, Chain):
        what = f"the model {spec.model.name} has no backward pass written out by hand"
        yield spec.problem(("engine",), what, "Use auto or autograd")
    if isinstance(model, Objective) and (error := constant_error(model)):
        yield spec.problem(("model", "expression"), f"{error}, at character {error.column}")
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
        width, features = len(predict) if isinstance(predict, list) else 1, loaded.features
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
        yield from _too_much_memory(spec, key, f"a run of {count:,} parameters takes", memory(loaded))


def memory(loaded: Loaded, runs: int = 1) -> int:
    """Return the bytes that so many runs at once need at least; 0 for torch's own layers, whose size torch knows."""
    if isinstance(loaded.architecture, Stack):
        return 0
    tables = [table for table in (loaded.training, loaded.validation, loaded.test) if table is not None]
    columns = loaded.features + (tables[0].y.shape[1] if tables[0].y.ndim == 2 else 1) if tables else 0
    return sizes.memory(loaded.spec, loaded.architecture, sum(len(table.x) for table in tables), columns, runs)


def require_memory(loaded: Loaded, runs: int) -> None:
    """Raise SpecError if the machine has no memory for so many runs of a fleet at once."""
    what, hint = f"{runs:,} runs at once take", "--fleet off trains them one by one"
    _refuse([*_too_much_memory(loaded.spec, ("model",), what, memory(loaded, runs), hint)])


def require_activations(loaded: Loaded, path: KeyPath, layer: int, total: int) -> None:
    """Raise SpecError where a layer gives too many scalars a row, or where all so far leave no memory for a step."""
    spec = loaded.spec
    if layer > sizes.MAX_ACTIVATIONS:
        what = f"gives {layer:,} numbers a row, more than {sizes.MAX_ACTIVATIONS:,}"
        _refuse([spec.problem(path, what, sizes.RAISE)])
    what, needed = f"a step with {total:,} outputs a row takes", sizes.step_memory(spec, loaded.samples, total)
    _refuse([*_too_much_memory(spec, path, what, needed)])


def _too_long(loaded: Loaded) -> Iterator[Problem]:
    spec, model = loaded.spec, loaded.architecture
    steps = spec.settings.epochs * spec.batch.steps(loaded.samples)
    epochs = f"{spec.settings.epochs:,} epochs are {steps:,} steps"
    size = 0 if isinstance(model, Stack) else sizes.record(spec, model, steps)
    if steps > sizes.MAX_STEPS:
        yield spec.problem(("epochs",), f"{epochs}, more than {sizes.MAX_STEPS:,}", sizes.RAISE)
    elif size > sizes.MAX_RECORD:
        what = f"{epochs}, about {sizes.gigabytes(size)} of steps.csv and gradients.csv, more than"
        hint = f"record.every and record.gradients make it less; {sizes.RAISE}"
        yield spec.problem(("epochs",), f"{what} {sizes.gigabytes(sizes.MAX_RECORD)}", hint)


def _warnings(spec: RunSpec, training: Table | None, model: Architecture) -> Iterator[Problem]:
    if training is None or spec.loss is None:
        return
    if spec.batch.mode == "mini-batch" and spec.batch.size > len(training.x):
        what = f"{spec.batch.size} rows a step, the data have {len(training.x)}: one step an epoch"
        yield spec.problem(("batch", "size"), what)
    yield from preconditions.warnings(spec, training, model)
