"""Specs drawn at random, with odd settings: none is a bug, none finishes without a finite loss, and what is worked out
by hand has the bits of a plain torch loop.

The settings are drawn from the JSON Schema: a new ingredient, or a new setting of one, is drawn too.
"""

from __future__ import annotations

import json
import math
import random
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # its usual name
from plain_torch import DTYPES, TORCHS_ACTIVATIONS, Plain, batches, chained, mlp
from test_bits import optimizer_of
from torch import Tensor

from gdcli.spec.json_schema import json_schema
from tests.conftest import only_folder
from tests.trials import trials

SCHEMA = json_schema()
DEFINITIONS = SCHEMA["$defs"]

NUMBERS = [0.0, 1e-3, 0.01, 0.1, 0.3, 0.5, 0.9, 0.99, 1.0, 1.5, 2.0, -0.1, -1.0, 10.0, 1e3, 1e-30, 1e10, 1e38, 1e300]
"""Odd and plain ones; most of what is drawn is within a schema's bounds."""

LOSSES = {
    "mse": F.mse_loss, "mae": F.l1_loss, "smooth_l1": F.smooth_l1_loss, "huber": F.huber_loss,
    "cross_entropy": F.cross_entropy, "bce": F.binary_cross_entropy, "nll": F.nll_loss,
    "bce_with_logits": F.binary_cross_entropy_with_logits, "kl_div": lambda o, t: (t.xlogy(t) - t * o).mean(),
    "sse": lambda o, t: ((o - t) ** 2).sum(), "half_sse": lambda o, t: ((o - t) ** 2).sum() / 2,
    "half_mse": lambda o, t: ((o - t) ** 2 / 2).mean(),
}  # fmt: skip

OBJECTIVES = (
    "(x - 1)**2 + 3*y**2", "x*y - x", "sqrt(x) + y**2", "log(x) * y", "exp(-x) + y**4", "x**3 - y", "1/x + y**2",
)  # fmt: skip


def drawn(schema: dict[str, Any], draw: random.Random) -> Any:
    """Return a value that a part of the schema takes."""
    if "$ref" in schema:
        return drawn(DEFINITIONS[schema["$ref"].rpartition("/")[2]], draw)
    if "const" in schema or "enum" in schema:
        return draw.choice([schema["const"]] if "const" in schema else schema["enum"])
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return drawn(draw.choice(schema[choice]), draw)
    kind = schema.get("type")
    if kind in ("number", "integer"):
        low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
        over, under = schema.get("exclusiveMinimum", -math.inf), schema.get("exclusiveMaximum", math.inf)
        fit = [n for n in NUMBERS if low <= n <= high and over < n < under]
        return draw.randint(max(int(low), 1) if low > 0 else 0, 5) if kind == "integer" else draw.choice(fit)
    if kind == "boolean":
        return draw.random() < 0.5
    if kind == "array":
        if "prefixItems" in schema:
            return [drawn(item, draw) for item in schema["prefixItems"]]
        return [drawn(schema["items"], draw) for _ in range(draw.randint(max(1, schema.get("minItems", 1)), 3))]
    return None


def settings_of(schema: dict[str, Any], draw: random.Random, share: float) -> dict[str, Any]:
    """Return an ingredient with what it needs and a share of what it takes."""
    needed = schema.get("required", [])
    return {
        name: drawn(each, draw)
        for name, each in schema["properties"].items()
        if name in needed or (name != "groups" and draw.random() < share)
    }


def ingredient(kind: str, draw: random.Random, share: float = 0.4) -> dict[str, Any]:
    names = [name for name in DEFINITIONS if name.startswith(f"{kind}.")]
    return settings_of(DEFINITIONS[draw.choice(names)], draw, share)


def data_for(loss: str, features: int, outputs: int, draw: random.Random) -> dict[str, Any]:
    rows = draw.randint(1, 9)
    x = [[draw.gauss(0, 1) for _ in range(features)] for _ in range(rows)]
    if loss in ("cross_entropy", "nll"):
        return {"x": x, "y": [draw.randrange(outputs) for _ in range(rows - 1)] + [outputs - 1]}
    low, high = (0.0, 1.0) if loss in ("bce", "bce_with_logits", "kl_div") else (-2.0, 2.0)
    return {"x": x, "y": [[draw.uniform(low, high) for _ in range(outputs)] for _ in range(rows)]}


def model_for(features: int, outputs: int, draw: random.Random) -> dict[str, Any] | str:
    activations = [*TORCHS_ACTIVATIONS]
    kind = draw.choice(["mlp"] * 6 + ["linear", "sequential", "identity"])
    if kind == "mlp":
        sizes = [features, *(draw.choice([1, 2, 3, 8, 17]) for _ in range(draw.randint(0, 3))), outputs]
        more = {"activation": draw.choice(activations)} if len(sizes) > 2 else {}
        last = {"output_activation": draw.choice(activations)} if draw.random() < 0.5 else {}
        return {"type": "mlp", "layers": sizes, **more, **last, "bias": draw.random() < 0.8}
    if kind == "sequential":
        width = draw.randint(1, 4)
        between = ["Tanh", {"layer": "Dropout", "p": 0.3}, {"layer": "BatchNorm1d", "num_features": width}, "ReLU"]
        first = {"layer": "Linear", "in_features": features, "out_features": width}
        last = {"layer": "Linear", "in_features": width, "out_features": outputs}
        return {"type": "sequential", "layers": [first, *draw.sample(between, draw.randint(0, 3)), last]}
    return kind


