"""From records and specs to what the plots take: loss curves, gradients by layer, planes with paths, networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gdcli import plots
from gdcli.errors import RunError, SpecError, nearest
from gdcli.spec.load import Loaded
from gdcli.zoo.activations import ACTIVATIONS
from gdcli.zoo.losses import LOSSES
from gdcli.zoo.models import Chain

if TYPE_CHECKING:
    from torch import Tensor

    from gdcli.engine.build import Built
    from gdcli.zoo.losses import Loss

Floats = NDArray[np.float64]

WHOLE_ROWS = ("softmax", "log_softmax")  # of all outputs of a layer at once: no curve over z
STRAIGHT = {"sign_ste": "straight-through gradient"}  # in the place of a derivative
SIDE, WORK = 160, 4e8  # points of a plane's grid, each way; rows of data times parameters times points, about at most
WIDEST = 20_000  # parameters of a model whose plane is drawn
PATH_POINTS = 600  # of a path, from which the plane and the gap are found
HUGE = 1e15  # a parameter beyond is that of a run that diverges, even if it stays finite there
STRETCHES, BINS = 60, 40  # of a histogram over time


@dataclass(frozen=True, slots=True)
class Source:
    """A run to draw: its spec, and the folder of its record, if it has one."""

    label: str
    loaded: Loaded
    folder: Path | None = None


# --- functions --------------------------------------------------------------------------------------------------------


def activations(names: Sequence[str] = ()) -> list[plots.Function]:
    """Return activations with their derivatives over z, all or those named. Raises SpecError for one without a curve.

    The derivative is the backward pass by hand at a gradient of 1 from above.
    """
    for name in names:
        if name not in ACTIVATIONS:
            raise SpecError(f"there is no activation '{name}'. {nearest(name, ACTIVATIONS)}")
        if name in WHOLE_ROWS:
            raise SpecError(f"{name} has no curve: each output depends on all of a layer's sums")
    z = np.linspace(-6, 6, 769) if names else np.linspace(-8, 8, 257)
    return [_activation(name, z) for name in names or (name for name in ACTIVATIONS if name not in WHOLE_ROWS)]


def _activation(name: str, z: Floats) -> plots.Function:
    import torch

    found, at = ACTIVATIONS[name](), torch.as_tensor(z)[:, None]  # [K, 1]: K neurons
    if found.forward is None or found.backward is None:
        return plots.Function(name, z, z.copy(), np.ones_like(z))
    with torch.no_grad():
        value = found.forward(at)
        slope = found.backward(torch.ones_like(at), at, value, torch.empty_like(at))
    return plots.Function(name, z, value[:, 0].numpy(), slope[:, 0].numpy(), STRAIGHT.get(name, ""))


OVER_ERROR = ("mse", "mae", "smooth_l1", "huber")


def over_error() -> list[plots.Function]:
    """Return losses of one element, and their derivatives, over the error o − t; huber with δ = 2, not smooth_l1's."""
    error = np.linspace(-3.5, 3.5, 701)
    made = [("huber (δ = 2)", LOSSES[name](delta=2.0)) if name == "huber" else (name, LOSSES[name]())
            for name in OVER_ERROR]  # fmt: skip
    return [_of_error(label, loss, error) for label, loss in made]


def _of_error(label: str, loss: Loss, error: Floats) -> plots.Function:
    import torch

    outputs = torch.as_tensor(error)[:, None, None]  # [K, 1, 1]: K losses of one element
    zero = torch.zeros(1, 1, dtype=torch.float64)
    values = [float(loss.value(o, zero)) for o in outputs]
    slopes = [float(loss.derivative(o)(o, zero)) for o in outputs]
    return plots.Function(label, error, np.array(values), np.array(slopes))


def over_probability() -> list[plots.Function]:
    """Return cross-entropy and squared loss over the probability p of the true class of two: −log p and (1 − p)²."""
    import torch

    p = np.linspace(0.005, 0.995, 397)
    at = torch.as_tensor(p)
    rows = torch.stack([at, 1 - at], dim=1).log()[:, None]  # [K, 1, 2] log-probabilities: logits of themselves
    entropy = [float(LOSSES["cross_entropy"]().value(row, torch.zeros(1, dtype=torch.int64))) for row in rows]
    squared = [float(LOSSES["mse"]().value(value.view(1, 1), torch.ones(1, 1, dtype=torch.float64))) for value in at]
    return [
        plots.Function("cross-entropy: −log p", p, np.array(entropy)),
        plots.Function("squared loss: (1 − p)²", p, np.array(squared)),
    ]


