"""What a shell offers at TAB, asked as the shells ask: by their own scripts where the shell is there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gdcli.spec import bundled
from gdcli.zoo.optimizers import OPTIMIZERS

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def offered(gdcli, monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    """What fish is answered at the end of some words, without the descriptions."""
    monkeypatch.setenv("_GDCLI_COMPLETE", "fish")
    answer = gdcli(*words)
    monkeypatch.delenv("_GDCLI_COMPLETE")
    assert (answer.code, answer.err) == (0, "")
    return [line.partition("\t")[0] for line in answer.out.splitlines()]


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, where the command gdcli is found."""
    command = tmp_path / "bin" / "gdcli"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gdcli "$@"\n')
    command.chmod(0o755)
    monkeypatch.setitem(ENVIRONMENT, "PATH", f"{command.parent}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answered(shell: str, script: str) -> tuple[str, str]:
    """What a shell prints when it runs a script."""
    if (program := shutil.which(shell)) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([program, "-c", script], capture_output=True, text=True, env=ENVIRONMENT, check=False)
    return done.stdout, done.stderr


@pytest.mark.slow
def test_bash_completes_commands_specs_and_values(gdcli, on_path: Path) -> None:
    Path("c.bash").write_text(gdcli("--show-completion", "bash").out)
    lines = [
        "gdcli ru",
        "gdcli run titanic_sm",
        "gdcli run mlp optimizer=adag",
        "gdcli run mlp momen",
        "gdcli run 'titan",
    ]
    tries = "".join(
        f'COMP_LINE="{line}" COMP_POINT={len(line)}; _gdcli gdcli "{line.split()[-1].split("=")[-1]}" x\n'
        'echo "${COMPREPLY[*]}"\n'
        for line in lines
    )
    out, err = answered("bash", f"source ./c.bash\n{tries}complete -p gdcli")
    *found, registered = out.splitlines()
    # of a word with an equals sign bash replaces what is behind it
    assert found == ["run", "titanic_small", "adagrad", "momentum=", "titanic_small"]
    assert "-F _gdcli gdcli" in registered
    assert err == ""


def test_fish_completes_by_its_script(gdcli, on_path: Path) -> None:
    Path("c.fish").write_text(gdcli("--show-completion", "fish").out)
    lines = ("gdcli ru", "gdcli run mlp optimizer=adag", "gdcli run mlp momen")
    out, err = answered("fish", "source c.fish\n" + "\n".join(f"complete -C '{line}'" for line in lines))
    assert [line.partition("\t")[0] for line in out.splitlines()] == ["run", "optimizer=adagrad", "momentum="]
    assert err == ""


def test_zsh_takes_the_script(gdcli, on_path: Path) -> None:
    Path("c.zsh").write_text(gdcli("--show-completion", "zsh").out)
    out, err = answered("zsh", "autoload -Uz compinit && compinit -u\nsource ./c.zsh\necho $_comps[gdcli]")
    assert (out, err) == ("_gdcli\n", "")


def test_first_comes_a_command(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"run", "new", "help"} <= set(offered(gdcli, monkeypatch, ""))
    assert offered(gdcli, monkeypatch, "ver") == ["verify"]
    assert offered(gdcli, monkeypatch, "help", "ver") == ["verify"]
    assert offered(gdcli, monkeypatch, "no_such_command", "") == []


def test_a_spec_is_a_bundled_name_or_a_file_here(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("mine.yaml").write_text("")
    Path("table.csv").write_text("")
    assert offered(gdcli, monkeypatch, "run", "") == ["mine.yaml", *bundled.names()]
    assert offered(gdcli, monkeypatch, "cp", "") == bundled.names()


def test_a_run_is_a_record_the_newest_first(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert offered(gdcli, monkeypatch, "show", "la") == []
    for _ in range(2):
        assert gdcli("run", "chain_rule", "-q", "--no-plot", "-o", "elsewhere").code == 0
    ids = sorted((path.name for path in Path("elsewhere/chain_rule").iterdir()), key=lambda name: (len(name), name))
    for command in ("show", "verify", "resume", "rm", "diff"):
        found = offered(gdcli, monkeypatch, command, "-o", "elsewhere", "")
        assert found[:4] == ["last", "chain_rule", *reversed(ids)]
    assert offered(gdcli, monkeypatch, "predict", "last", "") == []  # a file, which the shell knows


def test_a_key_is_one_that_the_spec_takes(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    found = offered(gdcli, monkeypatch, "run", "mlp", "")
    assert {"lr=", "epochs=", "optimizer=", "momentum="} <= set(found)
    assert not {"betas=", "x=", "expression="} & set(found)  # mlp has sgd, a data set, and is no objective
    assert "optimizer.lr=" in offered(gdcli, monkeypatch, "run", "mlp", "optimizer.")
    assert "lr=" in offered(gdcli, monkeypatch, "sweep", "mlp", "--param", "l")


@pytest.mark.parametrize(
    "key", ["optimizer", "activation", "style", "dtype", "engine", "shuffle", "data.dataset", "metrics"]
)
def test_each_value_that_is_offered_can_be_given(gdcli, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """No value is told to be unknown; one may still not fit the rest of the spec."""
    values = offered(gdcli, monkeypatch, "run", "mlp", f"{key}=")
    assert len(values) > 1
    for value in values:
        said = gdcli("validate", "mlp", value.replace("metrics=", "metrics=[") + "]" * (key == "metrics")).err
        assert "unknown" not in said.lower()
        assert "must be" not in said


def test_an_optimizer_can_be_any_of_them(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert offered(gdcli, monkeypatch, "run", "mlp", "optimizer=") == [f"optimizer={name}" for name in OPTIMIZERS]
    assert offered(gdcli, monkeypatch, "compare", "--optimizers", "sgd,adagr") == ["sgd,adagrad"]


def test_options_and_their_values(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert offered(gdcli, monkeypatch, "run", "mlp", "--ou") == ["--output"]
    assert offered(gdcli, monkeypatch, "new", "--template", "r") == ["regression"]
    assert offered(gdcli, monkeypatch, "explain", "mlp", "--format", "") == ["text", "markdown", "latex"]
    assert offered(gdcli, monkeypatch, "run", "mlp", "-o", "") == []


def test_nothing_is_told_whatever_goes_wrong(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("bad.yaml").write_text("a: [1,")
    for words in (("run", "bad.yaml", "l"), ("run", "missing.yaml", ""), ("--show-completion", "x"), ()):
        offered(gdcli, monkeypatch, *words)
    for shell in ("bash", "tcsh"):
        monkeypatch.setenv("_GDCLI_COMPLETE", shell)
        answer = gdcli("gdcli run 'it")  # bash gives two words
        assert (answer.code, answer.out, answer.err) == (0, "", "")


def test_completion_imports_no_torch() -> None:
    code = (
        "import sys; from gdcli.cli import main; main(['run', 'mlp', 'l']); main(['run', '']); main(['show', '']);"
        "main(['catalog', 'layer', '']); sys.exit('torch' in sys.modules)"
    )
    environment = {**ENVIRONMENT, "_GDCLI_COMPLETE": "zsh"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "lr=\t" in done.stdout


@pytest.mark.parametrize(("shell", "start"), [("bash", ".bashrc"), ("zsh", ".zshrc"), ("fish", None)])
def test_installing_twice_adds_one_line(gdcli, monkeypatch: pytest.MonkeyPatch, shell: str, start: str | None) -> None:
    home = Path("home").absolute()
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for variable in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "ZDOTDIR"):
        monkeypatch.delenv(variable, raising=False)
    if start:
        (home / start).write_text("alias a=b")
    for _ in range(2):
        answer = gdcli("--install-completion", shell)
        assert (answer.code, answer.out) == (0, "")
    (script,) = [path for path in home.rglob("*") if path.is_file() and path.name != start]
    assert script.read_text() == gdcli("--show-completion", shell).out
    if start:
        first, second = (home / start).read_text().splitlines()
        assert first == "alias a=b"
        assert second.startswith(f"source '{script}'")
