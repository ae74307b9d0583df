"""`gdcli export --format script`: a spec as a plain torch script, which prints the same bytes and ends alike.

The script is put together of small pieces of text, chosen by the spec: `data` makes the rows, `model` the network,
`rules` the loss and the update, `loop` the steps, `printing` what is printed. Where torch has a class of the same bits
the script uses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gdcli.commands.export import require_free
from gdcli.commands.script import data, loop, model, rules
from gdcli.commands.script.layout import module, sentence
from gdcli.commands.script.refused import require_writable
from gdcli.commands.script.subject import ScriptSubject
from gdcli.engine.device import multiply_adds, resolve_threads
from gdcli.spec.load import Loaded
from gdcli.storage.files import replace

SMALL = 10_000
"""Multiply-adds of all rows below which torch uses one thread by itself."""


@dataclass(frozen=True, slots=True)
class PlainScript:
    """A script, and the files that it reads, by name, which go beside it."""

    text: str
    beside: Mapping[str, bytes]


def script_of(loaded: Loaded, name: str) -> PlainScript:
    """Return a spec as a script; ``name`` is the script's, after which a file beside it is called.

    Raises SpecError with the keys that cannot be written.
    """
    require_writable(loaded)
    subject = ScriptSubject.of(loaded)
    blocks = [
        _threads(subject),
        data.data_lines(subject, name),
        *model.definitions(subject),
        rules.loss_definition(subject),
        model.model_lines(subject),
        rules.loss_lines(subject),
    ]
    if subject.epochs:
        blocks += [rules.optimizer_lines(subject), rules.scheduler_lines(subject)]
    blocks += loop.loop_blocks(subject)
    return PlainScript(module(_docstring(loaded), blocks), subject.beside)


def write(script: PlainScript, path: Path, *, force: bool) -> list[Path]:
    """Write a script and the files that it reads, beside it; return those that were not there as they are to be.

    Raises SpecError for another file of that name, which is replaced only by force.
    """
    contents = {path.parent / name: content for name, content in script.beside.items()}
    beside = [file for file, content in contents.items() if not _holds(file, content)]
    for file in (*beside, path):
        require_free(file, force=force)
    for file in beside:
        replace(file, contents[file])
    replace(path, script.text.encode())
    return beside


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content


def _docstring(loaded: Loaded) -> list[str]:
    spec = loaded.spec
    return [
        *sentence(spec.settings.description or spec.name),
        "",
        f"It prints what `gdcli run` prints of the experiment {spec.name}, and ends with the same weights.",
    ]


def _threads(subject: ScriptSubject) -> list[str]:
    samples, rows = subject.loaded.samples, max(subject.rows, 1)
    if subject.is_objective or not subject.has_model or multiply_adds(subject.loaded) * samples // rows < SMALL:
        return []
    return [f"torch.set_num_threads({resolve_threads(subject.loaded)})  # with others sums may round otherwise"]
