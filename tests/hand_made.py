"""Record folders written by hand, from what PRODUCT.md says of a record; facts that do not come from gdcli."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CONFIG = """\
name: {name}
model: {{type: linear, bias: true}}
loss: {{name: mse}}
optimizer: {{name: sgd, lr: {lr}}}
epochs: {epochs}
dtype: float64
print: {{style: epoch}}
"""


def a_run(
    root: Path, stamp: str, *, name: str = "line", digest: str = "0123abcd", lr: float = 0.1, loss: float | None = 0.5,
    status: str | None = "finished", steps: int = 3, metrics: dict[str, float] | None = None, **more: Any,
) -> Path:  # fmt: skip
    """A run of `steps` steps whose loss falls by a half each, from 8."""
    folder = root / name / f"{stamp}-{digest}"
    folder.mkdir(parents=True)
    (folder / "spec.yaml").write_text(f"name: {name}\n")
    (folder / "config.yaml").write_text(CONFIG.format(name=name, lr=lr, epochs=steps))
    (folder / "log.txt").write_text("epoch 1, loss 0.500000\n")
    rows = [f"{k},{k},1,{8 * 0.5**k!r},{lr!r},{0.25 * k!r}\n" for k in range(1, steps + 1)]
    (folder / "steps.csv").write_text("step,epoch,batch,loss,lr,gradient_norm\n" + "".join(rows))
    gradients = [f"{k},{-0.5 * k!r},{0.1 * k!r}\n" for k in range(1, steps + 1)]
    (folder / "gradients.csv").write_text('step,"weight[0,0]",bias[0]\n' + "".join(gradients))
    environment = {
        "versions": {"torch": "2.13.0", "gdcli": "0.1.0"},
        "threads": 1,
        "cpu_capability": "AVX2",
        "git": None,
    }
    (folder / "environment.json").write_text(json.dumps(environment))
    (folder / "request.json").write_text(json.dumps({"format": 1, "command": "run", "overrides": [], "options": {}}))
    if status is not None:
        summary = {
            "status": status, "message": "as told", "final_loss": loss, "best_loss": loss, "best_step": steps,
            "steps": steps, "epochs": steps, "metrics": metrics or {},
        }  # fmt: skip
        (folder / "summary.json").write_text(json.dumps(summary | more))
        timing = {"start": "2026-01-02T03:04:05+00:00", "end": "2026-01-02T03:04:06+00:00", "seconds": {"train": 0.75}}
        (folder / "timing.json").write_text(json.dumps(timing))
    return folder


def three(root: Path) -> list[Path]:
    """Three runs of two experiments; their losses fall with time."""
    return [
        a_run(root, "20260101-120000", digest="aaaa0001", lr=0.1, loss=0.5),
        a_run(root, "20260102-120000", digest="bbbb0002", lr=0.2, loss=0.25, name="curve"),
        a_run(root, "20260103-120000", digest="bbcc0003", lr=0.3, loss=0.125),
    ]


def files(root: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
