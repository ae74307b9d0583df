"""Pictures of losses, activations, runs, gradients, surfaces and networks: `gdcli plot`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gdcli.errors import SpecError, nearest

if TYPE_CHECKING:
    from gdcli.commands.plot.runs import CurveSource
    from gdcli.report.plots import Form

KINDS = ("curves", "activations", "losses", "gradients", "surface", "network")
OF_RUNS = ("curves", "gradients", "surface", "network")
FORMS = ("png", "svg", "pdf")
MOVING = ("curves", "surface")


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
        from gdcli.commands.plot.sources import sources

        return draw[self.kind](*([sources(words, self.kind)] if self.kind in OF_RUNS else []), form=form)

    def _losses(self, form: Form) -> bytes:
        from gdcli.commands.plot.functions import outlier, over_error, over_probability
        from gdcli.report import plots

        return plots.loss_functions(over_error(), over_probability(), outlier(), title="Losses", form=form)

    def _activations(self, form: Form) -> bytes:
        from gdcli.commands.plot.functions import activations
        from gdcli.report import plots

        found, together = activations(self.names), bool(self.names)
        return plots.activations(found, title="Activations and their derivatives", together=together, form=form)

    def _curves(self, runs: Sequence[CurveSource], form: Form) -> bytes:
        from gdcli.commands.plot.runs import averages, curves
        from gdcli.report import plots
        from gdcli.runner import record_run

        drawn = curves(runs)
        means = [] if self.smooth is None else averages(drawn, self.smooth)
        title = _title(runs) + (f": moving average, β = {self.smooth:g}" if self.smooth is not None else "")
        label: dict[str, Any] = {"loss_label": record_run.loss_label(runs[0].loaded), "averages": means}
        if self.animate:
            return plots.animated_curves(drawn, title=title, **label)
        return plots.loss_curves(drawn, title=title, form=form, **label)

    def _gradients(self, runs: Sequence[CurveSource], form: Form) -> bytes:
        from gdcli.commands.plot.layers import gradients
        from gdcli.report import plots

        (run,) = _one(runs, self.kind)
        steps, layers, histogram = gradients(run)
        return plots.gradient_norms(
            steps, layers, title=f"{run.label}: gradients by layer", histogram=histogram, form=form
        )

    def _surface(self, runs: Sequence[CurveSource], form: Form) -> bytes:
        from gdcli.commands.plot.planes import plane
        from gdcli.report import plots
        from gdcli.runner import record_run

        shown, label = plane(runs), record_run.loss_label(runs[0].loaded)
        if self.animate:
            return plots.animated_plane(shown, title=_title(runs), loss_label=label)
        return plots.plane(shown, title=_title(runs), loss_label=label, form=form)

    def _network(self, runs: Sequence[CurveSource], form: Form) -> bytes:
        from gdcli.commands.plot.networks import network
        from gdcli.report import plots

        (run,) = _one(runs, self.kind)
        layers, neurons = network(run, self.step)
        return plots.network(layers, neurons, title=f"{run.label}, before step {self.step:,}", form=form)


def _one(runs: Sequence[CurveSource], kind: str) -> Sequence[CurveSource]:
    if len(runs) > 1:
        raise SpecError(f"--kind {kind} draws one run (got {len(runs)})")
    return runs


def _title(runs: Sequence[CurveSource]) -> str:
    return " · ".join(dict.fromkeys(run.loaded.spec.name for run in runs[:4])) + (" · …" if len(runs) > 4 else "")


def plot(words: Sequence[str], options: PlotOptions, path: Path) -> None:
    """Draw a picture of records and specs, with overrides for these, into a file."""
    from gdcli.storage import files

    files.replace(path, options.picture(words, _form(path)))


def chosen(kind: str | None, words: Sequence[str]) -> str:
    """Return the kind of picture. Raises SpecError for none, or one that there is not."""
    if kind is None and not words:
        raise SpecError(f"which picture? gdcli plot RUN..., or --kind {'|'.join(KINDS)}")
    if kind is not None and kind not in KINDS:
        raise SpecError(f"there is no kind of picture '{kind}'. {nearest(kind, KINDS)}")
    return kind or "curves"


def target(output: Path | None, options: PlotOptions, *, force: bool) -> Path:
    """Return the file to write. Raises SpecError for an ending that is no format, or a file that is there."""
    forms = ("gif",) if options.animate else FORMS
    path = output or Path(f"{options.kind}.{forms[0]}")
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
