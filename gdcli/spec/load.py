"""A spec with its data and its shapes: what depends on several sections at once, still without torch.

>>> from gdcli.spec.document import read
>>> from gdcli.spec.schema import parse
>>> text = "{data: {x: [1, 2], y: [2, 4]}, model: linear, loss: mse, optimizer: sgd}"
>>> load(parse(read(text, "f"), "line"), Path()).architecture.shapes
{'weight': (1, 1), 'bias': (1,)}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np

from gdcli.errors import Problem, SpecError
from gdcli.report.styles import STYLES
from gdcli.spec import preconditions, sizes
from gdcli.spec.document import MAX_PROBLEMS
from gdcli.spec.models import constant_error, group_problems, layer_problems, name_problems, start_shapes
from gdcli.spec.sections import RunSpec, problems_at
from gdcli.spec.signature import Complaint
from gdcli.spec.signature import Path as KeyPath
from gdcli.zoo import data as sources
from gdcli.zoo.data_files import Moved, read_file
from gdcli.zoo.losses import TARGETS
from gdcli.zoo.models import MODELS, Architecture, Chain, Objective, Sizes, Stack
from gdcli.zoo.naming import ArgumentError
from gdcli.zoo.table import Floats, Table, as_numbers, scale, split, standardize


@dataclass(frozen=True, slots=True)
class Loaded:
    """A spec that can be run: its training and validation rows (None for an objective) and its model's make-up."""

    spec: RunSpec
    training: Table | None
    validation: Table | None
    architecture: Architecture
    warnings: tuple[str, ...] = ()
    data_file: Path | None = None  # resolved; of a record that was moved, where it was
    data_sha256: str = ""
    bounded: bool = True  # size limits count
    cores: int | None = None  # that `threads: auto` counts with; None: those of this machine
    layer_shapes: Mapping[str, tuple[int, ...]] | None = None  # of torch's own layers, once they have been built
    scaling: tuple[Floats, Floats] | None = None  # mean and deviation [D] that the features are standardized by

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]] | None:
        """The shape of each parameter by its full name; None for torch's own layers that have not been built.

        A bias that its layer's units share has the shape [1].
        """
        if isinstance(self.architecture, Stack):
            return self.layer_shapes
        return start_shapes(self.architecture.shapes, self.spec.model.init)

    def prepared(self, x: Floats) -> Floats:
        """Return rows [..., D] as the model takes them: standardized as the training rows are."""
        return x if self.scaling is None else (x - self.scaling[0]) / self.scaling[1]

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
    file = None
    if spec.data is not None and spec.data.source == "file":
        file = (base / spec.data.arguments["file"]).absolute()
        moved = moved or Moved(base.absolute(), spec.data.arguments["sha256"] or "")
    table = _table(spec, file, moved)
    digest = "" if table is None else table.sha256
    problems: list[Problem] = []
    training, validation, scaling = (None, None, None) if table is None else _prepared(spec, table, problems)
    architecture = _architecture(spec, training, problems)
    if problems or architecture is None:
        raise SpecError(problems)
    loaded = Loaded(spec, training, validation, architecture, (), file, digest, bounded, cores, scaling=scaling)
    problems += _shapes(loaded, table)
    if not isinstance(architecture, Stack):  # torch's own layers are checked when they are built
        problems += name_problems(spec, architecture.shapes)
    problems += [*_engine(loaded), *_style(loaded)]
    if bounded:
        problems += [*_too_large(loaded), *_too_long(loaded)]
    _refuse(problems)
    return replace(loaded, warnings=tuple(map(str, _warnings(loaded, table))))


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


def _table(spec: RunSpec, file: Path | None, moved: Moved | None) -> Table | None:
    """Return all rows of the spec's source, None for an objective. Raises SpecError."""
    if spec.data is None:
        return None
    prefix: KeyPath = ("data", "generate") if spec.data.source == "generate" else ("data",)
    try:
        with np.errstate(all="ignore"):  # what overflows is refused below
            table = _read(spec, file, moved)
    except ArgumentError as error:
        raise SpecError(_problems(spec, prefix, error)) from None
    except (ValueError, OverflowError) as error:  # a generator's: 'x: uniform needs low <= high', or numpy's
        key, _, what = str(error).partition(": ")
        named = key in spec.data.arguments
        raise SpecError(spec.problem((*prefix, key) if named else prefix, what if named else str(error))) from None
    if not np.isfinite(table.x).all() or not np.isfinite(table.y).all():
        raise SpecError(spec.problem(prefix, "the data hold values that are not finite"))
    return as_numbers(table) if table.y.ndim == 1 and not _wants_classes(spec) else table


def _problems(spec: RunSpec, prefix: KeyPath, error: ArgumentError) -> list[Problem]:
    """Return what is wrong below a section, in the order of the file."""
    errors = (error, *error.others)
    return problems_at(spec.document, [Complaint((*prefix, *each.path), each.message, each.hint) for each in errors])


