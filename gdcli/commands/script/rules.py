"""The loss, the update rule and the schedules of a script, as torch has them: each has the bits of gdcli's own."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from gdcli.commands.script.layout import Brackets, call, comment, layout, literal
from gdcli.commands.script.model import accessed, first_sentence
from gdcli.commands.script.subject import ScriptSubject, is_followed, then_of
from gdcli.spec.class_weights import for_outputs
from gdcli.spec.models import match
from gdcli.spec.sections import Ingredient, Optimizer
from gdcli.zoo.losses import LOSSES
from gdcli.zoo.optimizers import OPTIMIZERS

OF_TORCH = {
    "mse": "MSELoss", "mae": "L1Loss", "smooth_l1": "SmoothL1Loss", "huber": "HuberLoss", "bce": "BCELoss",
    "bce_with_logits": "BCEWithLogitsLoss", "cross_entropy": "CrossEntropyLoss", "nll": "NLLLoss",
}  # fmt: skip
"""The losses that torch has a class of."""

FORMULAS = {
    "sse": "((output - target) ** 2).sum()",
    "half_sse": "((output - target) ** 2).sum() / 2",
    "half_mse": "((output - target) ** 2 / 2).mean()",
    "kl_div": "(torch.xlogy(target, target) - target * output).mean()",
}
"""And the others: by hand."""

RULES = {
    "sgd": "SGD", "adagrad": "Adagrad", "rmsprop": "RMSprop", "adam": "Adam", "adamw": "AdamW", "adadelta": "Adadelta",
    "adamax": "Adamax", "nadam": "NAdam", "radam": "RAdam", "rprop": "Rprop", "asgd": "ASGD",
}  # fmt: skip

EQUATIONS = {
    "sgd": "Gradient descent: θ ← θ − lr g",
    "momentum": "Momentum: b ← μ b + g, θ ← θ − lr b",
    "adagrad": "Adagrad: s ← s + g², θ ← θ − lr g / (√s + ε)",
    "adam": (
        "Adam: m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g²,\n      θ ← θ − lr m / (1 − β₁ᵗ) / (√v / √(1 − β₂ᵗ) + ε)"
    ),
    "adadelta": "Adadelta: v ← ρ v + (1 − ρ) g², Δ ← √(u + ε) / √(v + ε) g, u ← ρ u + (1 − ρ) Δ², θ ← θ − lr Δ",
    "adamax": "Adamax: m ← β₁ m + (1 − β₁) g, u ← max(β₂ u, |g| + ε), θ ← θ − lr / (1 − β₁ᵗ) m / u",
}
"""The update rules without their options; g is the gradient."""

SCHEDULES = {
    "step": "StepLR", "multi_step": "MultiStepLR", "constant": "ConstantLR", "linear": "LinearLR",
    "exponential": "ExponentialLR", "polynomial": "PolynomialLR", "cosine_annealing": "CosineAnnealingLR",
    "cosine_annealing_warm_restarts": "CosineAnnealingWarmRestarts", "reduce_on_plateau": "ReduceLROnPlateau",
    "one_cycle": "OneCycleLR", "warmup": "SequentialLR",
}  # fmt: skip


# --- loss -------------------------------------------------------------------------------------------------------------


def loss_definition(subject: ScriptSubject) -> list[str]:
    """Return the function of a loss that torch has no class of."""
    loss = subject.spec.loss
    if loss is None or loss.name not in FORMULAS:
        return []
    told = first_sentence(LOSSES[loss.name].__doc__ or "")
    return ["def criterion(output, target):", f'    """{told}"""', f"    return {FORMULAS[loss.name]}"]


def loss_lines(subject: ScriptSubject) -> list[str]:
    """Return the lines that make a loss of torch's."""
    loss, loaded = subject.spec.loss, subject.loaded
    if loss is None or loss.name not in OF_TORCH:
        return []
    given = {key: value for key, value in loss.arguments.items() if key not in ("class_weights", "pos_weight")}
    made = call(f"nn.{OF_TORCH[loss.name]}", **_changed(given, getattr(torch.nn, OF_TORCH[loss.name])))
    if (factor := loss.arguments.get("pos_weight", 1)) != 1:
        tensor = call("torch.tensor", repr(float(factor)), *subject.dtype())
        made = Brackets(made.opening, (*made.items, f"pos_weight={tensor.flat()}"), made.closing)
    weights = for_outputs(loss, loaded.training, loaded.architecture)
    lines = comment(first_sentence(LOSSES[loss.name].__doc__ or ""))
    if weights is not None:
        outputs = subject.layers[-1].output[0] if subject.layers else len(weights)
        numbers = literal([*weights, *([1.0] * (outputs - len(weights)))])
        if loss.arguments["class_weights"] == "balanced":
            lines += ["# balanced: n / (K n_c), of n training rows of K classes n_c of class c"]
        lines += layout("class_weights = ", call("torch.tensor", numbers, *subject.dtype()))
        made = Brackets(made.opening, ("weight=class_weights", *made.items), made.closing)
    return [*lines, *layout("criterion = ", made)]


