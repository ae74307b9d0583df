"""What a sweep or a comparison will run: axes and their points, the specs of the runs, learning rates and seeds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gdcli import plan
from gdcli.errors import SpecError
from gdcli.plan import SpecFactory
from gdcli.plan.trials import HERE
from gdcli.spec.document import read
from gdcli.spec.load import Loaded, load
from gdcli.spec.nodes import Node
from gdcli.spec.overrides import as_node, put, steps_of
from gdcli.spec.schema import parse
from gdcli.spec.sections import RunSpec
from tests.timing import fastest

LINE = """\
data: {x: [1, 2, 3], y: [2, 4, 6]}
model: linear
loss: mse
optimizer: {name: sgd, lr: 0.01, groups: {weight: {lr: 0.5}}}
"""
DRAWN = LINE.replace("{x: [1, 2, 3], y: [2, 4, 6]}", "{generate: {kind: linear, weights: [3], noise: 1, n: 8}}")


def parsed(document: Node, *, alone: bool = True) -> RunSpec:
    return parse(document, "stem", alone=alone)


def loaded(spec: RunSpec) -> Loaded:
    return load(spec, Path())


class Counted:
    """The runs of a text, with the number of documents that were read as a whole."""

    def __init__(self, text: str) -> None:
        self.document, self.reads, self.loads = read(text, "f"), 0, 0
        self.base = loaded(parsed(self.document))
        self.specs = SpecFactory(self.document, self.base, self._parse, self._load)

    def _parse(self, document: Node, *, alone: bool) -> RunSpec:
        self.reads += 1
        return parsed(document, alone=alone)

    def _load(self, spec: RunSpec) -> Loaded:
        self.loads += 1
        return loaded(spec)


def read_as_a_whole(document: Node, changes: Sequence[tuple[str, Any]]) -> RunSpec | str:
    """The changed document read from the start: its spec, or what is wrong with it."""
    for path, value in changes:
        document = put(document, steps_of(path), as_node(value, HERE), HERE)
    try:
        return loaded(parsed(document, alone=False)).spec
    except SpecError as error:
        return str(error)


CHANGES: list[list[tuple[str, Any]]] = [
    *([("optimizer.lr", value)] for value in (0.1, 1, 0, -1, "fast", True, None, [1], {}, float("inf"), float("nan"))),
    [("optimizer.nesterov", True)],
    [("optimizer.nesterov", True), ("optimizer.momentum", 0.9)],
    [("optimizer.momentum", -1), ("seed", -1)],
    [("optimizer.betas", [0.9, 0.99])],
    [("optimizer.lrr", 0.1)],
    [("optimizer.name", "adam")],
    [("optimizer.name", "adm")],
    [("optimizer", "adam")],
    [("optimizer", "adm")],
    [("optimizer", 3)],
    [("optimizer", {"name": "adam", "lr": 1, "betas": [0.5, 0.5]})],
    [("optimizer", {"name": "adam", "betas": [0.5, 1]})],
    [("optimizer", {"lr": 1})],
    [("optimizer", "adam"), ("optimizer.lr", 0.5)],
    [("optimizer.groups", {"bias": {"lr": 3}})],
    [("optimizer.groups", {"bas": {"lr": 3}})],
    [("optimizer.groups", 3)],
    [("optimizer.groups.weight.lr", -3)],
    [("optimizer.groups.w*.momentum", 0.5)],
    *([("seed", value)] for value in (3, 1e3, 2**63 - 1, 2**63, -1, 0.5, "one", None)),
    *([("data.seed", value)] for value in (3, 1e3, None, -1, 2**63, "one", [1])),
    [("seed", 3), ("data.seed", 0), ("optimizer.lr", 0.3)],
    [("seed", -3), ("data.seed", -1), ("optimizer.lr", -1)],
    [("epochs", 3)],
    [("epochs", -3), ("optimizer.lr", -1)],
    [("model", "identity"), ("optimizer.lr", 0.1)],
]


@pytest.mark.parametrize("text", [LINE, DRAWN], ids=["inline", "drawn"])
@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_a_changed_spec_is_the_changed_document_read_as_a_whole(text: str, changes: list[tuple[str, Any]]) -> None:
    runs = Counted(text)
    expected = read_as_a_whole(runs.document, changes)
    if isinstance(expected, str):
        with pytest.raises(SpecError) as caught:
            runs.specs.at(changes)
        assert str(caught.value) == expected
        return
    found = runs.specs.at(changes)
    assert found.spec == expected
    changed = found.spec.document
    assert read_as_a_whole(changed, []) == expected  # the document is the changed one
    again = loaded(parsed(changed, alone=False))
    assert found.training is not None
    assert again.training is not None
    assert found.training.x.tolist() == again.training.x.tolist()
    assert found.training.y.tolist() == again.training.y.tolist()


def test_an_objective_has_no_data_seed() -> None:
    text = "model: {type: objective, expression: x**2, start: {x: 1}}\noptimizer: sgd\n"
    with pytest.raises(SpecError, match="data: an objective has no data"):
        Counted(text).specs.at([("data.seed", 1)])


def test_optimizer_and_seed_share_inline_data_and_model_and_read_nothing_again() -> None:
    runs = Counted(LINE)
    for changes in ([("optimizer.lr", 0.1)], [("seed", 5), ("optimizer", "adam")]):
        found = runs.specs.at(changes)
        assert found.training is runs.base.training
        assert found.architecture is runs.base.architecture
    assert (runs.reads, runs.loads) == (0, 0)


def test_another_seed_draws_other_data_once_and_a_pinned_one_does_not() -> None:
    runs = Counted(DRAWN)
    first = runs.specs.at([("seed", 1)])
    assert runs.base.training is not None
    assert first.training is not None
    assert first.training.y.tolist() != runs.base.training.y.tolist()
    assert runs.specs.at([("seed", 1), ("optimizer.lr", 0.5)]).training is first.training
    assert runs.specs.at([("seed", 7), ("data.seed", 1)]).training is first.training
    assert runs.specs.at([("seed", 1), ("data.seed", 0)]).training is runs.base.training
    assert (runs.reads, runs.loads) == (0, 1)


def test_a_split_is_drawn_too() -> None:
    runs = Counted(LINE.replace("6]}", "6], validation: 0.34}"))
    splits = {str(runs.specs.at([("seed", seed)]).validation.x.tolist()) for seed in range(20)}  # type: ignore[union-attr]  # there is one
    assert splits == {"[[1.0]]", "[[2.0]]", "[[3.0]]"}


def test_a_thousand_learning_rates_are_planned_in_well_under_a_second() -> None:
    runs = Counted(LINE)
    rates: list[Loaded] = []

    def planned() -> None:
        rates[:] = [runs.specs.of(point) for point in plan.along(plan.axes(runs.base, ["lr=linspace(0.001,1,1000)"]))]

    assert fastest(planned, 0.5) < 0.5  # 0.024 s on the machine it was written on
    assert [run.spec.optimizer.arguments["lr"] for run in rates if run.spec.optimizer] == [
        k / 1000 for k in range(1, 1001)
    ]


# --- axes -------------------------------------------------------------------------------------------------------------


def axes(asked: Sequence[str], text: str = LINE) -> list[plan.Axis]:
    return plan.axes(loaded(parsed(read(text, "f"))), asked)


def test_points_of_key_axes_the_last_fastest() -> None:
    found = plan.along(axes(["lr=0.1,0.2", "momentum=0,0.9"]))
    assert [point.label for point in found] == [
        "lr=0.1,momentum=0", "lr=0.1,momentum=0.9", "lr=0.2,momentum=0", "lr=0.2,momentum=0.9",
    ]  # fmt: skip
    assert found[1].values == (0.1, 0.9)
    assert found[1].changes == (("optimizer.lr", 0.1), ("optimizer.momentum", 0.9))


def test_a_zip_is_one_factor_of_the_product() -> None:
    found = axes(["zip(lr=0.1,0.2,momentum=0.5,0.9)", "seed=1,2,3"])
    assert [axis.target for axis in found] == ["optimizer.lr", "optimizer.momentum", "seed"]
    assert plan.points(found) == 6
    assert [point.values for point in plan.along(found)] == [
        (lr, momentum, seed) for lr, momentum in ((0.1, 0.5), (0.2, 0.9)) for seed in (1, 2, 3)
    ]
    assert plan.along(found)[0].label == "lr=0.1,momentum=0.5,seed=1"


def test_a_zip_of_parameters_is_a_path_through_the_grid() -> None:
    found = axes(["zip(w=0,1,2,b=3,4,5)"])
    assert {axis.kind for axis in found} == {"parameter"}
    assert plan.grid_points(found).tolist() == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.parametrize("asked", [["w=0:4:1", "b=-1,1"], ["b=1,2", "zip(w=1,2)"], ["w=3"]])
def test_the_array_of_points_is_their_list(asked: list[str]) -> None:
    found = axes(asked)
    points = plan.grid_points(found)
    assert points.dtype == np.float64
    assert points.shape == (plan.points(found), len(found))
    assert points.tolist() == [list(map(float, values)) for values in plan.product_of(found)]


REFUSED = {
    ("zip(lr=0.1,lr=0.2)",): "the name 'lr' is given twice",
    ("zip(lr=0.1,optimizer.lr=0.2)",): "--param optimizer.lr and --param lr are both optimizer.lr",
    ("zip(lr=0.1,0.2,seed=1,2)", "seed=3"): "--param seed is given twice",
    ("zip(lr=0.1,0.2,momentum=0.5)",): "one length; lr has 2, momentum has 1",
    ("zip(w=1,a,b=1,2)",): "--param w: a parameter of the model takes numbers (got 1,a)",
    ("zip(qqq=1,2)",): "--param qqq: neither a parameter of the model nor a key of the spec",
    ("compare.seeds=1,2",): "--param compare.seeds: a single run does not read the key compare.seeds",
    ("key:sweep.parameters=1",): "--param sweep.parameters: a single run does not read",
    ("lr",): "--param lr: needs a grid",
}


@pytest.mark.parametrize(("asked", "message"), REFUSED.items(), ids=map(str, REFUSED))
def test_axes_that_cannot_be(asked: tuple[str, ...], message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        axes(asked)


BLOCKS = {
    "{qqq: [1, 2]}": "f:5:22: sweep.parameters.qqq: neither a parameter of the model nor a key of the spec",
    "{w: [1, a]}": "f:5:25: sweep.parameters.w: a parameter of the model takes numbers (got 1,a)",
    "{compare.seeds: [1]}": "f:5:22: sweep.parameters.compare.seeds: a single run does not read",
    "{lr: [1], optimizer.lr: [1]}": "f:5:31: sweep.parameters.optimizer.lr: is optimizer.lr, and so is lr",
}


@pytest.mark.parametrize(("block", "message"), BLOCKS.items())
def test_what_is_wrong_with_the_specs_own_block_stands_at_its_line(block: str, message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        axes([], f"{LINE}sweep: {{parameters: {block}}}\n")


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("{lr: [0.1, -1]}", "f:5:26: sweep.parameters.lr: must be at least 0 (got -1)"),
        ("{optimizer: [sgd, adm]}", "f:5:33: sweep.parameters.optimizer: unknown optimizer (got 'adm')"),
        ("{epochs: [-1]}", "f:5:30: sweep.parameters.epochs: must be at least 0 (got -1)"),
    ],
)
def test_a_bad_value_of_the_specs_own_block_stands_at_its_line(block: str, message: str) -> None:
    runs = Counted(f"{LINE}sweep: {{parameters: {block}}}\n")
    *_, last = plan.along(plan.axes(runs.base, []))
    with pytest.raises(SpecError, match=re.escape(message)):
        runs.specs.of(last)


def test_a_bad_value_of_the_command_line_stands_there() -> None:
    runs = Counted(LINE)
    (point,) = plan.along(plan.axes(runs.base, ["lr=-1"]))
    with pytest.raises(SpecError, match=re.escape("command line:1:1: optimizer.lr: must be at least 0 (got -1)")):
        runs.specs.of(point)


# --- comparisons ------------------------------------------------------------------------------------------------------

COMPARED = LINE + "compare: {optimizers: {sgd: {lr: 0.5}, slow: {name: sgd}}, batches: [full, stochastic]}\n"


def rows(text: str, optimizers: str | None = None, batches: str | None = None) -> list[plan.Trial]:
    document = read(text, "f")
    return plan.rows(document, parsed(document), optimizers, batches)


def test_rows_of_the_block_are_the_product_of_its_optimizers_and_batches() -> None:
    assert [row.values for row in rows(COMPARED)] == [
        ("sgd full", 0.5, "spec"), ("sgd stochastic", 0.5, "spec"),
        ("slow full", 0.001, "default"), ("slow stochastic", 0.001, "default"),
    ]  # fmt: skip
    assert rows(COMPARED)[1].changes == (
        ("optimizer", {"name": "sgd", "lr": 0.5}),
        ("batch", {"mode": "stochastic"}),
    )


def test_rows_of_the_command_line_tell_where_lr_came_from() -> None:
    found = rows(COMPARED, "sgd,fast=sgd:lr=1,adam")
    assert [row.values for row in found] == [("sgd", 0.5, "spec"), ("fast", 1.0, "given"), ("adam", 0.001, "default")]
    assert [row.values for row in rows(COMPARED, None, "full")] == [("full", 0.01, "spec")]


def test_a_rows_values_are_those_of_its_spec() -> None:
    runs = Counted(COMPARED)
    for row in plan.rows(runs.document, runs.base.spec, None, None):
        spec = runs.specs.of(row).spec
        assert spec.optimizer is not None
        assert row.values[1] == spec.optimizer.arguments["lr"]


def test_a_bad_group_of_the_block_stands_at_its_line() -> None:
    runs = Counted(LINE + "compare: {optimizers: {sgd: {groups: {bas: {lr: 1}}}}}\n")
    (row,) = plan.rows(runs.document, runs.base.spec, None, None)
    message = "f:5:29: compare.optimizers.sgd.groups.bas: no parameter of that name. Did you mean 'bias'?"
    with pytest.raises(SpecError, match=re.escape(message)):
        runs.specs.of(row)


def test_a_bad_setting_of_the_command_line_stands_there() -> None:
    runs = Counted(COMPARED)
    (row,) = plan.rows(runs.document, runs.base.spec, "sgd:lr=-1", None)
    with pytest.raises(SpecError, match=re.escape("command line:1:1: optimizer.lr: must be at least 0")):
        runs.specs.of(row)


# --- seeds and learning rates -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [0, 1, 7, 2**62, 2**63 - 1])
def test_seeds_that_tune_are_never_those_that_report(base: int) -> None:
    found = plan.seeds(2000, base)
    assert found.reporting[0] == base
    assert len({*found.reporting, *found.tuning}) == 4000
    assert all(0 <= seed < 2**63 for seed in (*found.reporting, *found.tuning))


def test_more_seeds_begin_with_the_same_ones() -> None:
    few, many = plan.seeds(3, 5), plan.seeds(100, 5)
    assert few.reporting == (5, 6, 7) == many.reporting[:3]
    assert few.tuning == many.tuning[:3]
    assert plan.seeds(1, 6).tuning != plan.seeds(1, 5).tuning


def test_the_tuning_grid_is_evenly_spaced_in_its_logarithm() -> None:
    assert plan.tuning_grid(9, 1e-4, 1) == pytest.approx(np.geomspace(1e-4, 1, 9).tolist(), rel=1e-15)
    assert plan.tuning_grid(5, 1e-4, 1) == [0.0001, 0.001, 0.01, 0.1, 1.0]
    assert plan.tuning_grid(2, 0.1, 0.3) == [0.1, 0.3]


@pytest.mark.parametrize(
    ("count", "low", "high", "message"),
    [
        (1, 0.1, 1.0, "--tune takes a number of learning rates from 2 on (got 1)"),
        (3, 0.0, 1.0, "--tune-range takes two learning rates above 0 (got 0,1)"),
        (3, 1.0, -1.0, "--tune-range takes two learning rates above 0 (got 1,-1)"),
        (3, 0.1, float("inf"), "--tune-range takes two learning rates above 0"),
        (3, float("nan"), 1.0, "--tune-range takes two learning rates above 0"),
        (3, 1.0, 1.0, "--tune-range takes the lower learning rate first (got 1,1)"),
    ],
)
def test_tuning_grids_that_cannot_be(count: int, low: float, high: float, message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        plan.tuning_grid(count, low, high)


def test_a_grid_goes_on_beyond_the_edge_by_half_as_many_points() -> None:
    grid = plan.tuning_grid(5, 1e-4, 1)
    assert plan.extended(grid, "high") == [*grid, 10.0, 100.0]
    assert plan.extended(grid, "low") == [1e-6, 1e-5, *grid]
    assert plan.extended([0.1, 0.2], "high") == [0.1, 0.2, 0.4]
    assert plan.extended([0.1, 0.2, 0.4], "low") == [0.05, 0.1, 0.2, 0.4]


def test_a_grid_ends_where_a_float64_does() -> None:
    assert plan.extended([1e300, 1e306], "high") == [1e300, 1e306]
    assert plan.extended([1e-320, 1e-310], "low") == [1e-320, 1e-310]


def test_a_key_inside_the_optimizer_outlives_the_change_of_the_optimizer_itself() -> None:
    specs = Counted(LINE).specs
    for changes in ([("optimizer.lr", 0.25), ("optimizer", "adam")], [("optimizer", "adam"), ("optimizer.lr", 0.25)]):
        optimizer = specs.at(changes).spec.optimizer
        assert optimizer is not None
        assert (optimizer.name, optimizer.arguments["lr"]) == ("adam", 0.25)
