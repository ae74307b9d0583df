"""Rows held out, classes and their names, shapes: what a spec's data section makes of its rows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from gdcli.errors import SpecError
from gdcli.spec import config
from gdcli.spec.document import read
from gdcli.spec.load import Loaded, load
from gdcli.spec.schema import parse
from gdcli.spec.writing import write
from gdcli.zoo.data import generator
from gdcli.zoo.splits import Wanted, parts_of

COUNTS = st.lists(st.integers(1, 40), min_size=2, max_size=5)


def loaded(data: dict[str, Any], base: Path = Path(), *, loss: str = "cross_entropy", model: Any = "linear") -> Loaded:
    spec = {"data": data, "model": model, "loss": loss, "optimizer": "sgd"}
    return load(parse(read(json.dumps(spec), "f"), "t"), base)


def refused(data: dict[str, Any], base: Path = Path(), **more: Any) -> str:
    with pytest.raises(SpecError) as caught:
        loaded(data, base, **more)
    return "\n".join(map(str, caught.value.problems))


# --- splits


@examples(max_examples=60, deadline=None)
@given(COUNTS, st.integers(0, 2**32), st.data())
def test_parts_are_disjoint_and_each_class_has_its_share_within_a_row(counts: list[int], seed: int, drawn: Any) -> None:
    n = sum(counts)
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    held_out, test = drawn.draw(st.integers(1, max(n - 2, 1))), drawn.draw(st.integers(1, max(n - 2, 1)))
    if held_out + test >= n:
        return
    parts = parts_of(n, Wanted(held_out, test), generator(seed, "split"), labels)
    assert parts.validation is not None
    assert parts.test is not None
    assert sorted([*parts.training, *parts.validation, *parts.test]) == list(range(n))
    for part, size in ((parts.validation, held_out), (parts.test, test)):
        assert len(part) == size
        assert (np.diff(part) > 0).all()
        shares = np.array(counts) * size / n
        assert (np.abs(np.bincount(labels[part], minlength=len(counts)) - shares) <= 1.5).all()


@examples(max_examples=40, deadline=None)
@given(st.integers(5, 60), st.integers(2, 5), st.integers(0, 2**32))
def test_each_row_validates_in_one_fold_and_the_test_rows_are_the_same_in_all(n: int, folds: int, seed: int) -> None:
    parts = [parts_of(n, Wanted(None, 0.2, folds, k), generator(seed, "split")) for k in range(folds)] if n > 9 else []
    for part in parts:
        assert part.validation is not None
        assert part.test is not None
        assert parts[0].test is not None
        assert part.test.tolist() == parts[0].test.tolist()
        assert not {*part.training} & {*part.validation, *part.test}
    validated = [row for part in parts for row in part.validation.tolist()]  # type: ignore[union-attr]  # asserted
    assert sorted(validated) == sorted({*range(n)} - {*parts[0].test.tolist()}) if parts else True  # type: ignore[union-attr]


def test_the_test_rows_do_not_depend_on_the_share_for_validation() -> None:
    rows = {"x": list(range(30)), "y": list(range(30)), "test": 6}
    tables = [loaded({**rows, "validation": share}, loss="mse").test for share in (0.1, 7)]
    assert tables[0] is not None
    assert tables[1] is not None
    assert tables[0].x.tolist() == tables[1].x.tolist()
    assert len(tables[0].x) == 6


def test_what_is_learned_is_learned_of_the_training_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = [f"{a:.3f},{k % 2}" for k, a in enumerate(rng.normal(5, 2, 40))]
    (tmp_path / "t.csv").write_text("\n".join(["a,y", *lines]))
    found = loaded({"file": "t.csv", "target": "y", "standardize": True, "validation": 8, "test": 8}, tmp_path)
    assert found.training is not None
    assert len(found.training.x) == 24
    assert abs(found.training.x.mean()) < 1e-12
    assert abs(found.training.x.std() - 1) < 1e-12


def test_validation_may_be_a_file_and_its_config_runs_again(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,town,y\n1,Ulm,yes\n2,Bonn,no\n3,Ulm,yes\n")
    (tmp_path / "v.csv").write_text("y,town,a\nno,Ulm,5\n")
    data = {"file": "t.csv", "target": "y", "validation": "v.csv"}
    found = loaded(data, tmp_path)
    assert found.validation is not None
    assert (found.validation.x.tolist(), found.validation.y.tolist()) == ([[5, 0, 1]], [0])
    resolved = config.resolved(found, device="cpu", threads=1, engine="by_hand", keep="values")
    again = load(parse(read(write(resolved), "f"), "t"), Path("/"))
    assert config.resolved(again, device="cpu", threads=1, engine="by_hand", keep="values") == resolved
    (tmp_path / "v.csv").write_text("y,town,a\nno,Ulm,6\n")
    with pytest.raises(SpecError, match=r"data\.validation: the file has changed"):
        load(parse(read(write(resolved), "f"), "t"), Path("/"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("y,town,a\nno,Rom,5\n", "data.validation: line 2, column 'town': no training row has 'Rom'"),
        ("y,town,a\nmaybe,Ulm,5\n", "data.validation: line 2, column 'y': 'maybe' is none of the classes 'no', 'yes'"),
        ("y,a\nno,5\n", "the file has no column 'town'"),
        ("y,town,a\nno,Ulm,x\n", "v.csv': line 2, column 'a': 'x' is not a number"),
        ("y,town,a\nno,Ulm,\n", "data.validation: missing cells: 'a' 1"),
    ],
)
def test_a_file_of_validation_rows_that_does_not_fit_is_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text("a,town,y\n1,Ulm,yes\n2,Bonn,no\n")
    (tmp_path / "v.csv").write_text(text)
    assert message in refused({"file": "t.csv", "target": "y", "validation": "v.csv"}, tmp_path)


# --- classes


def test_labels_that_leave_a_class_empty_are_mapped_and_told_where_the_width_is_of_the_data(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n1,3\n2,-1\n3,7\n4,3\n")
    found = loaded({"file": "t.csv", "target": "y"}, tmp_path)
    assert found.training is not None
    assert found.preprocessing is not None
    assert (found.training.y.tolist(), found.training.classes) == ([1, 0, 2, 1], 3)
    assert found.preprocessing.classes == ("-1", "3", "7")
    assert "the labels -1, 3, 7 of 'y' are the classes 0 to 2, in this order" in found.warnings[0]


def test_a_model_of_a_given_width_keeps_labels_as_indices(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n1,3\n2,1\n")
    model = {"type": "mlp", "layers": [1, 4]}
    found = loaded({"file": "t.csv", "target": "y"}, tmp_path, model=model)
    assert found.training is not None
    assert found.training.y.tolist() == [3, 1]
    message = refused({"file": "t.csv", "target": "y"}, tmp_path, model={"type": "mlp", "layers": [1, 3]})
    assert "class 3 does not exist: the model has 3 outputs, from 0" in message


def test_two_words_are_0_and_1_for_a_loss_of_probabilities(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n1,yes\n2,no\n")
    found = loaded({"file": "t.csv", "target": "y"}, tmp_path, loss="bce_with_logits")
    assert found.training is not None
    assert found.training.y.tolist() == [[1], [0]]
    (tmp_path / "t.csv").write_text("a,y\n1,yes\n2,no\n3,maybe\n")
    message = refused({"file": "t.csv", "target": "y"}, tmp_path, loss="bce_with_logits")
    assert "'y' has 3 values, not two: 'maybe', 'no', 'yes'" in message


def test_a_data_set_has_the_names_of_its_classes() -> None:
    found = loaded({"dataset": "iris"}).preprocessing
    assert found is not None
    assert found.classes == ("setosa", "versicolor", "virginica")


# --- what does not fit


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "missing cells: 'a' 1 (the first in line 4). Set data.missing: drop, mean, median or most_frequent"),
        ({"missing": "drop", "standardize": ["town"]}, "data.standardize[0]: 'town' is text"),
        (
            {"missing": "drop", "standardize": ["aa"]},
            "data.standardize[0]: no column is called 'aa'. Did you mean 'a'?",
        ),
        ({"missing": "drop", "standardize": ["target"]}, "data.standardize[0]: the target is a class"),
        ({"missing": "drop", "categories": ["twon"]}, "data.categories[0]: no feature is called 'twon'. Did you mean"),
        ({"missing": "drop", "features": ["a"], "unknown": "zero"}, "data.unknown: has no effect: no feature is text"),
        ({"missing": "drop", "folds": 2, "validation": 0.5}, "data.folds: each fold validates in its turn"),
        ({"missing": "drop", "folds": 2, "fold": 2}, "data.fold: 2 folds are numbered from 0 to 1 (got 2)"),
        ({"missing": "drop", "fold": 0}, "data.fold: has no effect: it is one of data.folds"),
        ({"missing": "drop", "stratify": True}, "data.stratify: has no effect: it is for rows that are split"),
        ({"missing": "drop", "shape": [1, 3]}, "data.shape: has no effect: the model linear takes rows of numbers"),
        ({"missing": "drop", "validation": 0.9, "test": 0.9}, "rows leaves no row for training or none for"),
        ({"missing": "drop", "separator": "ab"}, "data.separator: must be one sign between two cells"),
        ({"missing": "most"}, "data.missing: unknown name (got 'most')"),
    ],
)
def test_keys_that_do_not_fit_the_table_are_told(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    (tmp_path / "t.csv").write_text("a,town,y\n1,Ulm,0\n2,Bonn,1\n,Ulm,1\n4,Ulm,0\n")
    assert message in refused({"file": "t.csv", "target": "y", **keys}, tmp_path)


def test_no_target_is_filled_in(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n1,0\n2,\n3,1\n")
    message = refused({"file": "t.csv", "target": "y", "missing": "mean"}, tmp_path)
    assert "missing cells: 'y' 1 (the first in line 3). Set data.missing: drop; no target is filled in" in message


def test_constant_columns_are_told(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,y\n1,5,0\n2,5,1\n")
    found = loaded({"file": "t.csv", "target": "y", "standardize": True}, tmp_path)
    assert "data.standardize: constant in the training rows, and 0 when standardized: 'b'" in found.warnings[0]


# --- shapes


def test_rows_have_the_shape_that_convolutions_take() -> None:
    layers = [{"layer": "Conv2d", "in_channels": 1, "out_channels": 2, "kernel_size": 3}, "Flatten"]
    layers.append({"layer": "Linear", "in_features": 72, "out_features": 10})
    model = {"type": "sequential", "layers": layers}
    found = loaded({"dataset": "digits", "shape": [1, 8, 8], "standardize": True, "validation": 0.2}, model=model)
    plain = loaded({"dataset": "digits", "standardize": True, "validation": 0.2}, model=model)
    assert found.training is not None
    assert plain.training is not None
    assert (found.row_shape, plain.row_shape) == ((1, 8, 8), (64,))
    assert found.training.x.tobytes() == plain.training.x.tobytes()
    assert found.prepared(np.zeros((3, 64))).shape == (3, 1, 8, 8)


def test_a_first_convolution_on_rows_hints_at_the_shape() -> None:
    from gdcli.engine.start_values import with_layers

    layers = [{"layer": "Conv2d", "in_channels": 1, "out_channels": 2, "kernel_size": 3}]
    found = loaded({"dataset": "digits"}, model={"type": "sequential", "layers": layers})
    with pytest.raises(SpecError) as caught:
        with_layers(found)
    assert "data.shape: [1, 8, 8] gives each row of the data one" in str(caught.value)


def test_a_shape_of_other_numbers_is_refused() -> None:
    model = {"type": "sequential", "layers": ["Flatten"]}
    message = refused({"dataset": "digits", "shape": [1, 8, 9]}, model=model)
    assert "data.shape: [1, 8, 9] makes 72 numbers, a row of the data has 64" in message


def test_rows_are_told_by_their_lines_in_the_file(tmp_path: Path) -> None:
    """A header of two lines, an empty line, rows that are left out, and rows that were drawn do not shift them."""
    (tmp_path / "t.csv").write_text('"a\nb",y\n1,0\n\n,1\n')
    assert "(the first in line 5)" in refused({"file": "t.csv", "target": "y"}, tmp_path)
    (tmp_path / "t.csv").write_text("town,a,y\nUlm,1,0\nBonn,2,1\n")
    (tmp_path / "v.csv").write_text("town,a,y\nUlm,,0\nUlm,1,0\nRom,2,1\n")
    given = {"file": "t.csv", "target": "y", "missing": "drop", "validation": {"file": "v.csv"}}
    assert "line 4, column 'town': no training row has 'Rom'" in refused(given, tmp_path)
    (tmp_path / "t.csv").write_text("town,y\n" + "".join(f"t{row},{row % 2}\n" for row in range(20)))
    message = refused({"file": "t.csv", "target": "y", "validation": 0.2}, tmp_path)
    found = re.search(r"line ([0-9]+), column 'town': no training row has 't([0-9]+)'", message)
    assert found is not None
    assert int(found[1]) == int(found[2]) + 2


# --- columns that are no features


def test_ignored_columns_are_as_if_they_were_not_in_the_file(tmp_path: Path) -> None:
    """Not read at all: neither their missing cells nor their many words matter, and they are not asked for later."""
    rows = [(k % 3 * 0.5, k % 2 * 2.0, k) for k in range(12)]
    (tmp_path / "wide.csv").write_text(
        ",id,a,note,b,y\n" + "".join(f"{y},r{y},{a},{'' if y else 'new'},{b},{y}\n" for a, b, y in rows)
    )
    (tmp_path / "plain.csv").write_text("a,b,y\n" + "".join(f"{a},{b},{y}\n" for a, b, y in rows))
    common = {"target": "y", "standardize": True, "validation": 0.25}
    plain = loaded({"file": "plain.csv", **common}, tmp_path, loss="mse")
    wide = {"file": "wide.csv", "ignore": ["note", "", "id"], **common}
    for held_out in (0.25, {"file": "plain.csv"}):
        ours = loaded({**wide, "validation": held_out}, tmp_path, loss="mse")
        other = loaded({"file": "plain.csv", **common, "validation": held_out}, tmp_path, loss="mse")
        for part in ("training", "validation"):
            assert getattr(ours, part).features == ("a", "b")
            assert np.array_equal(getattr(ours, part).x, getattr(other, part).x)
            assert np.array_equal(getattr(ours, part).y, getattr(other, part).y)
        assert ours.preprocessing == other.preprocessing or str(ours.preprocessing) == str(other.preprocessing)
    assert plain.training is not None
    listed = config.filled_in(loaded(wide, tmp_path, loss="mse").spec)["data"]
    assert listed["ignore"] == ["note", "", "id"]
    assert "ignore" not in config.filled_in(plain.spec)["data"]


def test_one_ignored_column_needs_no_list(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(",a,y\n0,1,2\n1,2,4\n")
    assert refused({"file": "t.csv", "target": "y"}, tmp_path, loss="mse").endswith("data.ignore: '' leaves it out")
    found = loaded({"file": "t.csv", "target": "y", "ignore": ""}, tmp_path, loss="mse")
    assert found.training is not None
    assert found.training.features == ("a",)


# --- standardize


def test_standardize_all_is_the_list_of_all_numbers(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    rows = zip(
        rng.normal(5, 3, 40), rng.choice(["x", "z"], 40), rng.normal(900, 50, 40), rng.normal(3, 2, 40), strict=True
    )
    (tmp_path / "t.csv").write_text("a,word,y,b\n" + "".join(f"{a},{w},{y},{b}\n" for a, w, y, b in rows))
    data = {"file": "t.csv", "target": ["y", "b"], "validation": 0.25}
    every = loaded({**data, "standardize": "all"}, tmp_path, loss="mse")
    listed = loaded({**data, "standardize": ["a", "y", "b"]}, tmp_path, loss="mse")
    for part in ("training", "validation"):
        assert np.array_equal(getattr(every, part).x, getattr(listed, part).x)
        assert np.array_equal(getattr(every, part).y, getattr(listed, part).y)
    assert every.training is not None
    assert np.allclose(every.training.y.mean(0), 0, atol=1e-12)
    assert np.allclose(every.training.y.std(0), 1)
    assert set(np.unique(every.training.x[:, 1:])) == {0, 1}  # text stays columns of 0 and 1
    assert config.filled_in(every.spec)["data"]["standardize"] == "all"


def test_a_class_is_not_standardized(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n1,no\n2,yes\n3,no\n")
    told = refused({"file": "t.csv", "target": "y", "standardize": "all"}, tmp_path)
    assert "data.standardize: the target is a class, which has no mean" in told
    assert "must be true or false or a list (got 'al')" in refused(
        {"x": [1], "y": [1], "standardize": "al"}, loss="mse"
    )