def outlier() -> plots.Outlier:
    """Return points near a line with one far off it, and the lines with the least MSE, the least MAE."""
    x = np.arange(1.0, 9.0)
    y = np.array([1.2, 1.9, 3.1, 3.9, 5.2, 5.8, 7.1, 20.0])
    squared = np.polyfit(x, y, 1)
    without = np.polyfit(x[:-1], y[:-1], 1)
    return plots.Outlier(
        x, y, [("MSE", float(squared[0]), float(squared[1])), ("MAE", *least_absolute(x, y)),
               ("MSE without it", float(without[0]), float(without[1]))],
    )  # fmt: skip


def least_absolute(x: Floats, y: Floats) -> tuple[float, float]:
    """Return slope and offset of the line with the least Σ|y − a x − b|: one through two of the points.

    >>> least_absolute(np.array([0.0, 1, 2, 3]), np.array([0.0, 1, 2, 30]))
    (1.0, 0.0)
    """
    lines = []
    for i, j in zip(*np.triu_indices(len(x), 1), strict=True):
        slope = (y[j] - y[i]) / (x[j] - x[i])
        lines.append((slope, y[i] - slope * x[i]))
    a, b = np.array(lines).T  # [L]
    best = int(np.abs(y - a[:, None] * x - b[:, None]).sum(axis=1).argmin())
    return float(a[best]), float(b[best])


# --- curves -----------------------------------------------------------------------------------------------------------


def curves(sources: Sequence[Source]) -> list[plots.Curve]:
    """Return the loss of every step of each run. Raises SpecError for runs whose losses are not the same function."""
    names = {_loss_of(source): source.label for source in sources}
    if len(names) > 1:
        raise SpecError(f"one figure has one loss: these runs have {', '.join(sorted(names))}")
    return [_curve(source) for source in sources]


def _loss_of(source: Source) -> str:
    loss = source.loaded.spec.loss
    return "an objective" if loss is None else loss.name


def _curve(source: Source) -> plots.Curve:
    if source.folder is not None:
        table = _table(source.folder / "steps.csv", columns=(0, 3))
        return plots.Curve(source.label, table[:, 0], table[:, 1])
    losses, _ = _trained(source, curve=True)
    steps = np.arange(1.0, len(losses) + 1) if source.loaded.spec.settings.epochs else np.zeros(len(losses))
    return plots.Curve(source.label, steps, losses)


def averages(found: Sequence[plots.Curve], beta: float) -> list[Floats]:
    """Return the moving average of each curve: S₁ = y₁, Sₜ = βSₜ₋₁ + (1 − β)yₜ. Raises SpecError outside 0 ≤ β < 1."""
    from gdcli.ema import ema

    if not 0 <= beta < 1:
        raise SpecError(f"--smooth takes a number from 0 to below 1 (got {beta!r})")
    return [np.array(ema(curve.loss.tolist(), beta), np.float64) for curve in found]


def _table(path: Path, columns: Sequence[int] | None = None) -> Floats:
    """Return a record's CSV file as numbers [K, columns]. Raises SpecError for one that is missing or damaged."""
    if not path.is_file():
        raise SpecError(f"{path.parent}: no {path.name} in this folder")
    try:
        with path.open(encoding="utf-8") as stream:
            rows = stream.read().splitlines()[1:]
        if not rows:
            raise SpecError(f"{path}: no steps in it")
        return np.loadtxt(rows, delimiter=",", usecols=columns, ndmin=2)
    except ValueError:
        raise SpecError(f"{path}: not as gdcli writes it") from None
    except OSError as error:
        raise SpecError(f"cannot read {path}: {error.strerror}") from None


def _trained(source: Source, *, curve: bool = False, path: bool = False) -> tuple[Floats, Floats]:
    """Train a run in memory; return the losses of its steps and its parameters after each, empty if not asked for."""
    from gdcli.engine.train import Interrupt
    from gdcli.execute import Origin
    from gdcli.plan import Point
    from gdcli.shards import Place, Run, Shard, Wish, carry_out

    run = Run(1, Point(source.label, (), ()), source.loaded)
    wish, place = Wish(curve=curve, path=path), Place(None, 1, Origin(b"", ()))
    (result,) = carry_out(Shard((run,), together=False), place, wish, Interrupt())
    if result.status == "failed":
        raise RunError(f"{source.label}: {result.message}")
    losses, way = (np.zeros(0) if found is None else found for found in (result.losses, result.path))
    if path and result.status == "diverged":  # its loss may go before its parameters do
        way = np.concatenate([way, np.full((1, way.shape[1]), np.nan)])
    return losses, way


