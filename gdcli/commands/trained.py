"""A record as a model that predicts: read as hostile, every size and name checked before anything is allocated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from gdcli.commands.context import Frontend, require_run, shown_path
from gdcli.commands.encoding import ColumnEncoding, encoding_of
from gdcli.errors import DamagedError, MachineError, SpecError
from gdcli.spec import document, schema
from gdcli.spec.document import MAX_BYTES
from gdcli.spec.models import layer_problems
from gdcli.spec.sections import RunSpec
from gdcli.storage import models
from gdcli.storage import request as requests
from gdcli.storage.column_chunks import ColumnChunk, column_chunks
from gdcli.storage.files import required
from gdcli.storage.models import ModelSides
from gdcli.storage.record import is_linked, read
from gdcli.storage.recorded_plugins import require_plugins
from gdcli.storage.table_stream import TableChunk, chunks
from gdcli.zoo.csv_dialect import CsvFormat, Dialect
from gdcli.zoo.losses import TARGETS
from gdcli.zoo.models import MODELS, Architecture, Chain, Sizes, Stack
from gdcli.zoo.naming import ArgumentError
from gdcli.zoo.weight_files import as_stored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gdcli.engine.prediction import TrainedModel


@dataclass(frozen=True, slots=True)
class TrainedRecord:
    """A run's record with its weights, which need neither its data nor another step of training."""

    folder: Path
    spec: RunSpec
    architecture: Architecture
    sides: ModelSides
    encoding: ColumnEncoding
    arrays: dict[str, NDArray[Any]]  # parameters and buffers by name

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of a row as the model takes it."""
        return self.architecture.shape if isinstance(self.architecture, Stack) else (len(self.sides.features),)

    @property
    def threads(self) -> int:
        """How many threads the run had: others may round otherwise."""
        threads = self.spec.settings.threads
        return threads if isinstance(threads, int) else 1

    def model(self, warning: Callable[[str], object] = lambda text: None) -> TrainedModel:
        """Return the model, on the run's device or else on the CPU. Raises SpecError for an objective."""
        import torch

        from gdcli.engine.device import resolve_device
        from gdcli.engine.prediction import trained_model

        try:
            device = resolve_device(self.spec)
        except SpecError:
            device = torch.device("cpu")
            warning(f"this machine has no device {self.spec.settings.device}: the CPU may round otherwise")
        return trained_model(self.spec, self.architecture, self.arrays, device)


def trained_record(folder: Path, frontend: Frontend) -> TrainedRecord:
    """Return the trained model of a run's record.

    Raises SpecError for what is no record of a run, MachineError for one without a model, DamagedError for a model or
    a preprocessing that was changed or is not of the record's spec.
    """
    if is_linked(folder):
        raise SpecError(f"{shown_path(folder)} is reached through a link: name the record where it is")
    found = read(folder)
    require_run(found)
    digest = models.recorded(found.summary, models.NAME)
    if digest is None:
        raise MachineError(f"{shown_path(folder)} has no {models.NAME}: {_why(found.status, found.summary)}")
    if (folder / requests.NAME).is_file():
        requests.require_config(requests.read(folder), folder)
    require_plugins(folder)
    path = folder / "config.yaml"
    spec = schema.parse(document.read(required(path, MAX_BYTES), str(path)), found.name)
    sides = ModelSides.of(models.header(folder / models.NAME).about)
    if sides is None:
        raise DamagedError(f"{folder / models.NAME}: does not say which columns the model takes")
    fitted = models.checked_text(folder, models.PREPROCESSING, models.recorded(found.summary, models.PREPROCESSING))
    kind = TARGETS.get(spec.loss.name, "values") if spec.loss is not None else "values"
    encoding = encoding_of(sides, kind, fitted, str(folder / models.PREPROCESSING))
    try:
        architecture = _architecture(spec, sides, path)
        arrays = _arrays(folder, spec, architecture, digest, frontend)
    except SpecError:
        if max(sides.classes, len(sides.features)) <= models.header(folder / models.NAME).size:
            raise
        raise DamagedError(f"{folder / models.NAME}: names more columns or classes than its tensors have") from None
    return TrainedRecord(folder, spec, architecture, sides, encoding, arrays)


def _why(status: str, summary: Any) -> str:
    if status in ("running", "unfinished", "damaged"):
        return f"it is {status}"
    if status == "failed":
        return "the run failed"
    return "the models of its sweep were too large to be kept" if "sha256" in summary else _OLDER


_OLDER = "it is of an earlier version, or of a sweep whose models were too large to be kept"


def _architecture(spec: RunSpec, sides: ModelSides, path: Path) -> Architecture:
    """Return what the model is made of, by its spec and the sizes of its columns. Raises DamagedError, SpecError."""
    own = Sizes(len(sides.features), sides.classes or len(sides.targets))
    try:
        found = MODELS[spec.model.name](own, **spec.model.arguments)
    except ArgumentError as error:
        raise DamagedError(f"{path}: {error.message}") from None
    if isinstance(found, Stack):
        if problems := list(layer_problems(spec, found)):
            raise SpecError(problems)
        found = replace(found, shape=tuple((spec.data and spec.data.shape) or (own.inputs,)))
    if isinstance(found, Chain) and found.layers and found.layers[0].inputs != own.inputs:
        raise DamagedError(f"{path}: the model takes {found.layers[0].inputs} inputs, its file names {own.inputs}")
    return found


def _arrays(
    folder: Path, spec: RunSpec, architecture: Architecture, digest: str, frontend: Frontend
) -> dict[str, NDArray[Any]]:
    frontend.engine()
    from gdcli.engine.prediction import tensors_of

    path, wanted = folder / models.NAME, tensors_of(spec, architecture)
    if isinstance(architecture, Chain):
        wanted = as_stored(wanted, models.header(path).tensors, architecture.biases)
    return models.read(path, wanted, digest)


@contextmanager
def told_of(name: str) -> Iterator[None]:
    """Tell of a cell that cannot be used by the file's name too. Raises SpecError."""
    try:
        yield
    except ArgumentError as error:
        raise SpecError(f"{name}: {error.message}{f'. {error.hint}' if error.hint else ''}") from None


def chunks_of(
    record: TrainedRecord, stream: IO[bytes], name: str, wanted: Sequence[str], labels: IO[bytes] | None = None
) -> Iterator[TableChunk | ColumnChunk]:
    """Yield the wanted columns of a table like the training data, as many rows at a time as are evaluated at once.

    ``labels`` is an IDX file beside one of images. Raises SpecError for a file that is no such table.
    """
    from gdcli.engine.prediction import CHUNK

    given = record.spec.data.arguments if record.spec.data is not None else {}
    form = CsvFormat(given.get("header"), given.get("separator"), given.get("decimal"))
    found = column_chunks(stream, name, wanted, CHUNK, labels)
    if found is None and labels is not None:
        raise SpecError(f"{name}: is no IDX file of images, to which the labels could belong")
    if found is not None:
        return found
    fitted, targets = record.encoding.fitted, record.encoding.targets
    like = Dialect(form.separator or fitted.separator, form.decimal or fitted.decimal)
    return chunks(stream, name, wanted, CHUNK, form, like, {*fitted.words, *(targets if fitted.classes else ())})
