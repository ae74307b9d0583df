"""The contract of an update rule, and what several rules share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Protocol

from annotated_types import Ge, Lt

from gdcli.zoo.arithmetic import Numbers, Setting, Update, arithmetic_of, is_zero

if TYPE_CHECKING:
    from torch import Tensor

NonNegative = Annotated[float, Ge(0)]
Beta = Annotated[float, Ge(0), Lt(1)]


@dataclass(frozen=True, slots=True)
class Bound:
    """A rule bound to its buffers.

    ``state`` holds, by torch's names, every tensor that the next step depends on: these copied back in place, the
    parameters and the number of the step resume a run to the bit.
    """

    update: Update
    state: dict[str, Tensor]


class Keeps:
    """How many tensors of the parameters' size a rule keeps from step to step: the annotation of what it returns.

    Each of the settings named adds one where it is not zero.
    """

    def __init__(self, tensors: int, *settings: str) -> None:
        self.tensors, self.settings = tensors, settings


class Rule(Protocol):
    """An optimizer with its settings, before it knows the parameters.

    A class and not a Callable, so that the annotations of this module resolve without torch.
    """

    def __call__(self, p: Tensor, g: Tensor) -> Bound:
        """Bind to parameters p [P], updated in place, and to their gradient g [P], never changed.

        Both stay the same buffers for the whole run. p takes no part in autograd, or the steps run under ``no_grad``.
        ValueError if a fleet has a momentum or weight_decay of zero in some of its runs only.
        """
        ...


def begin(
    p: Tensor, g: Tensor, weight_decay: Setting, maximize: bool, *settings: Setting, decoupled: bool = False
) -> tuple[Numbers, Tensor, list[Update]]:
    """Return the arithmetic of a rule's settings, d = ±g + λθ, and the updates that fill d: none where it is g itself.

    A decoupled decay multiplies θ by 1 - γλ instead of adding λθ to d.
    """
    import torch

    of = arithmetic_of(p, weight_decay, *settings)
    absent = is_zero("weight_decay", weight_decay)
    adds = not absent and not decoupled
    d = torch.empty_like(g) if maximize or adds else g
    updates: list[Update] = [lambda lr, t: torch.neg(g, out=d)] if maximize else []
    if adds:
        add_decay = of.add(d, p) if maximize else of.add(g, p, out=d)
        updates.append(lambda lr, t: add_decay(alpha=weight_decay))
    elif not absent:
        factor, cell = of.variable()

        def shrink(lr: Setting, t: int) -> None:
            cell[()] = 1 - lr * weight_decay
            p.mul_(factor)

        updates.append(shrink)
    return of, d, updates


def take_step(of: Numbers, p: Tensor, d: Tensor) -> Update:
    """Return θ ← θ − γd."""
    add, negative = of.add(p, d), of.negative()
    return lambda lr, t: add(alpha=negative(lr))


def average_of_squares(of: Numbers, v: Tensor, d: Tensor, beta: Setting) -> Update:
    """Return v ← βv + (1 − β)d²."""
    decay, weight, add_square = of.constant(beta), 1 - beta, of.add_product(v, d, d)

    def update(lr: Setting, t: int) -> None:
        v.mul_(decay)
        add_square(value=weight)

    return update
