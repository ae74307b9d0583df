"""What an update rule does with its settings, for one run and for a fleet of runs that differ in them.

A setting is a number, the same for all that p holds, or, in a fleet, a float64 array that holds one number per run and
broadcasts against p: (R,) for p [P, R], (R, 1) for p [R, P]. `arithmetic_of` chooses, once and for all steps, between
`Numbers` and `Columns`; a rule is written once, with their operations. What they return is bound to its
buffers and takes only the setting, under the keyword that torch has for it.

A run has in a fleet the bits that it has where all runs share its settings: the settings meet in float64 as Python's
numbers do and are rounded once to p's dtype; and each operation on vectors rounds where torch's operation on numbers
does. Where a single run raises ArithmeticError or RuntimeError for absurd settings, its column becomes inf or NaN.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Setting = float | NDArray[np.float64]
"""A number, or one number per run. An array is never changed in place: what was made of it is kept by its identity."""

Update = Callable[[Setting, int], object]
"""One step in place, from its learning rate and its number, counted from 1; what it returns means nothing."""


def arithmetic_of(p: Tensor, *settings: Setting) -> Numbers:
    """Return the arithmetic for the parameters p: `Columns` if any setting is an array, else `Numbers`."""
    shapes = [setting.shape for setting in settings if isinstance(setting, np.ndarray)]
    return Columns(p, np.broadcast_shapes(*shapes)) if shapes else Numbers(p)


def is_zero(name: str, setting: Setting) -> bool:
    """Return whether a setting is zero, which leaves out a part of its rule: in all runs of a fleet or in none.

    ValueError if the runs differ.
    """
    zeros = np.equal(setting, 0)
    if zeros.any() and not zeros.all():
        raise ValueError(f"{name} is zero in some runs of the fleet and not in others, which are different rules")
    return bool(zeros.all())


def every(condition: object) -> bool:
    """Return whether a condition holds for all runs."""
    return bool(condition.all() if isinstance(condition, np.ndarray) else condition)


def some(condition: object) -> bool:
    """Return whether a condition holds for any run."""
    return bool(condition.any() if isinstance(condition, np.ndarray) else condition)


class Numbers:
    """The operations on settings, of one binding: here on Python's numbers, in `Columns` on those of many runs.

    All tensors have p's shape, ``out`` defaults to the first. A number as the operand of mul_, div_ or add_ costs more
    than twice the operation, since it is wrapped into a tensor each time; as alpha= or value= it costs nothing. A
    partial of torch's function costs no call in Python.
    """

    def __init__(self, p: Tensor, shape: tuple[int, ...] = ()) -> None:
        self._p, self._shape = p, shape

    def in_turn(self, *updates: Update) -> Update:
        """Return one update that makes all of these in order; where one overflows, the caller silences numpy."""
        if len(updates) == 1:
            return updates[0]

        def update(lr: Setting, t: int) -> None:
            for each in updates:
                each(lr, t)

        return update

    def constant(self, value: Setting) -> Tensor:
        """Return a setting as an operand for p, of its dtype: a vector on p's device, and of a number 0-dim.

        The latter has the bits that the bare number would give. It lies on the host for every device, as a bare number
        does: accelerators divide by a host number through its reciprocal, which rounds differently from dividing by a
        tensor of their own.
        """
        return self._p.new_tensor(value, device=None if isinstance(value, np.ndarray) else "cpu")

    def variable(self) -> tuple[Tensor, Any]:
        """Return an operand for p and its cell: ``cell[()] = setting`` sets it, for far less than ``fill_`` costs."""
        operand = self.constant(1)
        return operand, operand.numpy()

    def scalar(self, value: float) -> Tensor:
        """Return a state with one number per run: on the host, of torch's default dtype whatever p has."""
        import torch

        return torch.full(self._shape, value, dtype=torch.get_default_dtype(), device="cpu")

    def reader(self, scalar: Tensor) -> Callable[[], Setting]:
        """Return what reads such a state as a setting."""
        return scalar.numpy().item

    def negative(self) -> Callable[[Setting], Setting]:
        """Return the sign's change, the same object for the same array."""
        negate: Callable[[Any], Any] = operator.neg  # its own type names a protocol that unions do not match
        return negate

    def power(self, base: Setting, exponent: Setting) -> Setting:
        """Return base^exponent with the bits of Python's ``**``, from which numpy's differs in the last place."""
        result: Setting = operator.pow(base, exponent)
        return result

    def quotient(self, a: Setting, b: Setting) -> Setting:
        """Return a/b. Raises ZeroDivisionError where b is 0."""
        return a / b

    def spread_nan(self, setting: Setting) -> None:
        """Put NaN into p where a setting is none: a single run has raised before."""

    def each(self, function: Callable[..., float], *settings: Setting) -> Callable[[int], Setting]:
        """Return the t ↦ function(*settings, t) of every run, in Python's arithmetic."""
        return partial(function, *settings)

    def add(self, a: Tensor, b: Tensor, out: Tensor | None = None) -> Callable[..., Tensor]:
        """Return out ← a + xb, of ``alpha=x``."""
        import torch

        return partial(a.add_, b) if out is None else partial(torch.add, a, b, out=out)

    def add_product(self, a: Tensor, b: Tensor, c: Tensor) -> Callable[..., Tensor]:
        """Return a ← a + xbc, of ``value=x``."""
        return partial(a.addcmul_, b, c)

    def add_ratio(self, a: Tensor, b: Tensor, c: Tensor) -> Callable[..., Tensor]:
        """Return a ← a + xb/c, of ``value=x``."""
        return partial(a.addcdiv_, b, c)

    def lerp(self, a: Tensor, b: Tensor, weight: Setting) -> Callable[[], Tensor]:
        """Return a ← a + w(b − a)."""
        return partial(a.lerp_, b, self.constant(weight) if isinstance(weight, np.ndarray) else weight)

    def divide(self, a: Tensor, out: Tensor | None = None) -> tuple[Callable[[], Tensor], Any]:
        """Return out ← a/x and the cell of x."""
        import torch

        operand, cell = self.variable()
        return partial(a.div_, operand) if out is None else partial(torch.div, a, operand, out=out), cell

    def multiply(self, a: Tensor, scalar: Tensor) -> Callable[[], Tensor]:
        """Return a ← xa, of the state x with one number per run."""
        return partial(a.mul_, scalar)

    def fill(self, a: Tensor) -> Callable[[Setting], Tensor]:
        """Return a ← x, of x, infinite where the dtype does not hold it."""
        return lambda value: a.copy_(a.new_tensor(value))

    def fill_where(self, a: Tensor, mask: Tensor, value: Setting) -> Callable[[], Tensor]:
        """Return a ← x where the mask holds."""
        import torch

        if not isinstance(value, np.ndarray):
            return partial(a.masked_fill_, mask, value)
        x = self.constant(value)
        return lambda: torch.where(mask, x, a, out=a)

    def copy_where(self, a: Tensor, b: Tensor) -> Callable[[Any], object]:
        """Return a ← b in the runs where the condition holds, of the condition."""
        return lambda condition: a.copy_(b) if condition else None

    def clamp(self, a: Tensor, smallest: Setting, largest: Setting) -> Callable[[], Tensor]:
        """Return a ← min(max(a, smallest), largest)."""
        return partial(a.clamp_, smallest, largest)


