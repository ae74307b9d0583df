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
    if draw.random() < 0.25:
        spec["clip"] = {draw.choice(["norm", "value"]): draw.choice([1e-30, 1e-3, 0.1, 1.0, 1e10, 1e300])}
    spec["record"] = {"gradients": draw.choice(["values", "norms", "none"]), "every": draw.randint(1, 3)}
    if spec["record"]["gradients"] == "none":
        del spec["record"]["every"]  # of which there is nothing to leave out
    if draw.random() < 0.15:
        start = {"x": draw.choice([0.5, 2.0, -1.0]), "y": draw.choice([0.1, 3.0])}
        return spec | {"model": {"type": "objective", "expression": draw.choice(OBJECTIVES), "start": start}}
    features, outputs = draw.randint(1, 3), draw.randint(1, 3)
    loss = ingredient("loss", draw)
    if isinstance(loss.get("class_weights"), list) and draw.random() < 0.9:
        loss["class_weights"] = [draw.choice([0.5, 1.0, 3.0]) for _ in range(outputs)]
    spec["batch"] = draw.choice(["full", "stochastic", {"size": draw.randint(1, 5)}, {"size": 3, "shuffle": False}])
    if isinstance(spec["batch"], dict) and draw.random() < 0.3:
        spec["batch"] = spec["batch"] | {"accumulate": draw.randint(1, 3)}
    spec |= {"loss": loss, "data": data_for(loss["name"], features, outputs, draw)}
    model = model_for(features, outputs, draw)
    if draw.random() < 0.25 and model != "identity":
        spec["penalty"] = settings_of(DEFINITIONS["penalty"], draw, 0.6)
    if model == "identity":
        spec["record"].pop("every", None)
    return spec | {"model": model}


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
    settings = loss_settings(spec, dtype)
    x = torch.tensor(spec["data"]["x"], dtype=torch.float64).to(dtype)
    classes = name in ("cross_entropy", "nll")
    y = torch.tensor(spec["data"]["y"], dtype=torch.int64 if classes else torch.float64)
    y = y if classes else y.to(dtype)
    rule = {key: value for key, value in spec["optimizer"].items() if key != "name"}
    optimizer = optimizer_of(spec["optimizer"]["name"], rule, [p for layer in layers for p in layer.parameters()])
    forward = chained(layers, [*[hidden] * (len(layers) - 1), last])
    batch = spec["batch"]
    passed = {"full": len(x), "stochastic": 1}.get(batch) if isinstance(batch, str) else min(batch["size"], len(x))
    size = passed * batch.get("accumulate", 1) if isinstance(batch, dict) else passed
    shuffle = batch != "full" and not (isinstance(batch, dict) and batch.get("shuffle") is False)
    found = Plain([], [], [])
    for xs, ys in batches(x, y, size, spec["epochs"], shuffle=shuffle, seed=spec["seed"]):
        if len(found.losses) == steps:
            break
        value = a_pass(lambda x, y: LOSSES[name](forward(x), y, **settings), layers, xs, ys, passed, name, settings)
        shaped(spec, layers, value, found)
        optimizer.step()
    return found.losses


def loss_settings(spec: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """The loss's settings as torch names them."""
    settings = {key: value for key, value in spec["loss"].items() if key not in ("name", "class_weights")}
    weights = spec["loss"].get("class_weights")
    if weights == "balanced":
        rows = np.bincount(spec["data"]["y"])
        weights = [len(spec["data"]["y"]) / (np.count_nonzero(rows) * n) if n else 1.0 for n in rows.tolist()]
    tensors = {"weight": weights, "pos_weight": settings.get("pos_weight")}
    return settings | {key: torch.tensor(value, dtype=dtype) for key, value in tensors.items() if value is not None}


def a_pass(
    loss: Any, layers: list[torch.nn.Linear], x: Tensor, y: Tensor, size: int, name: str, settings: dict[str, Any]
) -> Tensor:
    """Set the gradients of a step's rows, pass by pass: each counts by its rows, its weights, or, of a sum, by one."""
    parameters = [p for layer in layers for p in layer.parameters()]
    if len(x) <= size:
        value: Tensor = loss(x, y)
        for parameter, gradient in zip(parameters, torch.autograd.grad(value, parameters), strict=True):
            parameter.grad = gradient.clone()
        return value.detach()
    parts = list(zip(x.split(size), y.split(size), strict=True))
    counts: list[Any] = [len(part) for part, _ in parts]
    if name in ("sse", "half_sse"):
        shares: list[Any] = [1.0] * len(parts)
    elif "weight" in settings:
        counts = [settings["weight"].double()[part].sum() for _, part in parts]
        shares = [count / torch.stack(counts).sum() for count in counts]
    else:
        shares = [count / len(x) for count in counts]
    whole, sums = 0.0, [torch.zeros_like(p) for p in parameters]
    for (xs, ys), share in zip(parts, shares, strict=True):
        value = loss(xs, ys)
        for total, gradient in zip(sums, torch.autograd.grad(value, parameters), strict=True):
            total += gradient * (share.to(gradient.dtype) if isinstance(share, Tensor) else share)
        whole = whole + value.detach() * share
    for parameter, total in zip(parameters, sums, strict=True):
        parameter.grad = total
    return torch.as_tensor(whole)


def shaped(spec: dict[str, Any], layers: list[torch.nn.Linear], value: Tensor, found: Plain) -> None:
    """Add the penalty to loss and gradients, and clip these."""
    penalty, weights = spec.get("penalty", {}), [layer.weight for layer in layers]
    l1, l2, clip = penalty.get("l1", 0.0), penalty.get("l2", 0.0), spec.get("clip", {})
    with torch.no_grad():
        size = torch.zeros_like(value)
        if l1:
            size = size + l1 * torch.stack([weight.abs().sum() for weight in weights]).sum(0)
        if l2:
            size = size + l2 * torch.stack([weight.square().sum() for weight in weights]).sum(0)
        found.losses.append((value + size if l1 or l2 else value).item())
        for weight in weights:
            assert weight.grad is not None
            if l2:
                weight.grad.add_(weight, alpha=2 * l2)
            if l1:
                weight.grad.add_(weight.sign(), alpha=l1)
    parameters = [p for layer in layers for p in layer.parameters()]
    if "norm" in clip:
        torch.nn.utils.clip_grad_norm_(parameters, clip["norm"])
    elif "value" in clip:
        torch.nn.utils.clip_grad_value_(parameters, clip["value"])


def losses_in(folder: Path) -> list[float]:
    table = np.genfromtxt(folder / "steps.csv", delimiter=",", names=True, dtype=np.float64)
    return np.atleast_1d(table["loss"]).tolist()


@pytest.mark.slow
def test_specs_drawn_from_the_schema(gdcli, tmp_path: Path) -> None:
    count = trials(200, 5_000)
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
