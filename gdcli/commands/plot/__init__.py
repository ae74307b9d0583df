"""Pictures of losses, activations, runs, gradients, surfaces and networks: `gdcli plot`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gdcli.errors import SpecError, nearest

if TYPE_CHECKING:
    from gdcli.commands.plot.runs import CurveSource
    from gdcli.report.plots import Form

FORMS = ("png", "svg", "pdf")


@dataclass(frozen=True, slots=True)
class PlotOptions:
    """What picture is wanted."""

    kind: str
    smooth: float | None
    names: list[str]
    step: int | None
    animate: bool
    configs: tuple[str, ...] = ()  # files merged over the specs
    of: str | None = None  # the value whose gradients are wanted

    def check(self, words: Sequence[str]) -> None:
        """Raise SpecError for options and runs that do not go with the kind."""
        kind = KINDS[self.kind]
        given = {"smooth": self.smooth is not None, "name": self.names, "step": self.step not in (None, 1)}
        given |= {"animate": self.animate, "of": self.of is not None}
        for option, is_given in given.items():
            if is_given and option not in kind.takes:
                raise SpecError(f"--{option} is not for --kind {self.kind}")
        if self.kind == "gradients" and given["step"] and self.of is None:
            raise SpecError("--step is for --kind gradients with --of, of a value that is an image")
        if self.smooth is not None and not 0 <= self.smooth < 1:
            raise SpecError(f"--smooth takes a number from 0 to below 1 (got {self.smooth!r})")
        if "" in self.names:
            raise SpecError("--name takes names with commas between: sigmoid,tanh,relu")
        if not kind.of_runs and words:
            raise SpecError(f"--kind {self.kind} takes no RUN (got '{words[0]}')")
        if not kind.of_runs and self.configs:
            raise SpecError(f"--config is not for --kind {self.kind}")
        if kind.of_runs and not words:
            raise SpecError(f"--kind {self.kind} needs a RUN: a record, or a spec")


@dataclass(frozen=True, slots=True)
class PlotKind:
    """A kind of picture: what draws it from the runs that the words name, and what it can be asked for."""

    draw: Callable[[Sequence[CurveSource], PlotOptions, Form], bytes]
    of_runs: bool = True  # it needs records or specs
    takes: tuple[str, ...] = ()  # of the options smooth, name, step, animate and of


def _losses(runs: Sequence[CurveSource], options: PlotOptions, form: Form) -> bytes:
    from gdcli.commands.plot.functions import outlier, over_error, over_probability
    from gdcli.report import plots

    return plots.loss_functions.drawn(form, over_error(), over_probability(), outlier(), "Losses")


def _activations(runs: Sequence[CurveSource], options: PlotOptions, form: Form) -> bytes:
    from gdcli.commands.plot.functions import activations
    from gdcli.report import plots

    title = "Activations and their derivatives"
    return plots.activations.drawn(form, activations(options.names), title, together=bool(options.names))


def _gradients(runs: Sequence[CurveSource], options: PlotOptions, form: Form) -> bytes:
    from gdcli.commands.plot.layers import gradients
    from gdcli.report import plots

    run = _only(runs, options)
    if options.of is not None:
        return _watched(run, options.of, options.step, form)
    steps, layers, histogram = gradients(run)
    return plots.gradient_norms.drawn(form, steps, layers, f"{run.label}: gradients by layer", histogram)


def _watched(run: CurveSource, of: str, step: int | None, form: Form) -> bytes:
    from gdcli.commands.plot import watched
    from gdcli.report import plots

    if watched.is_image(watched.row_shape(watched.watching(run, of))):
        at, images = watched.images(run, of, step)
        return plots.gradient_images.drawn(form, images, f"{run.label}: ∂L/∂{of} before step {at:,}", of)
    if step is not None:
        raise SpecError(
            f"--step is for a value that is an image, and {of} is none: its gradient is drawn over all steps"
        )
    steps, columns = watched.over_steps(run, of)
    return plots.value_gradients.drawn(form, steps, columns, f"{run.label}: gradient of the loss at {of}", of)


def _network(runs: Sequence[CurveSource], options: PlotOptions, form: Form) -> bytes:
    from gdcli.commands.plot.layers import network
    from gdcli.report import plots

    run = _only(runs, options)
    return plots.network.drawn(
        form, *network(run, options.step or 1), f"{run.label}, before step {options.step or 1:,}"
    )


def _surface(runs: Sequence[CurveSource], options: PlotOptions, form: Form) -> bytes:
    from gdcli.commands.plot.planes import plane
    from gdcli.report import plots

    title, label = _title_and_label(runs)
    shown = plane(runs)
    return (
        plots.animated_plane(shown, title, label) if options.animate else plots.plane.drawn(form, shown, title, label)
    )


def _curves(runs: Sequence[CurveSource], options: PlotOptions, form: Form) -> bytes:
    from gdcli.commands.plot.runs import averages, curves, epoch_curves, few_steps
    from gdcli.commands.plot.seeds import over_seeds
    from gdcli.commands.plot.trained import one_run
    from gdcli.report import plots

    title, label = _title_and_label(runs)
    drawn = curves(runs)
    means = [] if options.smooth is None else averages(drawn, options.smooth)
    title += "" if options.smooth is None else f": moving average, β = {options.smooth:g}"
    if options.animate:
        return plots.animated_curves(drawn, title, label, means)
    if len(drawn) == 1 and not means:
        return one_run(runs[0], drawn[0], form)
    if means:
        return plots.loss_curves.drawn(form, drawn, title, label, means)
    if (few := few_steps(runs, drawn)) is not None:
        few, band = over_seeds(runs, few)
        return plots.comparison.drawn(form, few, title, label, "updates", band)
    drawn, said = epoch_curves(runs, drawn)
    drawn, band = over_seeds(runs, drawn)
    return plots.comparison.drawn(form, drawn, title, label + said, "epoch" if said else "step", band)


def _of_model(name: str) -> Callable[[Sequence[CurveSource], PlotOptions, Form], bytes]:
    """Return what draws a picture of one trained model."""

    def draw(runs: Sequence[CurveSource], options: PlotOptions, form: Form) -> bytes:
        from gdcli.commands.plot import trained

        pictures = {"fit": trained.fit, "confusion": trained.confusion_of, "metrics": trained.metrics_over_epochs}
        return pictures[name](_only(runs, options), form)

    return draw


def _only(runs: Sequence[CurveSource], options: PlotOptions) -> CurveSource:
    if len(runs) > 1:
        raise SpecError(f"--kind {options.kind} draws one run (got {len(runs)})")
    return runs[0]


def _title_and_label(runs: Sequence[CurveSource]) -> tuple[str, str]:
    from gdcli.runner.run_picture import loss_label

    names = list(dict.fromkeys(run.loaded.spec.name for run in runs))
    return " · ".join([*names[:4], *("…" for _ in names[4:5])]), loss_label(runs[0].loaded)


KINDS = {
    "curves": PlotKind(_curves, takes=("smooth", "animate")),
    "activations": PlotKind(_activations, of_runs=False, takes=("name",)),
    "losses": PlotKind(_losses, of_runs=False),
    "gradients": PlotKind(_gradients, takes=("of", "step")),
    "surface": PlotKind(_surface, takes=("animate",)),
    "network": PlotKind(_network, takes=("step",)),
    "fit": PlotKind(_of_model("fit")),
    "confusion": PlotKind(_of_model("confusion")),
    "metrics": PlotKind(_of_model("metrics")),
}


def plot(words: Sequence[str], options: PlotOptions, path: Path) -> list[str]:
    """Draw a picture of records and specs, with overrides for these, into a file; return what is to be told."""
    from gdcli.commands.plot.runs import left_out, sources
    from gdcli.storage import files

    forms: dict[str, Form] = {".svg": "svg", ".pdf": "pdf"}
    form = forms.get(path.suffix.lower(), "png")  # for a GIF too, whose frames are pixels
    kind = KINDS[options.kind]
    picture = kind.draw(sources(words, options.kind, options.configs) if kind.of_runs else (), options, form)
    path.parent.mkdir(parents=True, exist_ok=True)  # `target` has refused one that is not there but by a slash
    files.replace(path, picture)
    return left_out(words)


def chosen(kind: str | None, words: Sequence[str]) -> str:
    """Return the kind of picture. Raises SpecError for none, or one that there is not."""
    if kind is None and not words:
        raise SpecError(f"which picture? gdcli plot RUN..., or --kind {'|'.join(KINDS)}")
    if kind is not None and kind not in KINDS:
        raise SpecError(f"there is no kind of picture '{kind}'. {nearest(kind, KINDS)}")
    return kind or "curves"


def target(output: str | None, options: PlotOptions, *, force: bool) -> Path:
    """Return the file to write, KIND.png in a folder that ends in a slash.

    Raises SpecError for an ending that is no format, or a file that is there.
    """
    from gdcli.storage.files import in_folder, is_folder, require_file

    forms = ("gif",) if options.animate else FORMS
    name = f"{options.kind}.{forms[0]}"
    path = Path(name) if output is None else in_folder(output, name)
    if path.suffix[1:].lower() not in forms:
        raise SpecError(f"--output takes a file that ends in .{', .'.join(forms)} (got '{path}')")
    require_file(path)
    if path.is_dir() or (path.exists() and not force):
        raise SpecError(f"{path} is there already. {'It is a folder' if path.is_dir() else '--force overwrites it'}")
    if not path.parent.is_dir() and not is_folder(output or ""):
        raise SpecError(f"there is no folder '{path.parent}'")
    return path
