"""Every named ingredient of a spec with its equation and arguments, from its docstring and its signature."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Len, Lt

from gdcli.errors import SpecError, nearest
from gdcli.report import tables
from gdcli.report.styles import STYLES
from gdcli.spec.scalars import shown
from gdcli.zoo.data import DATASETS
from gdcli.zoo.metrics import METRICS
from gdcli.zoo.naming import MAX_WIDTH, Needs, OneOf
from gdcli.zoo.torch_layers import LAYERS, RECURRENT, RESIDUAL

Ingredients = Mapping[str, Callable[..., Any]]

PLACES = {
    "model": ("models", "MODELS", "model: {{type: {0}{1}}}"),
    "loss": ("losses", "LOSSES", "loss: {{name: {0}{1}}}"),
    "activation": ("activations", "ACTIVATIONS", "model: {{type: mlp, activation: {0}, ...}}"),
    "optimizer": ("optimizers", "OPTIMIZERS", "optimizer: {{name: {0}{1}}}"),
    "scheduler": ("schedulers", "SCHEDULERS", "scheduler: {{name: {0}{1}}}"),
    "data": ("data", "GENERATORS", "data: {{generate: {{kind: {0}{1}}}}}"),
}
"""Each kind's module of the zoo, its table, and how a spec names one; ``style`` comes on top."""
METRIC, STYLE, DATASET, LAYER = "metric", "style", "dataset", "layer"
KINDS = (*PLACES, METRIC, STYLE, DATASET, LAYER)
_PLURALS = {"losses": "loss"}


