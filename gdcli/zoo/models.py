"""Models: what each is made of, as data. The engine builds the tensors, so that shapes are known without torch.

A model is a function of the data's sizes and of its YAML keys; it returns a :class:`Chain` (affine layers and
activations, whose backward pass is written out by hand), a :class:`Stack` (torch's own layers, through autograd) or an
:class:`Objective` (a function of its variables, without data).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from annotated_types import Len

from gdcli.errors import nearest
from gdcli.zoo.activations import ACTIVATIONS
from gdcli.zoo.expressions import CONSTANTS, Expression, ExpressionError, names
from gdcli.zoo.naming import MAX_ERRORS, MAX_HINTS, ArgumentError, OneOf, Width
from gdcli.zoo.objectives import parse
from gdcli.zoo.torch_layers import LAYERS, RECURRENT, RESIDUAL, draws, has_two_modes, may_mix_rows, why_not

ActivationName = Annotated[str, OneOf("activation", ACTIVATIONS)]


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a model learns of the data: features a row, and outputs a row (classes for a classification loss)."""

    inputs: int
    outputs: int


@dataclass(frozen=True, slots=True)
class Affine:
    """One layer a = activation(x Wᵀ + b): W [outputs, inputs], b [outputs] or [1], shared by the layer's units."""

    name: str  # prefix of its parameters: "linear1." or ""
    inputs: int
    outputs: int
    bias: bool
    activation: str

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each parameter by its full name."""
        shapes: dict[str, tuple[int, ...]] = {f"{self.name}weight": (self.outputs, self.inputs)}
        if self.bias:
            shapes[f"{self.name}bias"] = (self.outputs,)
        return shapes


@dataclass(frozen=True, slots=True)
class Chain:
    """Affine layers one after the other; without any the model is the identity."""

    layers: tuple[Affine, ...]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each parameter by its full name, in the model's order."""
        return {name: shape for layer in self.layers for name, shape in layer.shapes.items()}

    @property
    def biases(self) -> tuple[str, ...]:
        """The names of the biases, each of which may be one number for its layer."""
        return tuple(f"{layer.name}bias" for layer in self.layers if layer.bias)


@dataclass(frozen=True, slots=True)
class TorchLayer:
    """One layer of a sequential model: its name, torch's class, and the class's keyword arguments.

    A size that is left out is found on the way from the data on. ``inside`` are the layers of a residual one.
    """

    name: str
    layer: str
    arguments: Mapping[str, Any]
    path: tuple[str | int, ...]  # where the spec names it, for messages
    last: bool = False  # of a sequence the last step alone
    inside: tuple[TorchLayer, ...] = ()


@dataclass(frozen=True, slots=True)
class OwnModule:
    """A plugin's module of torch: how it is made, and called with rows; what it raises is told by the plugin's line."""

    name: str
    make: Callable[[], Any]
    call: Callable[[Any, Any], Any]  # (module, x [B, ...]) -> output [B, O]
    hint: str = "It is made with the number of outputs, which is that"  # where its output does not fit the data


@dataclass(frozen=True, slots=True)
class Stack:
    """Torch's own layers one after the other, as nn.Sequential runs them; or a module of a plugin in place of them."""

    layers: tuple[TorchLayer, ...]
    shape: tuple[int, ...] = ()  # of a row of the data; known once there are some
    own: OwnModule | None = None

    @property
    def trains_otherwise(self) -> bool:
        """Whether a pass in training differs from one in evaluation: dropout draws, a batch norm takes the batch's.

        Of a plugin's module it may.
        """
        return self.own is not None or any(
            has_two_modes(layer.layer, layer.arguments) for layer in all_layers(self.layers)
        )

    @property
    def mixes_rows(self) -> bool:
        """Whether a row's output may depend on the other rows, in evaluation too. Of a plugin's module it may."""
        return self.own is not None or any(
            may_mix_rows(layer.layer, layer.arguments) for layer in all_layers(self.layers)
        )

    @property
    def draws(self) -> bool:
        """Whether a pass in training draws numbers: dropout. A plugin's module may."""
        return self.own is not None or any(draws(layer.layer, layer.arguments) for layer in all_layers(self.layers))


