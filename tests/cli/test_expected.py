"""`expect` after a run: exit code, what is told, what the record has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import only_folder

# f(w) = w², lr 0.25: w is halved by each step, so 1 becomes 0.125 after three, and the value 0.015625.
SPEC = """\
model: {type: objective, expression: w**2, start: {w: 1}}
optimizer: {name: sgd, lr: 0.25}
epochs: 3
expect:
"""


def spec(*lines: str) -> None:
    Path("half.yaml").write_text(SPEC + "".join(f"  {line}\n" for line in lines))


def summary() -> Any:
    return json.loads((only_folder(Path("runs")) / "summary.json").read_text())


def test_a_run_as_expected_exits_0_and_says_so(gdcli: Any) -> None:
    spec("w: {equals: 0.125}", "final_loss: {at_most: 0.02}", "steps: {equals: 3}")
    answer = gdcli("run", "half.yaml", "--no-plot")
    assert answer.code == 0
    assert "as expected: w: expected 0.125 within 1e-06, found 0.125\n" in answer.err
    assert summary()["expect"] == {
        "w": {"expected": {"equals": 0.125, "within": 1e-06}, "found": 0.125, "met": True},
        "final_loss": {"expected": {"at_most": 0.02}, "found": 0.015625, "met": True},
        "steps": {"expected": {"equals": 3.0, "within": 1e-06}, "found": 3, "met": True},
    }


@pytest.mark.parametrize("quiet", [False, True])
def test_one_that_is_not_exits_1_with_both_values(gdcli: Any, quiet: bool) -> None:
    spec("w: {equals: 0.1498, within: 1e-4}", "final_loss: {at_most: 0.02}")
    answer = gdcli("run", "half.yaml", "--no-plot", *(["-q"] if quiet else []))
    assert answer.code == 1
    assert "not as expected: w: expected 0.1498 within 0.0001, found 0.125\n" in answer.err
    assert ("as expected: final_loss: expected at most 0.02, found 0.015625\n" in answer.err) is not quiet
    assert summary()["status"] == "finished"


def test_nothing_else_of_the_run_changes(gdcli: Any) -> None:
    spec("w: {at_least: 1}")
    expecting = gdcli("run", "half.yaml", "--no-plot", "--output", "a")
    plain = gdcli("run", "half.yaml", "--no-plot", "--output", "b", "expect=null")
    assert expecting.out == plain.out
    assert (expecting.code, plain.code) == (1, 0)
    folders = [only_folder(Path(name)) for name in ("a", "b")]
    assert folders[0].name[-8:] == folders[1].name[-8:]
    for name in ("steps.csv", "gradients.csv", "log.txt", "model.safetensors"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_json_has_it(gdcli: Any) -> None:
    spec("w: {at_least: 1}")
    answer = gdcli("run", "half.yaml", "--no-plot", "--json", "-q")
    assert answer.code == 1
    assert answer.json["expect"]["w"] == {"expected": {"at_least": 1.0}, "found": 0.125, "met": False}


def test_a_diverged_run_meets_no_bound_of_its_loss(gdcli: Any) -> None:
    spec("final_loss: {at_least: 0}")
    answer = gdcli("run", "half.yaml", "--no-plot", "optimizer.lr=1e200", "epochs=9", "dtype=float64")
    assert answer.code == 1
    assert summary()["expect"]["final_loss"]["met"] is False


def test_needed_holds_a_finished_record_to_the_expectations_of_now(gdcli: Any) -> None:
    spec("w: {at_least: 1}")
    assert gdcli("run", "half.yaml", "--no-plot").code == 1
    again = gdcli("run", "half.yaml", "--no-plot", "--needed")
    assert (again.code, len(list(Path("runs/half").iterdir()))) == (1, 1)
    assert "not as expected: w: expected at least 1, found 0.125" in again.err
    spec("w: {at_most: 1}")
    assert gdcli("run", "half.yaml", "--no-plot", "--needed").code == 0


def test_a_sweep_ends_well_and_each_run_s_summary_tells(gdcli: Any) -> None:
    spec("w: {at_most: 0.2}")
    assert gdcli("sweep", "half.yaml", "--param", "epochs=1,3", "--no-plot").code == 0
    found = [json.loads(path.read_text()) for path in sorted(Path("runs").glob("*/*/*/summary.json"))]
    assert [(one["expect"]["w"]["found"], one["expect"]["w"]["met"]) for one in found] == [(0.5, False), (0.125, True)]


def test_verify_and_torch_s_own_layers_know_it(gdcli: Any) -> None:
    Path("own.yaml").write_text(
        "data: {x: [1, 2], y: [2, 4]}\nloss: mse\noptimizer: {name: sgd, lr: 0}\n"
        "model: {type: sequential, layers: [{layer: Linear, out_features: 1, name: one}], init: {'*': 0.5}}\n"
        "expect: {'one.weight[0,0]': {equals: 0.5}}\n"
    )
    assert gdcli("run", "own.yaml", "--no-plot").code == 0
    assert "bit-identical" in gdcli("verify", "last").out
    answer = gdcli("run", "own.yaml", "--no-plot", "expect.one.weight[1,0].equals=2")
    assert answer.code == 2
    assert "is no scalar of one.weight, whose shape is [1, 1]. Did you mean 'one.weight[0,0]'?" in answer.err