@dataclass(frozen=True, slots=True)
class Argument:
    """A key of an ingredient: what it takes in words, its default as a spec has it."""

    name: str
    takes: str
    default: str  # "required" where there is none


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One ingredient: the first line of its docstring, the rest, its arguments, and how a spec names it."""

    kind: str
    name: str
    title: str
    description: str
    arguments: tuple[Argument, ...]
    usage: str

    def text(self) -> str:
        """Return all of it, for people."""
        parts = [f"{self.kind} {self.name}\n", f"{self.title}\n"]
        if self.description:
            parts.append(f"{self.description}\n")
        if self.arguments:
            rows = [[argument.name, argument.takes, argument.default] for argument in self.arguments]
            parts.append(tables.aligned(["argument", "takes", "default"], rows))
        parts.append(f"in a spec: {self.usage}\n")
        return "\n".join(parts)


def entries(kind: str) -> tuple[CatalogEntry, ...]:
    """Return all ingredients of a kind."""
    if kind == METRIC:
        said = {name: described(metric) for name, metric in METRICS.items()}
        return tuple(CatalogEntry(kind, name, *text, (), f"metrics: [{name}]") for name, text in said.items())
    if kind == STYLE:
        return tuple(_style(name) for name in STYLES)
    if kind == DATASET:
        return tuple(CatalogEntry(kind, name, t, "", (), f"data: {{dataset: {name}}}") for name, t in DATASETS.items())
    if kind == LAYER:
        return (*map(_layer, LAYERS), _residual())
    module, table, usage = PLACES[kind]
    found: Ingredients = getattr(import_module(f"gdcli.zoo.{module}"), table)
    return tuple(_entry(kind, name, function, usage) for name, function in found.items())


def find(words: Sequence[str]) -> tuple[list[CatalogEntry], bool]:
    """Return the entries that ``[KIND] [NAME]`` means, and whether they were named, each to be shown in full.

    A name without its kind serves too. Raises SpecError with the nearest name.
    """
    word = _PLURALS.get(words[0].lower(), words[0].lower()) if words else ""
    kind = next((kind for kind in KINDS if word in (kind, f"{kind}s")), None)
    if len(words) == 2 and kind is None:
        raise SpecError(f"there is no kind '{shown(words[0], 60)}'. {nearest(words[0], KINDS)}")
    known = [entry for each in ([kind] if kind else KINDS) for entry in entries(each)]
    if len(words) < 2 and (kind is not None or not words):
        return known, False
    named = [entry for entry in known if entry.name == words[-1]]
    if not named:
        hint = nearest(words[-1], [*([] if kind else KINDS), *(entry.name for entry in known)])
        raise SpecError(f"there is no {kind or 'kind or ingredient'} '{shown(words[-1], 60)}'. {hint}")
    return named, True


def listing(found: Sequence[CatalogEntry]) -> str:
    """Return a line for each entry, below its kind."""
    width = max(len(entry.name) for entry in found)
    parts = []
    for kind in dict.fromkeys(entry.kind for entry in found):
        lines = [f"  {entry.name:<{width}}  {entry.title}\n" for entry in found if entry.kind == kind]
        if kind == LAYER and len(lines) < len(found):  # among all kinds
            lines = [f"  {len(lines)} of torch.nn's, for sequential models: gdcli catalog layer\n"]
        parts.append(f"{kind}\n{''.join(lines)}")
    return "\n".join(parts)


# --- docstrings -------------------------------------------------------------------------------------------------------


def _entry(kind: str, name: str, function: Callable[..., Any], usage: str) -> CatalogEntry:
    title, description = described(function)
    arguments = _arguments(function)
    needed = "".join(f", {argument.name}: ..." for argument in arguments if argument.default == "required")
    return CatalogEntry(kind, name, title, description, arguments, usage.format(name, needed))


def _style(name: str) -> CatalogEntry:
    style = STYLES[name]
    title, description = described(style.text)
    if style.needs:
        description = "\n\n".join(filter(None, [description, f"Needs {style.needs}."]))
    return CatalogEntry(STYLE, name, title, description, (), f"print: {{style: {name}}}")


def _layer(name: str) -> CatalogEntry:
    usage = f"model: {{type: sequential, layers: [{{layer: {name}, ...}}]}}"
    kind = LAYERS[name]
    parts = ["The arguments of torch's class are keys beside layer; without any the bare name serves."]
    if kind.takes:
        parts.append(f"A row is {kind.takes}; data.shape gives rows a shape.")
    if kind.found:
        parts.append(f"{kind.found} may be left out: it is found.")
    if name in RECURRENT:
        parts.append("last: true gives the last step of the sequence alone.")
    return CatalogEntry(LAYER, name, kind.title, " ".join(parts), (), usage)


def _residual() -> CatalogEntry:
    what = "They must give the shape that they take. Beside residual there is name."
    usage = f"model: {{type: sequential, layers: [..., {{{RESIDUAL}: [...]}}, ...]}}"
    return CatalogEntry(LAYER, RESIDUAL, "Layers whose input is added to what they give.", what, (), usage)


_RAISES = re.compile(r"\s*\bRaises [^.]*\.")


def described(function: Callable[..., Any]) -> tuple[str, str]:
    """Return the first line of a docstring, and the rest less its doctests and what it says of exceptions."""
    first, _, rest = (inspect.getdoc(function) or "").partition("\n")
    parts = rest.strip("\n").split("\n\n")
    kept = [_RAISES.sub("", part) for part in parts if not part.lstrip().startswith((">>>", "Raises:"))]
    return first.strip(), "\n\n".join(part for part in kept if part).replace("``", "").strip("\n")


# --- signatures -------------------------------------------------------------------------------------------------------


def _arguments(function: Callable[..., Any]) -> tuple[Argument, ...]:
    hints = get_type_hints(function, include_extras=True)
    return tuple(
        Argument(
            name, takes(hints[name]), "required" if parameter.default is parameter.empty else _yaml(parameter.default)
        )
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    )


_WORDS: dict[Any, str] = {
    int: "integer", float: "number", bool: "true or false", str: "text", type(None): "null", Any: "anything",
}  # fmt: skip
_BOUNDS: dict[type, tuple[str, str]] = {
    Ge: ("ge", "at least"), Gt: ("gt", "above"), Le: ("le", "at most"), Lt: ("lt", "below"),
}  # fmt: skip


def takes(annotation: Any) -> str:
    """Return in words what a key takes.

    >>> takes(Annotated[float, Ge(0), Lt(1)]), takes(list[int]), takes(tuple[float, float])
    ('number, at least 0, below 1', 'list of integer', '[number, number]')
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        bounds = list(filter(None, map(_bound, arguments[1:])))
        names = any(isinstance(mark, OneOf) for mark in arguments[1:])
        return ", ".join(bounds if names else [takes(arguments[0]), *bounds])
    if origin in (Union, types.UnionType):
        return " or ".join(map(takes, arguments))
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin is tuple:
        return f"[{', '.join(takes(each).partition(',')[0] for each in arguments)}]"
    if origin is list:
        return "list" if arguments[0] is Any else f"list of {takes(arguments[0]).partition(',')[0]}"
    if origin is dict:
        return f"mapping of {takes(arguments[0])} to {takes(arguments[1])}"
    return _WORDS.get(annotation, str(annotation))


def _bound(mark: Any) -> str:
    if isinstance(mark, OneOf):
        return f"the name of an {mark.kind}" if mark.kind[0] in "aeiou" else f"the name of a {mark.kind}"
    if isinstance(mark, Needs):
        return f"for {mark.setting} other than 0"
    if isinstance(mark, Len):
        least = mark.min_length
        entries = f"{least} entr{'y' if least == 1 else 'ies'}"
        return entries if mark.max_length == least else f"at least {entries}" if least else ""
    if type(mark) in _BOUNDS:
        attribute, word = _BOUNDS[type(mark)]
        value = getattr(mark, attribute)
        return "" if value == MAX_WIDTH else f"{word} {value:g}"
    return ""


def _yaml(value: Any) -> str:
    """Return a default as a spec writes it."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_yaml(item)}' for key, item in value.items())}}}"
    return str(value)