class _Cell:
    """The setting of an operand that is a vector on p's device.

    An array that is the one set last, as lr is without a schedule, is not sent again.
    """

    def __init__(self, operand: Tensor, inverse: bool = False) -> None:
        self._operand, self._host = operand, operand.cpu()  # the same tensor where p lies on the host
        self._view, self._inverse = self._host.numpy(), inverse
        self._last: object = None

    def __setitem__(self, key: tuple[()], value: object) -> None:
        if value is self._last:
            return
        self._last = value
        self._view[key] = value
        if self._inverse:
            np.reciprocal(self._view, out=self._view)
        if self._operand is not self._host:
            # no wait: out of pageable memory the driver has read all when the call returns
            self._operand.copy_(self._host, non_blocking=True)


class Columns(Numbers):
    """Some settings are arrays; those that are numbers still go the way of `Numbers`.

    Every operation rounds where torch's own kernel for a number rounds: a + xb is one fused operation; of xbc and xb/c
    a processor makes (xb)c and (xb)/c, an accelerator x(bc) and x(b/c). So a bare number and a vector give equal bits,
    except on an accelerator for a + xbc where x is exactly 1, which torch fuses without rounding bc.
    """

    def __init__(self, p: Tensor, shape: tuple[int, ...]) -> None:
        super().__init__(p, shape)
        self._on_host = p.device.type == "cpu"
        self._scratch: Tensor | None = None  # of the shape of p, shared by the operations, none of which keeps it

    def variable(self) -> tuple[Tensor, Any]:
        """Return a vector on p's device and its cell."""
        operand = self._p.new_ones(self._shape)
        return operand, _Cell(operand)

    def reader(self, scalar: Tensor) -> Callable[[], Setting]:
        """Return what reads the state as a fresh array."""
        return partial(scalar.numpy().astype, np.float64)

    def negative(self) -> Callable[[Setting], Setting]:
        """Return −, the same object for the same array."""
        last: list[Setting] = [0.0, -0.0]

        def negate(x: Setting) -> Setting:
            if x is not last[0]:
                last[:] = x, -x
            return last[1]

        return negate

    def power(self, base: Setting, exponent: Setting) -> Setting:
        """Return base^exponent, run by run."""
        if not isinstance(base, np.ndarray) and not isinstance(exponent, np.ndarray):
            return _or_nan(operator.pow, base, exponent)
        bases, exponents = np.broadcast_arrays(base, exponent)
        pairs = zip(bases.ravel().tolist(), exponents.ravel().tolist(), strict=True)
        return np.array([_or_nan(operator.pow, *pair) for pair in pairs]).reshape(bases.shape)

    def quotient(self, a: Setting, b: Setting) -> Setting:
        """Return a/b, run by run; NaN where b is 0."""
        return np.divide(a, np.where(np.equal(b, 0), np.nan, b))

    def spread_nan(self, setting: Setting) -> None:
        """Put NaN into p for the runs of which a setting is NaN."""
        import torch

        if (lost := np.isnan(setting)).any():
            self._p.add_(torch.from_numpy(np.where(lost, np.nan, 0.0)).to(self._p))

    def each(self, function: Callable[..., float], *settings: Setting) -> Callable[[int], Setting]:
        """Return t ↦ function(*settings, t), called once per combination of settings that occurs."""
        if not any(isinstance(setting, np.ndarray) for setting in settings):
            return partial(_or_nan, function, *settings)
        columns = np.broadcast_arrays(*settings)
        rows = np.stack([column.ravel() for column in columns], axis=1)  # [R, settings]
        unique, place = np.unique(rows, axis=0, return_inverse=True)
        combinations, place = unique.tolist(), place.reshape(columns[0].shape)

        def results(t: int) -> Setting:
            return np.array([_or_nan(function, *combination, t) for combination in combinations])[place]

        return results

    def add(self, a: Tensor, b: Tensor, out: Tensor | None = None) -> Callable[..., Tensor]:
        """Return out ← a + xb."""
        import torch

        add_number, target = super().add(a, b, out), a if out is None else out
        x, cell = self.variable()

        def add(*, alpha: Setting) -> Tensor:
            if not isinstance(alpha, np.ndarray):
                return add_number(alpha=alpha)
            cell[()] = alpha
            return torch.addcmul(a, b, x, out=target)

        return add

    def add_product(self, a: Tensor, b: Tensor, c: Tensor) -> Callable[..., Tensor]:
        """Return a ← a + xbc."""
        import torch

        x, cell = self.variable()
        first, last = (x, c) if self._on_host else (c, x)
        return self._in_two(super().add_product(a, b, c), cell, partial(torch.mul, b, first), a.addcmul_, last)

    def add_ratio(self, a: Tensor, b: Tensor, c: Tensor) -> Callable[..., Tensor]:
        """Return a ← a + xb/c."""
        import torch

        (x, cell), add_number = self.variable(), super().add_ratio(a, b, c)
        if self._on_host:
            return self._in_two(add_number, cell, partial(torch.mul, b, x), a.addcdiv_, c)
        return self._in_two(add_number, cell, partial(torch.div, b, c), a.addcmul_, x)

    def _in_two(
        self, add_number: Callable[..., Tensor], cell: Any, first: Callable[..., Tensor], then: Any, last: Tensor
    ) -> Callable[..., Tensor]:
        """Return then(first(), last) with the cell set to ``value=x``; ``add_number`` where that is a number."""
        import torch

        if self._scratch is None:
            self._scratch = torch.empty_like(self._p)
        make = partial(first, out=self._scratch)

        def add(*, value: Setting) -> Tensor:
            if not isinstance(value, np.ndarray):
                return add_number(value=value)
            cell[()] = value
            added: Tensor = then(make(), last)
            return added

        return add

    def divide(self, a: Tensor, out: Tensor | None = None) -> tuple[Callable[[], Tensor], Any]:
        """Return out ← a/x and the cell of x; accelerators multiply by 1/x, as they do for a number on the host."""
        import torch

        x, _ = self.variable()
        operation = torch.div if self._on_host else torch.mul
        return partial(operation, a, x, out=a if out is None else out), _Cell(x, inverse=not self._on_host)

    def multiply(self, a: Tensor, scalar: Tensor) -> Callable[[], Tensor]:
        """Return a ← xa; x is rounded to a's dtype first, as a 0-dim tensor is."""
        x, _ = self.variable()
        return lambda: a.mul_(x.copy_(scalar, non_blocking=True))  # no wait: out of pageable memory

    def fill(self, a: Tensor) -> Callable[[Setting], Tensor]:
        """Return a ← x."""
        x, cell = self.variable()

        def fill(value: Setting) -> Tensor:
            with np.errstate(over="ignore"):  # it is infinite then
                cell[()] = value
            return a.copy_(x)

        return fill

    def copy_where(self, a: Tensor, b: Tensor) -> Callable[[Any], object]:
        """Return a ← b in the runs where the condition holds."""
        import torch

        mask = torch.zeros(self._shape, dtype=torch.bool, device=a.device)
        cell = _Cell(mask)

        def copy(condition: Any) -> None:
            cell[()] = condition
            torch.where(mask, b, a, out=a)

        return copy

    def clamp(self, a: Tensor, smallest: Setting, largest: Setting) -> Callable[[], Tensor]:
        """Return a ← min(max(a, smallest), largest)."""
        return partial(a.clamp_, self.constant(smallest), self.constant(largest))


def _or_nan(function: Callable[..., float], *arguments: Any) -> float:
    """Return function(*arguments), NaN where Python's arithmetic overflows or divides by zero."""
    try:
        return function(*arguments)
    except ArithmeticError:
        return float("nan")