def _read(spec: RunSpec, file: Path | None, moved: Moved | None) -> Table:
    assert spec.data is not None
    classes = _wants_classes(spec)
    given = dict(spec.data.arguments)
    if file is not None and moved is not None:
        expected = given.get("sha256")
        table = _file_table(moved.find(file), given["features"], given["target"], classes, given["header"])
        if expected and table.sha256 != expected:
            raise ArgumentError(("sha256",), "the file has changed since this digest was taken")
        return table
    if spec.data.source == "inline":
        return sources.inline(given["x"], given["y"], classes)
    if spec.data.source == "dataset":
        return _data_set(given["dataset"])
    seed = spec.data_seed
    make = sources.GENERATORS[given.pop("kind")]
    return make(sources.generator(seed, "data"), sources.generator(seed, "noise"), **given)


# The runs of a sweep ask for the same table again and again; no one writes into its arrays.
_data_set = lru_cache(maxsize=1)(sources.dataset)


def _file_table(
    file: Path, features: list[str] | None, target: str | list[str], classes: bool, header: bool | None
) -> Table:
    """Return a file's rows, those read last if the file is still the same by the system's account."""
    try:
        found = file.stat()
    except OSError:  # its message is read_file's
        return read_file(file, features, target, classes, header)
    stamp = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    columns = None if features is None else tuple(features)
    return _stamped(stamp, file, columns, target if isinstance(target, str) else tuple(target), classes, header)


@lru_cache(maxsize=1)
def _stamped(
    stamp: tuple[int, ...], file: Path, features: Sequence[str] | None, target: str | Sequence[str], classes: bool,
    header: bool | None,
) -> Table:  # fmt: skip
    """Read a file; the stamp only tells files apart."""
    return read_file(file, features, target, classes, header)


def _prepared(
    spec: RunSpec, table: Table, problems: list[Problem]
) -> tuple[Table | None, Table | None, tuple[Floats, Floats] | None]:
    """Return training and validation rows, split and standardized as the spec says, and by what."""
    assert spec.data is not None
    training, validation = table, None
    if spec.data.validation is not None:
        try:
            training, validation = split(table, spec.data.validation, sources.generator(spec.data_seed, "split"))
        except ArgumentError as error:
            problems.append(spec.problem(("data", *error.path), error.message))
            return None, None, None
    if not spec.data.standardize:
        return training, validation, None
    with np.errstate(all="ignore"):
        by = scale(training)
        training = standardize(training, *by)
        validation = validation and standardize(validation, *by)
    if not np.isfinite(by).all():
        problems.append(spec.problem(("data", "standardize"), "the data are too large to standardize"))
    return training, validation, by


def _wants_classes(spec: RunSpec) -> bool:
    return spec.loss is not None and TARGETS.get(spec.loss.name) == "classes"


# --- model ------------------------------------------------------------------------------------------------------------


def _architecture(spec: RunSpec, training: Table | None, problems: list[Problem]) -> Architecture | None:
    sizes = Sizes(0, 0)
    if training is not None:
        outputs = training.classes or (training.y.shape[1] if training.y.ndim == 2 else 1)
        sizes = Sizes(training.x.shape[1], outputs)
    try:
        return MODELS[spec.model.name](sizes, **spec.model.arguments)
    except ArgumentError as error:
        problems += _problems(spec, ("model",), error)
    return None


def _shapes(loaded: Loaded, table: Table | None) -> list[Problem]:
    """Check all rows of the source, those held out too, against the model and the loss."""
    spec, model = loaded.spec, loaded.architecture
    if table is None or spec.loss is None:
        return []
    if isinstance(model, Chain) and not model.layers:  # its outputs are the rows, as they were prepared
        table = replace(table, x=loaded.prepared(table.x))
    problems = list(preconditions.problems(spec, table, model))
    if not isinstance(model, Chain) or problems:
        return problems
    features = table.x.shape[1]
    inputs, outputs = (model.layers[0].inputs, model.layers[-1].outputs) if model.layers else (features, features)
    if inputs != features:
        path: KeyPath = ("model", "layers", 0) if spec.model.name == "mlp" else ("model", "in_features")
        problems.append(spec.problem(path, f"the model takes {inputs} inputs, the data have {features}"))
    problems += _outputs(spec, table, outputs)
    return problems


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
        yield from _too_much_memory(spec, key, f"a run of {count:,} parameters takes", memory(loaded))


def memory(loaded: Loaded, runs: int = 1) -> int:
    """Return the bytes that so many runs at once need at least; 0 for torch's own layers, whose size torch knows."""
    if isinstance(loaded.architecture, Stack):
        return 0
    tables = [table for table in (loaded.training, loaded.validation) if table is not None]
    columns = tables[0].x.shape[1] + (tables[0].y.shape[1] if tables[0].y.ndim == 2 else 1) if tables else 0
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


def _warnings(loaded: Loaded, table: Table | None) -> Iterator[Problem]:
    spec = loaded.spec
    if table is None or spec.loss is None:
        return
    if spec.batch.mode == "mini-batch" and spec.batch.size > loaded.samples:
        what = f"{spec.batch.size} rows a step, the data have {loaded.samples}: one step an epoch"
        yield spec.problem(("batch", "size"), what)
    yield from preconditions.warnings(spec, table, loaded.architecture)
