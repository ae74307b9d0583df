"""`gdcli plot`: pictures of losses, activations, runs, gradients, surfaces and networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gdcli.cli import common
from gdcli.errors import SpecError, nearest

if TYPE_CHECKING:
    from gdcli.commands.plot import CurveSource
    from gdcli.report.plots import Form

KINDS = ("curves", "activations", "losses", "gradients", "surface", "network")
OF_RUNS = ("curves", "gradients", "surface", "network")
FORMS = ("png", "svg", "pdf")
MOVING = ("curves", "surface")
MOST_RUNS = 400


def plot(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN]... [KEY=VALUE]...", help="Records, or specs to train, and overrides."),
    ] = None,
    kind: Annotated[str | None, typer.Option("--kind", "-k", help=f"{', '.join(KINDS)}. Default: curves.")] = None,
    smooth: Annotated[
        float | None, typer.Option(metavar="BETA", help="curves: the moving average, over the pale loss.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAMES", help="activations: some, on one pair of axes: sigmoid,tanh.")
    ] = None,
    step: Annotated[int, typer.Option(min=1, help="network: before which step of the run.")] = 1,
    animate: Annotated[bool, typer.Option("--animate", help="curves, surface: a GIF that grows.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="png, svg or pdf; default: KIND.png.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    quiet: common.QuietOption = False,
) -> int:
    """Draw a picture: loss curves, activations, losses, gradients by layer, a surface with paths, a network.

    Examples: gdcli plot runs/a runs/b --smooth 0.9 · gdcli plot --kind activations · gdcli plot adam_2x2 -k surface
    """
    asked = PlotOptions(chosen(kind, words or []), smooth, _names(name), step, animate)
    asked.check(words or [])
    path = target(output, asked, force=force)
    common.engine()
    from gdcli.storage import files

    files.replace(path, asked.picture(words or [], _form(path)))
    if not quiet:
        common.note(f"wrote {common.shown_path(path)}")
    return 0


def chosen(kind: str | None, words: Sequence[str]) -> str:
    """Return the kind of picture. Raises SpecError for none, or one that there is not."""
    if kind is None and not words:
        raise SpecError(f"which picture? gdcli plot RUN..., or --kind {'|'.join(KINDS)}")
    if kind is not None and kind not in KINDS:
        raise SpecError(f"there is no kind of picture '{kind}'. {nearest(kind, KINDS)}")
    return kind or "curves"


def _names(text: str | None) -> list[str]:
    return [part.strip() for part in text.split(",")] if text is not None else []


def target(output: Path | None, asked: PlotOptions, *, force: bool) -> Path:
    """Return the file to write. Raises SpecError for an ending that is no format, or a file that is there."""
    forms = ("gif",) if asked.animate else FORMS
    path = output or Path(f"{asked.kind}.{forms[0]}")
    if path.suffix[1:].lower() not in forms:
        raise SpecError(f"--output takes a file that ends in .{', .'.join(forms)} (got '{path}')")
    if path.is_dir() or (path.exists() and not force):
        raise SpecError(f"{path} is there already. {'It is a folder' if path.is_dir() else '--force overwrites it'}")
    if not path.parent.is_dir():
        raise SpecError(f"there is no folder '{path.parent}'")
    return path


def _form(path: Path) -> Form:
    """Return the format of a file; png for a GIF, whose frames are pixels."""
    forms: dict[str, Form] = {".svg": "svg", ".pdf": "pdf"}
    return forms.get(path.suffix.lower(), "png")


@dataclass(frozen=True, slots=True)
class PlotOptions:
    """What picture is wanted."""

    kind: str
    smooth: float | None
    names: list[str]
    step: int
    animate: bool

    def check(self, words: Sequence[str]) -> None:
        """Raise SpecError for options and runs that do not go with the kind."""
        wrong = {
            "--smooth": self.smooth is not None and self.kind != "curves",
            "--name": bool(self.names) and self.kind != "activations",
            "--step": self.step != 1 and self.kind != "network",
            "--animate": self.animate and self.kind not in MOVING,
        }
        for option, is_wrong in wrong.items():
            if is_wrong:
                raise SpecError(f"{option} is not for --kind {self.kind}")
        if self.smooth is not None and not 0 <= self.smooth < 1:
            raise SpecError(f"--smooth takes a number from 0 to below 1 (got {self.smooth!r})")
        if "" in self.names:
            raise SpecError("--name takes names with commas between: sigmoid,tanh,relu")
        if self.kind not in OF_RUNS and words:
            raise SpecError(f"--kind {self.kind} takes no RUN (got '{words[0]}')")
        if self.kind in OF_RUNS and not words:
            raise SpecError(f"--kind {self.kind} needs a RUN: a record, or a spec")

    def picture(self, words: Sequence[str], form: Form) -> bytes:
        """Return the picture's bytes."""
        draw: dict[str, Callable[..., bytes]] = {
            "losses": self._losses,
            "activations": self._activations,
            "curves": self._curves,
            "gradients": self._gradients,
            "surface": self._surface,
            "network": self._network,
        }
        return draw[self.kind](*([sources(words, self.kind)] if self.kind in OF_RUNS else []), form=form)

    def _losses(self, form: Form) -> bytes:
        from gdcli.commands import plot
        from gdcli.report import plots

        return plots.loss_functions(
            plot.over_error(), plot.over_probability(), plot.outlier(), title="Losses", form=form
        )

    def _activations(self, form: Form) -> bytes:
        from gdcli.commands import plot
        from gdcli.report import plots

        found, together = plot.activations(self.names), bool(self.names)
        return plots.activations(found, title="Activations and their derivatives", together=together, form=form)

    def _curves(self, runs: Sequence[CurveSource], form: Form) -> bytes:
        from gdcli.commands import plot
        from gdcli.report import plots
        from gdcli.runner import record_run

        curves = plot.curves(runs)
        means = [] if self.smooth is None else plot.averages(curves, self.smooth)
        title = _title(runs) + (f": moving average, β = {self.smooth:g}" if self.smooth is not None else "")
        label: dict[str, Any] = {"loss_label": record_run.loss_label(runs[0].loaded), "averages": means}
        if self.animate:
            return plots.animated_curves(curves, title=title, **label)
        return plots.loss_curves(curves, title=title, form=form, **label)

    def _gradients(self, runs: Sequence[CurveSource], form: Form) -> bytes:
        from gdcli.commands import plot
        from gdcli.report import plots

        (run,) = _one(runs, self.kind)
        steps, layers, histogram = plot.gradients(run)
        return plots.gradient_norms(
            steps, layers, title=f"{run.label}: gradients by layer", histogram=histogram, form=form
        )

    def _surface(self, runs: Sequence[CurveSource], form: Form) -> bytes:
        from gdcli.commands import plot
        from gdcli.report import plots
        from gdcli.runner import record_run

        shown, label = plot.plane(runs), record_run.loss_label(runs[0].loaded)
        if self.animate:
            return plots.animated_plane(shown, title=_title(runs), loss_label=label)
        return plots.plane(shown, title=_title(runs), loss_label=label, form=form)

    def _network(self, runs: Sequence[CurveSource], form: Form) -> bytes:
        from gdcli.commands import plot
        from gdcli.report import plots

        (run,) = _one(runs, self.kind)
        layers, neurons = plot.network(run, self.step)
        return plots.network(layers, neurons, title=f"{run.label}, before step {self.step:,}", form=form)


def _one(runs: Sequence[CurveSource], kind: str) -> Sequence[CurveSource]:
    if len(runs) > 1:
        raise SpecError(f"--kind {kind} draws one run (got {len(runs)})")
    return runs


def _title(runs: Sequence[CurveSource]) -> str:
    return " · ".join(dict.fromkeys(run.loaded.spec.name for run in runs[:4])) + (" · …" if len(runs) > 4 else "")


# --- runs -------------------------------------------------------------------------------------------------------------


def sources(words: Sequence[str], kind: str) -> list[CurveSource]:
    """Return the runs that the words name, each with a label of its own; overrides are for the specs among them."""
    overrides = [word for word in words if "=" in word and not Path(word).exists()]
    runs = [common.record_or_spec(word) for word in words if word not in overrides]
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
    from gdcli.commands.plot import CurveSource

    source, document = common.read_spec(spec, overrides, None, None, "plot")
    loaded = common.load(source, common.parse(source, document), bounded=True)
    if folder is None:
        common.require_optimizer(loaded.spec)
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
