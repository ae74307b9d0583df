"""Each optimizer's step for one scalar: the equations with their numbers, from the state before to the state after.

Equations and letters are those of gdcli.zoo.optimizers: γ the learning rate, λ weight decay, μ momentum, τ dampening,
ε the small number, t the step. A prime marks the value after the step. State is named as in the equations, and has
torch's name in ``after``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gdcli.commands.explain.activations import ONE, TWO, ZERO
from gdcli.commands.explain.expression import Expression, Label, call, latex_name, number, symbol
from gdcli.commands.explain.network import WorkedScalar
from gdcli.commands.explain.point import EvaluationPoint, ParameterRule
from gdcli.commands.explain.shaping import WorkedClip
from gdcli.commands.explain.tree import ExplanationSection, Group, Quantity, WorkedTable, primed, quantity

STATE_LETTERS = {
    "momentum_buffer": "b", "sum": "s", "square_avg": "v", "grad_avg": "a", "exp_avg": "m", "exp_avg_sq": "v",
    "max_exp_avg_sq": "w", "acc_delta": "u", "exp_inf": "u", "mu_product": "Π", "prev": "h", "step_size": "η",
    "eta": "η", "mu": "μ", "ax": "a",
}  # fmt: skip
"""The letter of each state that torch keeps, in the equations."""


@dataclass(slots=True)
class Scalar:
    """One parameter at one step: its symbol, its gradient, settings, state before, and the equations so far."""

    parameter: Expression
    gradient: Expression
    settings: Mapping[str, Any]
    lr: float
    state: Mapping[str, float]
    t: int
    lines: list[Quantity] = field(default_factory=list)
    after: dict[str, float] = field(default_factory=dict)  # state by torch's names

    @property
    def name(self) -> Label:
        """The name of the parameter."""
        return self.parameter.name

    @property
    def new(self) -> Quantity:
        """The new value of the parameter."""
        return next(line for line in self.lines if line.key.startswith("new_"))

    def of(self, letter: str, setting: str, place: int | None = None) -> Expression:
        """Return a setting as a symbol."""
        value = self.settings[setting] if place is None else self.settings[setting][place]
        return symbol(letter, value)

    @property
    def rate(self) -> Expression:
        """γ, the learning rate of the step."""
        return symbol("γ", self.lr)

    @property
    def time(self) -> Expression:
        """t, the number of the step."""
        return symbol("t", self.t)

    def line(self, letter: str, formula: Expression, note: str = "") -> Expression:
        """Note an equation and return its result as a symbol."""
        mark, head = letter.endswith("′"), letter.rstrip("′")
        base = Label(head, latex_name(head))
        found = quantity(primed(base) if mark else base, formula, note, key=f"{self.name.text}.{letter}")
        self.lines.append(found)
        return found.symbol

    def kept(self, name: str, formula: Callable[[Expression], Expression], note: str = "") -> Expression:
        """Note how a state, by torch's name, changes from the value before to the one after."""
        letter = STATE_LETTERS[name]
        now = self.line(f"{letter}′", formula(symbol(letter, self.state[name])), note)
        self.after[name] = now.value
        return now

    def descend(self, step: Expression, start: Expression | None = None) -> Quantity:
        """Note the new value of the parameter: what it was, less a step."""
        found = quantity(primed(self.name), (start or self.parameter) - step, key=f"new_{self.name.text}")
        self.lines.append(found)
        return found


def _direction(s: Scalar, *, decoupled: bool = False) -> tuple[Expression, Expression]:
    """Return g with its weight decay, and the parameter that the step starts from."""
    decoupled = decoupled or bool(s.settings.get("decoupled_weight_decay"))
    gradient = -s.gradient if s.settings.get("maximize") else s.gradient
    decay, theta = s.settings.get("weight_decay", 0), s.parameter
    if decay and not decoupled:
        gradient = gradient + s.of("λ", "weight_decay") * theta
    if decay and decoupled:
        theta = s.line("θ", (ONE - s.rate * s.of("λ", "weight_decay")) * theta)
    return (gradient if gradient is s.gradient else s.line("g", gradient)), theta


