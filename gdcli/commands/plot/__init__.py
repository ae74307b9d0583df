"""Pictures of losses, activations, runs, gradients, surfaces and networks: `gdcli plot`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gdcli.errors import SpecError, nearest

if TYPE_CHECKING:
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
        from gdcli.commands.plot.functions import activations, outlier, over_error, over_probability
        from gdcli.commands.plot.layers import gradients, network
        from gdcli.commands.plot.planes import plane
        from gdcli.commands.plot.runs import averages, curves, sources
        from gdcli.report import plots
        from gdcli.runner.record_run import loss_label

        if self.kind == "losses":
            return plots.loss_functions.drawn(form, over_error(), over_probability(), outlier(), "Losses")
        if self.kind == "activations":
            title = "Activations and their derivatives"
            return plots.activations.drawn(form, activations(self.names), title, together=bool(self.names))
        runs = sources(words, self.kind)
        first, label = runs[0], loss_label(runs[0].loaded)
        if self.kind in ("gradients", "network") and len(runs) > 1:
            raise SpecError(f"--kind {self.kind} draws one run (got {len(runs)})")
        if self.kind == "gradients":
            steps, layers, histogram = gradients(first)
            return plots.gradient_norms.drawn(form, steps, layers, f"{first.label}: gradients by layer", histogram)
        if self.kind == "network":
            return plots.network.drawn(form, *network(first, self.step), f"{first.label}, before step {self.step:,}")
        title = " · ".join(dict.fromkeys(run.loaded.spec.name for run in runs[:4])) + (" · …" if len(runs) > 4 else "")
        if self.kind == "surface":
            shown = plane(runs)
            if self.animate:
                return plots.animated_plane(shown, title, label)
            return plots.plane.drawn(form, shown, title, label)
        drawn = curves(runs)
        means = [] if self.smooth is None else averages(drawn, self.smooth)
        title += "" if self.smooth is None else f": moving average, β = {self.smooth:g}"
        if self.animate:
            return plots.animated_curves(drawn, title, label, means)
        return plots.loss_curves.drawn(form, drawn, title, label, means)


def plot(words: Sequence[str], options: PlotOptions, path: Path) -> None:
    """Draw a picture of records and specs, with overrides for these, into a file."""
    from gdcli.storage import files

    forms: dict[str, Form] = {".svg": "svg", ".pdf": "pdf"}
    form = forms.get(path.suffix.lower(), "png")  # for a GIF too, whose frames are pixels
    files.replace(path, options.picture(words, form))


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