def _changed(given: Mapping[str, Any], function: Any) -> dict[str, Any]:
    """Return the arguments that differ from torch's own defaults."""
    defaults = {name: each.default for name, each in inspect.signature(function).parameters.items()}
    return {key: value for key, value in given.items() if _plain(value) != _plain(defaults.get(key, _NOTHING))}


_NOTHING = object()


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


# --- update rule ------------------------------------------------------------------------------------------------------

Part = tuple[str | None, str | None]
"""The pattern of a group of the optimizer, and that of a group of the scheduler."""


def parts_of(subject: ScriptSubject) -> dict[Part, list[str]]:
    """Return the trained parameters by their groups, in the order of the first of each."""
    optimizer, scheduler = subject.spec.optimizer, subject.spec.scheduler
    assert optimizer is not None
    found: dict[Part, list[str]] = {}
    for name in subject.trained:
        part = _last([*optimizer.groups], name), _last([*scheduler.groups] if scheduler else [], name)
        found.setdefault(part, []).append(name)
    return found


def _last(patterns: list[str], name: str) -> str | None:
    return next((pattern for pattern in reversed(patterns) if match(pattern, {name: 0})), None)


def schedule_of(subject: ScriptSubject, part: Part) -> Ingredient | None:
    """Return the schedule of a group of parameters."""
    scheduler = subject.spec.scheduler
    return None if scheduler is None else scheduler.base if part[1] is None else scheduler.groups[part[1]]


def optimizers(subject: ScriptSubject) -> list[tuple[str, list[Part]]]:
    """Return each optimizer's name in the script and its groups: one for each schedule."""
    of: dict[str | None, list[Part]] = {}
    for part in parts_of(subject):
        of.setdefault(part[1], []).append(part)
    names = ["optimizer"] if len(of) == 1 else [f"optimizer{k}" for k in range(1, len(of) + 1)]
    return list(zip(names, of.values(), strict=True))


def optimizer_lines(subject: ScriptSubject) -> list[str]:
    """Return the lines that make the update rule, or one for each schedule."""
    optimizer, parts = subject.spec.optimizer, parts_of(subject)
    assert optimizer is not None
    lines = comment(equation(optimizer))
    for name, groups in optimizers(subject):
        settings = dict(optimizer.arguments)
        if len(groups) == 1:
            settings |= optimizer.groups[groups[0][0]] if groups[0][0] else {}
            given: str | Brackets = _parameters(subject, parts[groups[0]])
        else:
            entries = [_entry(subject, parts[part], optimizer.groups[part[0]] if part[0] else {}) for part in groups]
            given = Brackets("[", tuple(entries), "]")
        changed = {"lr": settings["lr"], **_changed(settings, getattr(torch.optim, RULES[optimizer.name]))}
        lines += layout(f"{name} = ", call(f"torch.optim.{RULES[optimizer.name]}", given, **_lists(changed)))
    return lines


def _lists(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _plain(value) for key, value in settings.items()}


def _parameters(subject: ScriptSubject, names: list[str]) -> str | Brackets:
    if names == subject.trained:
        return "parameters.values()" if subject.is_objective else "model.parameters()"
    return Brackets("[", tuple(accessed(name, subject) for name in names), "]")


