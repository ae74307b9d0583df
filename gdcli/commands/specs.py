"""Specs as commands name them: a file, a bundled name, a record, with overrides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace as replace_fields
from functools import partial
from pathlib import Path

from gdcli import plan
from gdcli.commands.context import Frontend, shown_path
from gdcli.commands.inherited import completed
from gdcli.commands.target_hint import naming_columns
from gdcli.errors import Problem, SpecError, nearest
from gdcli.plan import SpecFactory, Trial
from gdcli.spec import bundled, document, extends, overrides, schema, sizes
from gdcli.spec.bundled import Source
from gdcli.spec.effects import idle_in_all, without_effect
from gdcli.spec.json_schema import file_schema
from gdcli.spec.load import Loaded, load
from gdcli.spec.nodes import Node
from gdcli.spec.sections import RunSpec, problems_at
from gdcli.spec.world_size import require_world
from gdcli.storage.files import in_folder, is_folder, json_text, replace, require_file
from gdcli.storage.find import find
from gdcli.zoo.models import Stack


def source_of(spec: str, configs: Sequence[str] = ()) -> Source:
    """Return a spec by its path or its bundled name, with what it extends and the files of --config merged into it.

    Raises SpecError for a file that cannot be read, or is no YAML document.
    """
    return extends.merged(bundled.find(spec), configs)


def _document(source: Source) -> Node:
    return document.read(source.text, source.shown) if source.document is None else source.document


def read(
    source: Source, words: Sequence[str], command: str, name: str | None = None, *,
    trained: bool = False, bounded: bool = True, cores: int | None = None,
) -> tuple[Node, Loaded]:  # fmt: skip
    """Return a spec's document with the overrides put in, and the spec that it is, checked, with its data.

    Its name is the one given, or the file's stem, when it has none; one that is ``trained`` can be. Raises SpecError
    with all problems of one that is not valid, and for an override that is not key=value.
    """
    _require_overrides(words)
    node = overrides.apply(_document(source), words, command=command)
    node = completed(node, source.path.parent)
    with naming_columns(node, source.path.parent):
        spec = schema.parse(node, source.name if name is None else name)
    if trained:
        require_optimizer(spec)
    return node, load(spec, source.path.parent, bounded=bounded, cores=cores, moved=source.moved)


def document_of_many(source: Source, words: Sequence[str], command: str) -> Node:
    """Return a spec's document with the overrides that it takes; runs that change it may take the others."""
    _require_overrides(words)
    node = overrides.apply(_document(source), words, command=command, alone=False)
    return completed(node, source.path.parent)


def of_many(source: Source, node: Node, name: str, cores: int | None, *, bounded: bool = True) -> Loaded:
    """Return the spec that runs are made of: its keys may have their effect in some, each may bring the optimizer."""
    with naming_columns(node, source.path.parent):
        spec = schema.parse(node, name, alone=False)
    return load(spec, source.path.parent, bounded=bounded, cores=cores, moved=source.moved)


def _require_overrides(words: Sequence[str]) -> None:
    for word in words:
        if "=" not in word and not word.startswith("~"):
            raise SpecError(f"an override is key=value (got '{word}')")


def loaded(
    spec: str, words: Sequence[str], command: str, *, bounded: bool = True, trained: bool = False,
    configs: Sequence[str] = (),
) -> Loaded:  # fmt: skip
    """Return a spec by its path or its bundled name, checked, with its data; one that is ``trained`` can be."""
    return read(source_of(spec, configs), words, command, trained=trained, bounded=bounded)[1]


def of_record(folder: Path, words: Sequence[str], command: str, *, trained: bool = False) -> Loaded:
    """Return the resolved spec of a record, checked, with its data: it needs no other file, and extends none."""
    return read(bundled.find(str(folder / "config.yaml")), words, command, trained=trained)[1]


