"""The gradient check: each gradient by hand, by autograd and by differences of the loss, and how far they are apart.

Two numbers a and b of one derivative agree if |a − b| ≤ tolerance · max(|a|, |b|). Where rounding alone may take them
further apart than the usual tolerance, since the derivative is a small remainder of large numbers, they agree if they
are no further apart than that. Differences are central ones, of the float64 loss, the best of a sweep over step sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import prod
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gdcli import store, tables
from gdcli.engine.build import Built, build, start_values
from gdcli.errors import RunError, SpecError
from gdcli.spec.load import Loaded
from gdcli.zoo.losses import LOSSES
from gdcli.zoo.models import Chain, Stack

Dtype = Literal["float32", "float64"]
Array = NDArray[np.float64]

HAND, AUTOGRAD, DIFFERENCES = "by hand", "autograd", "differences"
TOLERANCES: dict[tuple[str, bool], float] = {
    ("float64", False): 1e-12,
    ("float64", True): 1e-6,
    ("float32", False): 1e-5,
    ("float32", True): 1e-3,
}
"""The largest relative error by dtype, and by whether one of the two ways is differences."""

STEPS = 10.0 ** -np.arange(2, 8)
"""The sweep of step sizes h, times max(1, |parameter|)."""

LARGE = 2_000  # trained scalars from which on differences are taken of a sample
SAMPLE = 100  # entries of a parameter in the sample
ROWS = 1_000  # of the step's batch, at most
MULTIPLY_ADDS = 2e11  # that all differences together may take
PERTURBATIONS = 8  # of the point, to see what rounding does


@dataclass(frozen=True, slots=True)
class Row:
    """One parameter in one dtype: the largest relative error of each pair of ways, None where one is not to be had."""

    dtype: Dtype
    parameter: str
    scalars: int
    differenced: int  # entries whose differences were taken
    errors: Mapping[tuple[str, str], float | None]


@dataclass(frozen=True, slots=True)
class Entry:
    """One scalar of a parameter and its derivative in two ways."""

    dtype: Dtype
    name: str  # linear1.weight[0,1]
    ways: tuple[str, str]
    values: tuple[float, float]
    error: float
    tolerance: float
    step_size: float | None  # of the difference, where one of the two is one

    def text(self) -> str:
        """Return the entry with its two values on a line."""
        size = "" if self.step_size is None else f" (h = {self.step_size:g})"
        both = ", ".join(f"{way} {value!r}" for way, value in zip(self.ways, self.values, strict=True))
        return f"{self.name} in {self.dtype}: {both}{size}: relative error {self.error:.2g}"


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found. ``worst`` is the entry whose error is the largest part of its tolerance."""

    name: str
    samples: int
    rows: tuple[Row, ...]
    tolerances: Mapping[tuple[str, bool], float]
    worst: Entry
    failed: int  # entries of which a pair is further apart than its tolerance
    notes: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every entry keeps its tolerance."""
        return self.failed == 0

    def text(self) -> str:
        """Return the table, what is to be known about it, the worst entry and the verdict."""
        pairs = list(dict.fromkeys(pair for row in self.rows for pair in row.errors))
        header = ["dtype", "parameter", "scalars", *(f"{a} ~ {b}" for a, b in pairs)]
        lines = []
        for dtype in dict.fromkeys(row.dtype for row in self.rows):
            rows = [row for row in self.rows if row.dtype == dtype]
            lines += [[dtype, row.parameter, row.scalars, *(_short(row.errors[p]) for p in pairs)] for row in rows]
            lines.append([dtype, "(tolerance)", None, *(self.tolerances[dtype, DIFFERENCES in p] for p in pairs)])
        what = f"{self.samples:,} row{'s' * (self.samples != 1)} of step 1, " if self.samples else ""
        text = f"{self.name}: gradients at the start values, {what}largest relative error of each parameter\n"
        text += tables.aligned(header, lines) + "".join(f"note: {note}\n" for note in self.notes)
        if self.worst.error > 0:
            text += f"worst: {self.worst.text()}\n"
        verdict = (
            f"failed: {self.failed:,} above the tolerance of {self.worst.tolerance:g}, the worst {self.worst.name}"
        )
        return text + ("passed\n" if self.passed else f"{verdict}\n")

    def json(self) -> str:
        """Return the report as one JSON document."""
        worst = self.worst
        return store.json_text(
            {
                "name": self.name,
                "passed": self.passed,
                "failed_entries": self.failed,
                "rows": [
                    {
                        "dtype": row.dtype,
                        "parameter": row.parameter,
                        "scalars": row.scalars,
                        "differenced": row.differenced,
                        "errors": {f"{a} ~ {b}": error for (a, b), error in row.errors.items()},
                        "tolerances": {
                            f"{a} ~ {b}": self.tolerances[row.dtype, DIFFERENCES in (a, b)] for a, b in row.errors
                        },
                    }
                    for row in self.rows
                ],
                "worst": {
                    "entry": worst.name,
                    "dtype": worst.dtype,
                    "values": dict(zip(worst.ways, worst.values, strict=True)),
                    "relative_error": worst.error,
                    "tolerance": worst.tolerance,
                    "step_size": worst.step_size,
                },
                "notes": list(self.notes),
            }
        )


def _short(error: float | None) -> float | None:
    return None if error is None else float(f"{error:.2g}")


def check(loaded: Loaded, dtypes: Sequence[Dtype] = ("float64", "float32"), tolerance: float | None = None) -> Report:
    """Compare the gradients of the first step's batch at the start values in every way that the model has.

    Linear models, mlps and losses by themselves have three ways, sequential models and objectives two. Raises
    SpecError for a model of which everything is frozen, RunError for a batch that torch's layers refuse.
    """
    point = start_values(loaded, torch.float64 if loaded.spec.settings.dtype == "float64" else torch.float32)[0]
    try:
        return _checked(loaded, point, dtypes, tolerance)
    except (RuntimeError, ValueError, IndexError) as error:
        if not isinstance(loaded.architecture, Stack):  # else what torch's own layers say of this batch
            raise
        raise RunError(f"{loaded.spec.name}: torch refuses the step: {str(error).splitlines()[0]}") from error


def _checked(loaded: Loaded, point: Mapping[str, Tensor], dtypes: Sequence[Dtype], tolerance: float | None) -> Report:
    exact = _model(loaded, "float64", point)
    slopes = _slopes(loaded, exact)
    tolerances = dict.fromkeys(TOLERANCES, tolerance) if tolerance is not None else TOLERANCES
    found = []
    for dtype in dtypes:
        model = exact if dtype == "float64" else _model(loaded, dtype, point)
        gradients, noise = {way: gradient() for way, gradient in model.gradients.items()}, _noise(model, dtype)
        for name, shape in model.shapes.items():
            ways = {way: gradient[name] for way, gradient in gradients.items()}
            found.append(_Compared(dtype, name, shape, ways, slopes.get(name), noise[name], tolerances))
    notes = (*_notes(loaded, exact, slopes), *_left_out(found))
    worst = max((each.worst() for each in found), key=lambda entry: _excess(entry.error, entry.tolerance))
    failed = sum(each.failed() for each in found)
    return Report(
        loaded.spec.name, exact.samples, tuple(each.row() for each in found), tolerances, worst, failed, notes
    )


def _excess(error: float, tolerance: float) -> float:
    return error / tolerance if tolerance > 0 else error


# --- the model in one dtype -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Model:
    """A model at the point: its trained tensors, flat and in place, its loss, and its gradient in each way."""

    shapes: Mapping[str, tuple[int, ...]]
    sides: Sequence[Mapping[str, Tensor]]  # the trained tensors of each way; the first serve the loss
    data: Tensor  # x [B, D]
    loss: Callable[[], Tensor]
    gradients: Mapping[str, Callable[[], dict[str, Array]]]

    @property
    def samples(self) -> int:
        return len(self.data)

    @property
    def scalars(self) -> int:
        return sum(map(prod, self.shapes.values()))


def _model(loaded: Loaded, dtype: Dtype, point: Mapping[str, Tensor]) -> _Model:
    """Build the model in a dtype, once per way, its parameters at the point."""
    chain = isinstance(loaded.architecture, Chain)
    engines = {HAND: "by_hand", AUTOGRAD: "autograd"} if chain else {AUTOGRAD: "autograd"}
    settings = {way: {"dtype": dtype, "engine": engine, "epochs": 0} for way, engine in engines.items()}
    built = {
        way: build(replace(loaded, spec=loaded.spec.with_settings(**changes))) for way, changes in settings.items()
    }
    first = next(iter(built.values()))
    rows = next(iter(first.batches.epoch()))
    x, y = rows.x[:ROWS].clone(), rows.y[:ROWS]
    if isinstance(loaded.architecture, Chain) and not loaded.architecture.layers:
        return _alone(loaded, x, y)
    if not first.theta.trained:
        raise SpecError(loaded.spec.problem(("model", "freeze"), "every parameter is frozen: there is no gradient"))
    for each in built.values():
        each.theta.fill(slice(None), point)
    return _Model(
        {slot.name: slot.shape for slot in first.theta.trained},
        [_flat(each, each.theta.values[0]) for each in built.values()],
        x,
        lambda: _loss(first, x, y),
        {way: lambda each=each: _gradient(each, x, y) for way, each in built.items()},  # type: ignore[misc]  # mypy cannot infer a lambda with a default
    )


def _flat(built: Built, row: Tensor) -> dict[str, Tensor]:
    return {slot.name: row[slot.start : slot.stop] for slot in built.theta.trained}


def _loss(built: Built, x: Tensor, y: Tensor) -> Tensor:
    """Return the loss as a step has it: torch's layers in training, dropout with the same mask each time."""
    if built.module is not None:
        torch.manual_seed(built.loaded.spec.settings.seed)
    with torch.no_grad():
        output = built.kernel.forward(x) if built.module is None else built.module(x)
        return output if built.loss is None else built.loss.value(output, y)


