"""Runs to draw: records, and specs that are trained for it, with their labels, losses and moving averages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gdcli.commands import specs
from gdcli.commands.run import RunReport
from gdcli.errors import DamagedError, SpecError
from gdcli.records import Result, where_diverged, with_last
from gdcli.report import plots
from gdcli.spec.load import Loaded
from gdcli.spec.overrides import is_override
from gdcli.storage.csv_reader import NumberColumns
from gdcli.storage.files import json_file, lenient
from gdcli.storage.find import folders_in
from gdcli.storage.gradient_file import CSV, NPY, PARQUET, BinaryColumns, gradients_of
from gdcli.storage.record import MANY, STAMP, is_record, number, read
from gdcli.storage.recorded_plugins import require_plugins

Floats = NDArray[np.float64]

MOST_RUNS = 400


@dataclass(frozen=True, slots=True)
class CurveSource:
    """A run to draw: its spec, and the folder of its record, if it has one."""

    label: str
    loaded: Loaded
    folder: Path | None = None
    report: RunReport | None = None  # of one that has been trained


def sources(words: Sequence[str], kind: str, configs: Sequence[str] = ()) -> list[CurveSource]:
    """Return the runs that the words name, each with a label of its own.

    Overrides, and files of --config, are for the specs among them.
    """
    overrides = [word for word in words if is_override(word)]
    runs = [specs.record_or_spec(word) for word in words if word not in overrides]
    if not runs:
        raise SpecError(f"--kind {kind} needs a RUN: a record, or a spec")
    folders = [word for word in runs if Path(word).is_dir()]
    if overrides and len(folders) == len(runs):
        raise SpecError(f"'{overrides[0]}': an override is for a spec; a record is as it was run")
    if configs and len(folders) == len(runs):
        raise SpecError("--config is for a spec; a record is as it was run")
    found = [
        each
        for word in runs
        for each in (_records(Path(word)) if word in folders else [_spec(word, overrides, configs)])
    ]
    if len(found) > MOST_RUNS:
        raise SpecError(f"at most {MOST_RUNS} runs in one picture (got {len(found):,})")
    return _labelled(found)


def left_out(words: Sequence[str]) -> list[str]:
    """Say of each word that is a folder of records how many of them are no runs: sweeps and comparisons."""
    folders = [folder for folder in map(Path, map(specs.record_or_spec, words)) if folder.is_dir()]
    found = [(folder, _of_many(folder)) for folder in dict.fromkeys(folders)]
    return [f"{text} in {folder} left out: name one to draw its runs" for folder, text in found if text]


def _of_many(folder: Path) -> str:
    """Count the sweeps and comparisons among the records in a folder."""
    kinds = [read(each).kind for each in folders_in(folder) if is_record(each)]
    counts = Counter("comparison" if kind == "compare" else "sweep" for kind in kinds if kind in MANY)
    return " and ".join(f"{count:,} {kind}{'s' * (count > 1)}" for kind, count in sorted(counts.items()))


def _records(folder: Path) -> list[CurveSource]:
    """Return the run of a folder, or those below the folder of a sweep, a comparison or an experiment."""
    if (folder / "steps.csv").is_file():
        return [_record(folder, folder.absolute().parent.name)]
    below = sorted(path.parent for path in folder.glob("*/steps.csv"))
    if not below:
        hint = f". Name one of its records: {text}" if (text := _of_many(folder)) else ""
        raise SpecError(f"{folder}: no steps.csv in this folder, nor in one below it{hint}")
    # a run of a sweep has its label in its name, one of an experiment the name of that
    return [
        _record(path, folder.absolute().name if STAMP.fullmatch(path.name) else path.name.partition("-")[2])
        for path in below
    ]


def of_record(folder: Path) -> CurveSource:
    """Return the run of a record's own folder. Raises SpecError for a folder that is none."""
    return _record(folder, folder.absolute().parent.name)