# --- gradients --------------------------------------------------------------------------------------------------------


def gradients(source: Source) -> tuple[Floats, list[plots.Layer], plots.Histogram | None]:
    """Return steps, norms by layer, and with single derivatives their histogram. Raises SpecError without gradients."""
    names, table = _recorded(source.folder) if source.folder is not None else _computed(source)
    steps, values = table[:, 0], table[:, 1:]
    of_scalars = any("[" in name for name in names) or source.loaded.spec.loss is None
    groups: dict[str, list[int]] = {}
    for k, name in enumerate(names):
        groups.setdefault(layer_of(name), []).append(k)
    with np.errstate(over="ignore", invalid="ignore"):
        layers = [plots.Layer(name, np.sqrt((values[:, at] ** 2).sum(axis=1))) for name, at in groups.items()]
    return steps, layers, histogram(steps, values) if of_scalars and len(steps) > 1 else None


def layer_of(name: str) -> str:
    """Return the layer of a parameter or of one of its entries.

    >>> layer_of("linear1.weight[0,1]"), layer_of("weight[0,0]"), layer_of("x")
    ('linear1', 'weight', 'x')
    """
    bare = name.partition("[")[0]
    return bare.rpartition(".")[0] or bare


def _recorded(folder: Path) -> tuple[list[str], Floats]:
    import csv

    path = folder / "gradients.csv"
    if not path.is_file():
        raise SpecError(f"{folder}: no gradients.csv in this folder (record.gradients: none?)")
    with path.open(encoding="utf-8", newline="") as stream:
        header = next(csv.reader(stream), [])
    return header[1:], _table(path)


def _computed(source: Source) -> tuple[list[str], Floats]:
    from gdcli import execute
    from gdcli.engine.build import build
    from gdcli.engine.train import keep_of
    from gdcli.records import StepBlock

    built, rows = build(source.loaded), []
    keep = keep_of(built)
    if keep == "none" or not built.theta.trained:
        raise SpecError(f"{source.label}: keeps no gradients (record.gradients: none, or nothing is trained)")

    def block(event: StepBlock) -> None:
        kept = event.gradients if keep == "values" else event.norms
        assert kept is not None
        rows.append(np.column_stack([event.step, kept]).astype(np.float64))

    execute.run(source.loaded, None, execute.Origin(b"", ()), watch=execute.Watch(block=block), built=built)
    trained = [parameter for parameter in built.theta.parameters() if parameter.trained]
    names = [name for p in trained for name in (p.scalars if keep == "values" else (p.name,))]
    return names, np.concatenate(rows)


def histogram(steps: Floats, values: Floats) -> plots.Histogram | None:
    """Return the shares of the sizes of derivatives [K, P] in stretches of steps; None where all are 0."""
    size = np.abs(values)
    there = size[(size > 0) & np.isfinite(size)]
    if not len(there):
        return None
    low, high = float(np.quantile(there, 0.002)), float(there.max())
    sizes = np.geomspace(max(low / 2, 1e-300), high * 1.1, BINS + 1)
    parts = np.array_split(np.arange(len(steps)), min(STRETCHES, len(steps)))
    counts = [np.histogram(np.clip(size[part][size[part] > 0], sizes[0], None), sizes)[0] for part in parts]
    share = np.stack([100 * count / size[part].size for count, part in zip(counts, parts, strict=True)], axis=1)
    borders = np.append(steps[[part[0] for part in parts]] - 0.5, steps[-1] + 0.5)
    return plots.Histogram(borders, sizes, share, 100 * float(np.mean(size == 0)))


# --- planes -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Projection:
    """A plane in the space of all parameters: a point is origin + a x + b y; the share of the paths' variance."""

    origin: Floats  # [P]
    axes: Floats  # [2, P], orthonormal
    explained: tuple[float, float]

    def down(self, points: Floats) -> Floats:
        """Return points [K, P] as places on the plane [K, 2]."""
        with np.errstate(all="ignore"):
            return np.asarray((points - self.origin) @ self.axes.T)

    def up(self, places: Floats) -> Floats:
        """Return places [K, 2] as points [K, P]."""
        return np.asarray(self.origin + places @ self.axes)


