"""The sums that losses of classes are made of, where classes have weights or the targets are smoothed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MEAN, IGNORED = 1, -100
"""Torch's numbers for reduction and ignore_index."""


def nll_of_log_softmax() -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return (o [B, C], c [B]) -> L = −Σ_b log softmax(o_b)[c_b] / B and dL/do, from one log softmax.

    The operations are those that torch.nn.CrossEntropyLoss and its way back make, and so are the bits.
    """
    import torch

    forward, backward = torch.ops.aten.nll_loss_forward.default, torch.ops.aten.nll_loss_backward.default
    log_softmax, through_log_softmax, one = torch.log_softmax, torch._log_softmax_backward_data, cache(torch.ones)

    def both(o: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        log_p = log_softmax(o, -1)
        loss, rows = forward(log_p, t, None, MEAN, IGNORED)
        d = backward(one((), dtype=o.dtype, device=o.device), log_p, t, None, MEAN, IGNORED, rows)
        return loss, through_log_softmax(d, log_p, -1, o.dtype)

    return both


class ClassTerms:
    """L = −Σ_b Σ_j q_bj log p_bj / Σ_b w[c_b], q_bj = w_j ((1 − ε) [j = c_b] + ε / C).

    Of rows of probabilities t in place of classes c, q_bj = w_j ((1 − ε) t_bj + ε / C), and the divisor is B.

    For one run [B, C] the derivative has the operations of torch's autograd, and its bits; for many runs [R, B, C] it
    is the equation. Source: torch.nn.CrossEntropyLoss; Szegedy et al. 2016, Rethinking the Inception Architecture.
    """

    def __init__(self, weights: Sequence[float] | None, smoothing: float = 0.0) -> None:
        self._numbers, self._smoothing = weights, smoothing
        self._tensor = cache(self._made)

    def weights(self, o: Tensor) -> Tensor | None:
        """Return w [C] for outputs [.., C], 1 for classes beyond the numbers; None where all count the same."""
        return None if self._numbers is None else self._tensor(o.shape[-1], o.dtype, o.device)

    def _made(self, classes: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        import torch

        assert self._numbers is not None
        rest = [1.0] * (classes - len(self._numbers))
        return torch.tensor([*self._numbers, *rest], dtype=dtype, device=device)

    def of_rows(self, t: Tensor) -> Tensor:
        """Return w[c] of rows of classes, in float64. Synchronises with the device."""
        import torch

        weights = self._tensor(int(t.max()) + 1, torch.float64, t.device)
        return weights[t]

    def terms(self, log_p: Tensor, t: Tensor) -> Tensor:
        """Return a term of each row [.., B], of which the loss is the mean."""
        weights, epsilon, classes = self.weights(log_p), self._smoothing, log_p.shape[-1]
        weighted = log_p if weights is None else log_p * weights
        if t.is_floating_point():
            return -(self._smoothed(t, classes) * weighted).sum(-1)
        place = t.expand(log_p.shape[:-1]).unsqueeze(-1)
        found = -weighted.gather(-1, place).squeeze(-1)
        if epsilon:
            found = (1 - epsilon) * found - epsilon / classes * weighted.sum(-1)
        if weights is None:
            return found
        of_rows = weights[t]  # [.., B]
        return found * (of_rows.shape[-1] / of_rows.sum(-1, keepdim=True))

    def _smoothed(self, t: Tensor, classes: int) -> Tensor:
        return t * (1 - self._smoothing) + self._smoothing / classes if self._smoothing else t

    def once(self, o: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return loss and dL/do of one run's outputs [B, C] and classes, from one log softmax, with torch's bits."""
        import torch

        weights, epsilon, log_p = self.weights(o), self._smoothing, torch.log_softmax(o, -1)
        loss, total = torch.ops.aten.nll_loss_forward.default(log_p, t, weights, MEAN, IGNORED)
        d = torch._log_softmax_backward_data(self._of_one(log_p, t, weights, total), log_p, -1, o.dtype)
        if epsilon:
            all_classes = -(log_p if weights is None else log_p * weights).sum(1)
            mean = all_classes.mean() if weights is None else all_classes.sum() / weights[t].sum()
            loss = (1 - epsilon) * loss + mean * (epsilon / log_p.shape[1])
        return loss, d

    def slope(self, log_p: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """Return (log p, t) -> dL/d(log p), for outputs [B, C] of one run's batch, or of many runs."""
        import torch

        rows = log_p.shape[0]

        def at_log(log_p: Tensor, t: Tensor) -> Tensor:
            weights = self.weights(log_p)
            if t.is_floating_point():
                share = log_p.new_tensor(-1 / rows)
                q = self._smoothed(t, log_p.shape[-1])
                return (q * share if weights is None else q * (share * weights)).expand_as(log_p)
            if log_p.ndim > 2:
                return self._of_many(log_p, t, weights)
            total = torch.ops.aten.nll_loss_forward.default(log_p, t, weights, MEAN, IGNORED)[1]
            return self._of_one(log_p, t, weights, total)

        return at_log

    def _of_one(self, log_p: Tensor, t: Tensor, weights: Tensor | None, total: Tensor) -> Tensor:
        """Return what autograd gives, by its own primitives; ``total`` is Σ w[c] as torch sums it, in its own order."""
        import torch

        aten, epsilon = torch.ops.aten, self._smoothing
        of_class = log_p.new_tensor(1 - epsilon)
        hard: Tensor = aten.nll_loss_backward.default(of_class, log_p, t, weights, MEAN, IGNORED, total)
        if not epsilon:
            return hard
        share = log_p.new_tensor(epsilon / log_p.shape[1])
        if weights is None:
            return hard - share / len(t)
        return hard + (-(share / weights[t].sum())) * weights

    def _of_many(self, log_p: Tensor, t: Tensor, weights: Tensor | None) -> Tensor:
        import torch

        epsilon, classes = self._smoothing, log_p.shape[-1]
        of_rows = log_p.new_ones(t.shape) if weights is None else weights[t]  # [R or 1, B]
        share = (of_rows.sum(-1, keepdim=True).unsqueeze(-1)).reciprocal()  # [R or 1, 1, 1]
        place = t.expand(log_p.shape[:-1]).unsqueeze(-1)
        hard = (-(1 - epsilon) * of_rows.unsqueeze(-1) * share).expand(place.shape)
        found = torch.zeros_like(log_p)
        if epsilon:
            found += (-epsilon / classes) * share * (1.0 if weights is None else weights)
        return found.scatter_add_(-1, place, hard)
