"""`gdcli show` and `gdcli diff`: one record at a glance, two side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import GOLDEN, only_folder
from tests.hand_made import a_run, files, three


def section(text: str, title: str) -> dict[str, str]:
    """The pairs below a title of what `show` prints."""
    lines = text.split(f"\n{title}\n")[1].split("\n\n")[0].splitlines()
    return {name.strip(): value for name, _, value in (line[2:].partition("  ") for line in lines)}


def test_a_run_at_a_glance(gdcli) -> None:
    folder = three(Path("runs"))[2]
    text = gdcli("show", "last").out
    assert text.startswith("run line 20260103-120000-bbcc0003\n")
    words = " ".join(text.split())
    assert "status finished: as told" in words
    assert "optimizer sgd lr=0.3" in words
    assert "final loss 0.125 best loss 0.125 best step 3 steps 3 epochs 3" in words
    assert f"steps.csv {(folder / 'steps.csv').stat().st_size} B" in words
    assert "torch 2.13.0" in words
    assert "threads 1 cpu capability AVX2" in words
    found = gdcli("show", "last", "--json").json
    assert found["spec"]["optimizer"] == {"name": "sgd", "lr": 0.3}
    assert found["summary"] == json.loads((folder / "summary.json").read_text())
    assert found["files"]["log.txt"] == len("epoch 1, loss 0.500000\n")


def test_the_best_runs_of_a_sweep_come_first(gdcli) -> None:
    sweep = gdcli("sweep", "backprop_2x2", "-p", "lr=0.1,0.5,1,5e30", "epochs=20", "--no-plot", "--json").json
    losses = {run["lr"]: run["final_loss"] for run in sweep["runs"]}
    ranking = sorted(losses, key=lambda lr: float("inf") if losses[lr] is None else losses[lr])
    assert [row["lr"] for row in gdcli("show", "last", "--json").json["best"]] == ranking
    text = gdcli("show", "last", "--top", "2").out
    assert "best 2 of 4\n" in text
    table = text.split("best 2 of 4\n")[1].splitlines()[:3]
    assert [line.split()[1] for line in table] == ["lr", *(f"{lr:g}" for lr in ranking[:2])]


def test_log_is_the_recorded_text(gdcli) -> None:
    printed = gdcli("run", "linear_manual", "--no-plot").out
    assert printed == (GOLDEN / "linear_manual.txt").read_text()
    for words in (["--log"], ["--style", "manual"]):
        assert gdcli("show", "last", *words) == (0, printed, "")


def test_another_style_is_what_run_prints_in_it_and_writes_nothing(gdcli) -> None:
    gdcli("run", "backprop_2x2", "epochs=4", "--no-plot")
    before = files(Path("runs"))
    shown = gdcli("show", "last", "--style", "tensor")
    assert (shown.code, shown.err) == (0, "")
    assert files(Path.cwd()) == {f"runs/{name}": content for name, content in before.items()}
    assert shown.out == gdcli("run", "backprop_2x2", "epochs=4", "print.style=tensor", "--no-plot").out
    assert shown.out.startswith("0 tensor(0.2984, grad_fn=")


def test_another_style_of_a_run_that_was_stopped_ends_where_it_ended(gdcli) -> None:
    assert gdcli("run", "momentum_2x2", "epochs=9", "stop.max_steps=4", "--no-plot").code == 0
    summary = only_folder(Path("runs")) / "summary.json"
    summary.write_text(summary.read_text().replace('"stopped"', '"interrupted"').replace('"steps": 4', '"steps": 2'))
    assert len(gdcli("show", "last", "--style", "layers").out.split("tensor(0.2")) == 2 + 1


@pytest.mark.parametrize(
    ("style", "message"),
    [
        ("tensr", "there is no style 'tensr'. Did you mean 'tensor'?"),
        ("manual", "print.style: the style manual prints"),
        ("trace", "print.style: the style trace prints the variables of an objective"),
    ],
)
def test_a_style_that_cannot_be_is_refused_with_2(gdcli, style: str, message: str) -> None:
    gdcli("run", "backprop_2x2", "--no-plot")
    answer = gdcli("show", "last", "--style", style)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err


def test_what_show_refuses(gdcli) -> None:
    gdcli("sweep", "--param", "w=0:4:1", "--no-plot")
    assert gdcli("show", "last", "--style", "epoch").code == 2
    assert gdcli("show", "last", "--style", "epoch", "--log").code == 2
    folder = a_run(Path("runs"), "20990101-120000")
    (folder / "log.txt").unlink()
    answer = gdcli("show", "last", "--log")
    assert (answer.code, answer.out) == (3, "")
    assert answer.err.endswith("log.txt: there is no such file\n")
    (folder / "config.yaml").write_text("a: &x 1\nb: *x\n")
    assert "config.yaml: anchors and tags are refused" in gdcli("show", "last").out


# --- diff -------------------------------------------------------------------------------------------------------------


def test_what_differs_between_two_runs(gdcli) -> None:
    a, b, _ = three(Path("runs"))
    steps = b / "steps.csv"
    steps.write_text(steps.read_text().replace("2,2,1,2.0,", "2,2,1,2.0000000000000004,"))
    environment = b / "environment.json"
    environment.write_text(environment.read_text().replace('"threads": 1', '"threads": 2').replace("AVX2", "AVX512"))
    found = gdcli("diff", a.name, b.name, "--json").json
    assert found["spec"] == {"name": ["line", "curve"], "optimizer.lr": [0.1, 0.2]}
    assert found["results"] == {"final_loss": [0.5, 0.25], "best_loss": [0.5, 0.25]}
    assert found["first_difference"] == {"step": 2, "loss": [2.0, 2.0000000000000004]}
    assert found["environment"] == {"threads": [1, 2], "cpu_capability": ["AVX2", "AVX512"]}
    text = gdcli("diff", a.name, b.name).out
    assert "optimizer.lr  0.1   0.2\n" in text
    assert "first loss that differs: step 2  2.0  2.0000000000000004\n" in text


def test_a_record_that_is_longer_differs_where_the_other_ends(gdcli) -> None:
    a_run(Path("runs"), "20260101-120000", steps=3)
    a_run(Path("runs"), "20260102-120000", steps=5)
    found = gdcli("diff", "last~1", "last", "--json").json
    assert found["first_difference"] == {"step": 4, "loss": [None, 0.5]}


def test_records_of_the_same_differ_in_nothing(gdcli) -> None:
    for _ in range(2):
        gdcli("run", "backprop_2x2", "epochs=3", "--no-plot")
    answer = gdcli("diff", "last~1", "last", "--exit-code")
    assert answer.code == 0
    assert answer.out.splitlines()[2:] == ["spec: the same", "results: the same", "environment: the same"]


def test_exit_code_is_1_only_when_asked_for(gdcli) -> None:
    three(Path("runs"))
    assert gdcli("diff", "last~1", "last").code == 0
    assert gdcli("diff", "last~1", "last", "--exit-code").code == 1


@pytest.mark.slow
def test_sweeps_differ_from_their_first_row_on(gdcli) -> None:
    one = gdcli("sweep", "backprop_2x2", "-p", "lr=0.1,0.5,1", "epochs=3", "--no-plot", "--json").json["runs"]
    other = gdcli("sweep", "backprop_2x2", "-p", "lr=0.1,0.6,1", "epochs=3", "--no-plot", "--json").json["runs"]
    found = gdcli("diff", "last~1", "last", "--json").json
    assert found["first_difference"] == {"run": 2, "loss": [one[1]["final_loss"], other[1]["final_loss"]]}


def test_a_file_that_cannot_be_compared_is_told_and_the_rest_is_compared(gdcli) -> None:
    three(Path("runs"))
    folder = Path("runs/line/20260103-120000-bbcc0003")
    (folder / "steps.csv").write_text("step,epoch,batch,loss,lr,gradient_norm\n1,1,1,=cmd(),0.1,0.1\n")
    answer = gdcli("diff", "last~1", "last")
    assert answer.code == 0
    assert "not compared: runs/line/20260103-120000-bbcc0003/steps.csv: line 2 is no row of 6 numbers\n" in answer.out
    assert "optimizer.lr" in answer.out