def _sgd(s: Scalar) -> None:
    g, theta = _direction(s)
    if not s.settings["momentum"]:
        s.descend(s.rate * g, theta)
        return
    mu, tau = s.of("μ", "momentum"), s.of("τ", "dampening")
    if s.t == 1:
        b = s.kept("momentum_buffer", lambda b: g, "the first step")
    elif s.settings["dampening"]:
        b = s.kept("momentum_buffer", lambda b: mu * b + (ONE - tau) * g)
    else:
        b = s.kept("momentum_buffer", lambda b: mu * b + g)
    s.descend(s.rate * (g + mu * b) if s.settings["nesterov"] else s.rate * b, theta)


def _adagrad(s: Scalar) -> None:
    g, theta = _direction(s)
    total = s.kept("sum", lambda before: before + g**TWO)
    rate = s.rate
    if s.settings["lr_decay"]:
        rate = s.line("γ′", s.rate / (ONE + (s.time - ONE) * s.of("η", "lr_decay")))
    s.descend(rate * g / (call("sqrt", total) + s.of("ε", "eps")), theta)


def _rmsprop(s: Scalar) -> None:
    g, theta = _direction(s)
    alpha = s.of("α", "alpha")
    v = s.kept("square_avg", lambda v: alpha * v + (ONE - alpha) * g**TWO)
    if s.settings["centered"]:
        a = s.kept("grad_avg", lambda a: alpha * a + (ONE - alpha) * g)
        v = s.line("w", v - a**TWO)
    scaled = g / (call("sqrt", v) + s.of("ε", "eps"))
    if s.settings["momentum"]:
        scaled = s.kept("momentum_buffer", lambda b: s.of("μ", "momentum") * b + scaled)
    s.descend(s.rate * scaled, theta)


def _moments(s: Scalar, g: Expression) -> tuple[Expression, Expression]:
    one, two = s.of("β1", "betas", 0), s.of("β2", "betas", 1)
    m = s.kept("exp_avg", lambda m: one * m + (ONE - one) * g)
    v = s.kept("exp_avg_sq", lambda v: two * v + (ONE - two) * g**TWO)
    return m, v


def _corrected(s: Scalar, letter: str, moment: Expression, place: int) -> Expression:
    beta = s.of(f"β{place + 1}", "betas", place)
    return s.line(letter, moment / (ONE - beta**s.time))


def _adam(s: Scalar, *, decoupled: bool = False) -> None:
    g, theta = _direction(s, decoupled=decoupled)
    m, v = _moments(s, g)
    if s.settings["amsgrad"]:
        v = s.kept("max_exp_avg_sq", lambda w: call("max", w, v))
    top, below = _corrected(s, "M", m, 0), _corrected(s, "V", v, 1)
    s.descend(s.rate * top / (call("sqrt", below) + s.of("ε", "eps")), theta)


def _adadelta(s: Scalar) -> None:
    g, theta = _direction(s)
    rho, eps = s.of("ρ", "rho"), s.of("ε", "eps")
    v = s.kept("square_avg", lambda v: rho * v + (ONE - rho) * g**TWO)
    u = symbol("u", s.state["acc_delta"])
    delta = s.line("Δ", call("sqrt", u + eps) / call("sqrt", v + eps) * g)
    s.kept("acc_delta", lambda u: rho * u + (ONE - rho) * delta**TWO)
    s.descend(s.rate * delta, theta)


def _adamax(s: Scalar) -> None:
    g, theta = _direction(s)
    one, two = s.of("β1", "betas", 0), s.of("β2", "betas", 1)
    m = s.kept("exp_avg", lambda m: one * m + (ONE - one) * g)
    u = s.kept("exp_inf", lambda u: call("max", two * u, call("abs", g) + s.of("ε", "eps")))
    s.descend(s.rate / (ONE - one**s.time) * m / u, theta)


def _nadam(s: Scalar) -> None:
    g, theta = _direction(s)
    m, v = _moments(s, g)
    one, psi, half, base = s.of("β1", "betas", 0), s.of("ψ", "momentum_decay"), number(0.5), number(0.96)
    mu = s.line("μ1", one * (ONE - half * base ** (s.time * psi)))
    following = s.line("μ2", one * (ONE - half * base ** ((s.time + ONE) * psi)))
    product = s.kept("mu_product", lambda product: product * mu)
    below = _corrected(s, "V", v, 1)
    ahead = s.line("M", following * m / (ONE - product * following) + (ONE - mu) * g / (ONE - product))
    s.descend(s.rate * ahead / (call("sqrt", below) + s.of("ε", "eps")), theta)


