"""The decorators by which a plugin adds to the tables of the zoo: `@gdcli.model`, `@gdcli.loss` and so on.

What stands behind the ``*`` of a function, or of a class's ``__init__``, are its keys in a spec: name, type, bounds and
default are taken from the signature as they are for the zoo's own, the help from the docstring.

>>> import gdcli
>>> @gdcli.loss
... def quartic(output, target, *, scale: float = 1.0):
...     '''Mean of the fourth power of the error.'''
...     return scale * (output - target).pow(4).mean()
>>> from gdcli.zoo.losses import LOSSES
>>> LOSSES["quartic"].__doc__
'Mean of the fourth power of the error.'
>>> forget([quartic.__code__.co_filename])
>>> "quartic" in LOSSES
False
"""

from __future__ import annotations

import inspect
import os
import sys
import types
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints, overload

from gdcli.zoo import own_forms
from gdcli.zoo.activations import ACTIVATIONS
from gdcli.zoo.data import GENERATORS
from gdcli.zoo.losses import LOSSES, SCORES, TARGETS
from gdcli.zoo.metrics import ACCURACY, HIGHER_IS_BETTER, METRICS, by_class
from gdcli.zoo.models import MODELS
from gdcli.zoo.optimizers import OPTIMIZERS
from gdcli.zoo.origins import Origin, guarded, note_place

Own = TypeVar("Own", bound=Callable[..., Any])
Made = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Ingredients:
    """A kind of what plugins add: its table, how a function of so many positional arguments becomes an entry of it."""

    table: dict[str, Any]
    forms: Mapping[int, Callable[[Made, Origin], Made]]
    takes: str  # in words, for messages
    reserved: Collection[str] = ()  # keys that a spec has beside those of each
    has_keys: bool = True


# --- decorators -------------------------------------------------------------------------------------------------------


def model(function: Own) -> Own:
    """Register a class of torch.nn.Module, or a function that returns one: ``(inputs, outputs, *, keys)``.

    Inputs are the features of a row, outputs the targets, or the classes. Its name is its name in a spec.
    """
    forms = {
        1: lambda make, origin: lambda data, **keys: own_forms.made_model(make, origin, data, keys),
        2: lambda make, origin: lambda data, **keys: own_forms.module(make, origin, data, keys),
    }
    reserved = ("type", "init", "freeze", "from", "sha256")
    takes = "a model takes the numbers of inputs and of outputs"
    return _registered(function, "model", Ingredients(MODELS, forms, takes, reserved))


@overload
def loss(function: Own, /) -> Own: ...
@overload
def loss(
    *, targets: Literal["values", "classes"] = "values", reduction: own_forms.Reduction = "mean"
) -> Callable[[Own], Own]: ...
def loss(
    function: Own | None = None,
    /,
    *,
    targets: Literal["values", "classes"] = "values",
    reduction: own_forms.Reduction = "mean",
) -> Own | Callable[[Own], Own]:
    """Register a function ``(output, target, *, keys)`` that returns one number, output and target both [rows, ...].

    With ``targets="classes"`` the target is the index of each row's class [rows], and outputs are scores, of which the
    softmax are probabilities. ``reduction`` says what the number is over the rows: their mean, or their sum.
    """
    if function is None:
        return partial(loss_with, targets=targets, reduction=reduction)
    return loss_with(function, targets, reduction)


def loss_with(function: Own, targets: Literal["values", "classes"], reduction: own_forms.Reduction) -> Own:
    """Register a loss with these options."""
    forms = {
        0: lambda make, origin: lambda **keys: own_forms.made_loss(make, origin, keys),
        2: lambda make, origin: lambda **keys: own_forms.loss(make, origin, reduction, keys),
    }
    takes = "a loss takes output and target"
    registered = _registered(function, "loss", Ingredients(LOSSES, forms, takes, ("name", "class_weights")))
    if targets == "classes":
        name = function.__name__
        TARGETS[name] = "classes"
        ACCURACY[name] = by_class
        SCORES.add(name)
    return registered


def optimizer(function: Own) -> Own:
    """Register a class of torch.optim.Optimizer: ``(params, *, lr, keys)``.

    It gets the parameters of a group as one flat tensor, and what it keeps has to be in its ``state``.
    """
    forms = {
        0: lambda make, origin: lambda **keys: own_forms.made_rule(make, origin, keys),
        1: lambda make, origin: lambda **keys: own_forms.rule(make, origin, keys),
    }
    takes = "an optimizer takes the parameters"
    return _registered(function, "optimizer", Ingredients(OPTIMIZERS, forms, takes, ("name", "groups")))