def _gradient(built: Built, x: Tensor, y: Tensor) -> dict[str, Array]:
    torch.manual_seed(built.loaded.spec.settings.seed)
    built.kernel.step(x, y)
    return {name: _host(part) for name, part in _flat(built, built.theta.gradient[0]).items()}


def _alone(loaded: Loaded, x: Tensor, y: Tensor) -> _Model:
    """Return a loss by itself: the model is the identity, and its gradient that at the output, x."""
    spec = loaded.spec.loss
    assert spec is not None
    loss = LOSSES[spec.name](**spec.arguments)

    def by_autograd() -> dict[str, Array]:
        leaf = x.detach().clone().requires_grad_()
        return {"x": _host(torch.autograd.grad(loss.value(leaf, y), leaf)[0])}

    def value() -> Tensor:
        with torch.no_grad():
            return loss.value(x, y)

    ways = {HAND: lambda: {"x": _host(loss.derivative(x)(x, y))}, AUTOGRAD: by_autograd}
    return _Model({"x": tuple(x.shape)}, [{"x": x.view(-1)}], x, value, ways)


def _host(tensor: Tensor) -> Array:
    return np.array(tensor.detach().double().cpu().numpy()).reshape(-1)


# --- what rounding does -----------------------------------------------------------------------------------------------


