"""The gradients of a run: the norm of each layer's, and how large the single derivatives are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gdcli.commands.plot.runs import CurveSource, numbers_of
from gdcli.errors import SpecError
from gdcli.report import plots

Floats = NDArray[np.float64]

STRETCHES, BINS = 60, 40  # of a histogram over time


def gradients(source: CurveSource) -> tuple[Floats, list[plots.LayerHistogram], plots.Histogram | None]:
    """Return steps, norms by layer, and with single derivatives their histogram. Raises SpecError without gradients."""
    names, table = _recorded(source.folder) if source.folder is not None else _computed(source)
    steps, values = table[:, 0], table[:, 1:]
    of_scalars = any("[" in name for name in names) or source.loaded.spec.loss is None
    groups: dict[str, list[int]] = {}
    for k, name in enumerate(names):
        groups.setdefault(layer_of(name), []).append(k)
    with np.errstate(over="ignore", invalid="ignore"):
        layers = [plots.LayerHistogram(name, np.sqrt((values[:, at] ** 2).sum(axis=1))) for name, at in groups.items()]
    return steps, layers, histogram(steps, values) if of_scalars and len(steps) > 1 else None


def layer_of(name: str) -> str:
    """Return the layer of a parameter or of one of its entries.

    >>> layer_of("linear1.weight[0,1]"), layer_of("weight[0,0]"), layer_of("x")
    ('linear1', 'weight', 'x')
    """
    bare = name.partition("[")[0]
    return bare.rpartition(".")[0] or bare


def _recorded(folder: Path) -> tuple[list[str], Floats]:
    path = folder / "gradients.csv"
    if not path.is_file():
        raise SpecError(f"{folder}: no gradients.csv in this folder (record.gradients: none?)")
    header, table = numbers_of(path)
    return header[1:], table


def _computed(source: CurveSource) -> tuple[list[str], Floats]:
    from gdcli.engine.loop import keep_of
    from gdcli.engine.problem import build
    from gdcli.records import StepBlock
    from gdcli.runner import record_run

    built, rows = build(source.loaded), []
    keep = keep_of(built)
    if keep == "none" or not built.theta.trained:
        raise SpecError(f"{source.label}: keeps no gradients (record.gradients: none, or nothing is trained)")

    def block(event: StepBlock) -> None:
        kept = event.gradients if keep == "values" else event.norms
        assert kept is not None
        rows.append(np.column_stack([event.step, kept]).astype(np.float64))

    record_run.run(built, None, callbacks=record_run.Callbacks(block=block))
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
