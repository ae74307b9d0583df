"""The decorators of plugins: what they put into the tables, and what they refuse, by file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gdcli.errors import SpecError
from gdcli.spec.overrides import resolve
from gdcli.spec.signature import arguments
from gdcli.zoo import plugins
from gdcli.zoo.losses import LOSSES, TARGETS
from gdcli.zoo.metrics import METRICS, highest_first
from gdcli.zoo.models import MODELS
from gdcli.zoo.optimizers import OPTIMIZERS, state_tensors
from gdcli.zoo.registering import TABLES
from tests import own_plugins

pytestmark = pytest.mark.usefixtures("without_plugins")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(code: str, name: str = "mine.py") -> None:
    Path(name).write_text(code if "from __future__" in code else f"import gdcli\n{code}")
    plugins.load([name])


def test_keys_types_bounds_and_defaults_are_those_of_the_signature() -> None:
    load(own_plugins.ONE_OF_EACH)
    assert arguments(MODELS["Wide"], {})[0] == {"width": 4, "dropout": 0.0}
    assert arguments(MODELS["Wide"], {"width": 1e1})[0]["width"] == 10
    (complaint,) = arguments(MODELS["Wide"], {"width": 0})[1]
    assert (complaint.path, complaint.message) == (("width",), "must be at least 1 (got 0)")
    (complaint,) = arguments(LOSSES["quartic"], {"sclae": 1})[1]
    assert (complaint.message, complaint.hint) == ("unknown key", "Did you mean 'scale'?")
    (complaint,) = arguments(OPTIMIZERS["Lion"], {"betas": [0.9]})[1]
    assert complaint.message == "needs 2 entries (got [0.9])"


def test_its_keys_can_be_named_by_their_last_part_once_it_is_loaded() -> None:
    with pytest.raises(SpecError):
        resolve("width")
    load(own_plugins.ONE_OF_EACH)
    assert resolve("width") == "model.width"
    own_plugins.forget()
    with pytest.raises(SpecError):
        resolve("width")


def test_names_are_added_and_nothing_of_gdclis_own_changes() -> None:
    before = {kind: dict(table) for kind, table in TABLES.items()}
    load(own_plugins.ONE_OF_EACH)
    added = {kind: set(table) - set(before[kind]) for kind, table in TABLES.items()}
    assert added == {
        "model": {"Wide"}, "loss": {"quartic", "focal"}, "optimizer": {"Lion"}, "activation": {"square"},
        "data": {"staircase"}, "metric": {"largest_error"},
    }  # fmt: skip
    assert all(TABLES[kind][name] is entry for kind, table in before.items() for name, entry in table.items())
    own_plugins.forget()
    assert {kind: dict(table) for kind, table in TABLES.items()} == before


def test_what_a_decorator_returns_is_what_stands_behind_it() -> None:
    load(
        "import torch\n@gdcli.loss\ndef one(output, target):\n    return output.mean()\n"
        "assert one(torch.ones(3), 0) == 1"
    )


def test_options_say_of_what_a_loss_is_and_which_metric_is_better() -> None:
    load(
        "@gdcli.metric(higher_is_better=True)\ndef good(o, t): return 1\n"
        "@gdcli.metric\ndef bad(o, t): return 1\n"
        "@gdcli.loss(targets='classes', reduction='sum')\ndef sure(o, t): return o.sum()\n"
    )
    assert (highest_first("validation_good"), highest_first("validation_bad")) == (True, False)
    assert TARGETS["sure"] == "classes"
    assert LOSSES["sure"]().sums
    own_plugins.forget()
    assert "sure" not in TARGETS
    assert not highest_first("good")


def test_a_function_that_returns_what_those_of_the_zoo_do_is_taken_as_one_of_them() -> None:
    load(
        "from gdcli.zoo.losses import Loss\nfrom gdcli.zoo.models import Affine, Chain\n"
        "from gdcli.zoo.activations import Activation\nfrom gdcli.zoo.update_rule import Bound, Keeps, Rule\n"
        "from typing import Annotated\nimport torch\n"
        "@gdcli.loss\ndef plain() -> Loss:\n"
        "    return Loss(lambda o, t: (o - t).mean(), lambda x: lambda o, t: 1 / o, 'Mean', lambda o, t: o - t)\n"
        "@gdcli.model\ndef two(data, *, bias: bool = True) -> Chain:\n"
        "    return Chain((Affine('', data.inputs, data.outputs, bias, 'none'),))\n"
        "@gdcli.activation\ndef same() -> Activation:\n"
        "    return Activation(torch.clone, lambda d, z, a, out: out.copy_(d), 'Clone')\n"
        "@gdcli.optimizer\ndef still(*, lr: float = 0.1) -> Annotated[Rule, Keeps(3)]:\n"
        "    return lambda p, g: Bound(lambda lr, t: None, {})\n"
    )
    assert [getattr(TABLES[kind][name], "trains_alone", None) for kind, name in (
        ("loss", "plain"), ("activation", "same"), ("optimizer", "still"))] == [False] * 3  # fmt: skip
    assert state_tensors("still", {}) == 3


LION = "import torch\n@gdcli.optimizer\nclass Lion(torch.optim.Optimizer):\n    def __init__(self, params{}): pass\n"
WRONG: list[tuple[str, int, str]] = [
    ("@gdcli.loss\ndef mse(o, t): pass", 2, "mse: gdcli has a loss of that name"),
    ("@gdcli.activation\ndef none(z): pass", 2, "none: gdcli has an activation of that name"),
    ("@gdcli.loss\ndef one(o, t, scale: float = 1.0): pass", 2, "one: a loss takes output and target, and its keys"),
    ("@gdcli.loss\ndef one(o): pass", 2, "one: a loss takes output and target"),
    ("\n\n@gdcli.loss\ndef one(o, t, *, scale=1.0): pass", 4, "one: the key scale needs a type: scale: float = 1.0"),
    ("@gdcli.loss\ndef one(o, t, *, to: 'Path'): pass", 2, "one: its types cannot be read: name 'Path' is not defined"),
    ("@gdcli.loss\ndef one(o, t, *, to: bytes): pass", 2, "one: the key to cannot be a bytes"),
    ("@gdcli.loss\ndef one(o, t, *, to: list[bytes]): pass", 2, "one: the key to cannot be a list"),
    ("@gdcli.loss\ndef one(o, t, *, name: str): pass", 2, "one: the key name means something else in a spec"),
    ("@gdcli.loss\ndef one(o, t, *, _to: str): pass", 2, "one: no key begins with _"),
    ("@gdcli.activation\ndef one(z, *, scale: float = 1.0): pass", 2, "one: a spec knows an activation by its name"),
    ("@gdcli.metric\ndef one(o, t, *, scale: float = 1.0): pass", 2, "one: a spec knows a metric by its name alone"),
    ("@gdcli.metric\ndef loss(o, t): pass", 2, "loss: a metric is not called loss"),
    ("@gdcli.metric\ndef test_error(o, t): pass", 2, "test_error: a metric is not called loss, nor begins with"),
    ("@gdcli.data\ndef one(): pass", 2, "one: data take a generator of random numbers"),
    ("@gdcli.data\ndef one(rng, *, kind: str): pass", 2, "one: the key kind means something else in a spec"),
    ("@gdcli.model\ndef one(i, o, *, init: str): pass", 2, "one: the key init means something else in a spec"),
    ("gdcli.loss(3)", 2, "@gdcli.loss stands before a function or a class"),
    (LION.format(", *, rate: float"), 3, "Lion: an optimizer has the key lr, its learning rate"),
    (LION.format(", lr=0.1"), 3, "Lion: an optimizer takes the parameters, and its keys behind a * (got params, lr)"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "line", "what"), WRONG)
def test_what_cannot_be_an_ingredient_is_told_with_its_line(code: str, line: int, what: str) -> None:
    before: dict[str, Any] = {kind: dict(table) for kind, table in TABLES.items()}
    with pytest.raises(SpecError) as error:
        load(code)
    assert str(error.value).startswith(f"mine.py:{line}: {what}")
    assert {kind: dict(table) for kind, table in TABLES.items()} == before


def test_two_plugins_with_one_name_are_told_by_both_lines() -> None:
    code = "@gdcli.metric\ndef one(o, t): return 1\n"
    load(code)
    with pytest.raises(SpecError, match=r"other\.py:2: one: mine\.py:2 has a metric of that name"):
        load(code, "other.py")
    assert METRICS["one"].origin.file == "mine.py"  # type: ignore[attr-defined]


def test_in_a_session_of_python_a_name_can_be_given_anew() -> None:
    scope: dict[str, Any] = {"__name__": "__main__"}
    for number in (1, 2):
        code = f"import gdcli\n@gdcli.metric\ndef one(o, t): return {number}\n"
        exec(compile(code, f"<cell {number}>", "exec"), scope)
    table: Any = object()
    metric = METRICS["one"]("mse", table)
    assert metric is not None
    assert metric(None, None) == 2.0  # type: ignore[arg-type]  # of whatever


def test_annotations_that_are_texts_are_read_as_far_as_keys_need_them() -> None:
    load(
        "from __future__ import annotations\nimport gdcli\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
        "    import nothing\n"
        "@gdcli.loss\ndef one(o: nothing.Tensor, t, *, scale: float | None = None) -> nothing.Tensor: pass\n"
    )
    assert arguments(LOSSES["one"], {"scale": 2})[0] == {"scale": 2.0}