def _perturbed(model: _Model, size: float, measure: Callable[[], Any]) -> list[Any]:
    """Return what is measured at points next to this one: parameters and data smaller by up to ``size``, relative."""
    generator = np.random.default_rng(0)
    tensors = [tensor for side in model.sides for tensor in side.values()] + [model.data]
    saved, found = [tensor.clone() for tensor in tensors], []
    for _ in range(PERTURBATIONS):
        for tensor, old in zip(tensors, saved, strict=True):
            factor = 1 - size * generator.random(tuple(old.shape))
            tensor.copy_(old * torch.as_tensor(factor, dtype=old.dtype, device=old.device))
        found.append(measure())
    for tensor, old in zip(tensors, saved, strict=True):
        tensor.copy_(old)
    return found


def _noise(model: _Model, dtype: Dtype) -> dict[str, Array]:
    """Return how far rounding to a dtype may take the gradient of each parameter from its value, [entries]."""
    gradient, eps = model.gradients[AUTOGRAD], float(np.finfo(dtype).eps)
    here = gradient()
    near = _perturbed(model, 2 * eps, gradient)
    return {
        name: 4 * np.max([np.abs(each[name] - centre) for each in near], axis=0)
        + 4 * eps * np.abs(centre).max(initial=0.0)
        for name, centre in here.items()
    }


# --- differences ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Slopes:
    """Differences of the loss at some entries of a parameter."""

    entries: NDArray[np.int64]  # [E]
    values: Array  # [E]
    doubt: Array  # [E] how far they may be from the derivative
    step_sizes: Array  # [E]
    at_kink: NDArray[np.bool_]  # [E] the loss has no derivative here


def _slopes(loaded: Loaded, exact: _Model) -> dict[str, _Slopes]:
    """Return the differences of every parameter, of a sample of its entries where the model is large."""
    if _has_straight_through(loaded):
        return {}
    noise = _loss_noise(exact)
    generator, count = np.random.default_rng(loaded.spec.settings.seed), _sample_size(exact)
    found = {}
    for name, tensor in exact.sides[0].items():
        entries = np.arange(len(tensor))
        if exact.scalars > LARGE and len(entries) > count:
            entries = np.sort(generator.choice(len(tensor), count, replace=False))
        found[name] = _slopes_of(tensor, entries, exact.loss, noise)
    return found


