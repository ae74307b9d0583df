"""P13: no spec and no name runs code, imports a module, reaches the network, or writes outside the output folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.timing import HANG
from tests.trials import trials

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests" / "corpus"
GOOD = "data: {x: [1, 2], y: [2, 4]}\nmodel: linear\nloss: mse\noptimizer: {name: sgd, lr: 0.01}\n"
NAMES = [
    "__import__('evil')", "evil.run", "../../evil", "$(touch evil)", "__class__", "{0.__class__}", "evil\nrun", "evil",
    "os.system", "/etc/passwd", "`touch evil`", "; touch evil", "| touch evil", "torch.load", "!!python/name:evil.run",
    "file:///etc/passwd", "%(evil)s", "${evil}", "-c", "*", "out/../../evil",
]  # fmt: skip

# Valid specs whose names are those of things that could be run or reached.
VALID = {
    "description": GOOD + "description: \"__import__('evil').run() {0.__class__} $(touch evil) ../../evil\"\n",
    "variables": "optimizer: {name: sgd, lr: 0.01}\nmodel:\n  type: objective\n"
    "  expression: __import__**2 + __class__*evil + os + open\n"
    "  start: {__import__: 1, __class__: 2, evil: 3, os: 1}\n  constants: {open: 4}\n",
    "layers": GOOD.replace(
        "model: linear",
        "model: {type: sequential, layers: [{layer: Linear, name: evil, in_features: 1, out_features: 1}]}",
    ),
    "columns": "data: {file: evil.csv, features: [\"__import__('evil')\"], target: ../../evil}\n"
    "model: linear\nloss: mse\noptimizer: {name: sgd, lr: 0.01}\n",
    "arrays": "data: {file: evil.npz, features: [../../evil], target: evil}\n"
    "model: linear\nloss: mse\noptimizer: sgd\n",
    "contenders": GOOD
    + "compare:\n  optimizers:\n    \"__import__('evil')\": {name: sgd}\n    ../../evil: {name: adam}\n",
    "extended": "extends: description.yaml\nepochs: 2\n",
    "grid": GOOD + "sweep: {parameters: {w: [1, 2]}}\n",
}


def command_lines(folder: Path) -> list[list[str]]:
    """Return every hostile spec through the commands that read specs, and hostile words through all."""
    out = ["--output", "out/runs", "--no-plot"]
    hostile = sorted(CORPUS.glob("hostile_*.yaml"))
    lines = [["run", str(path), *out] for path in hostile] + [["validate", *map(str, hostile)]]
    for k, command in enumerate(("explain", "check", "plot", "sweep", "compare")):
        where = [] if k < 2 else ["--output", "out/plot.png"] if command == "plot" else out
        lines += [[command, str(path), *where] for path in hostile[k :: trials(20, 1)]]
    for name in VALID:
        lines += [["validate", f"{name}.yaml"], ["run", f"{name}.yaml", *out[:2]]]
    lines += [
        ["compare", "contenders.yaml", *out[:2]],
        ["sweep", "grid.yaml", *out[:2]],
        ["explain", "description.yaml"],
    ]
    lines += [["plot", "description.yaml", "--output", "out/plot.png", "--force"], ["check", "description.yaml"]]
    for name in NAMES[: trials(8, len(NAMES))]:
        lines += [
            ["run", name, *out], ["run", "linear_manual", f"model.type={name}", *out],
            ["run", "linear_manual", f"{name}=1", *out], ["run", "linear_manual", f"device={name}", *out],
            ["run", "linear_manual", f"name={name}", *out], ["run", "linear_manual", f"description={name}", *out],
            ["sweep", "linear_sweep", "--param", f"{name}=1,2", *out], ["sweep", "--param", f"w={name}", *out],
            ["sweep", "--param", f"key:optimizer={name},sgd", *out], ["compare", "--optimizers", f"{name},sgd", *out],
            ["compare", "--optimizers", f"{name}=sgd:lr=0.1", "epochs=1", *out], ["compare", "--batches", name, *out],
            ["run", "linear_manual", "--config", name, *out],
            ["explain", name], ["explain", "backprop_2x2", "--only", name], ["check", name], ["validate", name],
            ["cp", name, "out/copy.yaml", "--force"], ["plot", name, "--output", "out/plot.png"],
            ["plot", "--kind", name, "--output", "out/plot.png"], ["catalog", name], ["catalog", "model", name],
            ["ema", name, *out], ["ema", "temperatures", "--column", name, *out], ["ema", "--beta", name, *out],
        ]  # fmt: skip
    return lines


def furnish(folder: Path) -> None:
    """Put modules to import and data to read into the folder."""
    marker = f"import pathlib; pathlib.Path({str(folder / 'ran')!r}).touch()\ndef run(): pass\n"
    for name in ("evil.py", "sitecustomize.py", "torch_evil.py"):
        (folder / name).write_text(marker)
    for name, text in VALID.items():
        (folder / f"{name}.yaml").write_text(text)
    (folder / "evil.csv").write_text("__import__('evil'),../../evil\n1,2\n2,4\n")
    (folder / "from_csv.yaml").write_text(
        "data: {file: plain.csv, target: y}\nmodel: linear\nloss: mse\noptimizer: {name: sgd, lr: 0.01}\n"
    )
    (folder / "plain.csv").write_text("x,y\n1,2\n2,4\n")
    layers = "{type: sequential, layers: [{layer: Linear, in_features: 1, out_features: 1}, ReLU]}"
    (folder / "torch_layers.yaml").write_text(GOOD.replace("model: linear", f"model: {layers}"))
    import numpy as np

    np.savez(folder / "evil.npz", **{"../../evil": np.ones(2), "evil": np.ones(2)})
    (folder / "out").mkdir()


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run all command lines in one process under the hook, in a folder of its own."""
    folder = tmp_path_factory.mktemp("audited")
    furnish(folder)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    answer = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "promises" / "audited.py")],
        input=json.dumps(command_lines(folder)),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    return {**json.loads(answer.stdout.splitlines()[-1]), "folder": folder}


