"""What a newcomer types first: help, versions, other programs' words, and answers that name ours."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer

import gdcli as package
from gdcli.cli.application import GROUPS, app
from gdcli.spec import bundled

ENVIRONMENT = {**os.environ, "COLUMNS": "80", "PYTHONPATH": str(Path(__file__).parents[2])}


def test_alone_it_prints_its_help(gdcli) -> None:
    answer = gdcli()
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == gdcli("--help").out
    assert "sweep" in answer.out


@pytest.mark.parametrize("columns", [60, 79, 80, 100])
def test_no_word_of_any_help_is_cut_or_broken(gdcli, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    group: Any = typer.main.get_command(app())
    texts = {"": [command.short_help for command in group.commands.values()]}
    for name, command in group.commands.items():
        texts[name] = [command.help, *(each.help for each in command.params if each.help)]
        texts[name] += [
            word for each in command.params for word in (*each.opts, *each.secondary_opts)[:1] if "-" in word
        ]
    for name, said in texts.items():
        out = gdcli(name, "--help").out if name else gdcli("--help").out
        assert "…" not in out
        assert all(len(line) <= columns for line in out.splitlines())
        words = {word for text in said for word in re.split(r"\s|(?<=[a-z])-(?=[a-z])", text)}
        assert [word for word in words if word not in out] == []


def test_help_reads_the_options_of_no_command(capsys) -> None:
    group: Any = typer.main.get_command(app())
    group.main(["--help"], prog_name="gdcli", standalone_mode=False)
    assert "Train one experiment" in capsys.readouterr().out
    assert not any("params" in vars(command) for command in group.commands.values())
    assert "--seed" in {word for option in group.commands["run"].params for word in option.opts}


def test_help_and_version_in_every_way(gdcli) -> None:
    assert gdcli("help", "run").out == gdcli("run", "--help").out
    assert gdcli("help").out == gdcli("-h").out
    for words in ("--version", "-V", "version"):
        ours, torch = gdcli(words).out.splitlines()
        assert ours == f"gdcli {package.__version__}"
        assert torch.startswith(f"torch {version('torch')}")
        assert "devices: cpu" in torch


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("train", "mlp"), "No such command 'train'. Did you mean 'run'? Try 'gdcli --help'."),
        (("list",), "No such command 'list'. Did you mean 'ls'? Try 'gdcli --help'."),
        (("trian", "mlp"), "No such command 'trian'. Did you mean 'run'? Try 'gdcli --help'."),
        (("sweep", "mlp", "--param"), "Option '--param' requires an argument. Try 'gdcli sweep --help'."),
        (("run", "mlp", "--output"), "Option '--output' requires an argument. Try 'gdcli run --help'."),
        (("runn",), "No such command 'runn'. Did you mean 'run'? Try 'gdcli --help'."),
        (("run",), "Missing argument 'SPEC [KEY=VALUE]...'. Try 'gdcli run --help'."),
        (("sweep", "mlp", "--foo"), "No such option: --foo. Try 'gdcli sweep --help'."),
        (
            ("run", "mlp", "--lr", "0.1"),
            "No such option: --lr. A key of the spec has no dashes: lr=0.1. Try 'gdcli run --help'.",
        ),
        (("run", "mlp", "--learning-rate=0.1"), "of the spec has no dashes: optimizer.lr=0.1. Try 'gdcli run --help'."),
        (("run", "mlp", "--lr"), "A key of the spec has no dashes: lr=VALUE. Try 'gdcli run --help'."),
        (
            ("sweep", "mlp", "--batch-size", "4"),
            "No such option: --batch-size. A key of the spec has no dashes: batch.size=4. Try 'gdcli sweep",
        ),
        (("run", "mlp", "--tag", "a b"), "--tag takes a word without blanks (got 'a b'). Try 'gdcli run --help'."),
        (("run", "mlp", "learning_rate=0.1"), "unknown key 'learning_rate'. Did you mean 'optimizer.lr'?"),
        (("run", "mlp", "lr=0,01"), "gdcli sweep --param lr=0,01 runs each. A number has a point: lr=0.01"),
        (("run", "rosenbrock", "x=1"), "'x' could be data.generate.x or data.x or model.start.x. Write the whole path"),
        (("run", "rosenbrock", "y=1"), "has no data: its value is the loss. Did you mean 'model.start.y'?"),
        *(
            (words, f"'{words[-2]}': must be {kind} (got '{words[-1]}'). {hint}Try 'gdcli {words[0]} --help'.")
            for words, kind, hint in (
                (("compare", "--target", "0,1"), "a number", "A number has a point: 0.1. "),
                (("compare", "--target", "low"), "a number", ""),
                (("plot", "mlp", "--smooth", "-0,5"), "a number", "A number has a point: -0.5. "),
                (("check", "mlp", "--tolerance", "0,01"), "a number", "A number has a point: 0.01. "),
                (("ema", "--beta", "0,5"), "a number", "A number has a point: 0.5. "),
                (("run", "mlp", "--seed", "1,5"), "an integer", ""),
            )
        ),
        (("export", "last", "-o", "model.zip"), "the ending '.zip' is not that of a format: csv (.csv .txt), parquet"),
        (("export", "last", "-f", "parquet", "-o", "a.csv"), "the ending '.csv' is not that of parquet: csv (.csv"),
    ],
)  # fmt: skip
def test_an_answer_names_what_is_meant(gdcli, words: tuple[str, ...], told: str) -> None:
    answer = gdcli(*words)
    assert (answer.code, answer.out) == (2, "")
    assert told in answer.err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("lr: 0.1\n", "s.yaml:1:1: lr: unknown key. Did you mean 'optimizer.lr'?"),
        ("learning_rate: 0.1\n", "s.yaml:1:1: learning_rate: unknown key. Did you mean 'optimizer.lr'?"),
        ("batch_size: 4\n", "s.yaml:1:1: batch_size: unknown key. Did you mean 'batch.size'?"),
        ("optimizer:\n  name: sgd\n  lr: 0,01\n", "s.yaml:3:7: optimizer.lr: must be a number (got '0,01'). A number"),
        ("optimizer: {name: sgd, lr: 0,01}\n", "a key must be text (got 01). Put it in quotes; a number has a point"),
    ],
)
def test_a_spec_with_other_programs_words(gdcli, text: str, told: str) -> None:
    Path("s.yaml").write_text(text)
    answer = gdcli("validate", "s.yaml")
    assert answer.code == 2
    assert told in answer.err


def test_the_newest_but_one_of_an_experiment(gdcli) -> None:
    for words in (("backprop_2x2",), ("linear_manual",), ("backprop_2x2", "optimizer.lr=0.25"), ("linear_manual",)):
        assert gdcli("run", *words, "--no-plot", "-q").code == 0
    found = [gdcli("show", word, "--json").json["folder"] for word in ("backprop_2x2~1", "backprop_2x2", "last~3")]
    assert found[0] == found[2] != found[1]
    answer = gdcli("show", "backprop_2x2~2")
    assert (answer.code, answer.err) == (2, "there are 2 records in runs/backprop_2x2\n")


def test_the_ending_of_a_file_is_its_format(gdcli) -> None:
    pytest.importorskip("pyarrow")
    assert gdcli("run", "backprop_2x2", "--no-plot", "-q").code == 0
    for name in ("a.parquet", "b.csv", "c"):
        assert gdcli("export", "last", "-o", name).code == 0
    assert Path("a.parquet").read_bytes()[:4] == b"PAR1"
    assert Path("b.csv").read_bytes() == Path("c").read_bytes()


def test_every_bundled_spec_is_told_with_what_it_shows(gdcli) -> None:
    lines = [line for line in gdcli("cp").out.splitlines() if line.startswith("  ")]
    assert sorted(line.split()[0] for line in lines) == bundled.names()
    assert all(len(line.split()) > 1 for line in lines)


def test_the_group_of_a_bundled_spec_names_its_command(gdcli) -> None:
    """A spec with a compare block is for `compare`, one with only a sweep block for `sweep`; their comments say so."""
    groups = {}
    for block in gdcli("cp").out.split("\n\n"):
        title, *lines = block.splitlines()
        groups[title] = [line.split()[0] for line in lines]
    for title, command in (("Grids: gdcli sweep", "sweep"), ("Side by side: gdcli compare", "compare")):
        for name in groups[title]:
            assert f"gdcli {command}" in (bundled.folder() / f"{name}.yaml").read_text()


@pytest.mark.parametrize("columns", ["60", "80", "160"])
def test_help_has_the_commands_in_groups(gdcli, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    out = gdcli().out
    places = [out.index(f"{name}:" if columns == "60" else f"─ {name} ─") for name in GROUPS]
    assert places == sorted(places)
    assert list(GROUPS) == ["Train", "Look", "Understand", "Records", "Specs"]
    for here, below, commands in zip(places, [*places[1:], len(out)], GROUPS.values(), strict=True):
        for command in commands:
            assert re.search(rf"(?m)^[ │]+{command.__name__} ", out[here:below])


@pytest.mark.parametrize("words", [(), ("--help",), ("run", "--help")])
def test_help_for_a_reader_that_is_gone_says_nothing(words: tuple[str, ...]) -> None:
    """As of `gdcli --help | head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "gdcli", *words]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=ENVIRONMENT, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_help_imports_no_torch() -> None:
    code = "import sys; from gdcli.cli import main; main([]); main(['run', '--help']); sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, env=ENVIRONMENT, check=False).returncode == 0
    )


def test_a_copied_spec_finds_its_schema(gdcli) -> None:
    assert gdcli("cp", "house_price").code == 0
    first = Path("house_price.yaml").read_text().splitlines()[0]
    schema = Path(first.partition("$schema=")[2])
    assert json.loads(schema.read_text()) == gdcli("schema").json
    assert {path.name for path in Path().iterdir()} == {"house_price.yaml", "house_price.csv", schema.name}
    schema.write_text("{}")
    assert gdcli("cp", "mlp").code == 0
    assert schema.read_text() == "{}"  # somebody's own


def properties(schema: Any) -> list[tuple[str, Any]]:
    """Return every property of a schema, but those of its rules."""
    if isinstance(schema, list):
        return [each for item in schema for each in properties(item)]
    if not isinstance(schema, dict):
        return []
    found = [*schema["properties"].items()] if isinstance(schema.get("properties"), dict) else []
    return found + [each for key, value in schema.items() if key != "allOf" for each in properties(value)]


def test_every_key_says_what_it_is(gdcli) -> None:
    found = properties(gdcli("schema").json)
    assert len(found) > 300
    assert [name for name, schema in found if not schema.get("description") and "$ref" not in schema] == []
    assert [name for name, schema in found if "gdcli catalog tells more" in schema.get("description", "")] == []


def test_the_catalog_has_data_sets_and_layers(gdcli) -> None:
    """Rows and features are scikit-learn's."""
    datasets = pytest.importorskip("sklearn.datasets")
    found = {entry["name"]: entry["title"] for entry in gdcli("catalog", "dataset", "--json").json}
    for name, title in found.items():
        rows, features = getattr(datasets, f"load_{name}")().data.shape
        assert f"{rows:,} rows, {features} features" in title
    assert len(found) == 5
    assert "Conv2d" in gdcli("catalog", "layer").out
    assert "torch's class" in gdcli("catalog", "Conv2d").out
    assert "Conv2d" not in gdcli("catalog").out


def test_a_list_that_is_cut_says_so(gdcli) -> None:
    assert gdcli("catalog", "qqqqq").err.rstrip().endswith("more")