def principal(paths: Sequence[Floats]) -> Projection:
    """Return the plane of the first two principal components of all paths' points [K, P].

    Their sign is such that the largest entry is positive. Raises SpecError where nothing moves.
    """
    points = np.concatenate([_thinned(_usable(path)) for path in _steady(paths)])
    origin = points.mean(axis=0)
    _, values, vectors = np.linalg.svd(points - origin, full_matrices=False)
    total = float((values**2).sum())
    if total == 0 or len(values) < 2:
        raise SpecError("the runs do not move: there is no plane of their paths")
    axes = vectors[:2] * np.sign(vectors[:2][np.arange(2), np.abs(vectors[:2]).argmax(axis=1)])[:, None]
    return Projection(origin, axes, (float(values[0] ** 2 / total), float(values[1] ** 2 / total)))


def _usable(path: Floats) -> Floats:
    """Return the points [K, P] before a divergence: finite, and small enough to be squared."""
    return path[(np.abs(path) < HUGE).all(axis=1)]


def _steady(paths: Sequence[Floats]) -> Sequence[Floats]:
    """Return the paths that do not diverge, whose way to infinity would fill the picture; all where all do."""
    return [path for path in paths if len(_usable(path)) == len(path)] or paths


def _thinned(path: Floats) -> Floats:
    return path[np.unique(np.linspace(0, len(path) - 1, min(len(path), PATH_POINTS)).round().astype(np.int64))]


def plane(sources: Sequence[Source]) -> plots.Plane:
    """Return the loss over two parameters, or over the plane of the paths' principal components, with the paths.

    Raises SpecError for a model of one parameter or too many, and for runs whose models or data differ.
    """
    from gdcli.engine.build import build

    built = build(sources[0].loaded)
    names = [name for parameter in built.theta.parameters() for name in parameter.scalars]
    if not 2 <= len(names) <= WIDEST:
        hint = ". gdcli sweep draws the loss over one" if len(names) < 2 else ""
        raise SpecError(f"a surface is drawn of models of 2 to {WIDEST:,} parameters (got {len(names):,}){hint}")
    _same_problem(sources, names)
    paths = [_trained(source, path=True)[1] for source in sources]
    if len(names) == 2:
        shown = Projection(np.zeros(2), np.eye(2), (1.0, 0.0))
        return _plane(built, names, (names[0], names[1]), shown, sources, paths, "")
    shown = principal(paths)
    first, second = (f"{100 * share:.3g} %" for share in shown.explained)
    labels = f"principal component 1: {first} of the variance", f"component 2: {second}"
    return _plane(built, names, labels, shown, sources, paths, _gap(built, names, shown, paths))


def _plane(
    built: Built, names: list[str], labels: tuple[str, str], shown: Projection, sources: Sequence[Source],
    paths: Sequence[Floats], note: str,
) -> plots.Plane:  # fmt: skip
    from gdcli.comparison.pictures import _axis

    trails = [plots.Trail(source.label, shown.down(path)) for source, path in zip(sources, paths, strict=True)]
    work = max(1, len(built.batches.x)) * len(names)
    side = int(np.clip(np.sqrt(WORK / work), 30, SIDE))
    x, y = (_axis([shown.down(_usable(path))[:, k] for path in _steady(paths)], side) for k in (0, 1))
    places = np.stack([mesh.ravel() for mesh in np.meshgrid(x, y, indexing="ij")], axis=1)
    loss = _losses(built, names, shown, places).reshape(side, side).T
    return plots.Plane(labels, x, y, loss, trails, note)