def _entry(subject: ScriptSubject, names: list[str], settings: Mapping[str, Any]) -> Brackets:
    parameters = Brackets('"params": [', tuple(accessed(name, subject) for name in names), "]")
    items = []
    for key, value in settings.items():
        text = literal(_plain(value))
        items.append(f'"{key}": {text if isinstance(text, str) else text.flat()}')
    return Brackets("{", (parameters, *items), "}")


def equation(optimizer: Optimizer) -> str:
    """Return an update rule's equations: short where no option is on, else those of the zoo with all of them."""
    options = ("weight_decay", "nesterov", "maximize", "amsgrad", "centered", "lr_decay", "dampening")
    is_plain = not any(optimizer.arguments.get(key) for key in options) and not optimizer.groups
    name = "momentum" if optimizer.arguments.get("momentum") and optimizer.name == "sgd" else optimizer.name
    if is_plain and name in EQUATIONS:
        return EQUATIONS[name]
    first, block, legend = (inspect.getdoc(OPTIMIZERS[optimizer.name]) or "").split("\n\n")[:3]
    lines = [line.strip() for line in block.split("\n")]
    return "\n".join([first.split("\n")[0], *(f"    {line}" for line in lines), *legend.split("\n")])


# --- schedules --------------------------------------------------------------------------------------------------------


def scheduler_name(optimizer: str) -> str:
    """Return the name of an optimizer's scheduler."""
    return optimizer.replace("optimizer", "scheduler")


def warmup_name(optimizer: str) -> str:
    """Return the name of an optimizer's warm-up, where it is a schedule by itself."""
    return optimizer.replace("optimizer", "warmup")


def scheduled(subject: ScriptSubject) -> Iterator[tuple[str, Ingredient]]:
    """Yield each optimizer that has a schedule, by its name, with it."""
    for name, groups in optimizers(subject):
        schedule = schedule_of(subject, groups[0])
        if schedule is not None:
            yield name, schedule


def scheduler_lines(subject: ScriptSubject) -> list[str]:
    """Return the lines that make the schedules of the learning rate."""
    lines: list[str] = []
    for name, schedule in scheduled(subject):
        if is_followed(schedule) and schedule.name == "warmup":
            then = then_of(schedule)
            lines += layout(f"{warmup_name(name)} = ", _schedule(subject, name, schedule))
            schedule = Ingredient(then.pop("name"), then)
        lines += layout(f"{scheduler_name(name)} = ", _schedule(subject, name, schedule))
    return lines


def _schedule(subject: ScriptSubject, optimizer: str, schedule: Ingredient) -> Brackets:
    given, home = dict(schedule.arguments), "torch.optim.lr_scheduler"
    if schedule.name == "one_cycle":
        settings = subject.spec.optimizer
        assert settings is not None
        lr = [
            {**settings.arguments, **(settings.groups[part[0]] if part[0] else {})}["lr"]
            for name, groups in optimizers(subject) for part in groups if name == optimizer
        ]  # fmt: skip
        changed = _changed(given, torch.optim.lr_scheduler.OneCycleLR)
        steps = {"max_lr": lr[0] if len(lr) == 1 else lr, "total_steps": subject.epochs * subject.per_epoch}
        return call(f"{home}.OneCycleLR", optimizer, **steps, **changed, cycle_momentum=False)
    if schedule.name == "warmup":
        iterations = given["total_iters"]
        changed = _changed(
            {"start_factor": given["start_factor"], "total_iters": iterations}, torch.optim.lr_scheduler.LinearLR
        )
        rise = call(f"{home}.LinearLR", optimizer, **changed)
        if given["then"] is None or is_followed(schedule):
            return rise
        then = then_of(schedule)
        after = _schedule(subject, optimizer, Ingredient(then.pop("name"), then))
        return call(f"{home}.SequentialLR", optimizer, Brackets("[", (rise, after), "]"), milestones=[iterations])
    kind = SCHEDULES[schedule.name]
    changed = _changed(given, getattr(torch.optim.lr_scheduler, kind))
    return call(f"{home}.{kind}", optimizer, **_lists(changed))
