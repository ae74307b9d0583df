"""Whole processes: what is imported, signals, pipes, an installed wheel."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.conftest import GOLDEN, only_folder
from tests.terminals import on_terminal
from tests.timing import HANG, wait_for

GDCLI = [sys.executable, "-m", "gdcli"]
LONG = ("run", "linear_manual", "epochs=2000000", "print.style=epoch", "record.gradients=none", "--no-plot")


def modules_after(*arguments: str) -> set[str]:
    code = f"import sys; from gdcli.cli import main; main({[*arguments]!r}); print(*sys.modules, file=sys.stderr)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(ended.stderr.splitlines()[-1].split())


def test_help_imports_neither_torch_nor_matplotlib_nor_pydantic() -> None:
    loaded = modules_after("--help")
    assert "typer" in loaded
    assert not loaded & {"torch", "matplotlib", "pydantic", "numpy", "yaml"}


def test_validate_imports_neither_torch_nor_matplotlib() -> None:
    loaded = modules_after("validate", "backprop_2x2")
    assert "pydantic" in loaded
    assert not loaded & {"torch", "matplotlib"}


def test_a_run_of_perceptrons_reads_no_rules_of_torch_s_meta_device_and_one_of_layers_does(tmp_path: Path) -> None:
    arguments = ("epochs=1", "--no-plot", "--output", str(tmp_path))
    assert "torch._prims" not in modules_after("run", "backprop_2x2", *arguments)
    assert "torch._prims" in modules_after("run", "gru_sine", *arguments)


def test_plugins_find_torch_whole(tmp_path: Path) -> None:
    """Whether or not the plugin's own file imports torch at its top."""
    for first in ("import torch\n", ""):
        plugin = tmp_path / f"own{len(first)}.py"
        plugin.write_text(f"{first}import gdcli\n@gdcli.loss\ndef halved(output, target):\n    return output.mean()\n")
        arguments = ("epochs=1", "--no-plot", "--output", str(tmp_path), "--plugin", str(plugin))
        assert "torch._prims" in modules_after("run", "backprop_2x2", *arguments)