def _has_straight_through(loaded: Loaded) -> bool:
    model = loaded.architecture
    return isinstance(model, Chain) and any(layer.activation == "sign_ste" for layer in model.layers)


def _sample_size(exact: _Model) -> int:
    """Return the entries of a parameter whose differences are taken, fewer where a loss takes long."""
    each = 2 * len(STEPS) * max(1, exact.samples) * exact.scalars * len(exact.shapes)
    return int(min(SAMPLE, max(4, MULTIPLY_ADDS / each)))


def _loss_noise(exact: _Model) -> float:
    """Return how far rounding may take the loss from its value."""
    here, eps = float(exact.loss()), float(np.finfo(np.float64).eps)
    near = _perturbed(exact, 2 * eps, lambda: float(exact.loss()))
    spread: float = max(abs(value - here) for value in near)
    return 4 * eps * abs(here) + 4 * spread


def _slopes_of(tensor: Tensor, entries: NDArray[np.int64], loss: Callable[[], Tensor], noise: float) -> _Slopes:
    """Take the central difference of each entry at each step size h, and keep that which a smaller h changes least."""
    here = _value(loss)
    width, above, below = (np.zeros((len(entries), len(STEPS))) for _ in range(3))
    for row, index in enumerate(entries.tolist()):
        centre = float(tensor[index])
        for k, h in enumerate((STEPS * max(1.0, abs(centre))).tolist()):
            tensor[index] = centre + h
            above[row, k] = _value(loss)
            tensor[index] = centre - h
            below[row, k] = _value(loss)
            width[row, k] = (centre + h) - (centre - h)  # what it is after rounding
        tensor[index] = centre
    with np.errstate(all="ignore"):
        central = (above - below) / width  # [E, H]
        bend = np.abs(above - here - (here - below)) / (width / 2)  # slope on the right less that on the left
        doubt = np.abs(np.diff(central)) + noise / (width[:, 1:] / 2)
    doubt[~np.isfinite(doubt)] = np.inf
    best, row_of = doubt.argmin(axis=1), np.arange(len(entries))
    picked = (row_of, best + 1)
    return _Slopes(entries, central[picked], doubt[row_of, best], width[picked] / 2, _kinks(bend, noise / (width / 2)))


def _value(loss: Callable[[], Tensor]) -> float:
    """Return the loss; NaN where a step leaves what it is defined on. Synchronises with the device."""
    try:
        return float(loss())
    except RuntimeError:  # bce of an output beyond 0 and 1
        return float("nan")


def _kinks(bend: Array, noise: Array) -> NDArray[np.bool_]:
    """Say where the slopes on both sides differ however near: a smooth loss has a tenth of it at a tenth of h."""
    with np.errstate(all="ignore"):
        seen = (bend > 20 * noise) & np.isfinite(bend)
        stays = seen[:, 1:] & seen[:, :-1] & (bend[:, 1:] > 0.3 * bend[:, :-1])  # [E, H - 1]
    last = stays.shape[1] - 1 - seen[:, :0:-1].argmax(axis=1)  # the smallest h at which a bend is seen
    kinks: NDArray[np.bool_] = stays[np.arange(len(stays)), last]
    return kinks


# --- the comparison ---------------------------------------------------------------------------------------------------


