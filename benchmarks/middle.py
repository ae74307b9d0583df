"""Nets of middle size, one run on one thread: the loop by hand, torch's layers, and a whole command over an NPZ."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import engine
import numpy as np
import specs
from measured import with_byte_code
from pairs import CHILDREN, HERE, ROOT, SHORT, Row, Side, Skipped, compared, timed
from processes import GDCLI, printed

if TYPE_CHECKING:
    from engine import Loaded
    from plain_loops import Trained

ROWS, CLASSES = 60_000, 10


def of_steps(prepare: Callable[[], Callable[[], object]]) -> Side:
    """Return a side of which the making of the tensors does not count."""
    return lambda: timed(prepare())()


def write_rows(path: Path) -> None:
    """Write 60,000 rows of 784 normal numbers, and classes that they say nothing of."""
    drawn = np.random.default_rng(0)
    np.savez(path, x=drawn.standard_normal((ROWS, 784), np.float32), y=drawn.integers(0, CLASSES, ROWS))


# --- loops ------------------------------------------------------------------------------------------------------------


def beside_plain(what: str, bar: float, spec: Loaded, make: Callable[[Loaded], Trained], batch: int, pairs: int) -> Row:
    """Return the row of a run's steps beside those of the plain loop, which must end at the same bits."""
    epochs, other = spec.spec.settings.epochs, started(spec, make)
    other.train(batch, epochs, orders_of(spec, other))
    require_the_same(spec, other)
    plain = of_steps(lambda: partial(make(spec).train, batch, epochs))
    return compared(f"{what}, to the plain loop", bar, of_steps(partial(engine.steps, spec)), plain, pairs=pairs)


def beside_lightning(
    what: str, bar: float, spec: Loaded, make: Callable[[Loaded], Trained], batch: int, pairs: int
) -> Row:
    """Return the row of a run's steps beside Lightning's Trainer, which must end at the same bits."""
    what = f"{what}, to Lightning's Trainer"
    try:
        from others.lightning_trainer import fit
    except ImportError:
        return Skipped(what, "lightning is not installed")
    epochs, other = spec.spec.settings.epochs, started(spec, make)
    fit(other, batch, epochs, orders_of(spec, other))()
    require_the_same(spec, other)
    trainer = of_steps(lambda: fit(make(spec), batch, epochs))
    return compared(what, bar, of_steps(partial(engine.steps, spec)), trainer, pairs=pairs)


def started(spec: Loaded, make: Callable[[Loaded], Trained]) -> Trained:
    """Return the other side with the weights that ours begins with."""
    import torch

    found = make(spec)
    with torch.no_grad():
        for parameter, value in zip(found.model.parameters(), engine.start_values(spec), strict=True):
            parameter.copy_(value)
    return found


def orders_of(spec: Loaded, other: Trained) -> Sequence[Any]:
    """Return the orders of the rows that ours draws."""
    settings = spec.spec.settings
    return engine.orders(settings.seed, len(other.x), settings.epochs)


def require_the_same(spec: Loaded, other: Trained) -> None:
    """Hold that ours ends at the bits of the other side."""
    found = engine.train(spec).weights.values()
    assert all(np.array_equal(p.detach().numpy(), w) for p, w in zip(other.model.parameters(), found, strict=True))


def mlps(repetitions: int, steps: int) -> Iterator[Row]:
    from plain_loops import mlp, sgd

    with tempfile.TemporaryDirectory() as folder:
        write_rows(Path(folder) / "rows.npz")
        for batch, bar in ((64, 0.8), (256, 0.9)):
            spec = specs.loaded(specs.MIDDLE % (f"{folder}/rows.npz", 1, batch))
            what = f"steps, mlp 784-256-10, sgd, batch {batch}, an epoch of {ROWS:,} rows, norms of each"
            yield beside_plain(what, bar, spec, partial(sgd, mlp, 0.01), batch, pairs_of(repetitions))


def digits(repetitions: int, steps: int) -> Iterator[Row]:
    try:
        import sklearn  # noqa: F401
    except ImportError:
        yield Skipped("convolutions and a recurrent layer on the digits", "scikit-learn is not installed")
        return
    from plain_loops import Gru, adam, cnn

    for name, text, make in (("CNN 8-16", specs.CNN, cnn), ("GRU 32", specs.GRU, Gru)):
        what = f"steps, {name} on digits, adam, batch 64, 20 epochs, norms of each"
        sides = specs.loaded(text), partial(adam, make), 64, pairs_of(repetitions)
        yield beside_plain(what, 0.95, *sides)
        if make is cnn:
            yield beside_lightning(what, 0.7, *sides)


def pairs_of(repetitions: int) -> int:
    """Return how many pairs there are: fewer where few are asked for."""
    return SHORT if repetitions > 2 else 5


# --- the whole command ------------------------------------------------------------------------------------------------


def commands(repetitions: int, steps: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.npz"
        write_rows(file)
        spec = Path(folder) / "middle.yaml"
        spec.write_text(specs.MIDDLE % (file, 3, 64), encoding="utf-8")
        ours = [GDCLI, "run", str(spec), "--no-plot", "--output", folder]
        plain = [sys.executable, str(HERE / "plain_mlp.py"), str(file)]
        texts = [printed(command).decode().splitlines() for command in (ours, [*plain, "--loss"])]
        assert [line.split(" loss ")[0] for line in texts[0]] == [line.split(" loss ")[0] for line in texts[1]]
        what = "gdcli run mlp 784-256-10 --no-plot, NPZ, 3 epochs, process, to a script that"
        for does, arguments in (("prints the same losses", ["--loss"]), ("evaluates nothing", [])):
            sides = (timed(partial(quietly, command), CHILDREN) for command in (ours, [*plain, *arguments]))
            yield compared(f"{what} {does}", 0.95, *sides, pairs=10 if repetitions > 2 else 2, clock=CHILDREN)


def quietly(command: list[str]) -> None:
    """Run a command, its output to nowhere."""
    subprocess.run(command, cwd=ROOT, env=with_byte_code(), check=True, capture_output=True)
