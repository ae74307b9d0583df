"""What a shell offers at TAB: commands, options, specs, records, keys and their values. Without torch, and silent.

The scripts of :mod:`gdcli.cli.shells` call gdcli with ``_GDCLI_COMPLETE``, the shell's name, in its environment.
"""

from __future__ import annotations

import io
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any

import typer

VARIABLE = "_GDCLI_COMPLETE"
SHELLS = ("bash", "zsh", "fish")
MOST_RECORDS = 100
"""Ids of records that are offered, the newest."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A word that may stand at the cursor, and what zsh and fish show beside it."""

    word: str
    help: str = ""


@dataclass(slots=True)
class _Line:
    """The words of a command line before the cursor: those of no option, the values of options, and one that waits."""

    positional: list[str] = field(default_factory=list)
    given: dict[str, str] = field(default_factory=dict)
    waiting: Any = None  # the option whose value stands at the cursor


def complete(shell: str, argv: Sequence[str], app: Callable[[], typer.Typer]) -> None:
    """Print what can stand at the cursor, a line each, and nothing on standard error.

    ``argv`` is in bash the line up to the cursor, and the part of its last word that bash replaces; else the words,
    of which the last is the one at the cursor.
    """
    with redirect_stderr(io.StringIO()):
        part = None
        if shell == "bash":
            line, part = argv
            argv = words_of(line)[1:]
        *words, cut = argv
        found = candidates(typer.main.get_command(app()), words, cut)
        kept = len(cut) - len(part) if part is not None and cut.endswith(part) else 0  # bash keeps 'lr=' as it is
        tab = "" if shell == "bash" else "\t"
        text = "".join(f"{each.word[kept:]}{tab}{tab and each.help}\n" for each in found)
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
        sys.stdout.buffer.flush()


def words_of(line: str) -> list[str]:
    """Return the words of a line of a shell as far as it is written; the last is the one at its end, or empty.

    >>> words_of("gdcli run 'my sp"), words_of("gdcli run ")
    (['gdcli', 'run', 'my sp'], ['gdcli', 'run', ''])
    """
    for end in ("", "'", '"'):
        with suppress(ValueError):
            found = shlex.split(line + end)
            return found if end or not line[-1:].isspace() else [*found, ""]
    return [*line.split(), ""]


def candidates(group: Any, words: Sequence[str], cut: str) -> list[Candidate]:
    """Return what can stand at the cursor, after the words before it; nothing where it is a path of a file."""
    commands = [Candidate(name, each.short_help or "") for name, each in group.commands.items()]
    if not words:
        return _that_begin(cut, _options(group) if cut.startswith("-") else [*commands, Candidate("help")])
    if words[0] == "help":
        return _that_begin(cut, commands if len(words) == 1 else [])
    if words[0] in ("--install-completion", "--show-completion"):
        return _that_begin(cut, map(Candidate, SHELLS))
    command = group.commands.get(words[0])
    if command is None:
        return []
    line = _read(command, words[1:])
    if line.waiting is not None:
        return _that_begin(cut, _of_option(command, line, cut))
    return _that_begin(cut, _options(command) if cut.startswith("-") else _of_argument(command, line, cut))


def _that_begin(cut: str, found: Any) -> list[Candidate]:
    return [each for each in dict.fromkeys(found) if each.word.startswith(cut)]


def _options(command: Any) -> Iterator[Candidate]:
    for each in command.params:
        if each.param_type_name == "option":
            yield from (Candidate(name, each.help or "") for name in (*each.opts, *each.secondary_opts))
    yield Candidate("--help", "Show this message and exit.")


def _read(command: Any, words: Sequence[str]) -> _Line:
    named = {name: each for each in command.params for name in each.opts if each.param_type_name == "option"}
    line = _Line()
    for word in words:
        if line.waiting is not None:
            line.given[line.waiting.name], line.waiting = word, None
        elif word in named and not getattr(named[word], "is_flag", False):
            line.waiting = named[word]
        elif not word.startswith("-"):
            line.positional.append(word)
    return line