class _Compared:
    """All pairs of ways for one parameter in one dtype."""

    def __init__(
        self,
        dtype: Dtype,
        name: str,
        shape: tuple[int, ...],
        gradients: Mapping[str, Array],
        slopes: _Slopes | None,
        noise: Array,
        tolerances: Mapping[tuple[str, bool], float],
    ) -> None:
        self.dtype, self.name, self.shape, self.slopes, self.tolerances = dtype, name, shape, slopes, tolerances
        self.gradients, self.left_out, self.kinks = dict(gradients), 0, 0
        every = np.arange(prod(shape))
        self.pairs: dict[tuple[str, str], tuple[NDArray[np.int64], Array]] = {}  # entries [E], errors [E]
        for pair in combinations(gradients, 2):
            a, b = (gradients[way] for way in pair)
            self.pairs[pair] = every, _errors(a, b, noise, TOLERANCES[dtype, False])[0]
        if slopes is not None:
            self._against(slopes, noise)

    def _against(self, slopes: _Slopes, noise: Array) -> None:
        """Compare each gradient with the differences; what stands at a kink is left out."""
        doubt = slopes.doubt + noise[slopes.entries]
        smooth = ~slopes.at_kink
        self.kinks = int(slopes.at_kink.sum())
        for way, gradient in self.gradients.items():
            values = gradient[slopes.entries]
            errors, unresolved = _errors(values, slopes.values, doubt, TOLERANCES[self.dtype, True])
            self.left_out = max(self.left_out, int((unresolved & smooth).sum()))
            self.pairs[way, DIFFERENCES] = slopes.entries[smooth], errors[smooth]

    def row(self) -> Row:
        errors = {pair: float(e.max()) if len(e) else None for pair, (_, e) in self.pairs.items()}
        count = 0 if self.slopes is None else len(self.slopes.entries)
        return Row(self.dtype, self.name, prod(self.shape), count, errors)

    def failed(self) -> int:
        bad = [entries[errors > self._tolerance(pair)] for pair, (entries, errors) in self.pairs.items()]
        return len(np.unique(np.concatenate(bad))) if bad else 0

    def worst(self) -> Entry:
        found = [
            self._entry(pair, int(entries[errors.argmax()]), float(errors.max()))
            for pair, (entries, errors) in self.pairs.items()
            if len(entries)
        ]
        nothing = Entry(self.dtype, self.name, (AUTOGRAD, AUTOGRAD), (0.0, 0.0), 0.0, 1.0, None)
        return max(found, key=lambda entry: _excess(entry.error, entry.tolerance), default=nothing)

    def _tolerance(self, pair: tuple[str, str]) -> float:
        return self.tolerances[self.dtype, DIFFERENCES in pair]

    def _entry(self, pair: tuple[str, str], index: int, error: float) -> Entry:
        place = ",".join(str(k) for k in np.unravel_index(index, self.shape)) if self.shape else ""
        name, size = f"{self.name}[{place}]" if self.shape else self.name, None
        values = [float(self.gradients[way][index]) for way in pair if way != DIFFERENCES]
        if self.slopes is not None and DIFFERENCES in pair:
            at = int(np.searchsorted(self.slopes.entries, index))
            size = float(self.slopes.step_sizes[at])
            values.append(float(self.slopes.values[at]))
        return Entry(self.dtype, name, pair, (values[0], values[1]), error, self._tolerance(pair), size)


def _errors(a: Array, b: Array, noise: Array, usual: float) -> tuple[Array, NDArray[np.bool_]]:
    """Return the relative errors, and which entries are too small to be told from each other beyond the noise."""
    with np.errstate(all="ignore"):
        larger, apart = np.maximum(np.abs(a), np.abs(b)), np.abs(a - b)
        unresolved = (noise > usual * larger) & (apart <= noise)
        errors = np.where(unresolved | (apart == 0), 0.0, apart / larger)
    return np.where(np.isnan(errors), np.inf, errors), unresolved & (larger > 0)


# --- words ------------------------------------------------------------------------------------------------------------


def _notes(loaded: Loaded, exact: _Model, slopes: Mapping[str, _Slopes]) -> list[str]:
    """Say what was not compared, and why."""
    spec, notes = loaded.spec, []
    if HAND not in exact.gradients:
        notes.append(f"the backward pass of a model of type {spec.model.name} is not written out by hand")
    if "x" in exact.shapes and spec.model.name == "identity":
        notes.append("the model has no parameters: the gradient is that of the loss at the output, x")
    if not slopes:
        notes.append("no differences: the gradient of sign_ste is not that of the loss, by definition")
    rows = spec.batch.rows(loaded.samples)
    if rows > exact.samples:
        notes.append(f"the first {exact.samples:,} of the {rows:,} rows of step 1")
    if any(len(each.entries) < len(exact.sides[0][name]) for name, each in slopes.items()):
        counted = sum(len(each.entries) for each in slopes.values())
        notes.append(f"differences of a random sample of {counted:,} of the {exact.scalars:,} scalars")
    return notes


def _left_out(found: Sequence[_Compared]) -> list[str]:
    """Say how many entries differences cannot judge."""
    notes = []
    for dtype in dict.fromkeys(each.dtype for each in found):
        count = sum(each.left_out for each in found if each.dtype == dtype)
        if count:
            notes.append(f"too small beside the loss's rounding for differences to judge, in {dtype}: {count:,}")
    first = [each for each in found if each.dtype == found[0].dtype]
    kinks = sum(each.kinks for each in first)
    if kinks:
        notes.append(f"at a kink of the loss, as relu has one at 0, where it has no derivative: {kinks:,}")
    return notes