def _losses(built: Built, names: list[str], shown: Projection, places: Floats) -> Floats:
    """Return the loss at places of the plane, not more of them at once than memory takes easily."""
    from gdcli.engine.grid import losses

    rows = max(64, 2**24 // len(names))
    parts = [losses(built, names, shown.up(places[k : k + rows])) for k in range(0, len(places), rows)]
    return np.concatenate(parts)


def _gap(built: Built, names: list[str], shown: Projection, paths: Sequence[Floats]) -> str:
    """Say how far the loss on the plane is from the true one: at the end, and the largest along the paths."""
    from gdcli.engine.grid import losses

    gaps = []
    for path in _steady(paths):
        points = _thinned(_usable(path))
        with np.errstate(all="ignore"):
            gap = _losses(built, names, shown, shown.down(points)) - losses(built, names, points)
        gaps.append(gap[np.isfinite(gap)])
    end = max((float(gap[-1]) for gap in gaps if len(gap)), key=abs, default=float("nan"))
    largest = max((float(np.abs(gap).max()) for gap in gaps if len(gap)), default=float("nan"))
    return f"plane − true loss: end {_short(end)}, largest {_short(largest)}"


def _short(value: float) -> str:
    return f"{value:.2g}".replace("-", "−")


def _same_problem(sources: Sequence[Source], names: list[str]) -> None:
    """Refuse runs that are not points of one surface."""
    from gdcli.engine.build import build
    from gdcli.execute import data_hash

    first = sources[0]
    for other in sources[1:]:
        parameters = build(other.loaded).theta.parameters()
        same = [name for parameter in parameters for name in parameter.scalars] == names
        same &= _loss_of(first) == _loss_of(other) and data_hash(first.loaded) == data_hash(other.loaded)
        same &= repr(first.loaded.architecture) == repr(other.loaded.architecture) or first.loaded.spec.loss is not None
        if not same:
            raise SpecError(f"{other.label} is not on the surface of {first.label}: its model, loss or data differ")


# --- network ----------------------------------------------------------------------------------------------------------


def network(source: Source, step: int) -> tuple[list[plots.Affine], list[list[plots.Neuron]]]:
    """Return a net before its step-th step: weights, their gradients on the step's rows, and for one row all outputs.

    Raises SpecError for a model without written-out layers, or with more edges than a picture can show.
    """
    import torch

    from gdcli.engine.build import build
    from gdcli.explain.point import point_of

    chain = source.loaded.architecture
    if not isinstance(chain, Chain) or not chain.layers:
        raise SpecError(f"{source.label}: a network is drawn of linear, mlp and softmax models")
    edges = sum(layer.inputs * layer.outputs for layer in chain.layers)
    if edges > plots.EDGES:
        raise SpecError(f"{source.label}: a network is drawn with at most {plots.EDGES} edges (this one has {edges:,})")
    point, built = point_of(source.loaded, step), build(source.loaded)
    with torch.no_grad():
        for slot in built.theta.slots:
            built.theta.view(slot).copy_(torch.tensor(point.parameters[slot.name], dtype=built.dtype))
    x, y = built.batches.x[list(point.rows)], built.batches.y[list(point.rows)]
    built.kernel.step(x, y)
    return _layers(built, chain, point.parameters), _neurons(built, chain, x)


def _layers(built: Built, chain: Chain, parameters: object) -> list[plots.Affine]:
    slots = {slot.name: slot for slot in built.theta.slots}
    assert isinstance(parameters, dict)

    def of(name: str) -> tuple[Floats, Floats]:
        gradient = built.theta.gradient_view(slots[name])
        value = np.asarray(parameters[name], np.float64)
        return value, np.zeros_like(value) if gradient is None else gradient.double().cpu().numpy()

    found, count = [], 0
    for layer in chain.layers:
        weight, gradient = of(f"{layer.name}weight")
        names = [f"w{count + k + 1}" for k in range(weight.size)]
        count += weight.size
        bias = of(f"{layer.name}bias") if layer.bias else (None, None)
        found.append(plots.Affine(weight, gradient, names, *bias))
    return found


def _neurons(built: Built, chain: Chain, x: Tensor) -> list[list[plots.Neuron]]:
    import torch

    from gdcli.explain.naming import Names

    names, slots = Names(len(chain.layers), (1,)), {slot.name: slot for slot in built.theta.slots}
    a, found = x, [[names.input(0, i).text for i in range(x.shape[1])]]
    outputs = [a]
    with torch.no_grad():
        for k, layer in enumerate(chain.layers):
            a = a @ built.theta.view(slots[f"{layer.name}weight"]).mT
            a = a + built.theta.view(slots[f"{layer.name}bias"]) if layer.bias else a
            activation = ACTIVATIONS[layer.activation]().forward
            a = a if activation is None else activation(a)
            outputs.append(a)
            found.append([names.neuron(k, 0, j).text for j in range(layer.outputs)])
    one = len(x) == 1
    return [
        [plots.Neuron(name, float(output[0, j]) if one else None) for j, name in enumerate(layer)]
        for layer, output in zip(found, outputs, strict=True)
    ]