@dataclass(frozen=True, slots=True)
class Objective:
    """A function of named variables: the loss is its value, there are no data."""

    expression: Expression
    start: Mapping[str, float]
    constants: Mapping[str, float]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every variable is a scalar."""
        return dict.fromkeys(self.start, ())


Architecture = Chain | Stack | Objective


def all_layers(layers: Iterable[TorchLayer]) -> Iterator[TorchLayer]:
    """Yield torch's layers, those inside residual ones too."""
    for layer in layers:
        yield layer
        yield from all_layers(layer.inside)


def chain_of(model: Architecture) -> Chain | None:
    """Return a model as affine layers and activations: a chain, or torch's layers where they are no more than that."""
    if not isinstance(model, Stack):
        return model if isinstance(model, Chain) else None
    layers: list[Affine] = []
    width = model.shape[0] if len(model.shape) == 1 else 0
    for layer in model.layers if len(model.shape) < 2 else ():
        arguments = dict(layer.arguments)
        if layer.layer == "Linear" and set(arguments) <= {"in_features", "out_features", "bias"}:
            bias, inputs = bool(arguments.get("bias", True)), arguments.get("in_features", width)
            width = arguments.get("out_features", 0)
            layers.append(Affine(f"{layer.name}.", inputs, width, bias, "none"))
        elif layer.layer in ACTIVATION_LAYERS and not arguments and layers and layers[-1].activation == "none":
            layers[-1] = replace(layers[-1], activation=ACTIVATION_LAYERS[layer.layer])
        elif layer.layer != "Identity":
            return None
    return Chain(tuple(layers)) if layers else None


def linear(
    data: Sizes, *, in_features: Width | None = None, out_features: Width | None = None, bias: bool = True
) -> Chain:
    """Linear model: o = x Wᵀ + b; parameters weight [out, in], bias [out]. Sizes come from the data when absent.

    Source: torch.nn.Linear.
    """
    return Chain((Affine("", in_features or data.inputs, out_features or data.outputs, bias, "none"),))


def mlp(
    data: Sizes,
    *,
    layers: Annotated[list[Width], Len(2)],
    activation: ActivationName = "relu",
    output_activation: ActivationName = "none",
    bias: bool = True,
) -> Chain:
    """Multilayer perceptron: a₀ = x, aₖ = f(aₖ₋₁ Wₖᵀ + bₖ); parameters linear1.weight, linear1.bias, ...

    ``layers`` lists the units from input to output, [2, 2, 2] has two weight matrices.
    """
    last = len(layers) - 1
    return Chain(
        tuple(
            Affine(f"linear{k}.", layers[k - 1], layers[k], bias, output_activation if k == last else activation)
            for k in range(1, last + 1)
        )
    )


def identity(data: Sizes) -> Chain:
    """The data's x is the output: a loss by itself, o = x. No parameters."""
    return Chain(())


ACTIVATION_LAYERS = {layer: name for layer in LAYERS for name in ACTIVATIONS if layer.lower() == name.replace("_", "")}
"""Torch's classes without arguments of their own, by the activations that are written out by hand."""


MAX_STACK = 1000
"""Layers of a sequential model, those inside residual ones counted."""


def sequential(data: Sizes, *, layers: Annotated[list[Any], Len(1, MAX_STACK)]) -> Stack:
    """Torch's layers in a row: names of classes, or {layer: Linear, name: hidden, out_features: 2, ...}.

    A layer without a name is named by its index; a size of its input that is left out (in_features, in_channels,
    num_features, ...) is found. {residual: [...]} adds the input of its layers to what they give. Raises ArgumentError
    for an unknown class or a repeated name. Source: torch.nn.Sequential.
    """
    errors: list[ArgumentError] = []
    built = _torch_layers(layers, ("layers",), errors)
    if errors:
        raise ArgumentError.of(errors)
    if (count := sum(1 for _ in all_layers(built))) > MAX_STACK:
        raise ArgumentError(("layers",), f"{count:,} layers with those of residual ones, more than {MAX_STACK:,}")
    return Stack(built)


