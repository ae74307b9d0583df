"""The model of a script: a module of torch, or the function of an objective; its start values and what is frozen."""

from __future__ import annotations

import keyword
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gdcli.commands.script.layout import Brackets, call, indented, layout, literal, sentence, text_of
from gdcli.commands.script.subject import ScriptSubject
from gdcli.engine.layers import TracedLayer, flattened
from gdcli.spec.models import match
from gdcli.zoo.activations import ACTIVATIONS
from gdcli.zoo.expressions import (
    CONSTANTS,
    EXACT,
    FUNCTIONS,
    TENSORS_ONLY,
    Expression,
    Name,
    Number,
    Operation,
    bounded,
    is_bare,
    on_numbers,
    operands_first,
)
from gdcli.zoo.models import Chain, Objective
from gdcli.zoo.objectives import folded
from gdcli.zoo.torch_layers import INDEXED, RECURRENT, RESIDUAL

CALLS = {
    "relu": "torch.relu({})",
    "sigmoid": "torch.sigmoid({})",
    "tanh": "torch.tanh({})",
    "softmax": "torch.softmax({}, dim=-1)",
    "log_softmax": "torch.log_softmax({}, dim=-1)",
    "sign_ste": "SignSte.apply({})",
}
"""How an activation is called; others by their names in torch.nn.functional."""

SIGN_STE = [
    "class SignSte(torch.autograd.Function):",
    '    """The sign, whose derivative is replaced by that of hard tanh: 1 where -1 <= z <= 1, else 0."""',
    "",
    "    @staticmethod",
    "    def forward(ctx, z):",
    "        ctx.save_for_backward(z)",
    "        return z.sign()",
    "",
    "    @staticmethod",
    "    def backward(ctx, d):",
    "        (z,) = ctx.saved_tensors",
    "        return d * (z.abs() <= 1)",
]


def definitions(subject: ScriptSubject) -> Iterator[list[str]]:
    """Yield the classes and functions of a model, a block each."""
    model = subject.loaded.architecture
    if isinstance(model, Objective):
        yield _objective(subject, model)
    elif isinstance(model, Chain):
        if any(layer.activation == "sign_ste" for layer in model.layers):
            yield SIGN_STE
        if subject.spec.model.name == "mlp":
            yield _network(subject, model)
    else:
        found = {wrapped.name: wrapped.lines for layer in flattened(subject.layers) if (wrapped := _wrapper(layer))}
        yield from found.values()


def model_lines(subject: ScriptSubject) -> list[str]:
    """Return the lines that make the model, or the variables of an objective, with their start values."""
    model = subject.loaded.architecture
    if isinstance(model, Objective):
        pairs = [(f"{text_of(name)}: ", _variable(subject, name, value)) for name, value in model.start.items()]
        items = tuple(Brackets(key + each.opening, each.items, each.closing) for key, each in pairs)
        return layout("parameters = ", Brackets("{", items, "}"))
    if not subject.has_model:
        return []
    lines = [f"torch.manual_seed({subject.spec.settings.seed})"] if _draws(subject) else []
    if not isinstance(model, Chain):
        lines += layout("model = ", _sequential(subject.layers, subject))
    elif subject.spec.model.name == "mlp":
        lines += ["model = Net()"]
    else:
        (layer,) = model.layers
        lines += layout("model = ", _linear(layer.inputs, layer.outputs, layer.bias, subject))
    lines += _start(subject)
    frozen = [name for name in subject.shapes if name not in subject.trained]
    return lines + [f"{accessed(name, subject)}.requires_grad_(False)" for name in frozen]


def _variable(subject: ScriptSubject, name: str, value: float) -> Brackets:
    """Return a variable of an objective, as torch's Parameter where it is to be shown as one."""
    is_trained, value_of = name in subject.trained, call("torch.tensor", repr(float(value)), *subject.dtype())
    if subject.spec.style == "parameters":
        return call("nn.Parameter", value_of, *([] if is_trained else ["requires_grad=False"]))
    return Brackets(value_of.opening, (*value_of.items, *(["requires_grad=True"] if is_trained else [])), ")")


