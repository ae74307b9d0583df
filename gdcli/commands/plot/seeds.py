"""Runs of a sweep or a comparison that differ in seed or fold alone: one curve, their mean, its interval as a band."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from gdcli.commands.over_seeds import mean_curve
from gdcli.commands.plot.runs import CurveSource
from gdcli.report import plots
from gdcli.storage.record import MANY, is_record, read

_REPEATED = re.compile(r"(?:^|_)(seed|fold)=[0-9]+(?=_|$)")  # in the name of a run's folder


def over_seeds(sources: Sequence[CurveSource], found: Sequence[plots.Curve]) -> tuple[list[plots.Curve], str]:
    """Return a curve for each group of the runs of one sweep or comparison, and what its band is.

    The curves as they are, and nothing, for other runs, and where none is repeated with another seed or fold.
    """
    parents = {
        source.folder.parent if source.folder and source.label == source.folder.name.partition("-")[2] else None
        for source in sources
    }
    (parent,) = parents if len(parents) == 1 else (None,)
    groups: dict[str, list[plots.Curve]] = {}
    for curve in found:
        groups.setdefault(_REPEATED.sub("", curve.label), []).append(curve)
    if parent is None or len(groups) == len(found) or not is_record(parent) or read(parent).kind not in MANY:
        return list(found), ""
    what = {word for curve in found for word in _REPEATED.findall(curve.label)}
    means = [
        mean_curve(label.strip("_") or "mean", np.asarray(max((each.at for each in members), key=len)),
                   [np.asarray(each.loss) for each in members], [each.diverged for each in members])
        for label, members in groups.items()
    ]  # fmt: skip
    count = max(map(len, groups.values()))
    return means, f"band: 95 % interval of the mean, {count} {'runs' if 'fold' in what else 'seeds'}"
