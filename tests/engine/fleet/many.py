"""Many runs through the fleet's engine, from their specs on, and what they are compared by: the bits of every column,
or closeness."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from plain_torch import DTYPES, Spec, Trained, loaded, train

from gdcli.engine.gradient_log import Keep
from gdcli.engine.grouping import structure, why_alone
from gdcli.engine.loop import Interrupt, Loop
from gdcli.engine.problem import TrainingProblem, build, build_fleet
from gdcli.records import Block, Floats, Outcome, Outcomes, Start, StepBlock
from gdcli.spec.load import Loaded, respecified

COLUMNS = ("gradients", "parameters", "loss_after", "full_loss", "output")
CLOSE = {"float32": 1e-4, "float64": 1e-12}  # relative to the norm: what is promised of a fleet against `run`


# --- specs ------------------------------------------------------------------------------------------------------------

NET = {
    "linear1.weight": [[0.15, 0.20], [0.25, 0.30]],
    "linear1.bias": [0.35],
    "linear2.weight": [[0.40, 0.45], [0.50, 0.55]],
    "linear2.bias": [0.60],
}


def net(**more: Any) -> Spec:
    """The documents' 2-2-2 net with one sample."""
    return {
        "data": {"x": [[0.05, 0.10]], "y": [[0.01, 0.99]]},
        "model": {
            "type": "mlp", "layers": [2, 2, 2], "activation": "sigmoid", "output_activation": "sigmoid", "init": NET,
        },
        "loss": "half_sse",
        "optimizer": {"name": "sgd", "lr": 0.5},
        "epochs": 20,
        **more,
    }  # fmt: skip


OUTPUT = {"bce": "sigmoid", "kl_div": "log_softmax", "nll": "log_softmax"}
OF_CLASSES = ("cross_entropy", "nll")


def rows(count: int, inputs: int, outputs: int, loss: str = "mse", seed: int = 3) -> Spec:
    """A data section with targets that suit the loss."""
    draw = np.random.default_rng(seed)
    x, y = draw.normal(size=(count, inputs)), draw.uniform(0.1, 0.9, size=(count, outputs))
    classes = draw.integers(0, outputs, count)
    return {"x": x.tolist(), "y": classes.tolist() if loss in OF_CLASSES else y.tolist()}


def mlp(layers: Sequence[int], count: int, loss: str = "mse", activation: str = "tanh", **more: Any) -> Spec:
    output = {} if loss not in OUTPUT else {"output_activation": OUTPUT[loss]}
    hidden = {"activation": activation} if len(layers) > 2 else {}
    return {
        "data": rows(count, layers[0], layers[-1], loss),
        "model": {"type": "mlp", "layers": [*layers], **hidden, **output},
        "loss": loss,
        "optimizer": {"name": "sgd", "lr": 0.1},
        "epochs": 2,
        **more,
    }


def varied(spec: Spec, changes: Iterable[Mapping[str, Any]]) -> list[Loaded]:
    """One run per change: keys with dots, {"optimizer.lr": 0.1}. Rates and seeds alone leave the data shared."""
    found = []
    base: Loaded | None = None
    for change in changes:
        if set(change) <= {"optimizer.lr", "seed"} and "validation" not in spec.get("data", {}):
            base = base or loaded(spec)
            found.append(_respecified(base, change))
            continue
        document = copy.deepcopy(spec)
        for path, value in change.items():
            *sections, key = path.split(".")
            place = document
            for section in sections:
                place = place[section]
            place[key] = value
        found.append(loaded(document))
    return found


def _respecified(base: Loaded, change: Mapping[str, Any]) -> Loaded:
    old = base.spec
    assert old.optimizer is not None
    arguments = {**old.optimizer.arguments, "lr": change.get("optimizer.lr", old.optimizer.arguments["lr"])}
    optimizer = replace(old.optimizer, arguments=arguments)
    seeded = old.settings.model_copy(update={"seed": change.get("seed", old.settings.seed)})
    return respecified(base, replace(old, optimizer=optimizer, settings=seeded))