def _draws(subject: ScriptSubject) -> bool:
    """Say whether anything of the model depends on the seed."""
    init = subject.spec.model.init
    fixed = {name for pattern, value in init.items() for name in match(pattern, subject.shapes) if _is_fixed(value)}
    return set(subject.shapes) != fixed or subject.has_two_modes


def _is_fixed(value: Any) -> bool:
    return isinstance(value, int | float | list) or value in ("zeros", "ones")


# --- affine layers ----------------------------------------------------------------------------------------------------


def _linear(inputs: int, outputs: int, bias: bool, subject: ScriptSubject) -> Brackets:
    return call("nn.Linear", str(inputs), str(outputs), *([] if bias else ["bias=False"]), *subject.dtype())


def _network(subject: ScriptSubject, model: Chain) -> list[str]:
    """Return the class of a multilayer perceptron, as its layers are called by the documents: linear1, linear2, ..."""
    layers, forward = [], []
    for layer in model.layers:
        name = layer.name.rstrip(".")
        layers += layout(f"self.{name} = ", _linear(layer.inputs, layer.outputs, layer.bias, subject))
        value = activated(layer.activation, f"self.{name}(x)")
        forward += [f"return {value}" if layer is model.layers[-1] else f"x = {value}"]
    widths = "-".join(map(str, [model.layers[0].inputs, *(layer.outputs for layer in model.layers)]))
    used = dict.fromkeys(layer.activation for layer in model.layers if layer.activation != "none")
    told = [first_sentence(ACTIVATIONS[name].__doc__ or "") for name in used]
    return [
        "class Net(nn.Module):",
        *indented([f'"""A {widths} network.{" " + " ".join(told) if told else ""}"""']),
        "",
        *indented(["def __init__(self):"]),
        *indented(["super().__init__()", *layers], 2),
        "",
        *indented(["def forward(self, x):"]),
        *indented(forward, 2),
    ]


def first_sentence(docstring: str) -> str:
    """Return what a docstring of the zoo says of a function, without its derivative and its source.

    >>> first_sentence("Mean squared error: L = Σ(o − t)² / N; dL/do = 2 (o − t) / N. Source: torch.nn.MSELoss.")
    'Mean squared error: L = Σ(o − t)² / N.'
    """
    first = " ".join(docstring.split("\n\n")[0].split())
    return first.partition(";")[0].partition(" Source:")[0].rstrip(".") + "."


def activated(name: str, inner: str) -> str:
    """Return the call of an activation."""
    if name == "none":
        return inner
    return CALLS.get(name, f"nn.functional.{name}({{}})").format(inner)


# --- torch's own layers -----------------------------------------------------------------------------------------------


class _Wrapper:
    """A class of a layer that takes or gives something else than one tensor of numbers."""

    def __init__(self, name: str, base: str, told: str, returned: str) -> None:
        self.name = name
        self.lines = [
            f"class {name}(nn.{base}):",
            f'    """{told}"""',
            "",
            "    def forward(self, x):",
            f"        return {returned}",
        ]


def _wrapper(layer: TracedLayer) -> _Wrapper | None:
    kind = layer.layer.layer
    if kind == RESIDUAL:
        told = "Layers one after the other, and their input added to what they give: x + f(x)."
        return _Wrapper("Residual", "Sequential", told, "x + super().forward(x)")
    if kind in INDEXED:
        return _Wrapper(
            f"{kind}OfNumbers", kind, "Takes whole numbers as the data have them.", "super().forward(x.long())"
        )
    if kind == "MultiheadAttention":
        return _Wrapper("SelfAttention", kind, "Attention of the steps to each other.", "super().forward(x, x, x)[0]")
    if kind in (*RECURRENT, "LSTMCell"):
        if layer.layer.last:
            return _Wrapper(f"{kind}LastStep", kind, "Gives its last step alone.", "super().forward(x)[0][:, -1]")
        told = "Gives its outputs without its state."
        return _Wrapper(f"{kind}Outputs", kind, told, "super().forward(x)[0]")
    return None


