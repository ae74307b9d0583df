"""Losses: the value as torch computes it, the derivative at the output by hand, and what the styles call them.

Each function returns a :class:`Loss`. With o the model's output and t the target, both [B, O], N = B·O; means are over
all N elements, for classes over the B rows. Derivative and terms also take the outputs of R runs at once, with an axis
of runs in front or, for losses without classes, at the end.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt, Le, Len

from gdcli.zoo.class_terms import ClassTerms, nll_of_log_softmax

if TYPE_CHECKING:
    from torch import Tensor


Pointwise = Callable[["Tensor", "Tensor"], "Tensor"]  # (output, target) -> Tensor
ClassWeights = Literal["balanced"] | Annotated[list[Annotated[float, Ge(0)]], Len(1)]
Targets = Literal["values", "probabilities", "classes"]


Joint = Callable[["Tensor", "Tensor"], tuple["Tensor", "Tensor"]]  # (output, target) -> terms, dL/do


@dataclass(frozen=True, slots=True)
class Loss:
    """One loss.

    ``value`` (output, target) -> 0-dim, differentiable by autograd. ``derivative(output)`` binds to the output [B, O]
    of one run's batch and returns (output, target) -> dL/do, a new tensor: the numbers of the equation are made tensors
    once, since a Python number in a tensor operation costs more than the operation.

    ``terms`` (output, target) gives a term for each element, or for each row where the targets are classes, of many
    runs at once: L = Σ terms / ``divisor(n)``, n the number of terms. ``joint`` gives both terms and derivative of many
    runs, where they share most of the work; ``once`` loss and derivative of one run's class indices, with the
    bits of the two.

    Of a loss that ``is_squared``, Σ(o − t)² over a number, the loop keeps the differences, which the derivative needs
    anyway, and need not work out a loss every step. Of a mean whose rows count by their classes, ``weight`` is what
    each row of class indices counts.
    """

    value: Pointwise
    derivative: Callable[[Tensor], Pointwise]
    grad_fn: str
    terms: Pointwise
    divisor: Callable[[int], float] = float
    is_squared: bool = False
    joint: Callable[[Tensor], Joint] | None = None
    once: Joint | None = None
    weight: Callable[[Tensor], Tensor] | None = None

    @property
    def sums(self) -> bool:
        """Whether it is a sum over the rows, not their mean."""
        return self.divisor(1) == self.divisor(2)

    def factor(self, count: int) -> float:
        """Return c of a squared loss's dL/do = c (o − t)."""
        return 2 / self.divisor(count)

    def of_differences(self, kept: Tensor) -> Tensor:
        """Return the squared losses [K] of differences [K, N], with the bits of ``value`` on each row."""
        return kept.square().sum(1).div_(kept.new_tensor(self.divisor(kept.shape[1])))


def _squared(value: Pointwise, grad_fn: str, divisor: Callable[[int], float]) -> Loss:
    """Return Σ(o − t)² / divisor(N), ``value`` for one run."""
    derivative = _scaled(operator.sub, lambda n: 2 / divisor(n))
    return Loss(value, derivative, grad_fn, lambda o, t: (o - t).square(), divisor, is_squared=True)


def _mean(each: Pointwise, slope: Pointwise) -> Loss:
    """Return the mean of terms over all elements; ``slope`` is the derivative of a term."""
    return Loss(lambda o, t: each(o, t).mean(), _scaled(slope, lambda n: 1 / n), "Mean", each)


def _scaled(difference: Pointwise, factor: Callable[[int], float]) -> Callable[[Tensor], Pointwise]:
    """Return the binding of ``factor(N) · difference(o, t)``."""

    def bind(output: Tensor) -> Pointwise:
        number = factor(output.numel())
        if number == 1:
            return difference
        scale = output.new_tensor(number)
        return lambda o, t: difference(o, t).mul_(scale)

    return bind


def mse() -> Loss:
    """Mean squared error: L = Σ(o − t)² / N; dL/do = 2 (o − t) / N. Source: torch.nn.MSELoss."""
    import torch

    # what torch.nn.functional.mse_loss calls, 1 being the mean; its own checks cost more than a small loss
    mse_loss: Callable[[Tensor, Tensor, int], Tensor] = torch._C._nn.mse_loss  # type: ignore[assignment]  # stub says str
    return _squared(lambda o, t: mse_loss(o, t, 1), "MseLoss", float)