def activation(function: Own) -> Own:
    """Register a function of z that works entry by entry. It has no keys: a spec knows it by its name alone."""
    forms = {
        0: lambda make, origin: lambda: own_forms.made_activation(make, origin),
        1: lambda make, origin: lambda: own_forms.activation(make, origin),
    }
    takes = "an activation takes z"
    return _registered(function, "activation", Ingredients(ACTIVATIONS, forms, takes, has_keys=False))


def data(function: Own) -> Own:
    """Register a function ``(rng, *, keys)`` that returns arrays x [n, ...] and y [n, ...], drawn by numpy's rng.

    Whole numbers from 0 on in y [n] are classes. A second argument is a generator for the noise.
    """

    def drawn(make: Made, origin: Origin, count: int) -> Made:
        call = guarded(make, origin)
        return lambda *rngs, **keys: guarded(own_forms.table, origin)(call(*rngs[:count], **keys), origin)

    forms = {count: partial(drawn, count=count) for count in (1, 2)}
    takes = "data take a generator of random numbers"
    return _registered(function, "data", Ingredients(GENERATORS, forms, takes, ("kind",)))


@overload
def metric(function: Own, /) -> Own: ...
@overload
def metric(*, higher_is_better: bool = False) -> Callable[[Own], Own]: ...
def metric(function: Own | None = None, /, *, higher_is_better: bool = False) -> Own | Callable[[Own], Own]:
    """Register a function ``(output, target)`` that returns a number: of values in their own units, or of classes.

    It has no keys: a spec knows it by its name alone.
    """
    if function is None:
        return partial(metric_with, higher_is_better=higher_is_better)
    return metric_with(function, higher_is_better)


def metric_with(function: Own, higher_is_better: bool) -> Own:
    """Register a metric with this option."""
    takes = "a metric takes output and target"
    registered = _registered(function, "metric", Ingredients(METRICS, {2: own_forms.metric}, takes, has_keys=False))
    if higher_is_better:
        HIGHER_IS_BETTER.add(function.__name__)
    return registered


# --- registration -----------------------------------------------------------------------------------------------------

ROWS = ("training_", "validation_", "test_", "best_")
"""What stands before the names of metrics in records."""


MODULES = "gdcli_plugin_"
"""What the names of modules begin with that are loaded from a plugin's file or folder."""