def _torch_layers(
    entries: list[Any], path: tuple[str | int, ...], errors: list[ArgumentError]
) -> tuple[TorchLayer, ...]:
    """Return layers; what is wrong with the others is added to ``errors``."""
    built: dict[str, TorchLayer] = {}
    for index, entry in enumerate(entries):
        try:
            layer = _torch_layer(entry, index, (*path, index), errors)
            if layer.name in built:
                raise ArgumentError((*path, index), f"a second layer named '{layer.name}'")
            built[layer.name] = layer
        except ArgumentError as error:
            errors.append(error)
        if len(errors) > MAX_ERRORS:
            break
    return tuple(built.values())


def _torch_layer(entry: Any, index: int, path: tuple[str | int, ...], errors: list[ArgumentError]) -> TorchLayer:
    arguments = {"layer": entry} if isinstance(entry, str) else dict(entry) if isinstance(entry, dict) else {}
    name = arguments.pop("name", str(index))
    if not isinstance(name, str) or not name.replace("_", "a").isalnum():
        raise ArgumentError((*path, "name"), "a layer's name has letters, digits and _ only")
    if RESIDUAL in arguments and "layer" not in arguments:
        return _residual(name, arguments, path, errors)
    kind = arguments.pop("layer", None)
    if not isinstance(kind, str):
        raise ArgumentError(path, "must be the name of a torch layer, or a mapping with 'layer' or 'residual'")
    if kind not in LAYERS:
        raise ArgumentError(path, f"unknown torch layer (got '{kind}')", why_not(kind) or nearest(kind, LAYERS))
    last = arguments.pop("last", False) if kind in RECURRENT else False
    if type(last) is not bool:
        raise ArgumentError((*path, "last"), "must be true or false")
    if "last" in arguments:
        raise ArgumentError((*path, "last"), f"has no effect: it is for {', '.join(RECURRENT)}")
    return TorchLayer(name, kind, arguments, path, last)


def _residual(
    name: str, arguments: Mapping[str, Any], path: tuple[str | int, ...], errors: list[ArgumentError]
) -> TorchLayer:
    inside = arguments[RESIDUAL]
    for key in arguments:
        if key != RESIDUAL:
            raise ArgumentError((*path, key), "unknown key", "Beside residual there is name")
    if not isinstance(inside, list) or not inside:
        raise ArgumentError((*path, RESIDUAL), "must be a list of at least one layer")
    return TorchLayer(name, RESIDUAL, {}, path, inside=_torch_layers(inside, (*path, RESIDUAL), errors))


def objective(
    data: Sizes,
    *,
    expression: str,
    start: Annotated[dict[str, float], Len(1, 1000)],
    constants: dict[str, float] | None = None,
) -> Objective:
    """A function to minimise, written out: L = expression of the variables in start, with named constants.

    Raises ArgumentError for a text outside the grammar, and for a name that is neither variable nor constant.
    """
    constants = constants or {}
    try:
        parsed = parse(expression)
    except ExpressionError as error:
        raise ArgumentError(("expression",), f"{error}, at character {error.column}") from None
    used, given = names(parsed), {*start, *constants}
    unknown = "'{}' is neither in start nor in constants"
    errors = [
        ArgumentError(("expression",), unknown.format(name), nearest(name, given) if k < MAX_HINTS else "")
        for k, name in enumerate(sorted(used - given - set(CONSTANTS)))
    ]
    unused = "'{}' does not occur in the expression"
    errors = errors or [
        ArgumentError((key, name), unused.format(name))
        for key, values in (("start", start), ("constants", constants))
        for name in values
        if name not in used
    ]
    errors += [
        ArgumentError(("constants", name), f"'{name}' is a variable of start already")
        for name in start
        if name in constants
    ]
    if errors:
        raise ArgumentError.of(errors)
    return Objective(parsed, start, constants)


MODELS: dict[str, Callable[..., Architecture]] = {
    function.__name__: function for function in (linear, mlp, sequential, identity, objective)
}