def half_mse() -> Loss:
    """Half the mean squared error: L = Σ(o − t)² / 2 / N; dL/do = (o − t) / N."""
    return _mean(lambda o, t: (o - t) ** 2 / 2, operator.sub)


def sse() -> Loss:
    """Sum of squared errors: L = Σ(o − t)²; dL/do = 2 (o − t)."""
    return _squared(lambda o, t: ((o - t) ** 2).sum(), "Sum", lambda n: 1)


def half_sse() -> Loss:
    """Half the sum of squared errors: L = Σ(o − t)² / 2; dL/do = o − t."""
    return _squared(lambda o, t: ((o - t) ** 2).sum() / 2, "Div", lambda n: 2)


def mae() -> Loss:
    """Mean absolute error: L = Σ|o − t| / N; dL/do = sign(o − t) / N. Source: torch.nn.L1Loss."""
    return _mean(lambda o, t: (o - t).abs(), lambda o, t: (o - t).sgn_())


def smooth_l1(*, beta: Annotated[float, Gt(0)] = 1.0) -> Loss:
    """Smooth L1: with e = o − t, the mean of e² / (2β) where |e| < β, else |e| − β/2.

    dL/do = e / (β N) where |e| < β, else sign(e) / N. Source: Girshick 2015; torch.nn.SmoothL1Loss.
    """
    return _by_primitive("smooth_l1_loss", "SmoothL1Loss", beta=beta)


def huber(*, delta: Annotated[float, Gt(0)] = 1.0) -> Loss:
    """Huber: with e = o − t, the mean of e² / 2 where |e| < δ, else δ (|e| − δ/2).

    dL/do = min(max(−δ, e), δ) / N. Source: Huber 1964; torch.nn.HuberLoss.
    """
    return _by_primitive("huber_loss", "HuberLoss", delta=delta)


def _of_torch(name: str, grad_fn: str, derivative: Callable[[Tensor], Pointwise], **setting: float) -> Loss:
    """Return torch's mean loss of that name, with a derivative by hand."""
    import torch

    function = partial(getattr(torch.nn.functional, name), **setting)
    return Loss(function, derivative, grad_fn, lambda o, t: function(o, t.expand_as(o), reduction="none"))


def _by_primitive(name: str, grad_fn: str, **setting: float) -> Loss:
    """Return torch's mean loss of that name, with torch's backward of it, (factor, o, t, reduction, setting) -> dL/do.

    Its vectorised loop and its loop for the remaining elements round differently from a formula, so it is called as
    autograd calls it for one run, as a mean (1). For many runs the mean is not over all elements: 1/N is the factor of
    the unreduced loss (0).
    """
    import torch

    primitive, (number,) = getattr(torch.ops.aten, f"{name}_backward").default, setting.values()

    def bind(output: Tensor) -> Pointwise:
        one, share = output.new_ones(()), output.new_tensor(1 / output.numel())
        shape = output.shape

        def derivative(o: Tensor, t: Tensor) -> Tensor:
            factor, reduction = (one, 1) if o.shape == shape else (share, 0)
            gradient: Tensor = primitive(factor, o, t.expand_as(o), reduction, number)
            return gradient

        return derivative

    return _of_torch(name, grad_fn, bind, **setting)


_BCE_FLOOR = 9.999999960041972e-13  # 1e-12 as float32 has it: torch's constant, in float64 too


def bce() -> Loss:
    """Binary cross-entropy of probabilities o: L = −Σ(t log o + (1 − t) log(1 − o)) / N, logs from −100 on.

    dL/do = (o − t) / (max(o (1 − o), 1e-12) N). Source: torch.nn.BCELoss.
    """
    import torch

    def bind(output: Tensor) -> Pointwise:
        one, count = output.new_tensor(1), output.new_tensor(output.numel())
        return lambda o, t: (o - t).div_((one - o).mul_(o).clamp_(min=_BCE_FLOOR)).div_(count)

    function = torch.nn.functional.binary_cross_entropy

    def value(o: Tensor, t: Tensor, reduction: str = "mean") -> Tensor:
        """Return torch's loss; NaN for outputs outside [0, 1], where torch raises, or ends CUDA's context."""
        if not o.is_cuda:
            with suppress(RuntimeError):
                return function(o, t, reduction=reduction)
        terms = (t - 1) * torch.log1p(-o).clamp(min=-100) - t * torch.log(o).clamp(min=-100)
        return terms if reduction == "none" else terms.mean()

    return Loss(value, bind, "BinaryCrossEntropy", lambda o, t: value(o, t.expand_as(o), "none"))


