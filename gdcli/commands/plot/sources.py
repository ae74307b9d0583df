"""The runs of a picture: records, and specs that are trained for it, each with a label of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gdcli.commands import specs
from gdcli.commands.plot.runs import CurveSource
from gdcli.errors import SpecError

MOST_RUNS = 400


def sources(words: Sequence[str], kind: str) -> list[CurveSource]:
    """Return the runs that the words name, each with a label of its own; overrides are for the specs among them."""
    overrides = [word for word in words if "=" in word and not Path(word).exists()]
    runs = [specs.record_or_spec(word) for word in words if word not in overrides]
    if not runs:
        raise SpecError(f"--kind {kind} needs a RUN: a record, or a spec")
    folders = [word for word in runs if Path(word).is_dir()]
    if overrides and len(folders) == len(runs):
        raise SpecError(f"'{overrides[0]}': an override is for a spec; a record is as it was run")
    found = [each for word in runs for each in (_records(Path(word)) if word in folders else [_spec(word, overrides)])]
    if len(found) > MOST_RUNS:
        raise SpecError(f"at most {MOST_RUNS} runs in one picture (got {len(found):,})")
    return _labelled(found)


def _records(folder: Path) -> list[CurveSource]:
    """Return the run of a folder, or those below the folder of a sweep or a comparison."""
    if (folder / "steps.csv").is_file():
        return [_record(folder, folder.absolute().parent.name)]
    below = sorted(path.parent for path in folder.glob("*/steps.csv"))
    if not below:
        raise SpecError(f"{folder}: no steps.csv in this folder, nor in one below it")
    return [_record(path, path.name.partition("-")[2] or path.name) for path in below]


def _record(folder: Path, label: str) -> CurveSource:
    if not (folder / "config.yaml").is_file():
        raise SpecError(f"{folder}: no config.yaml in this folder")
    return _source(str(folder / "config.yaml"), [], label, folder)


def _spec(word: str, overrides: Sequence[str]) -> CurveSource:
    return _source(word, overrides, "", None)


def _source(spec: str, overrides: Sequence[str], label: str, folder: Path | None) -> CurveSource:
    loaded = specs.loaded(spec, overrides, "plot", trained=folder is None)
    return CurveSource(label or loaded.spec.name, loaded, folder)


def _labelled(found: Sequence[CurveSource]) -> list[CurveSource]:
    """Tell runs of one label apart: by the settings in which they differ, else by their folder or number."""
    groups: dict[str, list[int]] = {}
    for k, run in enumerate(found):
        groups.setdefault(run.label, []).append(k)
    labels = [run.label for run in found]
    for group in groups.values():
        if len(group) > 1:
            said = _differences([_settings(found[k]) for k in group])
            for k, text in zip(group, said, strict=True):
                folder = found[k].folder
                labels[k] = text if said.count(text) == 1 else f"{labels[k]} {folder.name if folder else k + 1}"
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
