"""What a script prints, in the run's style: before training, in each step, after each epoch, at the end."""

from __future__ import annotations

import numpy as np

from gdcli.commands.script.layout import call, layout, literal
from gdcli.commands.script.model import accessed
from gdcli.commands.script.subject import ScriptSubject
from gdcli.zoo.losses import LOSSES
from gdcli.zoo.models import Chain

COUNTED_FROM_0 = ("tensor", "manual", "autograd")
"""The styles that count epochs from 0."""

VARIABLE = [
    "def variable(value):",
    '    """Return a number as torch 0.3 printed a variable: many digits become a factor on a line of its own."""',
    "    size, scale = abs(value), 1.0",
    "    digits = math.floor(math.log10(size)) + 1 if size else 1",
    "    if size == math.floor(size):",
    '        form = "11.4e" if digits > 5 else f"{max(2, digits + 1)}.0f"',
    "    elif 0 <= digits <= 5:",
    '        form = f"{max(7, digits + 6)}.4f"',
    "    else:",
    '        form, scale = "7.4f", math.pow(10, digits - 1)',
    '    number = f"{value:{form}}" if scale == 1.0 else f"{scale:.5e} *\\n {value / scale:{form}}"',
    '    return f"Variable containing:\\n{number}\\n[torch.KINDTensor of size 1]\\n"',
]


def definitions(subject: ScriptSubject) -> list[str]:
    """Return the function that a style prints with, where it has one."""
    if subject.spec.style != "autograd" or subject.spec.print.predict is None:
        return []
    kind = "Double" if subject.spec.settings.dtype == "float64" else "Float"
    return [line.replace("KIND", kind) for line in VARIABLE]


def loss_printed(subject: ScriptSubject, before: str = "") -> str:
    """Return the line that prints the loss of a step, with the name of the node that made it, as torch shows it."""
    spec = subject.spec
    if subject.is_objective:
        return f"print({before}loss.detach())"
    assert spec.loss is not None
    node = LOSSES[spec.loss.name](**spec.loss.arguments).grad_fn
    table = subject.loaded.training
    of_probabilities = spec.loss.name == "cross_entropy" and table is not None and table.y.ndim == 2
    if subject.trained and not (of_probabilities or subject.accumulates):
        return f"print({before}loss)"
    return f'print({before}f"{{str(loss.detach())[:-1]}}, grad_fn=<{node}Backward0>)")'


def before_training(subject: ScriptSubject) -> list[str]:
    """Return the lines that print before the first step."""
    return _predicted(subject, "before")


def _predicted(subject: ScriptSubject, when: str) -> list[str]:
    asked, style = subject.spec.print.predict, subject.spec.style
    if asked is None or style not in ("manual", "autograd"):
        return []
    row, model = asked if isinstance(asked, list) else [asked], "model(query)" if subject.has_model else "query"
    lines = []
    if when == "before":
        prepared = subject.loaded.prepared(np.array([row], np.float64))
        lines += layout("query = ", call("torch.tensor", literal(prepared.tolist()), *subject.dtype()))
    text = f"*{model}.flatten().tolist()" if style == "manual" else f"variable({model}.item())"
    return [*lines, f'print("predict ({when} training)", {", ".join(map(repr, row))}, {text})']


def weights_of(subject: ScriptSubject) -> list[str]:
    """Return the trained weights, whose gradients the styles of backpropagation print."""
    return [accessed(name, subject) for name in subject.trained if name.endswith("weight")]


def after_gradient(subject: ScriptSubject, rows: str) -> list[str]:
    """Return the lines that print once a step's gradient is there, before the update."""
    style = subject.spec.style
    lines = []
    if style == "backprop":
        on_chain = isinstance(subject.loaded.architecture, Chain) and subject.has_model
        lines += ["print(output)" if on_chain else "print(output.detach())"]
    if style in ("backprop", "layers"):
        lines += [loss_printed(subject), *(f"print({weight}.grad)" for weight in weights_of(subject))]
    if style == "gradient":
        lines += [f"print({accessed(name, subject)}.grad)" for name in subject.trained]
    if style in ("manual", "autograd"):
        (trained,) = subject.trained  # of one number
        head = '"\\t grad: "' if style == "manual" else '"\\t grad:"'
        lines += [f"print({head}, {_sample(subject, rows)}, {accessed(trained, subject)}.grad.item())"]
    return lines


def _sample(subject: ScriptSubject, rows: str) -> str:
    """Return the numbers of a row of x and y, as arguments of print."""
    table = subject.loaded.training
    assert table is not None
    if subject.prints_unrounded:
        return f"*samples[{rows}].flatten().tolist()"
    if table.x.shape[1] == 1 and table.y.ndim == 2 and table.y.shape[1] == 1:
        return f"x[{rows}].item(), y[{rows}].item()"
    y = f"y[{rows}].double()" if table.y.ndim == 1 else f"y[{rows}]"
    return f"*x[{rows}].flatten().tolist(), *{y}.flatten().tolist()"


def after_update(subject: ScriptSubject) -> list[str]:
    """Return the lines that print after a step's update."""
    if subject.spec.style != "backprop":
        return []
    state = "model.state_dict()" if subject.has_model else "{}"
    if subject.has_model and subject.has_buffers:
        return ['print(f"OrderedDict({[(name, p.detach()) for name, p in model.named_parameters()]})")']
    return [f'print(f"OrderedDict({{list({state}.items())}})")'] if subject.has_model else ['print("OrderedDict()")']


def after_epoch(subject: ScriptSubject) -> list[str]:
    """Return the lines that print after an epoch; ``full_loss`` is that of all rows, ``loss`` of the last step."""
    style = subject.spec.style
    if style == "epoch":
        return ['print(f"epoch {epoch}, loss {full_loss:f}")']
    if style == "tensor":
        return [loss_printed(subject, "epoch, ")]
    if style in ("manual", "autograd"):
        return ['print("progress:", epoch, loss.item())']
    if style == "trace":
        values = ", ".join(
            f"{name}: {{{accessed(name, subject).replace(chr(34), chr(39))}:f}}" for name in subject.shapes
        )
        line = f'print(f"epoch {{epoch}}, {values}")'
        if len(line) <= 110:
            return [line]
        return [
            'values = ", ".join(f"{name}: {value:f}" for name, value in parameters.items())',
            'print(f"epoch {epoch}, {values}")',
        ]
    return []


def at_the_end(subject: ScriptSubject, whole_loss: str) -> list[str]:
    """Return the lines that print after training; ``whole_loss`` is the expression of all rows' loss."""
    lines = _predicted(subject, "after")
    if subject.spec.style == "loss":
        lines += [*subject.mode("eval"), "with torch.no_grad():", f"    print({whole_loss})"]
    if subject.spec.style == "parameters" and subject.shapes:
        of = "parameters.values()" if subject.is_objective else "model.parameters()"
        lines += [f"for parameter in {of}:", "    print(parameter)"]
    return lines
