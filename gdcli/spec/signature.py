"""A function's keyword-only arguments as YAML keys: its signature is the schema.

The annotations (annotated_types' bounds, ``OneOf`` names) become a strict pydantic model, from which the checks, the
messages and the JSON Schema follow, so that adding an ingredient is one function and its name in a table.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from typing import Annotated, Any, NamedTuple, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, create_model
from pydantic_core import ErrorDetails, PydanticCustomError

from gdcli.errors import nearest, nearest_or_own
from gdcli.spec.scalars import shown, with_point
from gdcli.zoo.naming import OneOf

# defaults are checked too, so that a default 0 of a float is 0.0 like a given one: config.yaml has one form
STRICT = ConfigDict(
    strict=True, frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True,
    defer_build=True,  # a command builds the models that it checks something with: a sixth of the start without torch
)  # fmt: skip


class Section(BaseModel):
    """A part of the spec with keys of its own: strict types, no unknown keys, no change after it is made."""

    model_config = STRICT


Path: TypeAlias = tuple[str | int, ...]
Checked = TypeVar("Checked", bound=BaseModel)
MAX_DETAILS = 1_000  # of pydantic's errors, a few for each value: more than the problems that are ever told


class Complaint(NamedTuple):
    """What is wrong below one section of a spec."""

    path: Path
    message: str
    hint: str = ""
    at_key: bool = False  # the key itself is meant, not its value


def got(value: Any) -> str:
    """Return ``(got VALUE)``, safe to print and cut to a line.

    >>> got("1e-3x"), got([1, 2])
    ("(got '1e-3x')", '(got [1, 2])')
    """
    return f"(got '{shown(value)}')" if isinstance(value, str) else f"(got {shown(_json(value))})"


def _json(value: Any) -> str:
    """Write a value as the spec does: true, null, 0.5."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_json, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_json(item)}' for key, item in value.items())}}}"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def whole(value: Any) -> Any:
    """Return 1e3 as the integer 1000; anything else as it is.

    >>> whole(1e3), whole(1.5), whole("1")
    (1000, 1.5, '1')
    """
    return int(value) if isinstance(value, float) and value.is_integer() else value


Integer = Annotated[int, BeforeValidator(whole)]


def entries(length: int) -> BeforeValidator:
    """Return the validator that takes a list of that length as a tuple."""

    def checked(value: Any) -> Any:
        if isinstance(value, list) and len(value) != length:
            raise PydanticCustomError("length", "needs {length} entries", {"length": length})
        return tuple(value) if isinstance(value, list) else value

    return BeforeValidator(checked)


def one_of(marked: OneOf) -> tuple[Any, ...]:
    """Return how pydantic checks a text that names an ingredient, and its JSON Schema."""

    def known(value: Any) -> Any:
        if isinstance(value, str) and value not in marked.names:
            raise PydanticCustomError("unknown_name", "{kind}", {"kind": marked.kind, "names": sorted(marked.names)})
        return value

    return BeforeValidator(known), _NamesSchema(marked.names)


class _NamesSchema:
    """The JSON Schema of a name, of those that there are when it is asked for: a plugin may have added some."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names

    def __get_pydantic_json_schema__(self, core: object, handler: object) -> dict[str, Any]:
        return {"type": "string", "enum": sorted(self._names)}


def adapt(annotation: Any) -> Any:
    """Return an annotation as pydantic is to check it: whole floats as integers, lists as tuples, known names only."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is int:
        return Integer
    if origin is Annotated:
        bounds = [part for item in arguments[1:] for part in (one_of(item) if isinstance(item, OneOf) else (item,))]
        return Annotated[(adapt(arguments[0]), *bounds)]
    if origin is tuple:
        return Annotated[tuple[tuple(map(adapt, arguments))], entries(len(arguments))]  # type: ignore[misc]  # made at run time
    if origin in (Union, types.UnionType):
        return Union[tuple(map(adapt, arguments))]  # noqa: UP007 - made at run time
    if origin in (list, dict):
        return origin[tuple(map(adapt, arguments))]
    return annotation