def _sequential(layers: tuple[TracedLayer, ...], subject: ScriptSubject, name: str = "nn.Sequential") -> Brackets:
    items = [_layer(layer, subject) for layer in layers]
    if all(layer.layer.name == str(place) for place, layer in enumerate(layers)):
        return call(name, *items)
    pairs = [Brackets(f"({text_of(each.layer.name)}, ", (item,), ")") for each, item in zip(layers, items, strict=True)]
    return Brackets(f"{name}(", (Brackets("OrderedDict(", (Brackets("[", tuple(pairs), "]"),), ")"),), ")")


def _layer(layer: TracedLayer, subject: ScriptSubject) -> Brackets:
    kind, wrapped = layer.layer.layer, _wrapper(layer)
    if kind == RESIDUAL:
        return _sequential(layer.inside, subject, "Residual")
    given = {key: value for key, value in layer.arguments.items() if not (key == "bias" and value is True)}
    first = []
    if kind == "Linear":
        first = [repr(given.pop(key)) for key in ("in_features", "out_features")]
    keeps_means = bool(given.get("track_running_stats", kind.startswith("BatchNorm")))  # numbers that are no parameters
    kind_of_numbers = subject.dtype() if layer.shapes or keeps_means else ()
    made = call(f"nn.{kind}" if wrapped is None else wrapped.name, *first, **_plain(given))
    return Brackets(made.opening, (*made.items, *kind_of_numbers), made.closing)


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in arguments.items()}


# --- start values -----------------------------------------------------------------------------------------------------


def accessed(name: str, subject: ScriptSubject) -> str:
    """Return how a script names a parameter: model.linear1.weight, model[0].weight, parameters["x"]."""
    if subject.is_objective:
        return f"parameters[{text_of(name)}]"
    *parts, last = name.split(".")
    found, layers = "model", subject.layers
    for part in parts:
        place = next((k for k, layer in enumerate(layers) if layer.layer.name == part), None)
        layers = () if place is None else layers[place].inside
        if place is not None and part == str(place):
            found += f"[{place}]"
        elif part.isidentifier() and not keyword.iskeyword(part) and unicodedata.is_normalized("NFKC", part):
            found += f".{part}"
        else:
            found += f".get_submodule({text_of(part)})"
    return f"{found}.{last}"


def _start(subject: ScriptSubject) -> list[str]:
    lines = []
    for pattern, value in subject.spec.model.init.items():
        for name in match(pattern, subject.shapes):
            to = accessed(name, subject)
            if isinstance(value, list):
                lines += layout(f"{to}.data = ", call("torch.tensor", literal(_floats(value)), *subject.dtype()))
            elif isinstance(value, str):
                lines += [f"nn.init.{value}_({to})"]
            elif isinstance(value, dict):
                ((kind, (first, second)),) = value.items()
                lines += [f"nn.init.{kind}_({to}, {first!r}, {second!r})"]
            else:
                number = float(value)
                is_zero = number == 0 and math.copysign(1, number) > 0  # -0.0 is another number
                lines += [f"nn.init.zeros_({to})" if is_zero else f"nn.init.constant_({to}, {number!r})"]
    return lines


def _floats(values: Any) -> Any:
    """Return nested lists of numbers with floats: torch makes a tensor of whole numbers of integers."""
    return [*map(_floats, values)] if isinstance(values, list) else float(values)


# --- objectives -------------------------------------------------------------------------------------------------------


def _objective(subject: ScriptSubject, model: Objective) -> list[str]:
    told = sentence(subject.spec.settings.description or "The function to minimise")
    docstring = [f'"""{told[0]}"""'] if len(told) == 1 else [f'"""{told[0]}', *told[1:], '"""']
    value = expression_text(model.expression, [*model.start], model.constants)
    used = re.findall(r"\w+", value)  # a function of constants alone may stand there as its value
    lines = [f"{name} = {float(number)!r}" for name, number in model.constants.items() if name in used]
    if is_bare(model.expression):
        value += ".clone()"
    return [f"def objective({', '.join(model.start)}):", *indented([*docstring, *lines, f"return {value}"])]