def require_blocks(source: Source, node: Node, base: Loaded) -> None:
    """Check what the sweep and the compare block ask for: each value of an axis, up to a number, and each row.

    Raises SpecError with all problems of them.
    """
    found = dict[Problem, None]()
    make = factory(source, node, base, base.spec.name)
    for key, trials in (("sweep", _of_sweep), ("compare", _of_compare)):
        try:
            runs = trials(node, base)
        except SpecError as error:
            found |= dict.fromkeys(error.problems or [base.spec.problem((key,), str(error))])
            continue
        for run in runs:
            try:
                make.of(run)
            except SpecError as error:
                found |= dict.fromkeys(error.problems)
    if found:
        raise SpecError(found)


def _of_sweep(node: Node, base: Loaded) -> Sequence[Trial]:
    if base.spec.sweep is None:
        return ()
    axes = plan.axes(base, ())
    tried = axes[0].kind == "key" and plan.points(axes) <= sizes.MAX_RUNS
    return plan.with_each_value(axes, VALUES) if tried else ()


def _of_compare(node: Node, base: Loaded) -> Sequence[Trial]:
    block = base.spec.compare
    return plan.rows(node, base.spec, None, None) if block and (block.optimizers or block.batches) else ()


VALUES = 100
"""Of each axis of a sweep block that are tried before it is run."""


def tried(loaded: Loaded, frontend: Frontend) -> Loaded:
    """Return a spec whose layers of torch have been built and tried; others as they are, without torch.

    Raises SpecError for a layer that cannot be made or does not fit.
    """
    if not isinstance(loaded.architecture, Stack):
        return loaded
    frontend.engine()
    from gdcli.engine.start_values import with_layers

    return with_layers(loaded)


def factory(source: Source, node: Node, base: Loaded, name: str) -> SpecFactory:
    """Return what makes a spec of each run of a sweep or a comparison."""
    loading = partial(load, base=source.path.parent, bounded=base.bounded, cores=base.cores, moved=source.moved)
    return SpecFactory(node, base, partial(schema.parse, stem=name), loading)


Checked = tuple[int, Trial, Loaded | SpecFactory]
"""A point with its number and its spec, or, of very many, what makes it."""


def checked(factory: SpecFactory, points: Sequence[Trial]) -> list[Checked]:
    """Return points with their numbers and specs; of more than 10,000 each spec is made again where it is needed.

    Raises SpecError for the first that cannot be trained, and for keys that have no effect in any.
    """
    found: list[Checked] = []
    few, idle_somewhere = len(points) <= plan.MADE_AT_ONCE, False
    for number, point in enumerate(points, 1):
        try:
            loaded = factory.of(point)
            require_optimizer(loaded.spec)
            require_world(loaded, 1)
        except SpecError as error:
            raise _of_pair(error, point) from None
        found.append((number, point, loaded if few else factory))
        idle_somewhere = idle_somewhere or any(without_effect(loaded.spec))
    specs = (
        [made if isinstance(made, Loaded) else factory.of(point) for _, point, made in found] if idle_somewhere else []
    )
    if idle := list(idle_in_all([each.spec for each in specs])):
        told = [points[k].told(SpecError(problems_at(specs[k].spec.document, [each]))) for k, each in idle]
        raise SpecError([problem for error in told for problem in error.problems])
    return found


def _of_pair(error: SpecError, point: Trial) -> SpecError:
    """Return an error of a run that names it: of several keys each may be good, or what does not fit is another one."""
    at_the_value = all(each.place == overrides.HERE for each in error.problems)
    if not error.problems or (at_the_value and len(point.changes) < 2):
        return error
    *before, last = error.problems
    hint = f"{last.hint}. " if last.hint else ""
    return SpecError([*before, replace_fields(last, hint=f"{hint}So it is in the run {point.label}")])


def warnings(points: Iterable[Checked]) -> list[str]:
    """Return the warnings of all points, each once."""
    return list(dict.fromkeys(warning for _, _, made in points for warning in made.warnings))


def require_optimizer(spec: RunSpec) -> None:
    """Refuse a spec that cannot be trained: one for `sweep` or `compare` only."""
    if spec.optimizer is None and spec.settings.epochs > 0:
        hint = f"This spec is for: gdcli {'compare' if spec.compare else 'sweep'}" if spec.compare or spec.sweep else ""
        raise SpecError(spec.problem(("optimizer",), "is required to train", hint))