def rates(count: int, low: float = 0.01, high: float = 0.3, seeds: int = 1) -> list[dict[str, Any]]:
    """Changes: as many learning rates, and seeds in turn."""
    return [{"optimizer.lr": float(lr), "seed": k % seeds} for k, lr in enumerate(np.geomspace(low, high, count))]


# --- training ---------------------------------------------------------------------------------------------------------


@dataclass
class Together:
    """All that a fleet gave."""

    fleet: TrainingProblem
    blocks: list[Block]
    outcome: Outcomes

    def parts(self, run: int) -> list[StepBlock]:
        return [part for block in self.blocks if (part := block.of_run(run)) is not None]

    def column(self, name: str, run: int) -> Any:
        return joined(self.parts(run), name)

    def parameters(self, run: int) -> Floats:
        return flat(self.fleet.theta.as_parameters(self.outcome.values[run]))

    def ending(self, run: int) -> tuple[Any, ...]:
        """Status, message, steps and epochs."""
        found = self.outcome
        return found.status[run], found.message[run], int(found.steps[run]), int(found.epochs[run])


def joined(blocks: Sequence[StepBlock], name: str) -> Any:
    """A column of all blocks; of arrays for each step, their numbers one after the other."""
    parts = [getattr(block, name) for block in blocks]
    assert all(part is not None for part in parts), name
    if name in ("output", "sample"):
        return np.concatenate([np.ravel(array) for part in parts for array in part])
    return np.concatenate(parts)


def flat(parameters: Iterable[Any]) -> Floats:
    return np.concatenate([parameter.values.ravel() for parameter in parameters])


def fleets(runs: Sequence[Loaded]) -> tuple[list[list[int]], list[int]]:
    """The positions of runs that train together, fleet by fleet, and of those that train alone."""
    kinds: dict[Any, list[int]] = {}
    for position, run in enumerate(runs):
        if not why_alone(run):
            kinds.setdefault(structure(run), []).append(position)
    return list(kinds.values()), [position for position, run in enumerate(runs) if why_alone(run)]


def together(
    runs: Sequence[Loaded], columns: Iterable[str] = (), keep: Keep = "none", interrupt: Interrupt | None = None
) -> Together:
    """Train the runs as one fleet."""
    assert {why_alone(run) for run in runs} == {""}
    assert len({structure(run) for run in runs}) == 1
    fleet = build_fleet(runs)
    *blocks, outcome = Loop(fleet, columns, keep, interrupt).events()
    assert isinstance(outcome, Outcomes)
    return Together(fleet, blocks, outcome)  # type: ignore[arg-type]


def alone(run: Loaded, columns: Iterable[str] = (), interrupt: Interrupt | None = None) -> Trained:
    """Train one run as `gdcli run` does."""
    made = build(run)
    start, *blocks, outcome = train(made, columns, interrupt)
    assert isinstance(start, Start)
    assert isinstance(outcome, Outcome)
    return Trained(made, start, blocks, outcome)  # type: ignore[arg-type]


def ending(outcome: Outcome) -> tuple[Any, ...]:
    return outcome.status, outcome.message, outcome.steps, outcome.epochs


# --- comparing --------------------------------------------------------------------------------------------------------


def same(a: Any, b: Any) -> bool:
    """Equal to the bit, the sign of zero and NaN included."""
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def gap(found: Floats, expected: Floats) -> float:
    """The distance relative to the norm, of what is finite; infinite where what is not finite is not the same."""
    found, expected = found.astype(np.float64).ravel(), expected.astype(np.float64).ravel()
    finite = np.isfinite(expected)
    if not np.array_equal(found[~finite], expected[~finite], equal_nan=True):
        return float("inf")
    found, expected = found[finite], expected[finite]
    if not found.size:
        return 0.0
    scale = max(float(np.abs(expected).max()), 1e-30)  # first, so that no square overflows
    found, expected = found / scale, expected / scale
    return float(np.linalg.norm(found - expected) / max(float(np.linalg.norm(expected)), 1e-30))