def _record(folder: Path, label: str) -> CurveSource:
    if not (folder / "config.yaml").is_file():
        raise SpecError(f"{folder}: no config.yaml in this folder")
    require_plugins(folder)
    loaded = specs.of_record(folder, [], "plot")
    return CurveSource(label or loaded.spec.name, loaded, folder)


def _spec(word: str, overrides: Sequence[str], configs: Sequence[str]) -> CurveSource:
    loaded = specs.loaded(word, overrides, "plot", trained=True, configs=configs)
    return CurveSource(loaded.spec.name, loaded)


def _labelled(found: Sequence[CurveSource]) -> list[CurveSource]:
    """Tell runs of one label apart: by the settings in which they differ, else by their folder or number."""
    groups: dict[tuple[str, str], list[int]] = {}
    for k, run in enumerate(found):
        groups.setdefault((run.loaded.spec.name, run.label), []).append(k)
    labels = [run.label for run in found]
    names = [run.loaded.spec.name for run in found]
    for group in groups.values():
        if len(group) > 1:
            said = _differences([_settings(found[k]) for k in group])
            for k, text in zip(group, said, strict=True):
                folder = found[k].folder
                labels[k] = text if said.count(text) == 1 else f"{labels[k]} {folder.name if folder else k + 1}"
    if len(set(names)) > 1:  # each with its experiment
        pairs = zip(names, labels, strict=True)
        labels = [label if f"{label} ".startswith(f"{name} ") else f"{name}: {label}" for name, label in pairs]
    return [replace(run, label=label) for run, label in zip(found, labels, strict=True)]


def _differences(settings: Sequence[dict[str, str]]) -> list[str]:
    """Return a text for each run: those of the keys which all have, and that are not the same for all."""
    shared = [key for key in settings[0] if all(key in other for other in settings)]
    keys = [key for key in shared if len({each[key] for each in settings}) > 1]
    return [", ".join(each[key] if key == "optimizer" else f"{key}={each[key]}" for key in keys) for each in settings]


def _settings(run: CurveSource) -> dict[str, str]:
    """Return what may tell runs of one spec apart."""
    spec, settings = run.loaded.spec, run.loaded.spec.settings
    found: dict[str, object] = {"optimizer": spec.optimizer.name, **spec.optimizer.arguments} if spec.optimizer else {}
    found |= {"batch": spec.batch.rows(run.loaded.samples) if run.loaded.samples else 0, "epochs": settings.epochs}
    found |= {"seed": settings.seed, "dtype": settings.dtype, "samples": run.loaded.samples, **spec.model.arguments}
    return {key: str(value) for key, value in found.items()}


def curves(sources: Sequence[CurveSource]) -> list[plots.Curve]:
    """Return the loss of every step of each run. Raises SpecError for runs whose losses are not the same function."""
    names = {loss_of(source): source.label for source in sources}
    if len(names) > 1:
        raise SpecError(f"one figure has one loss: these runs have {', '.join(sorted(names))}")
    from gdcli.commands.loss_grid import trained
    from gdcli.runner.jobs import Capture

    fresh = [source for source in sources if source.folder is None]
    results = trained([(source.label, source.loaded) for source in fresh], Capture(curve=True)) if fresh else []
    of_specs = dict(zip(map(id, fresh), results, strict=True))
    return [_curve(source, of_specs.get(id(source))) for source in sources]


def epoch_curves(sources: Sequence[CurveSource], found: Sequence[plots.Curve]) -> tuple[list[plots.Curve], str]:
    """Return the loss of each epoch of each run, which single small batches would hide, and what it is.

    The curves as they are, and nothing, where every run takes one step an epoch, or none has two epochs.
    """
    from gdcli.engine.batches import effort_of

    efforts = [effort_of(source.loaded) for source in sources]
    epochs = [effort.epoch_losses(curve.loss) for effort, curve in zip(efforts, found, strict=True)]
    if max(effort.steps_per_epoch for effort in efforts) == 1 or max(map(len, epochs)) < 2:
        return list(found), ""
    curves = [
        replace(curve, at=np.arange(1.0, len(loss) + 1), loss=loss) for curve, loss in zip(found, epochs, strict=True)
    ]
    return curves, ", epoch sum" if efforts[0].sums else ", epoch mean"


