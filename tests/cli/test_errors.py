"""What a user can get wrong on the command line: exit 2, one clear line, no traceback, nothing written."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gdcli.cli import main
from gdcli.errors import MachineError, SpecError
from gdcli.spec import bundled
from gdcli.spec.document import read
from gdcli.spec.load import load
from gdcli.spec.schema import parse
from tests.timing import HANG

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _told(words: list[str], capsys: Capture) -> str:
    """Return what a refused command line writes to standard error."""
    code = main(words)
    printed = capsys.readouterr()
    assert (code, printed.out) == (2, ""), printed.err
    assert "Traceback" not in printed.err
    assert not list(Path.cwd().iterdir())
    return printed.err.rstrip("\n")


OVERRIDES = [
    ("optimizer.lrr=1", "command line:1:1: unknown key 'optimizer.lrr'. Did you mean 'optimizer.lr'?"),
    ("epoch=1", "command line:1:1: unknown key 'epoch'. Did you mean 'epochs'?"),
    ("qqq=1", "command line:1:1: unknown key 'qqq'. Known: batch, checkpoint, clip, data, description, device"),
    (
        "bias=true",
        "command line:1:1: 'bias' could be data.generate.bias or model.bias or model.init.linear1.bias or "
        "model.init.linear2.bias. Write the whole path",
    ),
    ("weight=3", "command line:1:1: unknown key 'weight'. Did you mean 'model.init.linear1.weight'?"),
    ("linear2.bias=3", "command line:1:1: unknown key 'linear2.bias'. Did you mean 'model.init.linear2.bias'?"),
    ("linear3.bias=3", "command line:1:1: unknown key 'linear3.bias'. Did you mean 'model.init.linear3.bias'?"),
    ("wieghts=3", "command line:1:1: unknown key 'wieghts'. Did you mean 'class_weights'?"),  # not data.generate's
    ("weights=3", "command line:1:1: data.generate: a second source of data, beside x. Give one of x and y, file"),
    ("data.dataset=iris", "command line:1:1: data.dataset: a second source of data, beside x. Give one of x and y"),
    ("hello", "an override is key=value (got 'hello')"),
    ("=1", "an override is key=value (got '=1')"),
    ("epochs=-1", "command line:1:8: epochs: must be at least 0 (got -1)"),
    ("epochs=010", "command line:1:8: epochs: a number with a leading zero could be read as 8 (octal) or as 10"),
    ("lr=abc", "command line:1:4: optimizer.lr: must be a number (got 'abc')"),
    ("lr=[1", "command line:1:4: lr: the bracket that opens here is not closed"),
    ("lr=", "command line:1:4: optimizer.lr: must be a number (got null)"),
    ("model.layers=[2,0,2]", "command line:1:17: model.layers[1]: must be at least 1 (got 0)"),
    ("optimizer=sdg", "command line:1:11: optimizer: unknown optimizer (got 'sdg'). Did you mean 'sgd'?"),
    ("lr=&a 1", "command line:1:4: lr: anchors are refused (got &a)"),
    ("epochs.x=1", "command line:1:1: unknown key 'epochs.x'"),
    *(
        (
            f"{key}={value}",
            f"command line:1:1: {key} has several values: gdcli run takes one. A list is written {key}=[{value}]",
        )
        for key, value in (
            ("metrics", "mae,rmse"),
            ("print.predict", "0.05,0.1"),
            ("layers", "2,3,2"),
            ("freeze", "linear1.*,linear2.bias"),
            ("data.generate.weights", "2,3"),
            ("optimizer.betas", "0.9,0.99"),
            ("scheduler.milestones", "2,4"),
            ("model.init.linear1.bias", "0.1,0.2"),
        )
    ),
    (
        "lr=0.1,0.01",
        "command line:1:1: lr has several values: gdcli run takes one. gdcli sweep --param lr=0.1,0.01 runs each",
    ),
]


@pytest.mark.parametrize(("word", "expected"), OVERRIDES, ids=[word for word, _ in OVERRIDES])
def test_an_override_that_cannot_be(word: str, expected: str, capsys: Capture) -> None:
    told = _told(["run", "backprop_2x2", word], capsys)
    assert told.startswith(expected)
    assert "\n" not in told


def test_all_bad_overrides_are_told_at_once(capsys: Capture) -> None:
    told = _told(["run", "backprop_2x2", "lrr=1", "epochs=010", "lr=[1"], capsys)
    assert len(told.splitlines()) == 3


SWEEPS = [
    (
        ["--param", "wight=0,1"],
        "--param wight: neither a parameter of the model nor a key of the spec. Did you mean 'weight",
    ),
    (["--param", "q=0,1"], "--param q: neither a parameter of the model nor a key of the spec. Known: w, weight[0,0]"),
    (["--param", "param:lr=1"], "--param lr: the model has no such parameter. Known: w, weight[0,0]"),
    (["--param", "key:w=1"], "--param w: unknown key 'w'."),
    (["--param", "parm:w=1"], "--param parm:w: 'parm:' is neither 'param:' nor 'key:'"),
    (["backprop_2x2"], "which parameter? Give --param NAME=GRID, or a sweep block in the spec"),
    (["backprop_2x2", "--param", "lr"], "--param lr: needs a grid: --param 'lr=range(0, 4.1, 0.1)'"),
    (["--param", "w="], "--param w: the grid is empty. Forms: "),
    (["--param", "w=range(0,1,0)"], "--param w: the step of a range must not be 0 (got range(0,1,0))"),
    (["--param", "w=rnge(0,1,1)"], "--param w: no grid is called 'rnge' (got rnge(0,1,1)). Did you mean 'range'?"),
    (["--param", "w=a,b"], "--param w: a parameter of the model takes numbers (got a,b)"),
    (["--param", "w=linspace(0,1,1000000000)"], "1,000,000,000 points are more than 10,000,000. --max-runs raises it"),
    (
        ["backprop_2x2", "--param", "lr=linspace(0,1,100000)", "--param", "seed=0:10000:1"],
        "1,000,000,000 runs are more than 10,000. --max-runs raises it",
    ),
    (["--param", "w=0,1", "--param", "w=2,3"], "--param w is given twice"),
    (["--param", "w=0,1", "--param", "weight[0,0]=2,3"], "--param weight[0,0] and --param w are both weight[0,0]"),
    (
        ["backprop_2x2", "--param", "lr=0,1", "--param", "optimizer.lr=0,1"],
        "--param optimizer.lr and --param lr are both optimizer.lr",
    ),
    (
        ["backprop_2x2", "--param", "lr=0,1", "--param", "linear1.bias[0]=0,1"],
        "a sweep is over parameters of the model or over keys of the spec, not both",
    ),
    *(
        (
            ["backprop_2x2", "--param", "linear1.bias[0]=0,1", "--param", f"{name}=0,1"],
            f"--param {name}: neither a parameter of the model nor a key of the spec. Did you mean 'linear1.bias[0]'?",
        )
        for name in ("linear1.bias", "linear1.bias[1]")  # the spec's bias is one number for both units
    ),
    (
        ["mlp_digits", "--param", "param:linear1.bias[64]=0,1"],  # units 0 to 63
        "--param linear1.bias[64]: the model has no such parameter. Did you mean 'linear1.bias[6",
    ),
    (["backprop_2x2", "--param", "lr=-1,0.1"], "command line:1:1: optimizer.lr: must be at least 0 (got -1)"),
]


@pytest.mark.parametrize(("words", "expected"), SWEEPS, ids=[" ".join(words) for words, _ in SWEEPS])
def test_a_sweep_that_cannot_be(words: list[str], expected: str, capsys: Capture) -> None:
    told = _told(["sweep", *words], capsys)
    assert told.startswith(expected)
    assert "\n" not in told


COMPARISONS = [
    (["--optimizers", "sgd,sgd"], "--optimizers: the label 'sgd' is given twice. A label of your own: sgd2=sgd"),
    (["--optimizers", "adm"], "--optimizers: unknown optimizer 'adm'. Did you mean 'adam'?"),
    (["--optimizers", "fast=adm"], "--optimizers: unknown optimizer 'adm'. Did you mean 'adam'?"),
    (["--optimizers", "sgd:lr"], "--optimizers sgd: a setting is :KEY=VALUE (got 'lr')"),
    (["--optimizers", "sgd:lr=[1"], "--optimizers sgd: lr: the bracket that opens here is not closed"),
    (["--optimizers", "adam,sgd:lr=0,1"], "--optimizers sgd:lr=0,1: a number has a point: 0.1"),
    (["--optimizers", "sgd:lr=-1"], "command line:1:1: optimizer.lr: must be at least 0 (got -1)"),
    (["--optimizers", "sgd:lrr=1"], "command line:1:1: optimizer.lrr: unknown key. Did you mean 'lr'?"),
    (["--optimizers", ""], "--optimizers: unknown optimizer ''. Known: adadelta"),
    (["--batches", "fll"], "--batches: unknown mode 'fll'. Did you mean 'full'?"),
    (["--batches", "full,full"], "--batches: 'full' is given twice"),
    (["--batches", "mini-batch:0"], "--batches: 'mini-batch:0' is not mini-batch:SIZE with a size of at least 1"),
    (["backprop_2x2"], "what to compare? Give --optimizers sgd,adam or --batches full,stochastic, or a compare block"),
]


@pytest.mark.parametrize(("words", "expected"), COMPARISONS, ids=[" ".join(words) for words, _ in COMPARISONS])
def test_a_comparison_that_cannot_be(words: list[str], expected: str, capsys: Capture) -> None:
    told = _told(["compare", *words], capsys)
    assert told.startswith(expected)
    assert "\n" not in told


LINES = [
    (
        ["run", "backprop_2x"],
        "there is no file 'backprop_2x' and no bundled spec of that name. Did you mean 'backprop_2x2'?",
    ),
    (["run", "."], "'.' is a folder, not a spec"),
    (["run", ""], "this cannot be the name of a file (got '')"),
    (["run", "x" * 300], "this cannot be the name of a file (got 'xxx"),
    (["run", "a\nb"], "there is no file 'a\\nb' and no bundled spec of that name. Known: "),
    (["run", "nowhere.yaml"], "cannot read 'nowhere.yaml': No such file or directory"),
    (["run", "nowhere/x.yaml"], "cannot read 'nowhere/x.yaml': No such file or directory"),
    (["run", "backprop_2x2", "--bogus"], "No such option: --bogus"),
    (["run"], "Missing argument 'SPEC [KEY=VALUE]...'"),
    (["bogus"], "No such command 'bogus'"),
    (["sweep", "--param"], "Option '--param' requires an argument"),
    (["schema", "x"], "Got unexpected extra argument"),
    (["run", "backprop_2x2", "--seed", "x"], "Invalid value for '--seed'"),
    (["run", "backprop_2x2", "--seed", "-1"], "command line:1:6: seed: must be at least 0 (got -1)"),
    (["run", "backprop_2x2", "--device", "gpu"], "command line:1:8: device: unknown device (got 'gpu')"),
    (["cp", "backprop"], "there is no bundled spec 'backprop'. Did you mean 'backprop_2x2'?"),
    (["run", "\x1b[31m"], "there is no file '\\x1b[31m'"),
    (["run", "backprop_2x2", "--\x1b[31m"], "No such option: --\\x1b[31m"),
    (["run", "backprop_2x2", "\x1b[31m=1"], "command line:1:1: unknown key '\\x1b[31m'"),
    (["run", "backprop_2x2", "lr=\x1b[31m"], "command line:1:4: lr: the control character U+001B is refused"),
    (["sweep", "--param", "\x1b[31m=1"], "--param \\x1b[31m: "),
    (["compare", "--optimizers", "\x1b[31m"], "--optimizers: unknown optimizer '\\x1b[31m'"),
]


@pytest.mark.parametrize(("words", "expected"), LINES, ids=[ascii(" ".join(words))[:40] for words, _ in LINES])
def test_a_command_line_that_cannot_be(words: list[str], expected: str, capsys: Capture) -> None:
    told = _told(words, capsys)
    assert told.startswith(expected)
    assert told.isprintable()  # one line, and nothing of the user's text that a terminal would act on


def test_a_folder_as_spec(capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.yaml").mkdir()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert _told(["run", "../mine.yaml"], capsys) == "'../mine.yaml' is a folder, not a spec"


def test_cp_does_not_overwrite(capsys: Capture, tmp_path: Path) -> None:
    target = tmp_path / "backprop_2x2.yaml"
    target.write_text("mine")
    assert main(["cp", "backprop_2x2"]) == 2
    assert capsys.readouterr().err == "backprop_2x2.yaml is there already. --force overwrites it\n"
    assert target.read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [["run", "backprop_2x"], ["run", "bad.yaml"], ["run", "backprop_2x2", "--bo\x1b[31mgus"]]
)
def test_as_a_process(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("lr:0.1\n")
    command = [sys.executable, "-X", "importtime", "-m", "gdcli", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=HANG, check=False)
    told = re.sub(rb"(?m)^import time:.*\n", b"", done.stderr)
    assert (done.returncode, done.stdout) == (2, b"")
    assert told.count(b"\n") == 1
    assert b"Traceback" not in told
    assert b"\x1b" not in told
    assert not re.search(rb"\| +(torch|matplotlib)$", done.stderr, re.MULTILINE)  # known without them
    assert [path.name for path in tmp_path.iterdir()] == ["bad.yaml"]


# --- mutations --------------------------------------------------------------------------------------------------------

MUTATIONS = 300
_TOKEN = re.compile(r"[\w.+-]+|[^\w\s]|\s+")
_WORDS = (
    "-1",
    "0",
    "1e3",
    "1.5",
    "true",
    "null",
    "[]",
    "{}",
    "[[1, 2]]",
    "x",
    "'",
    '"',
    "&a",
    "*a",
    "!t",
    "010",
    ".nan",
)
_SIGNS = (*"[]{},:-#'\"&*!|>%@`?\t\n\r 0\\", "\0", "\x1b", "\u202e", "\ufeff", "é", "\U0001f600")


def _mutated(text: str, rng: random.Random) -> str:
    """Delete, repeat, replace or swap one token, line or character."""
    kind = rng.choice(("token", "line", "character"))
    parts = {"token": _TOKEN.findall, "line": lambda t: t.splitlines(keepends=True), "character": list}[kind](text)
    at, other = rng.randrange(len(parts)), rng.randrange(len(parts))
    match rng.choice(("delete", "repeat", "replace", "swap")):
        case "delete":
            del parts[at]
        case "repeat":
            parts.insert(at, parts[at])
        case "replace":
            parts[at] = rng.choice(_SIGNS if kind == "character" else _WORDS)
        case "swap":
            parts[at], parts[other] = parts[other], parts[at]
    return "".join(parts)


def _refused(text: str) -> SpecError | MachineError | None:
    """Read, parse and load; any other exception is a fault."""
    try:
        load(parse(read(text.encode(), "mutant.yaml"), "mutant"), bundled.folder())
    except (SpecError, MachineError) as error:
        return error
    except Exception as error:
        raise AssertionError(f"{error!r} is raised by:\n{text}") from error
    return None


@pytest.mark.slow
def test_mutations_of_the_bundled_specs_raise_only_what_is_foreseen() -> None:
    rng = random.Random(20240601)
    names, refused = bundled.names(), 0
    for number in range(MUTATIONS):
        text = (bundled.folder() / f"{names[number % len(names)]}.yaml").read_text(encoding="utf-8")
        for _ in range(rng.randint(1, 3)):
            text = _mutated(text, rng)
        if isinstance(error := _refused(text), SpecError):
            refused += 1
            lines = len(re.split(r"\r\n?|\n", text))
            assert error.problems, text
            assert all(1 <= each.place.line <= lines and each.place.column >= 1 for each in error.problems), text
            assert all(str(each).isprintable() and len(str(each)) < 2_000 for each in error.problems), text
    assert refused > MUTATIONS / 4  # the mutations do break the specs


def test_a_file_whose_path_has_an_equals_sign_is_a_spec_and_no_override(gdcli) -> None:
    """As every run of a sweep has one: 1-lr=0.1/config.yaml."""
    gdcli("cp", "backprop_2x2", "lr=0.1.yaml")
    assert gdcli("validate", "lr=0.1.yaml").out == "lr=0.1.yaml: valid\n"
    assert gdcli("run", "lr=0.1.yaml", "epochs=2", "--no-plot", "-q").code == 0


def test_each_valid_spec_is_told_whatever_else_is_bad(gdcli) -> None:
    Path("bad.yaml").write_text("epochs: many\n")
    answer = gdcli("validate", "linear_manual", "bad.yaml", "nobody", "backprop_2x2")
    assert (answer.code, answer.out) == (2, "linear_manual: valid\nbackprop_2x2: valid\n")
    assert [line.split(":")[0] for line in answer.err.splitlines()][-1].startswith("there is no file 'nobody'")
    assert "bad.yaml:1:9: epochs: must be an integer" in answer.err
    assert gdcli("validate", "bad.yaml").out == ""


@pytest.mark.parametrize("words", [["run", "linear_manual"], ["ls"], ["validate", "linear_manual"]])
def test_a_working_folder_that_was_removed(gdcli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert gdcli(*words) == (3, "", "the working folder is no longer there: cd to another one\n")


BLOCKS = {
    "sweep: {parameters: {lr: [0.1, -1]}}": "sweep.parameters.lr: must be at least 0 (got -1)",
    "sweep: {parameters: {nosuchkey: [1], other: [2]}}": "sweep.parameters.other: neither a parameter of the model nor",
    "sweep: {parameters: {batch.size: [3, 0]}}": "sweep.parameters.batch.size: must be at least 1 (got 0)",
    "sweep: {parameters: {lr: {values: [[1]]}}}": "sweep.parameters.lr: must be a number (got [1])",
    "sweep: {parameters: {lr: [1], w: [1]}}": "a sweep is over parameters of the model or over keys",
    "sweep: {parameters: {w: [1, a]}}": "sweep.parameters.w: a parameter of the model takes numbers",
    "sweep: {parameters: {model.layers: [[2, 3]]}}": "sweep.parameters.model.layers: unknown key",
    "compare: {optimizers: {sgd: {groups: {bas: {lr: 1}}}}}": "compare.optimizers.sgd.groups.bas: no parameter of that",
    "compare: {batches: [full, full]}": "compare.batches[1]: stands there twice",
}


@pytest.mark.parametrize(("block", "told"), BLOCKS.items())
def test_a_block_that_its_command_refuses_does_not_validate(gdcli, block: str, told: str) -> None:
    spec = "{data: {x: [1, 2, 3], y: [2, 4, 6]}, model: linear, loss: mse, optimizer: sgd, %s}"
    Path("s.yaml").write_text(spec % block)
    for command in ("validate", block.partition(":")[0]):
        answer = gdcli(command, "s.yaml")
        assert answer.code == 2
        assert told in answer.err
    assert answer.out == ""


def test_all_problems_of_all_specs_are_told_the_missing_ones_too(gdcli) -> None:
    Path("s.yaml").write_text("{data: {x: [1], y: [2]}, model: linear, loss: mse, optimizer: {name: sgd, lr: -1}}")
    answer = gdcli("validate", "missing.yaml", "s.yaml")
    assert answer.code == 2
    assert "cannot read 'missing.yaml'" in answer.err
    assert "s.yaml:1:79: optimizer.lr: must be at least 0" in answer.err


def test_a_misspelled_file_is_answered_with_the_nearest_of_its_folder(gdcli, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "specs").mkdir()
    for name in ("bikes.yaml", "flats.yml", "bikes.csv", "specs/bi\x1bkes.yaml"):
        (tmp_path / name).write_text("")
    assert gdcli("run", "bikes.yml").err == (
        "cannot read 'bikes.yml': No such file or directory. Did you mean 'bikes.yaml'?\n"
    )
    assert gdcli("run", "qqqqqq.yaml").err == "cannot read 'qqqqqq.yaml': No such file or directory\n"
    assert "\x1b" not in gdcli("run", "specs/bikes.yaml").err