@cache
def arguments_model(function: Callable[..., Any]) -> type[BaseModel]:
    """Return the strict model of a function's keyword-only arguments."""
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {
        name: (adapt(hints[name]), ... if parameter.default is parameter.empty else parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    return create_model(function.__name__, __config__=STRICT, **fields)


def check(
    model: type[Checked], values: Mapping[str, Any], beside: Iterable[str] = ()
) -> tuple[Checked | None, list[Complaint]]:
    """Return the checked model, or None and every complaint; ``beside`` are the section's keys checked elsewhere."""
    try:
        return model.model_validate(values), []
    except ValidationError as error:
        known = [*model.model_fields, *beside]
        details = error.errors(include_url=False)[:MAX_DETAILS]
        return None, _one_each([_complaint(detail, values, known) for detail in details])


def _one_each(complaints: list[Complaint]) -> list[Complaint]:
    """Keep one complaint of a value that is none of several types: the deepest, since it came nearest."""
    above = {item.path[:length] for item in complaints for length in range(len(item.path))}
    kept: dict[Path, Complaint] = {}
    for item in complaints:
        if item.path not in above:
            first = kept.get(item.path)
            kept[item.path] = item if first is None else _either(first, item)
    return list(kept.values())


def _either(first: Complaint, second: Complaint) -> Complaint:
    """Return 'must be text or a list (got 3)' of two complaints about one value."""
    what, _, given = second.message.removeprefix("must be ").partition(" (got ")
    return first._replace(
        message=f"{first.message.partition(' (got ')[0]} or {what}" + (f" (got {given}" if given else "")
    )


def arguments(
    function: Callable[..., Any], values: Mapping[str, Any], *, partial: bool = False, beside: Iterable[str] = ()
) -> tuple[dict[str, Any], list[Complaint]]:
    """Return all of a function's arguments, defaults filled in, or every complaint.

    With ``partial`` only those given are returned, and none need be: the settings of a group of parameters.
    """
    checked, complaints = check(arguments_model(function), values, beside)
    if partial:
        complaints = [complaint for complaint in complaints if complaint.message != _MISSING]
    if checked is None:
        return {}, complaints
    names = type(checked).model_fields
    return {name: getattr(checked, name) for name in names if not partial or name in values}, complaints


def wrong_in_all(functions: Mapping[str, Callable[..., Any]], values: Mapping[str, Any]) -> list[Complaint]:
    """Return what is wrong with the values whichever of the functions is meant: of the keys that all of them take."""
    keys = set(values).intersection(*(arguments_model(each).model_fields for each in functions.values()))
    given = {key: values[key] for key in keys}
    first, *others = (arguments(each, given)[1] for each in functions.values())
    return [one for one in first if not one.at_key and all(one in complaints for complaints in others)]


_MISSING = "is required"

OWN = ("activation", "metric")
"""The kinds of named ingredients that plugins add to."""

# pydantic's error types in our words; {…} are filled from the error's context
_WORDS = {
    "missing": _MISSING,
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "int_type": "must be an integer",
    "int_from_float": "must be an integer",
    "float_type": "must be a number",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "too_short": "needs at least {min_length} {entries}",
    "too_long": "takes at most {max_length} {entries}",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "must match {pattern}",
    "finite_number": "must be a finite number",
    "int_parsing_size": "is too large",
}


def _complaint(detail: ErrorDetails, values: Mapping[str, Any], known: Iterable[str]) -> Complaint:
    kind, context = detail["type"], {name: whole(bound) for name, bound in detail.get("ctx", {}).items()}  # 0, not 0.0
    given = " " + got(detail["input"])
    if kind == "missing":
        return Complaint(tuple(detail["loc"]), _MISSING, at_key=True)
    path = _path(detail["loc"], values)
    if kind == "extra_forbidden":
        return Complaint(path, "unknown key", nearest(str(path[-1]), known), at_key=True)
    if kind in ("unknown_name", "literal_error"):
        expected = str(context.get("expected", "")).replace(" or ", ",").split(",")
        names = context.get("names") or [name.strip("' ") for name in expected]
        what = f"unknown {context['kind']}" if "kind" in context else "unknown name"
        hint = (nearest_or_own if context.get("kind") in OWN else nearest)(str(detail["input"]), names)
        return Complaint(path, what + given, hint, at_key="[key]" in detail["loc"])
    context["entries"] = "entry" if 1 in (context.get("min_length"), context.get("max_length")) else "entries"
    message = _WORDS[kind].format(**context) if kind in _WORDS else detail["msg"].removeprefix("Value error, ")
    if kind == "float_type" and (number := with_point(detail["input"])):
        return Complaint(path, message + given, f"A number has a point: {number}")
    if kind == "too_short" and path[-1] == "layers" and context["min_length"] == 2:  # of an mlp
        inner = ", ".join(map(str, detail["input"]))
        hint = f"Inputs and outputs are layers too: [inputs, {inner}, outputs]" if inner else ""
        return Complaint(path, message + given, hint)
    hint = "Quote it to make it text" if kind == "string_type" and not isinstance(detail["input"], list | dict) else ""
    return Complaint(path, message + given, hint)


def _path(location: tuple[str | int, ...], values: Mapping[str, Any]) -> Path:
    """Return the part of pydantic's location that the values have, without its words for types and keys."""
    found: list[str | int] = []
    value: Any = values
    for step in location:
        if isinstance(value, Mapping) and step in value:
            value = value[str(step)]
        elif isinstance(value, list | tuple) and isinstance(step, int):
            value = value[step]
        else:
            break
        found.append(step)
    return tuple(found)
