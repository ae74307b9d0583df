"""Of very many runs the specs are made where they are needed: nothing in a record tells."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from gdcli.commands import batch, specs
from gdcli.engine.grouping import MOST_SEEN, structure
from gdcli.plan import SpecFactory, Trial
from tests.conftest import only_folder
from tests.runner.many_runs import contents

SWEEPS = {
    "rates": ("backprop_2x2", "-p", "lr=geomspace(0.01,2,120)"),
    "seeds": ("backprop_2x2", "-p", "lr=0.1,0.5,1", "--seeds", "4", "model.init={}"),
    "layers": ("backprop_2x2", "-p", "model.activation=sigmoid,tanh", "-p", "lr=0.1,0.5"),
    "drawn": ("linear_regression", "-p", "data.seed=1,2,3,4", "-p", "lr=0.01,0.02"),
}


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Two specs are made at once; yields the number of runs of each plan that makes its specs again."""
    made_again: list[int] = []
    plan_of = batch.plan_of

    def counted(*words: object) -> object:
        found = plan_of(*words)
        made_again.append(sum(isinstance(run.made, SpecFactory) for run in found.runs))
        return found

    monkeypatch.setattr("gdcli.plan.MADE_AT_ONCE", 2)
    monkeypatch.setattr(batch, "plan_of", counted)
    return made_again


@pytest.mark.parametrize("how", [(), ("--jobs", "2")], ids=["here", "jobs"])
@pytest.mark.parametrize("name", SWEEPS)
def test_the_record_is_the_same_to_the_byte(
    name: str, how: tuple[str, ...], gdcli, request: pytest.FixtureRequest
) -> None:
    words = ("sweep", *SWEEPS[name], "epochs=3", "--no-plot", *how)
    before = gdcli(*words, "-o", "kept")
    made_again = request.getfixturevalue("few_at_once")
    after = gdcli(*words, "-o", "again")
    assert (before.code, after.code) == (0, 0), after.err
    assert before.out == after.out
    assert contents(Path("kept")) == contents(Path("again"))
    assert made_again[0] > 2


def test_what_is_wrong_with_one_of_very_many_is_told_before_any_is_run(
    gdcli, few_at_once: list[int], tmp_path: Path
) -> None:
    answer = gdcli("sweep", "backprop_2x2", "-p", "lr=0.1,0.2,0.3,-1", "epochs=3")
    assert answer.code == 2
    assert "lr" in answer.err
    assert not few_at_once
    assert not (tmp_path / "runs").exists()


def test_a_key_that_changes_nothing_in_any_of_very_many_is_told_as_of_few(
    gdcli, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("sweep", "backprop_2x2", "-p", "lr=0.1,0.2,0.3", "batch.size=4", "batch.mode=full")
    few = gdcli(*words)
    monkeypatch.setattr("gdcli.plan.MADE_AT_ONCE", 2)
    many = gdcli(*words)
    assert (few.code, "no effect" in few.err) == (2, True), few.err
    assert many == few


def test_the_best_of_a_sweep_is_the_least_finite_loss(gdcli) -> None:
    assert gdcli("sweep", "linear_manual", "-p", "lr=0.01,1e30,0.02", "epochs=3", "--no-plot").code == 0
    folder = only_folder(Path("runs"))
    with (folder / "results.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["final_loss"]]
    least = min(rows, key=lambda row: (float(row["final_loss"]), int(row["run"])))
    assert f'"best": "lr={least["lr"]}"' in (folder / "summary.json").read_text()


def test_structures_compared_by_what_was_seen_are_equal_where_they_are_without() -> None:
    seen: dict = {}
    source = specs.source_of("backprop_2x2", ())
    document = specs.document_of_many(source, (), "sweep")
    base = specs.of_many(source, document, "backprop_2x2", 1)
    factory = specs.factory(source, document, base, "backprop_2x2")
    changes = [("optimizer.lr", k / 10) for k in range(1, 4)] + [("seed", k) for k in range(2 * MOST_SEEN)]
    changes += [("epochs", 7), ("optimizer.momentum", 0.5), ("dtype", "float64"), ("loss", "mse")]
    found = [factory.of(Trial("", (), (change,))) for change in changes]
    plain = [structure(each) for each in found]
    assert [structure(each, seen) for each in found] == plain
    assert len(seen) <= MOST_SEEN
    assert len(set(plain)) == 5  # all learning rates and seeds are one