def bce_with_logits(*, pos_weight: Annotated[float, Gt(0)] = 1.0) -> Loss:
    """Binary cross-entropy of logits o: that of σ(o), computed without overflow.

    dL/do = (σ(o) − t) / N. With pos_weight w a target counts by its share of 1, as balances few of them:
    L = −Σ(w t log σ(o) + (1 − t) log(1 − σ(o))) / N, dL/do = ((w t + 1 − t) σ(o) − w t) / N.
    Source: torch.nn.BCEWithLogitsLoss.
    """
    if pos_weight != 1:
        return _with_pos_weight(pos_weight)

    def bind(output: Tensor) -> Pointwise:
        count = output.new_tensor(output.numel())
        return lambda o, t: o.sigmoid().sub_(t).div_(count)

    return _of_torch("binary_cross_entropy_with_logits", "BinaryCrossEntropyWithLogits", bind)


def _with_pos_weight(number: float) -> Loss:
    """Return bce_with_logits of a weight, its derivative with the operations of torch's own and their bits."""
    import torch

    function = torch.nn.functional.binary_cross_entropy_with_logits
    weight = cache(lambda dtype, device: torch.tensor([number], dtype=dtype, device=device))

    def bind(output: Tensor) -> Pointwise:
        w, count = weight(output.dtype, output.device), output.new_tensor(output.numel())

        def derivative(o: Tensor, t: Tensor) -> Tensor:
            weighted = w.mul(t)
            return weighted.add(1).sub(t).mul(o.sigmoid()).sub(weighted).div_(count)

        return derivative

    def value(o: Tensor, t: Tensor, reduction: str = "mean") -> Tensor:
        return function(o, t, pos_weight=weight(o.dtype, o.device), reduction=reduction)

    return Loss(value, bind, "BinaryCrossEntropyWithLogits", lambda o, t: value(o, t.expand_as(o), "none"))


def cross_entropy(
    *, label_smoothing: Annotated[float, Ge(0), Le(1)] = 0.0, class_weights: ClassWeights | None = None
) -> Loss:
    """Cross-entropy of logits o with class c: L = −Σ_b log softmax(o_b)[c_b] / B.

    dL/do = (softmax(o) − onehot(c)) / B; with rows of class probabilities t instead of indices,
    L = −ΣΣ t log softmax(o) / B. With label_smoothing ε every target is (1 − ε) of itself and ε/C of all classes; with
    class_weights w the mean is weighted, Σ w[c] L / Σ w[c], and balanced is w = n / (K n_c), of n training rows of K
    classes n_c of class c. Source: torch.nn.CrossEntropyLoss; sklearn.utils.class_weight.
    """
    import torch

    value = torch.nn.functional.cross_entropy
    log_softmax, through_log_softmax = torch.log_softmax, torch.ops.aten._log_softmax_backward_data.default
    is_plain = not label_smoothing and class_weights is None
    sums = ClassTerms(_numbers(class_weights), label_smoothing)
    through_nll = nll().derivative if is_plain else sums.slope

    def bind(output: Tensor) -> Pointwise:
        at_log = through_nll(output)

        def derivative(o: Tensor, t: Tensor) -> Tensor:
            log_p = log_softmax(o, -1)  # [B, C]
            gradient: Tensor = through_log_softmax(at_log(log_p, t), log_p, -1, o.dtype)
            return gradient

        return derivative

    if is_plain:
        return Loss(
            value,
            bind,
            "NllLoss",
            lambda o, t: _of_classes(log_softmax(o, -1), t),
            joint=_softmax_once,
            once=nll_of_log_softmax(),
        )
    return Loss(
        lambda o, t: value(o, t, weight=sums.weights(o), label_smoothing=label_smoothing),
        bind,
        "Add" if label_smoothing else "NllLoss",
        lambda o, t: sums.terms(log_softmax(o, -1), t),
        once=sums.once,
        weight=None if class_weights is None else sums.of_rows,
    )


def _numbers(class_weights: Literal["balanced"] | Sequence[float] | None) -> Sequence[float] | None:
    """Return class weights as numbers; those that are balanced are known with the training rows alone."""
    return None if class_weights == "balanced" else class_weights