def record_or_spec(word: str) -> str:
    """Return the folder of the record in ``runs`` that a word means, such as last; the word itself where there is none.

    What is a path, or the name of a bundled spec, means that.
    """
    if Path(word).exists() or word in bundled.names():
        return word
    try:
        return str(find(word, Path("runs")))
    except SpecError:
        return word


def choices(words: Iterable[str], root: Path = Path("runs")) -> Iterator[str]:
    """Yield a line for each word that means a spec and is the name of a record's experiment too."""
    for word in words:
        if not overrides.is_override(word) and (Path(word).is_file() or word in bundled.names()):
            with suppress(SpecError):
                newest = shown_path(find(f"{word}~0", root))
                yield f"{word} is the spec here; its newest run is {word}~0, {newest}"


def lasting(word: str) -> str:
    """Return what names the same record or spec from any folder, later too: a whole path, or a bundled name."""
    path = Path(record_or_spec(word))
    return word if word in bundled.names() or not path.exists() else str(path.absolute())


def copy(name: str, path: str | None, *, force: bool) -> Iterator[Path]:
    """Copy a bundled spec, with its data file and the schema, to a file or into a folder; yield what is written.

    A path that ends in a slash is a folder, made where it is missing. A schema that is there stays. Raises SpecError
    for a name that there is not, and for a file that is there already, unless by force.
    """
    if name not in bundled.names():
        raise SpecError(f"there is no bundled spec '{name}'. {nearest(name, bundled.names())}")
    source = bundled.folder() / f"{name}.yaml"
    path = path or "."
    target = in_folder(f"{path}/" if Path(path).is_dir() else path, source.name)
    copies = {target: source}
    file = document.read(source.read_bytes(), source.name).find(("data", "file"))
    if file is not None and isinstance(file.value, str):
        copies[target.with_name(file.value)] = source.with_name(file.value)
    for new in copies:
        require_file(new)
        if new.exists() and not force:
            raise SpecError(f"{new} is there already. --force overwrites it")
    if is_folder(path):
        target.parent.mkdir(parents=True, exist_ok=True)
    for new, old in copies.items():
        replace(new, old.read_bytes())
        yield new
    schema = target.with_name(SCHEMA)
    if not schema.exists():
        replace(schema, json_text(file_schema()))
        yield schema


SCHEMA = "gdcli.schema.json"
"""The file that the first line of a bundled spec names."""


def description(name: str) -> str:
    """Return the description of a bundled spec."""
    found = _bundled(name).find(("description",))
    return "" if found is None else str(found.value)


def listing() -> str:
    """Return a line for each bundled spec, below what it is about."""
    names = bundled.names()
    width = max(map(len, names))
    parts = []
    for group in GROUPS:
        lines = [f"  {name:<{width}}  {description(name)}\n" for name in names if group_of(name) == group]
        parts += [f"{group}\n{''.join(lines)}"] if lines else []
    return "\n".join(parts)


GROUPS = {
    "Small numbers, step by step": (),
    "Tables and data sets": ("data.file", "data.idx", "data.dataset", "data.generate"),
    "Functions to minimise": ("model.start",),
    "Grids: gdcli sweep": ("sweep",),
    "Side by side: gdcli compare": ("compare",),
}
"""What bundled specs are about, and the keys of which each in a group has one; the last group that fits counts."""


def group_of(name: str) -> str:
    """Return what a bundled spec is about.

    >>> group_of("iris"), group_of("optimizers_2x2")
    ('Tables and data sets', 'Side by side: gdcli compare')
    """
    node = _bundled(name)
    fits = [group for group, keys in GROUPS.items() if any(node.find(key.split(".")) is not None for key in keys)]
    return fits[-1] if fits else next(iter(GROUPS))


def _bundled(name: str) -> Node:
    return document.read((bundled.folder() / f"{name}.yaml").read_bytes(), name)