def _radam(s: Scalar) -> None:
    g, theta = _direction(s)
    m, v = _moments(s, g)
    two, four, t = s.of("β2", "betas", 1), number(4), s.time
    top = _corrected(s, "M", m, 0)
    longest = s.line("ρ", TWO / (ONE - two) - ONE)
    length = s.line("ρ′", longest - TWO * t * two**t / (ONE - two**t))
    if length.value <= 5:
        s.descend(s.rate * top, theta)
        return
    above = (length - four) * (length - TWO) * longest
    r = s.line("r", call("sqrt", above / ((longest - four) * (longest - TWO) * length)))
    scale = s.line("l", call("sqrt", ONE - two**t) / (call("sqrt", v) + s.of("ε", "eps")))
    s.descend(s.rate * top * r * scale, theta)


_GROW, _SHRINK = Label("η⁺", r"\eta^{+}"), Label("η⁻", r"\eta^{-}")


def _rprop(s: Scalar) -> None:
    g, theta = _direction(s)
    before = symbol("h", s.state["prev"])
    size = symbol("η", s.lr if s.t == 1 else s.state["step_size"])
    agreement = g.value * before.value
    low, high = (symbol(f"Γ{k + 1}", s.settings["step_sizes"][k]) for k in (0, 1))
    factor, note = ONE, "g · h = 0: the size stays"
    if agreement > 0:
        factor, note = symbol(_GROW, s.settings["etas"][1]), "g · h > 0: the sign stays, a larger step"
    elif agreement < 0:
        factor, note = symbol(_SHRINK, s.settings["etas"][0]), "g · h < 0: the sign changed, a smaller step"
    now = s.kept("step_size", lambda _: call("min", call("max", size * factor, low), high), note)
    held = s.kept("prev", lambda _: g if agreement >= 0 else ZERO, "" if agreement >= 0 else "no step back")
    s.descend(now * call("sign", held), theta)


def _asgd(s: Scalar) -> None:
    g, theta = _direction(s)
    eta = symbol("η", s.lr if s.t == 1 else s.state["eta"])
    mu, kappa = symbol("μ", s.state["mu"]), s.of("κ", "lambd")
    shrunk = s.line("θ", (ONE - kappa * eta) * theta)
    new = s.descend(eta * g, shrunk)
    if mu.value == 1:
        s.kept("ax", lambda a: new.symbol, "μ = 1")
    else:
        s.kept("ax", lambda a: a + mu * (new.symbol - a))
    s.kept("eta", lambda _: s.rate / (ONE + kappa * s.rate * s.time) ** s.of("α", "alpha"))
    s.kept("mu", lambda _: ONE / call("max", ONE, s.time - s.of("τ", "t0")))


RULES: dict[str, Callable[[Scalar], None]] = {
    "sgd": _sgd, "adagrad": _adagrad, "rmsprop": _rmsprop, "adam": _adam,
    "adamw": lambda s: _adam(s, decoupled=True), "adadelta": _adadelta, "adamax": _adamax, "nadam": _nadam,
    "radam": _radam, "rprop": _rprop, "asgd": _asgd,
}  # fmt: skip


_LETTERS = {
    "momentum": "μ", "dampening": "τ", "weight_decay": "λ", "eps": "ε", "alpha": "α", "betas": "β1 β2", "rho": "ρ",
    "lr_decay": "η", "momentum_decay": "ψ", "etas": "η⁻ η⁺", "step_sizes": "Γ1 Γ2",
}  # fmt: skip
_OWN_LETTERS = {"asgd": {"lambd": "κ", "t0": "τ"}}


# --- as a section -----------------------------------------------------------------------------------------------------


def gradients_of(rules: Mapping[str, ParameterRule], of: Iterable[WorkedScalar]) -> Iterator[Expression]:
    """Yield the derivative at each scalar that is trained."""
    return (scalar.gradient().symbol for scalar in of if scalar.parameter in rules)


def updated(
    rules: Mapping[str, ParameterRule], of: Iterable[WorkedScalar], clip: WorkedClip | None = None
) -> Iterator[Scalar]:
    """Yield the scalars that are trained after their step, with the equations that led there."""
    for scalar in of:
        if rule := rules.get(scalar.parameter):
            gradient, state = scalar.gradient().symbol, rule.state[scalar.place]
            found = Scalar(scalar.symbol, gradient, rule.settings, rule.lr, state, rule.step)
            if clip is not None:
                found.gradient = found.line("g′", clip.of(gradient))
            RULES[rule.optimizer](found)
            yield found