def few_steps(sources: Sequence[CurveSource], found: Sequence[plots.Curve]) -> list[plots.Curve] | None:
    """Return the loss after each number of updates, the last included, of runs that would be dots otherwise.

    None for runs of more steps, or of batches, whose losses before and after an update are not of the same rows.
    """
    from gdcli.engine.batches import effort_of

    single = all(effort_of(source.loaded).steps_per_epoch == 1 for source in sources)
    if not single or max(len(curve.loss) for curve in found) > plots.FEW:
        return None
    curves = []
    for source, curve in zip(sources, found, strict=True):
        trains = source.loaded.spec.settings.epochs > 0
        loss = with_last(curve.loss, curve.after, curve.diverged) if trains else curve.loss
        curves.append(replace(curve, at=np.arange(float(len(loss))) * trains, loss=loss))
    return curves


def loss_of(source: CurveSource) -> str:
    """Return the name of the run's loss."""
    loss = source.loaded.spec.loss
    return "an objective" if loss is None else loss.name


def _curve(source: CurveSource, result: Result | None) -> plots.Curve:
    if source.folder is not None:
        _, table = numbers_of(source.folder / "steps.csv", columns=(0, 3))
        summary = lenient(None, json_file, source.folder / "summary.json") or {}
        gone = where_diverged(str(summary.get("status")), str(summary.get("message")))
        after = number(summary.get("final_loss"))
        after = np.nan if after is None else after
        return plots.Curve(source.label, table[:, 0], table[:, 1], diverged=gone, after=after)
    assert result is not None
    assert result.losses is not None
    losses, gone = result.losses, where_diverged(result.status, result.message)
    steps = np.arange(1.0, len(losses) + 1) if source.loaded.spec.settings.epochs else np.zeros(len(losses))
    return plots.Curve(source.label, steps, losses, diverged=gone, after=result.loss)


def averages(found: Sequence[plots.Curve], beta: float) -> list[Floats]:
    """Return the moving average of each curve: S₁ = y₁, Sₜ = βSₜ₋₁ + (1 − β)yₜ. 0 ≤ β < 1."""
    from gdcli.commands.ema import ema

    return [np.array(ema(curve.loss.tolist(), beta), np.float64) for curve in found]


def numbers_of(path: Path, columns: Sequence[int] | None = None) -> tuple[list[str], Floats]:
    """Return the header of a record's CSV file, and its numbers [K, columns]. Raises SpecError."""
    if not path.is_file():
        raise SpecError(f"{path.parent}: no {path.name} in this folder")
    return _numbers(path, lambda: NumberColumns(path), columns)


def gradients_in(folder: Path) -> tuple[list[str], Floats]:
    """Return the header of a record's table of gradients, and its numbers [K, columns]. Raises SpecError."""
    path = folder / next((name for name in (PARQUET, NPY) if (folder / name).is_file()), CSV)
    if not path.is_file():
        raise SpecError(f"{folder}: no {path.name} in this folder (record.gradients: none?)")
    return _numbers(path, lambda: gradients_of(folder))


def _numbers(
    path: Path, read: Callable[[], NumberColumns | BinaryColumns | None], columns: Sequence[int] | None = None
) -> tuple[list[str], Floats]:
    try:
        table = read()
        if table is None:
            raise SpecError(f"{path}: it is whole once the run has ended: gdcli resume goes on with it")
        numbers = table.numbers(columns)
    except DamagedError:
        raise SpecError(f"{path}: not as gdcli writes it") from None
    if not len(numbers):
        raise SpecError(f"{path}: no steps in it")
    return table.header, numbers
