"""What a script is asked of: a spec, by its file or bundled name, or the record of a run, by its resolved spec."""

from __future__ import annotations

from pathlib import Path

from gdcli.commands.context import require_run, shown_path
from gdcli.errors import SpecError, nearest
from gdcli.spec import bundled, document, schema
from gdcli.spec.document import MAX_BYTES
from gdcli.spec.extends import merged
from gdcli.spec.load import Loaded, load
from gdcli.spec.scalars import shown
from gdcli.storage import request as requests
from gdcli.storage.files import required
from gdcli.storage.find import find
from gdcli.storage.record import is_linked, is_record, read
from gdcli.storage.recorded_plugins import require_plugins
from gdcli.zoo.data_files import Moved


def loaded_of(text: str, root: Path) -> Loaded:
    """Return the spec that is meant, with its data; ``root`` is where records are looked up.

    A file or a bundled name is a spec, anything else a record. Raises SpecError for neither, for a record of many runs,
    and for a run that diverged: gdcli stops there, a plain loop goes on.
    """
    path, names = Path(text), bundled.names()
    if (text in names or path.is_file() or path.suffix in (".yaml", ".yml")) and not is_record(path):
        source = merged(bundled.find(text))
        assert source.document is not None
        return load(schema.parse(source.document, source.name), source.path.parent)
    try:
        folder = find(text, root)
    except SpecError as error:
        hint = nearest(shown(text), names)
        raise SpecError(f"{error} It is no spec either. {hint}") if hint.startswith("Did you mean") else error from None
    return _of_record(folder)


def _of_record(folder: Path) -> Loaded:
    if is_linked(folder):
        raise SpecError(f"{shown_path(folder)} is reached through a link: name the record where it is")
    found = read(folder)
    require_run(found)
    if found.status == "diverged":
        raise SpecError(f"{shown_path(folder)} diverged: a script would go on where gdcli stops")
    require_plugins(folder)
    digest = requests.read(folder).data_sha256 if (folder / requests.NAME).is_file() else ""
    path = folder / "config.yaml"
    spec = schema.parse(document.read(required(path, MAX_BYTES), str(path)), found.name)
    return load(spec, folder, cores=None, moved=Moved(folder.absolute(), digest))