def update_section(
    point: EvaluationPoint, of: Iterable[WorkedScalar], clip: WorkedClip | None = None
) -> list[ExplanationSection]:
    """Return the section of the update of a model's parameters; none where nothing is updated."""
    scalars = list(updated(point.rules, of, clip))
    if not scalars:
        return []
    first, optimizer = scalars[0], next(iter(point.rules.values())).optimizer
    notes = (
        f"The rule is that of {optimizer}.",
        *_taught(optimizer, first.settings),
        *(f"{name} is frozen and stays." for name in point.parameters if name not in point.rules),
    )
    table = WorkedTable(("letter", "setting", "value"), _settings_of(optimizer, first))
    clipped = [] if clip is None else clip.groups()
    groups = [*clipped, Group((), "", notes, table), *_states("State before", scalars, [one.state for one in scalars])]
    if all(len(scalar.lines) == 1 for scalar in scalars):
        groups.append(Group(tuple(scalar.lines[0] for scalar in scalars)))
    else:
        groups += [Group(tuple(scalar.lines), scalar.name.text) for scalar in scalars]
    groups += _states("State after", scalars, [one.after for one in scalars])
    if optimizer == "sgd" and first.settings["momentum"] and not first.settings["dampening"]:
        groups.append(_average(first))
    return [ExplanationSection("Update", tuple(groups))]


def _settings_of(optimizer: str, scalar: Scalar) -> tuple[tuple[str, str, str], ...]:
    """Return the letters of a rule with the settings that they stand for and their values, those in use."""
    letters = {**_LETTERS, **_OWN_LETTERS.get(optimizer, {})}
    rows = [("γ", "lr", repr(scalar.lr))]
    for key, value in scalar.settings.items():
        if key in letters and value not in (0, False):
            parts = zip(letters[key].split(), value if isinstance(value, list | tuple) else [value], strict=False)
            rows += [(letter, key, repr(one)) for letter, one in parts]
    return tuple(rows)


def _taught(optimizer: str, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return where torch's rule is not as textbooks write it; momentum has `_average`."""
    if optimizer == "adagrad":
        return (f"Textbooks have 1e-6 or 1e-8 for ε, torch {settings['eps']!r}.",)
    if optimizer == "rmsprop" and settings["momentum"]:
        return ("Textbooks have no momentum here, θ′ = θ − γ · g / (√(v′) + ε); torch collects the quotients in b.",)
    return ()


def _states(title: str, scalars: Sequence[Scalar], states: Sequence[Mapping[str, float]]) -> list[Group]:
    if not states[0]:
        return []
    header = ("", *(f"{STATE_LETTERS[name]} ({name})" for name in states[0]))
    rows = tuple(
        (scalar.name.text, *(repr(state[name]) for name in states[0]))
        for scalar, state in zip(scalars, states, strict=True)
    )
    return [Group((), title, (), WorkedTable(header, rows))]


def _average(s: Scalar) -> Group:
    """Return momentum as an average, S ← βS + (1 − β)g, beside torch's sum, for a step with ``dampening`` 0.

    With S and b both zero before the first step, S is (1 − β) b throughout: the same direction, shorter steps.
    """
    name, beta = s.name.text, symbol("β", s.settings["momentum"])
    other = replace(s, lines=[])
    before = other.line("S", (ONE - beta) * symbol("b", 0.0 if s.t == 1 else s.state["momentum_buffer"]))
    g, _ = _direction(other)
    now = other.line("S′", beta * before + (ONE - beta) * g)
    found = quantity(Label(f"{name}″", rf"{s.name.latex}''"), s.parameter - s.rate * now, key=f"average_{name}")
    notes = (
        "torch's buffer is a sum, b′ = μ · b + g. Momentum is often taught as an average, S′ = β · S + (1 − β) · g.",
        "With β = μ, S is (1 − β) · b: the same direction, a shorter step. In torch it is dampening = momentum",
        "(which takes the whole g at the first step), or lr · (1 − momentum) with the sum.",
        f"After such a step {name} would be {name}″:",
    )
    return Group((*other.lines, found), "Momentum as an average", notes)
