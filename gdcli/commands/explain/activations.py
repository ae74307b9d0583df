"""Each activation as a formula: its value at a neuron's weighted sum, and its derivative there.

``z`` is the weighted sum and ``a`` the output, both as symbols with values. Where a rule has cases, the case that
applies is written, and a note says which it is. Equations: gdcli.zoo.activations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gdcli.commands.explain.expression import Expression, call, number, text, total

ONE, ZERO, TWO, THREE, SIX = number(1), number(0), number(2), number(3), number(6)
HALF = number(0.5)

Worked = tuple[Expression, str]  # a formula, and the case that it is


@dataclass(frozen=True, slots=True)
class ElementwiseRule:
    """An activation of one weighted sum: ``value(z)`` and ``derivative(z, a)``."""

    value: Callable[[Expression], Worked]
    derivative: Callable[[Expression, Expression], Worked]


def _case(z: Expression, condition: str) -> str:
    return f"since {text(z)} {condition}"


def _by_sign(
    above: Callable[[Expression], Expression], below: Callable[[Expression], Expression]
) -> Callable[[Expression], Worked]:
    return lambda z: (above(z), _case(z, "> 0")) if z.value > 0 else (below(z), _case(z, "≤ 0"))


def _rectifier(
    below: Callable[[Expression], Expression],
    slope: Callable[[Expression], Expression],
    above: Callable[[Expression], Expression] = lambda z: z,
    upper: Expression = ONE,
) -> ElementwiseRule:
    derivative = _by_sign(lambda z: upper, slope)
    return ElementwiseRule(_by_sign(above, below), lambda z, a: derivative(z))


def _smooth(
    value: Callable[[Expression], Expression], derivative: Callable[[Expression, Expression], Expression]
) -> ElementwiseRule:
    return ElementwiseRule(lambda z: (value(z), ""), lambda z, a: (derivative(z, a), ""))


def _ramp(
    value: Callable[[Expression], Expression],
    low: int,
    high: int,
    inside: Callable[[Expression], Expression] = lambda z: ONE,
    *,
    beyond: Expression = ZERO,
    closed: bool = False,
    more: str = "",
) -> ElementwiseRule:
    """Return a rule whose derivative is 0 up to ``low``, ``inside(z)`` between, and ``beyond`` from ``high`` on."""
    sign = "≤" if closed else "<"

    def derivative(z: Expression, a: Expression) -> Worked:
        if (low <= z.value <= high) if closed else (low < z.value < high):
            return inside(z), f"since {low} {sign} {text(z)} {sign} {high}{more}"
        return (ZERO, _case(z, f"≤ {low}")) if z.value <= low else (beyond, _case(z, f"≥ {high}"))

    return ElementwiseRule(lambda z: (value(z), ""), derivative)


def _clipped(low: Expression, z: Expression, high: Expression) -> Expression:
    return call("min", call("max", low, z), high)


def _logistic(z: Expression) -> Worked:
    if z.value < -700:  # exp(-z) would be beyond float64
        return call("exp", z) / (ONE + call("exp", z)), ""
    return ONE / (ONE + call("exp", -z)), ""


def _mish_factor(z: Expression) -> Expression:
    return call("tanh", call("softplus", z))


def _exp_minus_1(z: Expression) -> Expression:
    return call("exp", z) - ONE


_step = _by_sign(lambda z: ONE, lambda z: ZERO)
_SIXTH = number(0.1666666716337204)  # torch rounds it to float32 in float64 too
_ALPHA, _SCALE = number(1.6732632423543772), number(1.0507009873554805)

ELEMENTWISE: dict[str, ElementwiseRule] = {
    "relu": ElementwiseRule(lambda z: (call("max", ZERO, z), ""), lambda z, a: _step(z)),
    "leaky_relu": _rectifier(lambda z: number(0.01) * z, lambda z: number(0.01)),
    "relu6": _ramp(lambda z: _clipped(ZERO, z, SIX), 0, 6),
    "elu": _rectifier(_exp_minus_1, lambda z: call("exp", z)),
    "selu": _rectifier(
        lambda z: _SCALE * _ALPHA * _exp_minus_1(z), lambda z: _SCALE * _ALPHA * call("exp", z),
        lambda z: _SCALE * z, _SCALE,
    ),
    "celu": _rectifier(_exp_minus_1, lambda z: call("exp", z)),
    "gelu": _smooth(lambda z: z * call("Φ", z), lambda z, a: call("Φ", z) + z * call("φ", z)),
    "sigmoid": ElementwiseRule(_logistic, lambda z, a: (a * (ONE - a), "")),
    "hardsigmoid": _ramp(
        lambda z: _clipped(ZERO, z + THREE, SIX) / SIX, -3, 3, lambda z: _SIXTH, more=", 1/6 as torch has it"
    ),
    "tanh": _smooth(lambda z: call("tanh", z), lambda z, a: ONE - a**TWO),
    "hardtanh": _ramp(lambda z: _clipped(-ONE, z, ONE), -1, 1),
    "silu": _smooth(lambda z: z * call("σ", z), lambda z, a: call("σ", z) * (ONE + z * (ONE - call("σ", z)))),
    "hardswish": _ramp(
        lambda z: z * _clipped(ZERO, z + THREE, SIX) / SIX, -3, 3, lambda z: z / THREE + HALF, beyond=ONE
    ),
    "mish": _smooth(
        lambda z: z * _mish_factor(z),
        lambda z, a: _mish_factor(z) + z * call("σ", z) * (ONE - _mish_factor(z) ** TWO),
    ),
    "softplus": ElementwiseRule(
        lambda z: (z, _case(z, "> 20")) if z.value > 20 else (call("log", ONE + call("exp", z)), ""),
        lambda z, a: (ONE, _case(z, "> 20")) if z.value > 20 else (call("σ", z), ""),
    ),
    "softsign": _smooth(lambda z: z / (ONE + call("abs", z)), lambda z, a: ONE / (ONE + call("abs", z)) ** TWO),
    "logsigmoid": _smooth(lambda z: -call("log", ONE + call("exp", -z)), lambda z, a: call("σ", -z)),
    "tanhshrink": _smooth(lambda z: z - call("tanh", z), lambda z, a: call("tanh", z) ** TWO),
    "sign_ste": _ramp(lambda z: call("sign", z), -1, 1, closed=True),
}  # fmt: skip


# --- activations of a whole layer -------------------------------------------------------------------------------------


def softmax_value(z: list[Expression], j: int) -> Expression:
    """Return exp(zⱼ) / Σ exp(zₖ), with the largest z taken off where exp would leave float64."""
    powers = _powers(z)
    return powers[j] / total(powers)


def log_softmax_value(z: list[Expression], j: int) -> Expression:
    """Return zⱼ − log Σ exp(zₖ)."""
    largest = max(z, key=lambda one: one.value)
    if abs(largest.value) > 300:
        return z[j] - largest - call("log", total(_powers(z)))
    return z[j] - call("log", total(call("exp", one) for one in z))


def _powers(z: list[Expression]) -> list[Expression]:
    largest = max(z, key=lambda one: abs(one.value))
    top = max(z, key=lambda one: one.value)
    return [call("exp", one - top if abs(largest.value) > 300 else one) for one in z]


Value = Callable[[list[Expression], int], Expression]
Slope = Callable[[list[Expression], int, int], Expression]

LAYERWISE: dict[str, tuple[Value, Slope]] = {
    "softmax": (softmax_value, lambda a, i, j: a[i] * (ONE - a[i]) if i == j else -a[i] * a[j]),
    "log_softmax": (log_softmax_value, lambda a, i, j: ONE - call("exp", a[i]) if i == j else -call("exp", a[j])),
}
"""Activations whose every output depends on all weighted sums of the layer: value(z, j) and slope(a, i, j).

The slope is daᵢ/dzⱼ: aᵢ (1 − aᵢ) or 1 − exp(aᵢ) for its own, else −aᵢ aⱼ or −exp(aⱼ).
"""