def test_what_others_do_at_the_end_of_a_process_is_done_and_what_was_printed_is_there(tmp_path: Path) -> None:
    code = (
        "import atexit, sys, threading, time\nfrom gdcli.cli import entry\n"
        "threading.Timer(0.2, lambda: print('thread')).start()\n"
        "import gdcli.cli.application\nbefore = gdcli.cli.application.app\n"
        "def app():\n    atexit.register(print, 'atexit')\n    return before()\n"
        "gdcli.cli.application.app = app\nentry()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, "validate", "nowhere"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert ended.stdout == "thread\natexit\n"
    assert "nowhere" in ended.stderr


def test_bad_spec_is_refused_without_torch(tmp_path: Path) -> None:
    spec = tmp_path / "bad.yaml"
    spec.write_text("model: mlpp\n")
    assert "torch" not in modules_after("run", str(spec))


def started(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a run and wait until it has written steps."""
    process = subprocess.Popen([*GDCLI, *arguments], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    logs = folder.glob
    has_steps = wait_for(
        lambda: any(log.stat().st_size > 1000 for log in logs("runs/*/*/steps.csv")), lambda: process.poll() is not None
    )
    assert has_steps, process.communicate()
    return process


def at_import(library: str, what: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run gdcli, where something happens as soon as a library is imported."""
    code = (
        "import os, sys\nclass Importer:\n    def find_spec(self, name, *more):\n"
        f"        if name == {library!r}:\n            {what}\n"
        "sys.meta_path.insert(0, Importer())\nfrom gdcli.cli import entry\nentry()\n"
    )
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("library", ["typer", "numpy", "pydantic", "yaml", "torch"])
@pytest.mark.parametrize(("number", "code"), [(2, 130), (15, 143)])
def test_a_signal_while_libraries_are_imported_ends_without_a_word(library: str, number: int, code: int) -> None:
    ended = at_import(library, f"os.kill(os.getpid(), {number})", "run", "backprop_2x2", "--no-plot")
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", "")


def test_a_library_that_finds_no_memory_when_it_is_imported_is_told_in_a_line() -> None:
    """The words are those of the dynamic linker, as under `ulimit -v 400000`."""
    what = "raise ImportError('libtorch_cpu.so: failed to map segment from shared object')"
    ended = at_import("torch", what, "run", "backprop_2x2", "--no-plot")
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "", "there is not enough memory\n")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_in_order(tmp_path: Path, number: int, code: int) -> None:
    process = started(tmp_path, *LONG)
    process.send_signal(number)
    _, err = process.communicate(timeout=HANG)
    assert process.returncode == code, err
    folder = only_folder(tmp_path / "runs")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "interrupted"
    lines = (folder / "steps.csv").read_text().splitlines()
    assert lines[-1].startswith(f"{summary['steps']},")
    assert len(lines) == summary["steps"] + 1
    assert b"interrupted after step" in err


@pytest.mark.slow
def test_a_reader_that_leaves_does_not_end_the_run(tmp_path: Path) -> None:
    command = " ".join([*GDCLI, "run", "momentum_2x2", "epochs=20000", "--no-plot"])
    ended = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | head -1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "0 tensor(0.2984, grad_fn=<MseLossBackward0>)\n"
    summary = json.loads((only_folder(tmp_path / "runs") / "summary.json").read_text())
    assert summary["steps"] == 20000


@pytest.mark.parametrize("words", ["sweep --help", "catalog"])
def test_a_reader_that_leaves_is_no_error(tmp_path: Path, words: str) -> None:
    """Standard output is closed from the start, so that no time plays a part."""
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [*GDCLI, *words.split()], cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.slow
def test_full_standard_output_is_one_line_and_exit_3(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [*GDCLI, "run", "backprop_2x2", "--no-plot"],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode == 3
    assert "cannot write standard output" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_progress_on_a_terminal_only(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        code, shown = on_terminal("run", "linear_manual", "epochs=100000", "--no-plot", folder=tmp_path, out=out)
    assert code == 0
    assert "steps/s" in shown
    piped = subprocess.run(
        [*GDCLI, "run", "linear_manual", "epochs=100000", "--no-plot"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "steps/s" not in piped.stderr + piped.stdout
    assert piped.stdout == (tmp_path / "out").read_text()


def test_the_source_archive_has_the_page_with_its_vendored_library_and_what_checks_it(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    build = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(build, cwd=root, check=True, capture_output=True)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    html = {path.relative_to(root).as_posix() for path in (root / "gdcli" / "report" / "html").rglob("*.*")}
    assert html | {".jsconfig.json", ".oxlintrc.json", "docs/screenshots.py"} <= names
    assert "gdcli/report/html/vendor/uPlot.LICENSE" in html


@pytest.mark.slow
def test_an_installed_wheel_runs_a_bundled_spec_in_an_empty_folder(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-q",
        "-w",
        str(tmp_path),
        str(root),
    ]
    subprocess.run(build, check=True, capture_output=True)
    wheel = next(tmp_path.glob("gradient_descent_cli-*.whl"))
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "-q", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    ended = subprocess.run(
        [*GDCLI, "run", "backprop_2x2", "--no-plot"],
        cwd=empty, env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ended.stdout == (GOLDEN / "backprop_2x2.txt").read_text()
    assert (site / "gdcli" / "experiments" / "house_price.csv").is_file()
    assert not (site / "gdcli" / "experiments" / "pictures").exists()
    page = {path.name for path in (root / "gdcli" / "report" / "html").iterdir()}
    assert {"page.html", "page.css", "main.js", "words.js"} <= page
    assert page == {path.name for path in (site / "gdcli" / "report" / "html").iterdir()}
    vendored = {path.name for path in (site / "gdcli" / "report" / "html" / "vendor").iterdir()}
    assert vendored == {"uPlot.iife.min.js", "uPlot.min.css", "uPlot.LICENSE"}
    licences = {path.name for path in site.glob("*.dist-info/licenses/**/*") if path.is_file()}
    assert licences == {"LICENSE", "uPlot.LICENSE"}
    assert (site / "gdcli" / "py.typed").read_bytes() == b""  # type checkers look for it, PEP 561