def _registered(function: Own, kind: str, ingredients: Ingredients) -> Own:
    """Put a function or class into its kind's table, by its name. Raises SpecError for one that cannot be there."""
    origin, a = _origin(getattr(function, "__name__", "")), "an" if kind[0] in "aeiou" else "a"
    if not callable(function) or not origin.name.isidentifier():
        raise origin.misuse(f"@gdcli.{kind} stands before a function or a class")
    if kind == "metric" and (origin.name == "loss" or origin.name.startswith(ROWS)):
        raise origin.misuse(f"a metric is not called loss, nor begins with {', '.join(ROWS)}: records have other uses")
    before = ingredients.table.get(origin.name)
    if before is not None:
        other: Origin | None = getattr(before, "origin", None)
        if other is None:
            raise origin.misuse(f"gdcli has {a} {kind} of that name: give it another")
        if other.module != origin.module or origin.module.startswith(MODULES):  # a notebook's cell may run again
            raise origin.misuse(f"{other.file}:{other.line} has {a} {kind} of that name: give it another")
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        raise origin.misuse(str(error)) from None
    positional = [each.name for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    keys = {each.name: each for each in parameters if each.kind is each.KEYWORD_ONLY}
    if len(positional) not in ingredients.forms:
        more = ", and its keys behind a *" if ingredients.has_keys else ""
        raise origin.misuse(f"{ingredients.takes}{more} (got {', '.join(positional) or 'nothing'})")
    if keys and not ingredients.has_keys:
        raise origin.misuse(f"a spec knows {a} {kind} by its name alone: it has no keys (got {', '.join(keys)})")
    if kind == "optimizer" and "lr" not in keys:
        raise origin.misuse("an optimizer has the key lr, its learning rate: lr: float = 0.01")
    _check_names(keys, ingredients, origin)
    made: Any = _entry(ingredients.forms[len(positional)](function, origin))
    made.__annotations__ = _types(function, keys, origin)
    made.__signature__ = inspect.Signature([_parameter(each, made.__annotations__) for each in keys.values()])
    made.__name__, made.__doc__ = origin.name, inspect.cleandoc(function.__doc__ or "")
    made.origin = origin
    made.trains_alone = kind in ALONE and bool(positional)
    _forget(origin.name, kind, ingredients.table)
    ingredients.table[origin.name] = made
    note_place(origin.file)
    return function


ALONE = ("loss", "optimizer", "activation")
"""The kinds whose own forms see one run at a time; functions that return what the zoo's own do serve fleets too."""


def _entry(make: Made) -> Made:
    """Return a function of its own, so that each entry of a table has its own name and signature."""

    def made(*given: Any, **keys: Any) -> Any:
        return make(*given, **keys)

    return made


def _origin(name: str) -> Origin:
    """Return where the decorator stands: the first line outside of this file."""
    frame = sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return Origin(name, frame.f_code.co_filename, frame.f_lineno, str(frame.f_globals.get("__name__", "")))


def _check_names(keys: Iterable[str], ingredients: Ingredients, origin: Origin) -> None:
    for key in keys:
        if key in ingredients.reserved:
            raise origin.misuse(f"the key {key} means something else in a spec: give it another name")
        if key.startswith(("_", "model_")):
            raise origin.misuse(f"no key begins with _ or model_ (got {key})")


def _parameter(given: inspect.Parameter, types_of: Mapping[str, Any]) -> inspect.Parameter:
    return given.replace(annotation=types_of[given.name])


def _types(function: Made, keys: Collection[str], origin: Origin) -> dict[str, Any]:
    """Return the types of keys, and what a rule says that it keeps. Raises SpecError for one that no key can have."""
    code: Any = inspect.unwrap(function.__init__ if inspect.isclass(function) else function)
    notes = dict(getattr(code, "__annotations__", {}))
    for key in keys:
        if key not in notes:
            raise origin.misuse(f"the key {key} needs a type: {key}: float = 1.0")
    found = _resolved(code, {key: notes[key] for key in keys}, origin)
    for key, annotation in found.items():
        if not _is_of_yaml(annotation):
            shown = getattr(annotation, "__name__", str(annotation))
            raise origin.misuse(f"the key {key} cannot be a {shown}: keys are numbers, texts, true, lists and mappings")
    if "return" in notes and not inspect.isclass(function):
        try:
            found |= _resolved(code, {"return": notes["return"]}, origin)
        except Exception:  # a name for type checkers alone: the memory that a rule keeps is not counted then
            return found
    return found


def _resolved(code: Any, notes: Mapping[str, Any], origin: Origin) -> dict[str, Any]:
    holder = types.SimpleNamespace(__annotations__=dict(notes))
    try:
        return get_type_hints(holder, globalns=getattr(code, "__globals__", {}), include_extras=True)
    except (NameError, TypeError, SyntaxError) as error:
        raise origin.misuse(f"its types cannot be read: {error}") from None


_PLAIN = (int, float, bool, str, list, dict, tuple, type(None), Any)


def _is_of_yaml(annotation: Any) -> bool:
    """Say whether a type is one that YAML has values of."""
    kind, inside = get_origin(annotation), get_args(annotation)
    if kind is Literal:
        return True
    if kind is Annotated:
        return _is_of_yaml(inside[0])
    if kind in (list, dict, tuple, Union, types.UnionType):
        return all(map(_is_of_yaml, inside))
    return any(annotation is plain for plain in _PLAIN)


TABLES: dict[str, dict[str, Any]] = {
    "model": MODELS, "loss": LOSSES, "optimizer": OPTIMIZERS, "activation": ACTIVATIONS, "data": GENERATORS,
    "metric": METRICS,
}  # fmt: skip
"""What plugins add to, by kind."""


def _forget(name: str, kind: str, table: dict[str, Any]) -> None:
    table.pop(name, None)
    if kind == "loss":
        TARGETS.pop(name, None)
        ACCURACY.pop(name, None)
        SCORES.discard(name)
    elif kind == "metric":
        HIGHER_IS_BETTER.discard(name)


def registered(places: Iterable[str]) -> list[tuple[str, str]]:
    """Return kind and name of what files, or the files below folders, have registered."""
    wanted = [os.path.abspath(place) for place in places]  # noqa: PTH100 - names of code
    found = []
    for kind, table in TABLES.items():
        for name, function in table.items():
            origin: Origin | None = getattr(function, "origin", None)
            path = "" if origin is None else os.path.abspath(origin.file)  # noqa: PTH100
            if any(path == place or path.startswith(place + os.sep) for place in wanted):
                found.append((kind, name))
    return found


def forget(places: Iterable[str]) -> None:
    """Take what files, or the files below folders, have registered out of the tables."""
    for kind, name in registered(places):
        _forget(name, kind, TABLES[kind])
