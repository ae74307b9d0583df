"""What a spec adds to a step: a penalty to the loss and its derivatives, a clip to the gradient of the update."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

from gdcli.commands.explain.activations import ONE, TWO
from gdcli.commands.explain.expression import Expression, Label, call, defined, number, symbol, total, worked_factors
from gdcli.commands.explain.tree import LOSS, Group, Quantity, partial, quantity
from gdcli.spec.sections import Clip, Penalty

DATA_LOSS, PENALTY = Label("E", "E"), Label("P", "P")
NORM, FACTOR = Label("‖g‖", r"\lVert g \rVert"), Label("c", "c")


def penalized(gradient: Quantity, weight: Expression, penalty: Penalty) -> Quantity:
    """Return dL/dw = dE/dw + 2 λ₂ w + λ₁ sign(w), from that of the data's loss."""
    added = total(_slopes(weight, penalty))
    formula = total([gradient.formula, *_slopes(weight, penalty)])
    below = weight.name
    chain = gradient.chain if gradient.chain is not None else gradient.symbol
    chain = total([chain, defined(partial(PENALTY, below), added)])
    return Quantity(gradient.key, partial(LOSS, below), formula, worked_factors(formula), chain)


def _slopes(weight: Expression, penalty: Penalty) -> list[Expression]:
    found = [TWO * symbol("λ2", penalty.l2) * weight] if penalty.l2 else []
    return found + ([symbol("λ1", penalty.l1) * call("sign", weight)] if penalty.l1 else [])


def parts_of_loss(loss: Quantity, weights: Sequence[Expression], penalty: Penalty) -> tuple[Quantity, Quantity]:
    """Return the data's loss E and the penalty P, λ₁ Σ|w| + λ₂ Σw², of which L = E + P is the sum."""
    terms = []
    if penalty.l1:
        terms.append(symbol("λ1", penalty.l1) * total(call("abs", weight) for weight in weights))
    if penalty.l2:
        terms.append(symbol("λ2", penalty.l2) * total(weight**TWO for weight in weights))
    data = quantity(DATA_LOSS, loss.formula, loss.note, key="data_loss", title=loss.title)
    return data, quantity(PENALTY, total(terms), key="penalty", title="Penalty")


class WorkedClip:
    """The clip of a step: ``gradients`` are those of all trained scalars."""

    def __init__(self, clip: Clip, gradients: Callable[[], Iterable[Expression]]) -> None:
        self._clip, self._gradients = clip, gradients

    @cached_property
    def by_norm(self) -> tuple[Quantity, Quantity] | None:
        """The norm of the whole gradient, and the factor min(1, n / (‖g‖ + 1e-6)); None where entries are cut."""
        if self._clip.norm is None:
            return None
        norm = quantity(NORM, call("sqrt", total(one**TWO for one in self._gradients())), key="gradient_norm")
        ratio = symbol("n", self._clip.norm) / (norm.symbol + number(1e-6))
        return norm, quantity(FACTOR, call("min", ONE, ratio), key="clip_factor")

    def of(self, gradient: Expression) -> Expression:
        """Return the clipped gradient of a scalar."""
        if self.by_norm is not None:
            return self.by_norm[1].symbol * gradient
        assert self._clip.value is not None
        most = symbol("v", self._clip.value)
        return call("min", call("max", gradient, -most), most)

    def groups(self) -> list[Group]:
        """Return what stands above the update."""
        note = "The update takes the clipped gradient g′; what is recorded is the gradient before."
        return [Group(self.by_norm or (), "Clipping", (note,))]


def clip_of(clip: Clip, gradients: Callable[[], Iterable[Expression]]) -> WorkedClip | None:
    """Return the clip of a step; None where nothing is clipped."""
    return WorkedClip(clip, gradients) if clip.is_on else None