def random_spec(seed: int) -> dict[str, Any]:
    """Return a spec, valid as a rule."""
    draw = random.Random(seed)
    spec: dict[str, Any] = {"name": "drawn", "epochs": draw.randint(0, 4), "dtype": draw.choice(["float32", "float64"])}
    spec |= {"seed": draw.randrange(5), "optimizer": ingredient("optimizer", draw)}
    spec["engine"] = draw.choice(["auto", "auto", "autograd"])
    spec["print"] = {"style": draw.choice(["epoch", "tensor", "loss", "parameters"])}
    if draw.random() < 0.4:
        spec["scheduler"] = ingredient("scheduler", draw)
    if draw.random() < 0.2:
        spec["stop"] = settings_of(DEFINITIONS["stop"], draw, 0.3)
    spec["record"] = {"gradients": draw.choice(["values", "norms", "none"]), "every": draw.randint(1, 3)}
    if spec["record"]["gradients"] == "none":
        del spec["record"]["every"]  # of which there is nothing to leave out
    if draw.random() < 0.15:
        start = {"x": draw.choice([0.5, 2.0, -1.0]), "y": draw.choice([0.1, 3.0])}
        return spec | {"model": {"type": "objective", "expression": draw.choice(OBJECTIVES), "start": start}}
    features, outputs = draw.randint(1, 3), draw.randint(1, 3)
    loss = ingredient("loss", draw)
    spec["batch"] = draw.choice(["full", "stochastic", {"size": draw.randint(1, 5)}, {"size": 3, "shuffle": False}])
    spec |= {"loss": loss, "data": data_for(loss["name"], features, outputs, draw)}
    spec["model"] = model_for(features, outputs, draw)
    if spec["model"] == "identity":
        spec["record"].pop("every", None)
    return spec


def plain_losses(spec: dict[str, Any], steps: int) -> list[float] | None:
    """Return the losses of a plain torch loop, as far as it comes; None of what is not worked out by hand."""
    model = spec["model"]
    if not isinstance(model, dict) or model["type"] != "mlp" or spec["engine"] == "autograd" or not spec["epochs"]:
        return None
    name = spec["loss"]["name"]
    dtype = DTYPES[spec["dtype"]]
    layers = mlp(model["layers"], dtype, spec["seed"], bias=model["bias"])
    hidden = TORCHS_ACTIVATIONS[model.get("activation", "none")]
    last = TORCHS_ACTIVATIONS[model.get("output_activation", "none")]
    settings = {key: value for key, value in spec["loss"].items() if key != "name"}
    x = torch.tensor(spec["data"]["x"], dtype=torch.float64).to(dtype)
    classes = name in ("cross_entropy", "nll")
    y = torch.tensor(spec["data"]["y"], dtype=torch.int64 if classes else torch.float64)
    y = y if classes else y.to(dtype)
    rule = {key: value for key, value in spec["optimizer"].items() if key != "name"}
    optimizer = optimizer_of(spec["optimizer"]["name"], rule, [p for layer in layers for p in layer.parameters()])
    forward = chained(layers, [*[hidden] * (len(layers) - 1), last])
    batch = spec["batch"]
    size = {"full": len(x), "stochastic": 1}.get(batch) if isinstance(batch, str) else min(batch["size"], len(x))
    shuffle = batch != "full" and not (isinstance(batch, dict) and batch.get("shuffle") is False)
    found = Plain([], [], [])
    for xs, ys in batches(x, y, size, spec["epochs"], shuffle=shuffle, seed=spec["seed"]):
        if len(found.losses) == steps:
            break
        optimizer.zero_grad()
        value: Tensor = LOSSES[name](forward(xs), ys, **settings)
        found.losses.append(value.item())
        value.backward()
        optimizer.step()
    return found.losses


def losses_in(folder: Path) -> list[float]:
    table = np.genfromtxt(folder / "steps.csv", delimiter=",", names=True, dtype=np.float64)
    return np.atleast_1d(table["loss"]).tolist()


@pytest.mark.slow
def test_specs_drawn_from_the_schema(gdcli, tmp_path: Path) -> None:
    count = trials(300, 5_000)
    codes: Counter[int] = Counter()
    by_hand, told = 0, []
    for seed in range(count):
        spec = random_spec(seed)
        Path("drawn.yaml").write_text(json.dumps(spec))
        output = f"o{seed}"
        answer = gdcli("run", "drawn.yaml", "--no-plot", "-q", "-o", output)
        codes[answer.code] += 1
        if answer.code not in (0, 1, 2) or "Traceback" in answer.err:
            told.append((seed, answer.code, answer.err[-300:]))
        if answer.code == 2:
            continue
        folder = only_folder(Path(output))
        summary = json.loads((folder / "summary.json").read_text())
        if summary["status"] in ("finished", "stopped") and summary["final_loss"] is None:
            told.append((seed, summary))
        if "scheduler" in spec or summary["status"] == "failed":
            continue
        ours = [loss for loss in losses_in(folder) if math.isfinite(loss)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                theirs = plain_losses(spec, len(ours))
            except (RuntimeError, OverflowError, ZeroDivisionError, ValueError):
                continue  # torch itself refuses, after a step that diverges here
        if theirs is not None:
            by_hand += 1
            if ours != theirs[: len(ours)]:
                told.append((seed, ours, theirs))
    assert not told, told[:5]
    assert codes[2] < count / 3, codes
    assert by_hand > count / 12
