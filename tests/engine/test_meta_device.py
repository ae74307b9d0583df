"""Torch is imported without the rules of its meta device, and has all of them where they are needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from gdcli.engine.meta_device import RULES, on_meta, read_rules, rules_later

PACKAGE = Path(__file__).parents[2] / "gdcli"

LATER = """
import inspect, sys
from gdcli.engine.meta_device import on_meta, read_rules, rules_later
with rules_later():
    import torch
inspect.getmodule(inspect.currentframe(), "no file")  # looks at all modules
early = set(sys.modules)
"""


def answers(code: str) -> list[str]:
    """Run code after torch was imported without the rules, and return the words that it prints."""
    ended = subprocess.run([sys.executable, "-c", LATER + code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split()


def test_the_rules_are_not_read_by_torch_s_import_and_are_all_there_once_they_are_asked_for() -> None:
    ours = answers(
        "assert not early & {'torch._prims', 'torch._refs', 'torch._decomp.decompositions'}\n"
        "x = torch.ones(2, 3, requires_grad=True)\n"
        "(x.tanh() @ torch.ones(3, 2)).sum().backward()\n"
        "assert 'torch._prims' not in sys.modules\n"
        "read_rules(); read_rules()\n"
        "print(*sorted(vars(torch._meta_registrations)), *sorted(set(sys.modules) - early))\n"
    )
    plain = subprocess.run(
        [sys.executable, "-c", f"import sys, torch; print(*sorted(vars(sys.modules[{RULES!r}])))"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert set(plain) <= set(ours)
    assert {"torch._prims", "torch._refs", "torch._decomp"} <= set(ours)


def test_a_name_of_theirs_reads_them() -> None:
    assert answers(
        "from torch._meta_registrations import meta_embedding_bag\n"
        "print(meta_embedding_bag.__name__, 'torch._prims' in sys.modules)"
    ) == ["meta_embedding_bag", "True"]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        ("nn.Conv2d(1, 8, 3)", (2, 1, 8, 8)), ("nn.BatchNorm1d(3)", (2, 3)), ("nn.RReLU()", (2, 3)),
        ("nn.GRU(3, 4)", (5, 3)),
    ],
)  # fmt: skip
def test_shapes_on_the_meta_device_are_those_of_numbers(layer: str, shape: tuple[int, ...]) -> None:
    made = eval(layer)(torch.zeros(shape))
    made = made[0] if isinstance(made, tuple) else made
    found = answers(
        "from torch import nn\nwith on_meta():\n"
        f"    y = {layer}(torch.empty({shape}))\ny = y[0] if isinstance(y, tuple) else y\nprint(y.device, *y.shape)"
    )
    assert found == ["meta", *map(str, made.shape)]


def test_where_torch_is_imported_already_nothing_changes() -> None:
    before = sys.modules[RULES], list(sys.meta_path)
    with rules_later():
        import torch
    read_rules()
    assert (sys.modules[RULES], sys.meta_path) == before
    with on_meta():
        assert nn.Conv2d(1, 2, 3)(torch.empty(1, 1, 5, 5)).shape == (1, 2, 3, 3)


def test_nothing_else_is_made_on_the_meta_device() -> None:
    """``x.to("meta")`` alone needs no rules: it makes nothing."""
    for path in PACKAGE.rglob("*.py"):
        if path.name == "meta_device.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and any(isinstance(a, ast.Constant) and a.value == "meta" for a in node.args):
                assert ast.unparse(node.func) == "after.to", f"{path}:{node.lineno}"
            if isinstance(node, ast.keyword) and node.arg == "device":
                assert ast.unparse(node.value) != "'meta'", f"{path}:{node.value.lineno}"
