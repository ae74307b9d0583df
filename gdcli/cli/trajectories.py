"""The paths of runs for a surface: trained again from their records or specs, which gives the same steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gdcli.cli import common
from gdcli.errors import SpecError

if TYPE_CHECKING:
    from gdcli.plan import Axis
    from gdcli.report.plots import Trail
    from gdcli.runner import Run


def trails(wanted: Sequence[str], axes: Sequence[Axis]) -> list[Trail]:
    """Return the path of each run over two parameters; a folder of many runs gives one each."""
    from gdcli.commands import loss_grid

    return [
        loss_grid.trail(run, [axis.target for axis in axes])
        for text in wanted
        for run in [_run(label, spec) for label, spec in _specs(text)]
    ]


def _specs(text: str) -> list[tuple[str, str]]:
    """Return label and spec of a run's folder, of the runs below a folder, or of a spec."""
    folder = Path(common.record_or_spec(text))
    if not folder.is_dir():
        return [(Path(text).stem, text)]
    below = sorted(path for path in folder.glob("*/config.yaml"))
    if below:
        return [(path.parent.name.partition("-")[2] or path.parent.name, str(path)) for path in below]
    if not (folder / "config.yaml").is_file():
        raise SpecError(f"--trajectory {text}: no config.yaml in this folder")
    return [(folder.parent.name, str(folder / "config.yaml"))]


def _run(label: str, spec: str) -> Run:
    from gdcli.plan import Trial
    from gdcli.runner import Run

    source, document = common.read_spec(spec, [], None, None, "sweep")
    loaded = common.load(source, common.parse(source, document), bounded=True)
    common.require_optimizer(loaded.spec)
    return Run(1, Trial(label, (), ()), loaded)