def _of_option(command: Any, line: _Line, cut: str) -> Iterator[Candidate]:
    """Yield values of the option that waits for one; nothing for a file, a folder, a number."""
    option = line.waiting
    if option.name == "kind":
        from gdcli.commands.plot import KINDS

        yield from map(Candidate, KINDS)
    elif option.name == "device":
        yield from map(Candidate, ("auto", "cpu", "cuda", "mps"))
    elif option.name == "param":
        yield from _keys(line, cut)
    elif option.name == "trajectory":
        yield from (*_records(line), *_specs())
    elif option.name == "optimizers":
        from gdcli.zoo.optimizers import OPTIMIZERS

        before = cut[: cut.rfind(",") + 1]
        yield from (Candidate(before + name) for name in OPTIMIZERS)
    else:
        from gdcli.spec.choices import choices_in

        declared = signature(command.callback, eval_str=True).parameters  # as Typer reads them
        yield from map(Candidate, choices_in(declared[option.name].annotation))


def _of_argument(command: Any, line: _Line, cut: str) -> Iterator[Candidate]:
    """Yield what an argument can be, by the word that help shows for it: SPEC, RUN, KEY=VALUE, or a command's own."""
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    place = min(len(line.positional), len(arguments) - 1)
    if place < 0 or (len(line.positional) > place and arguments[place].nargs == 1):
        return
    shown = f"{command.name} {arguments[place].metavar or ''}"
    takes_more = "]..." in shown.partition("KEY=VALUE")[0] or "SPEC..." in shown
    first = "=" not in cut and (not line.positional or takes_more)
    if ("RUN" in shown and (first or "KEY=VALUE" not in shown)) or command.name == "diff":
        yield from _records(line)
    if ("SPEC" in shown or (command.name == "plot")) and first:
        yield from _specs()
    if "KEY=VALUE" in shown and (line.positional or "[SPEC]" in shown):
        yield from _keys(line, cut)
    if command.name == "cp" and not place:
        yield from _specs(bundled_alone=True)
    if command.name == "catalog":
        yield from _ingredients(line.positional)


def _specs(*, bundled_alone: bool = False) -> Iterator[Candidate]:
    from gdcli.commands.specs import description
    from gdcli.spec import bundled

    if not bundled_alone:
        yield from (Candidate(path.name) for path in sorted(Path().glob("*.y*ml")) if path.is_file())
    yield from (Candidate(name, description(name)) for name in bundled.names())


def _records(line: _Line) -> Iterator[Candidate]:
    from gdcli.storage.find import below

    found = below(Path(line.given.get("output", "runs")))
    if found:
        yield Candidate("last", "the newest record")
    names = dict.fromkeys(folder.parent.name for folder in found)
    yield from (Candidate(name, "its newest record") for name in names)
    yield from (Candidate(folder.name, folder.parent.name) for folder in found[:MOST_RECORDS])


def _keys(line: _Line, cut: str) -> Iterator[Candidate]:
    """Yield ``key=`` of the keys that the spec of a line takes; after ``key=`` the values of one that is a choice."""
    from gdcli.errors import GdcliError
    from gdcli.spec.choices import keys, values
    from gdcli.spec.descriptions import DESCRIPTIONS
    from gdcli.spec.overrides import resolve, schema_keys

    key, equals, _ = cut.partition("=")
    if equals:
        with suppress(GdcliError):
            yield from (Candidate(f"{key}={value}") for value in values(resolve(key)))
        return
    named = keys(_document(line))
    whole = [each for each in schema_keys() if each.rpartition(".")[2] in named or each in named]
    for each in whole if "." in cut else named if cut else [name for name in named if "." not in name]:
        yield Candidate(f"{each}=", DESCRIPTIONS.get(each, DESCRIPTIONS.get(each.rpartition(".")[2], "")))


def _document(line: _Line) -> Any:
    from gdcli.commands.specs import source_of
    from gdcli.errors import GdcliError
    from gdcli.spec import document

    with suppress(GdcliError, IndexError):
        source = source_of(line.positional[0])
        return document.read(source.text, source.shown) if source.document is None else source.document
    return None


def _ingredients(words: Sequence[str]) -> Iterator[Candidate]:
    from gdcli.commands.catalog import KINDS, entries

    if not words:
        yield from map(Candidate, KINDS)
    elif words[0] in KINDS and len(words) == 1:
        yield from (Candidate(each.name, each.title) for each in entries(words[0]))
