"""Clipped gradients: what the update rules take where the spec has `clip`, beside the gradient that is recorded."""

from __future__ import annotations

from collections.abc import Callable

import torch

from gdcli.engine.theta import Theta
from gdcli.spec.sections import Clip
from gdcli.zoo.arithmetic import Setting
from gdcli.zoo.update_rule import Bound

EPS = 1e-6
"""Added to the norm, as torch.nn.utils.clip_grad_norm_ does."""


class Clipping:
    """The gradient of a step, clipped into a buffer of its own that the update rules are bound to.

    By norm: g′ = min(1, c / (‖g‖ + 1e-6)) g, ‖g‖ the l2 norm over all trained parameters of a run. By value:
    g′ = min(max(−v, g), v), entry by entry. For one run these are the operations of torch.nn.utils.clip_grad_norm_ and
    clip_grad_value_, and their bits.

    Source: Pascanu, Mikolov, Bengio 2013, On the difficulty of training recurrent neural networks.
    """

    def __init__(self, theta: Theta, clip: Clip) -> None:
        self._theta, self.clipped = theta, torch.zeros_like(theta.stored_gradient)
        self.clip: Callable[[], object] = self._by_value(clip.value) if clip.norm is None else self._by_norm(clip.norm)

    def _by_value(self, value: float | None) -> Callable[[], object]:
        assert value is not None
        gradient, clipped = self._theta.stored_gradient, self.clipped
        most = min(value, torch.finfo(gradient.dtype).max)  # a bound beyond it makes NaN
        return lambda: torch.clamp(gradient, min=-most, max=most, out=clipped)

    def _by_norm(self, most: float) -> Callable[[], object]:
        theta, clipped = self._theta, self.clipped
        gradient, norm = theta.stored_gradient, torch.linalg.vector_norm
        if len(theta.values) > 1:
            axis = 0 if theta.innermost else 1
            scratch = torch.empty_like(gradient)

            def of_each_run() -> None:
                total = torch.sum(torch.mul(gradient, gradient, out=scratch), axis, keepdim=True).sqrt_()
                torch.mul(gradient, (most / (total + EPS)).clamp_(max=1.0), out=clipped)

            return of_each_run
        views = [view for slot in theta.trained if (view := theta.gradient_view(slot)) is not None]

        def of_one_run() -> None:
            total = norm(torch.stack([norm(view) for view in views]))
            torch.mul(gradient, (most / (total + EPS)).clamp_(max=1.0), out=clipped)

        return of_one_run


def after_clipping(bound: Bound, clipping: Clipping) -> Bound:
    """Return a rule whose step begins with clipping the gradient of all parameters."""
    clip, step = clipping.clip, bound.update

    def clip_and_step(lr: Setting, t: int) -> None:
        clip()
        step(lr, t)

    return Bound(clip_and_step, bound.state)