def kept_of(keep: Keep) -> tuple[str, ...]:
    return {"values": ("gradients", "gradient_norm"), "norms": ("norms", "gradient_norm"), "none": ()}[keep]


def differing(a: Together, i: int, b: Together, j: int, columns: Iterable[str]) -> list[str]:
    """What of run i of one fleet and of run j of another has not the same bits."""
    found = [name for name in ("loss", *columns) if not same(a.column(name, i), b.column(name, j))]
    if not same(a.parameters(i), b.parameters(j)):
        found.append("final parameters")
    ours = (a.ending(i), *(float(v[i]) for v in _numbers(a.outcome)))
    theirs = (b.ending(j), *(float(v[j]) for v in _numbers(b.outcome)))
    return found if str(ours) == str(theirs) else [*found, f"outcome {ours} {theirs}"]  # as text: NaN is not NaN


def _numbers(outcome: Outcomes) -> list[Any]:
    return [outcome.loss, outcome.best_loss, outcome.best_step, *outcome.metrics.values()]


def assert_invariant(
    runs: Sequence[Loaded], choices: Iterable[Sequence[int]], columns: Sequence[str] = (), keep: Keep = "values"
) -> Together:
    """Each run has its bits in the fleet of all runs also in fleets of the chosen ones, in their order."""
    whole = together(runs, columns, keep)
    for chosen in choices:
        part = together([runs[i] for i in chosen], columns, keep)
        for j, i in enumerate(chosen):
            assert differing(part, j, whole, i, (*columns, *kept_of(keep))) == [], (list(chosen), i)
    return whole


def matches_products() -> bool:
    """Whether this processor's torch makes the products of the 2-2-2 net as products and then sums.

    Elsewhere a fused multiply-add rounds once where a fleet rounds twice, and its bits are not those of `run`.
    """
    draw = torch.Generator().manual_seed(0)
    for dtype in DTYPES.values():
        for _ in range(50):
            a, w, b = (torch.randn(shape, dtype=dtype, generator=draw) for shape in ((1, 2), (2, 2), (2,)))
            products = a[0, 0] * w[:, 0] + a[0, 1] * w[:, 1]
            below = a[0, 0] * w[0] + a[0, 1] * w[1]
            if not (
                torch.equal(torch.addmm(b, a, w.t())[0], products + b)
                and torch.equal(torch.mm(a, w.t())[0], products)
                and torch.equal(torch.mm(a, w)[0], below)
            ):
                return False
    return True


BITS_OF_RUN = matches_products()


def assert_as_run(fleet: Together, run: int, single: Trained, columns: Sequence[str], dtype: str) -> None:
    """A run of the 2-2-2 net is what `run` gives: to the bit where the processor's products allow it, else closely."""
    outcome = single.outcome
    pairs = {name: (fleet.column(name, run), joined(single.blocks, name)) for name in ("loss", *columns)}
    pairs["final parameters"] = fleet.parameters(run), flat(outcome.parameters)
    numbers = (fleet.outcome.loss[run], fleet.outcome.best_loss[run])
    if BITS_OF_RUN:
        assert [name for name, (ours, theirs) in pairs.items() if not same(ours, theirs)] == [], "not the bits of run"
        assert fleet.ending(run) == ending(outcome)
        assert numbers == (outcome.loss, outcome.best_loss) or outcome.status == "diverged"
        assert str(numbers) == str((np.float64(outcome.loss), np.float64(outcome.best_loss)))
        assert fleet.outcome.best_step[run] == outcome.best_step
        return
    growth = 10 if outcome.status == "diverged" else 1  # what blows up a run blows up a difference in the last digit
    assert max(gap(*pair) for pair in pairs.values()) <= growth * CLOSE[dtype]
    assert fleet.ending(run)[0] == outcome.status
