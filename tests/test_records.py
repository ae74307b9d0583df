"""Rows of results.csv, and what steps cost."""

from __future__ import annotations

import pickle
from math import inf, isinf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdcli.records import Effort, Result, results_header, results_row
from gdcli.runner.jobs import folder_name


@given(st.integers(1, 50), st.integers(1, 50), st.booleans(), st.integers(0, 300))
def test_evaluations_are_the_rows_of_the_batches_one_by_one(samples: int, size: int, drop: bool, steps: int) -> None:
    size = min(size, samples)
    sizes = [len(range(k, min(k + size, samples))) for k in range(0, samples, size)]
    if drop:
        sizes = [each for each in sizes if each == size]
    counted = sum(sizes[k % len(sizes)] for k in range(steps))
    effort = Effort(samples, size, len(sizes))
    assert effort.evaluations(steps) == counted
    assert effort.of(steps) == (steps, steps / len(sizes), counted)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 3), st.booleans(), st.data())
def test_an_epochs_loss_is_that_of_its_rows(
    samples: int, size: int, epochs: int, sums: bool, data: st.DataObject
) -> None:
    size = min(size, samples)
    row = st.lists(st.floats(-1e6, 1e6), min_size=samples, max_size=samples)
    rows = np.array([data.draw(row) for _ in range(epochs)])
    total = np.sum if sums else np.mean
    steps = [total(each[k : k + size]) for each in rows for k in range(0, samples, size)]
    found = Effort(samples, size, -(-samples // size), sums).epoch_losses(np.array(steps))
    np.testing.assert_allclose(found, total(rows, axis=1), rtol=1e-9, atol=1e-6)


def test_an_epoch_cut_short_is_one_only_where_it_is_the_first_or_the_last_of_a_run_that_diverged() -> None:
    """Ten rows in fours: after the first batch four rows are known, their mean, or 10/4 of their sum."""
    losses = np.array([1.0, 2.0, 5.0, 8.0])
    assert Effort(10, 4, 3).epoch_losses(losses).tolist() == [(4 + 8 + 10) / 10]
    assert Effort(10, 4, 3).epoch_losses(losses[3:]).tolist() == [8.0]
    assert Effort(10, 4, 3, sums=True).epoch_losses(losses[3:]).tolist() == [20.0]
    gone = Effort(10, 4, 3).epoch_losses(np.array([1.0, 2.0, 5.0, np.inf]))
    assert gone.tolist() == [2.2, np.inf]


def test_a_target_that_was_never_reached_has_no_effort() -> None:
    assert Effort(10, 4, 3).of(None) == (None, None, None)
    assert Effort(10, 4, 3).of(0) == (0, 0, 0)


@pytest.mark.parametrize("target", [False, True])
@pytest.mark.parametrize("metrics", [(), ("validation_loss", "validation_accuracy")])
def test_a_row_has_a_value_for_every_column(metrics: tuple[str, ...], target: bool) -> None:
    result = Result(
        3, "lr=0.1", (0.1, "sgd"), "finished", loss=0.5, best_loss=0.25, steps=20, epochs=10, to_target=7,
        hashes=("a", "b", "c"), metrics={"validation_accuracy": 0.75},
    )  # fmt: skip
    names = results_header(["lr", "optimizer"], metrics, target=target)
    values = results_row(result, metrics, Effort(3, 2, 2) if target else None)
    found = dict(zip(names, values, strict=True))
    assert [found[name] for name in ("run", "lr", "optimizer", "status")] == [3, 0.1, "sgd", "finished"]
    assert [found[name] for name in ("final_loss", "best_loss", "steps", "epochs")] == [0.5, 0.25, 20, 10]
    assert [found[name] for name in ("weights", "data", "order")] == ["a", "b", "c"]
    if metrics:
        assert (found["validation_loss"], found["validation_accuracy"]) == (None, 0.75)
    if target:
        assert [found[f"{name}_to_target"] for name in ("steps", "epochs", "evaluations")] == [7, 3.5, 11]


@pytest.mark.parametrize("loss", [nan, inf, -inf])
def test_a_loss_that_is_not_finite_is_no_cell_and_ranks_last(loss: float) -> None:
    result = Result(1, "", (), "diverged", loss=loss, best_loss=loss)
    assert results_row(result)[2:4] == [None, None]
    assert result.rank == inf
    assert min([result, Result(2, "", (), "finished", loss=1e300)], key=lambda each: each.rank).number == 2


def test_a_run_that_raised_has_its_place_and_nothing_else() -> None:
    result = Result(4, "lr=9", (9, None), "failed", "because")
    assert (result.status, result.message) == ("failed", "because")
    assert isinf(result.rank)
    assert results_row(result) == [4, 9, None, "failed", None, None, None, None, None, None, None]


def test_values_that_are_no_cells_are_text() -> None:
    assert results_row(Result(1, "", ([64, 5], {"name": "sgd"}, True, "word", None), "finished"))[1:6] == [
        "[64, 5]", "{'name': 'sgd'}", True, "word", None,
    ]  # fmt: skip


def test_a_result_comes_back_from_another_process() -> None:
    result = Result(1, "a", (0.1,), "finished", loss=0.1, losses=np.arange(3.0), metrics={"m": 1.0})
    back = pickle.loads(pickle.dumps(result))
    assert results_row(back, ["m"]) == results_row(result, ["m"])
    assert back.losses.tobytes() == result.losses.tobytes()


@given(st.text(max_size=200), st.integers(1, 100))
def test_a_run_s_folder_is_one_name_below_the_record(label: str, number: int) -> None:
    name = folder_name(number, label, 100)
    assert name.startswith(f"{number:03d}-")
    assert len(name) <= 4 + 48
    assert name.isascii()
    assert not set(name) & set('/\\:*?"<>| \n\0')