def _softmax_once(output: Tensor) -> Joint:
    """Return terms and derivative of cross-entropy from one softmax: log Σ exp(o − m) + m − o[c], m the largest o.

    Torch's log_softmax of short rows takes ten times as long. Exponentials and logarithms are taken of whole vectors,
    so that a row's bits do not depend on its place.
    """
    import torch

    share, minus_one = 1 / output.shape[0], output.new_full((), -1)
    buffers: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}  # fresh memory each step costs more than the work

    def both(o: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        if o.shape not in buffers:
            buffers[o.shape] = _whole_vectors(o), _whole_vectors(o[..., :1])
        exponentials, sums = buffers[o.shape]
        largest = o.amax(-1, keepdim=True)  # [R, B, 1]
        p, total = (whole[: part.numel()].view(part.shape) for whole, part in ((exponentials, o), (sums, largest)))
        torch.sub(o, largest, out=p)
        exponentials.exp_()
        torch.sum(p, -1, keepdim=True, out=total)
        p.div_(total)
        sums.log_()
        place = t.expand(o.shape[:-1]).unsqueeze(-1)
        terms = (total + largest).sub_(o.gather(-1, place)).squeeze(-1)
        return terms, p.scatter_add_(-1, place, minus_one.expand(place.shape)).mul_(share)

    return both


def _whole_vectors(like: Tensor) -> Tensor:
    """Return ones for the entries of a tensor and more, so that torch's vectorised loop takes all of them."""
    unit = 128 // like.element_size()
    return like.new_ones(-(-like.numel() // unit) * unit)


def _of_classes(log_p: Tensor, t: Tensor) -> Tensor:
    """Return −log p[c] of each row, or −Σ t log p where the targets are rows of class probabilities."""
    if t.is_floating_point():
        return -(t * log_p).sum(-1)
    return -log_p.gather(-1, t.expand(log_p.shape[:-1]).unsqueeze(-1)).squeeze(-1)


def nll(*, class_weights: ClassWeights | None = None) -> Loss:
    """Negative log-likelihood of log-probabilities o with class c: L = −Σ_b o_b[c_b] / B.

    dL/do = −onehot(c) / B. For class_weights see cross_entropy. Source: torch.nn.NLLLoss.
    """
    import torch

    if class_weights is not None:
        sums, weighted = ClassTerms(_numbers(class_weights)), torch.nn.functional.nll_loss
        value = partial(_with_weights, weighted, sums)
        return Loss(value, sums.slope, "NllLoss", sums.terms, weight=sums.of_rows)

    def bind(output: Tensor) -> Pointwise:
        minus_mean = output.new_tensor(-1 / output.shape[0])

        def derivative(o: Tensor, t: Tensor) -> Tensor:
            if t.is_floating_point():  # rows of class probabilities, for cross_entropy
                return (t * minus_mean).expand_as(o)  # log_softmax's backward does not broadcast
            place = t.expand(o.shape[:-1]).unsqueeze(-1)
            return torch.zeros_like(o).scatter_(-1, place, minus_mean.expand(place.shape))

        return derivative

    return Loss(torch.nn.functional.nll_loss, bind, "NllLoss", _of_classes)


def _with_weights(function: Callable[..., Tensor], sums: ClassTerms, o: Tensor, t: Tensor) -> Tensor:
    return function(o, t, weight=sums.weights(o))


def kl_div() -> Loss:
    """Kullback-Leibler divergence of log-probabilities o from probabilities t: L = Σ t (log t − o) / N.

    dL/do = −t / N: the mean over all elements, torch's default. Source: torch.nn.KLDivLoss.
    """
    # torch's own function, less the warning that its mean over elements is not the mathematical mean over rows
    return _mean(lambda o, t: t.xlogy(t) - t * o, lambda o, t: -t.expand_as(o))


LOSSES: dict[str, Callable[..., Loss]] = {
    function.__name__: function
    for function in (
        mse, mae, smooth_l1, huber, cross_entropy, bce, bce_with_logits, nll, kl_div, sse, half_sse, half_mse,
    )
}  # fmt: skip

# What the targets of each loss are where they are not plain values: a spec is checked against it without torch.
TARGETS: dict[str, Targets] = {
    "cross_entropy": "classes",
    "nll": "classes",
    "bce": "probabilities",
    "bce_with_logits": "probabilities",
    "kl_div": "probabilities",
}

SCORES = {"cross_entropy"}
"""The losses of classes whose outputs are scores, of which the softmax are probabilities; those of others are logs."""