_RANKS = {"+": 10, "-": 10, "*": 20, "/": 20, "**": 40}
_SIGN = 30


@dataclass(frozen=True, slots=True)
class _Part:
    """The text of a part of an expression, how strongly its last operation binds, and its value without variables."""

    text: str
    rank: int = 100
    value: float | None = None


def expression_text(expression: Expression, variables: Sequence[str], constants: Mapping[str, float]) -> str:
    """Return an expression as Python with torch's functions, in the same order of operations.

    Functions of numbers alone, which torch's do not take, are those of `math`, or their value.

    >>> from gdcli.zoo.objectives import parse
    >>> expression_text(parse("(exp(-(w*x+b)+1))**-1"), ["w", "x", "b"], {})
    'torch.exp(-(w * x + b) + 1) ** -1'
    >>> expression_text(parse("sin(2)*x + square(3) + maximum(x, k)"), ["x"], {"k": 1})
    'math.sin(2) * x + 9 + torch.maximum(x, torch.full_like(x, k))'
    """
    stack: list[_Part] = []
    for node in operands_first(expression):
        match node:
            case Number():
                stack.append(_Part(repr(node.value), value=node.value))
            case Name() if node.name in variables:
                stack.append(_Part(node.name))
            case Name() if node.name in constants:
                stack.append(_Part(node.name, value=bounded(constants[node.name])))
            case Name():
                stack.append(_Part(f"math.{node.name}", value=CONSTANTS[node.name]))
            case Operation():
                count = len(node.operands)
                stack[-count:] = [_operation(node, stack[-count:], variables[0])]
    return stack[0].text


def _operation(node: Operation, parts: list[_Part], variable: str) -> _Part:
    numbers = [part.value for part in parts if part.value is not None]
    value = folded(node, numbers) if len(numbers) == len(parts) else None
    if node.symbol in FUNCTIONS:
        return _function(node.symbol, parts, value, variable)
    text, rank = _operator(node.symbol, parts)
    if value is not None and abs(value) > EXACT:  # gdcli rounds such a number, Python's integers are exact
        return _literal(value)
    return _Part(text, rank, value)


def _literal(value: float) -> _Part:
    return _Part(repr(value), _SIGN if math.copysign(1, value) < 0 else 100, value)


def _function(symbol: str, parts: list[_Part], value: float | None, variable: str) -> _Part:
    texts = [part.text for part in parts]
    if value is not None:
        if on_numbers(symbol, len(parts)) is not getattr(math, symbol, None):
            return _literal(value)
        return _Part(f"math.{symbol}({', '.join(texts)})", value=value)
    if symbol in TENSORS_ONLY:
        full = f"torch.full_like({variable}, {{}})"
        texts = [part.text if part.value is None else full.format(part.text) for part in parts]
    home = "nn.functional" if symbol == "softplus" else "torch"
    return _Part(f"{home}.{symbol}({', '.join(texts)})")


def _operator(symbol: str, parts: list[_Part]) -> tuple[str, int]:
    if len(parts) == 1:
        (inner,) = parts
        return f"{symbol}{inner.text if inner.rank >= _SIGN else f'({inner.text})'}", _SIGN
    first, second = parts
    rank, left, right = _RANKS[symbol], first.text, second.text
    if symbol == "**":
        left = left if first.rank > rank else f"({left})"
        right = right if second.rank >= _SIGN else f"({right})"
        simple = all(text.replace(".", "").replace("-", "").isalnum() for text in (left, right))
        return f"{left}**{right}" if simple else f"{left} ** {right}", rank
    left = left if first.rank >= rank else f"({left})"
    right = right if second.rank > rank else f"({right})"
    return f"{left} {symbol} {right}", rank