@pytest.mark.slow
def test_the_program_works_under_the_hook(audit: dict[str, Any]) -> None:
    assert {words: answer for words, answer in audit["warm"].items() if answer[0] != 0} == {}
    codes = {tuple(words): code for words, code, _ in audit["answers"]}
    for name in VALID:
        assert codes["validate", f"{name}.yaml"] == 0, name


@pytest.mark.slow
def test_no_hostile_spec_or_name_causes_a_forbidden_event(audit: dict[str, Any]) -> None:
    assert len(audit["answers"]) >= 100
    assert audit["found"] == []
    assert not (audit["folder"] / "ran").exists()


@pytest.mark.slow
def test_no_hostile_spec_or_name_is_a_bug(audit: dict[str, Any]) -> None:
    """Exit 70 is a bug, 3 is for the machine: a spec that cannot be used is 2."""
    assert [answer for answer in audit["answers"] if answer[1] not in (0, 1, 2, 3)] == []
    refused = [answer for answer in audit["answers"] if "/hostile_" in answer[0][1] and answer[1] != 2]
    assert refused == []


@pytest.mark.slow
def test_the_hook_sees_what_it_should(tmp_path: Path) -> None:
    """The same hook notes each kind of thing that would break the promise."""
    (tmp_path / "out").mkdir()
    (tmp_path / "evil.py").write_text("")
    deeds = {
        "compile": "compile('1', 'user text', 'eval')",
        "exec": "exec('1')",
        "import": "import evil",
        "os.system": "import os; os.system('true')",
        "subprocess.Popen": "import subprocess; subprocess.run(['true'])",
        "socket.connect": "import socket; socket.socket().connect_ex(('127.0.0.1', 9))",
        "pickle.find_class": "import pickle; pickle.loads(pickle.dumps(print))",
        "ctypes.dlopen": "import ctypes; ctypes.CDLL(None)",
        "open": "open('outside', 'w').close()",
        "os.mkdir": "import os; os.mkdir('folder')",
    }
    for event, deed in deeds.items():
        program = (
            "import sys, pathlib, pickle, ctypes, socket, subprocess; sys.path.insert(0, '.')\n"
            "from tests.promises.audited import Auditor\n"
            "auditor = Auditor(pathlib.Path('out')); sys.addaudithook(auditor)\n"
            f"def deed():\n    {deed}\n"
            "auditor.on = True\ndeed()\nauditor.on = False\nprint([found[0] for found in auditor.found])"
        )
        answer = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert event in answer.stdout, (event, answer.stdout)
