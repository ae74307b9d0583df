"""Same bytes as another version: same_bytes.py OLD_TREE [NEW_TREE] [--no-plot] [--only SPEC ...]

Runs every bundled spec of the old tree with both trees, by one interpreter with one torch, numpy and matplotlib, and
compares exit codes, standard output, standard error, and every file of the records, pictures too. Each spec is run as
it is and with both engines and dtypes, swept, compared, explained, checked, validated, and each record is shown and
exported. Where both trees refuse a command with the same words, that is the same.

Times, the trees' own paths, and what hangs on them (timing.json, environment.json, checkpoints) are left out. Prints a
line for each difference that EXPECTED does not name. Exit code 1 when there is one.

Both trees are copied to paths of one length, as records have the path of a spec's data file. Each copy has a server: a
process that imports all of it once and forks for each command, which then takes a tenth of a second. The trees may be
changed meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import trees

OVERFLOW = "0.1 took a norm whose sum of squares overflowed for an infinite gradient, and ended a fleet's run there"
WITHOUT_EFFECT = "config.yaml leaves out the keys that have no effect, such as the size of full batches"
WHOLE = "`show` cuts no value in a pipe"
REACHES = "the spec's settings reach the row of a comparison that has its optimizer, and its batches are shuffled"
EDGE = "a picture tells that the minimum is at the edge of the range"
ORDER = "the spec asks for its rows in order, since stochastic shuffles by default"
BEST = "best_loss is of all rows at the end of each epoch, whatever is printed"
FEW = "the picture of few steps has their losses in numbers, and that after the last update"
MEAN = "the short last batch of an epoch weighs less in its mean"
KEPT = "means and deviations are kept"
NOTES = "explain of a later step and check say which numbers are of the spec's dtype"
NOTHING = "--fleet off of a sweep that trains nothing is refused"
EXPECTED: tuple[tuple[str, str, str, str], ...] = (
    ("*", "*", "*config.yaml", WITHOUT_EFFECT),
    ("*", "*, show last", "stdout", WHOLE),
    ("*", "compare *--optimizers sgd,adam*", "*", REACHES),
    ("gd_variants", "compare*", "*", REACHES),
    ("*", "explain --step 3*", "stdout", NOTES),
    ("*", "check*", "stdout", NOTES),
    ("*", "sweep*", "*/sweep.png", EDGE),
    ("linear_autograd", "*", "*spec.yaml", ORDER),
    ("linear_manual", "*", "*spec.yaml", ORDER),
    ("gd_variants", "sweep *", "*", BEST),
    ("linear_autograd", "sweep *", "*", BEST),
    ("linear_manual", "sweep *", "*", BEST),
    ("backprop_2x2*", "run*", "*/loss.png", FEW),
    ("chain_rule", "run*", "*/loss.png", FEW),
    ("loss_*", "run*", "*/loss.png", FEW),
    ("loss_cross_entropy", "explain *", "stdout", "squared loss and cross-entropy are compared on the spec's own rows"),
    ("house_price", "*", "*/preprocessing.json", KEPT),
    ("linear_sweep", "sweep --fleet off", "*", NOTHING),
    ("rosenbrock_optimizers", "sweep --fleet off", "*", NOTHING),
    ("mlp*", "run*", "*/loss.png", MEAN),
    ("softmax_regression", "run*", "*/loss.png", MEAN),
    ("softmax_regression", "*", "*/preprocessing.json", KEPT),
    (
        "mlp_digits",
        "compare*",
        "*",
        "columns are named validation_loss, ...; epoch means, best_loss",
    ),
    ("mlp_digits", "*", "*spec.yaml", "log_uniform_values is a random draw now, the even grid is log_grid"),
    ("himmelblau", "sweep dtype=float* --param lr=0.003,0.03,0.3*", "*", OVERFLOW),
    ("nn_linear", "sweep dtype=float32 --param lr=0.003,0.03,0.3*", "*", OVERFLOW),
    ("rosenbrock_optimizers", "sweep dtype=float* --param lr=0.003,0.03,0.3*", "*", OVERFLOW),
)
"""Differences that are meant: (spec, command, file, why), the first three as printed, or patterns such as ``*``.

A command is ``run engine=by_hand``, or ``run, show last`` of its record; a file is ``stdout``, ``stderr``, ``exit
code`` or a path. An entry that meets no difference is told, so that none outlives its reason.
"""

Command = tuple[str, ...]

RATES = "lr=0.003,0.03,0.3"  # for specs that sweep nothing; some of them diverge, as they should in both trees
FLEETS: tuple[Command, ...] = (), ("--fleet", "off")
OVERRIDES = "engine=by_hand", "engine=autograd", "dtype=float32", "dtype=float64"
LEFT_OUT = "timing.json", "environment.json", "*checkpoint*"
LIBRARIES = (
    "matplotlib.figure", "matplotlib.backends.backend_agg", "matplotlib.font_manager", "pyarrow.parquet", "rich.table",
    "scipy.stats", "sklearn.datasets", "typer.rich_utils",
)  # fmt: skip
AS_GDCLI_HAS_THEM = {"PYDANTIC_DISABLE_PLUGINS": "__all__", "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
SECONDS = 900  # a command that hangs is ended by a signal
SHOWN = 120  # letters of a line


# --- the server -------------------------------------------------------------------------------------------------------


def serve() -> None:
    """Carry out commands, a JSON line each from standard input, and answer with their exit codes."""
    preload()
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(carried_out(asked)), flush=True)


def preload() -> None:
    """Import what commands need."""
    import importlib
    import pkgutil

    import gdcli

    ours = [module.name for module in pkgutil.walk_packages(gdcli.__path__, "gdcli.")]
    for name in (*ours, *LIBRARIES):
        if not name.endswith("__main__"):
            with contextlib.suppress(ImportError):  # an extra that is not installed
                importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a fork would touch, and so copy, all of it


def carried_out(asked: dict[str, Any]) -> int:
    """Fork, run a command line in its folder with its output to files, and return its exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 70
    try:
        code = _child(asked)
    finally:
        os._exit(code)


def _child(asked: dict[str, Any]) -> int:
    import signal

    signal.alarm(SECONDS)
    os.chdir(asked["folder"])
    for number, path in ((0, os.devnull), (1, asked["out"]), (2, asked["err"])):
        file = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        setattr(sys, name, io.TextIOWrapper(open(number, "rb" if number == 0 else "wb"), encoding="utf-8"))  # noqa: SIM115, PTH123
    sys.argv = ["gdcli", *asked["arguments"]]
    from gdcli.cli import main

    code = main(asked["arguments"])
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    return code


class Server:
    """A copy of a tree, its process, and the folder that its commands run in."""

    def __init__(self, tree: Path, root: Path) -> None:
        self.tree, self.folder = trees.copied(tree, root / "tree"), root / "work"
        self._out, self._err = root / "out", root / "err"
        variables = trees.variables(self.tree) | AS_GDCLI_HAS_THEM
        command = [sys.executable, __file__, "--serve"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, env=variables, stdin=pipe, stdout=pipe, text=True)

    def ask(self, command: Command) -> None:
        """Begin a command."""
        assert self._process.stdin is not None
        for path in (self._out, self._err):
            path.write_bytes(b"")
        paths = {"folder": str(self.folder), "out": str(self._out), "err": str(self._err)}
        self._process.stdin.write(json.dumps({"arguments": command, **paths}) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, bytes]:
        """Wait for the command; return its exit code, standard output and standard error."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the process of {self.tree} has ended")
        return {"exit code": line.encode(), "stdout": self._out.read_bytes(), "stderr": self._err.read_bytes()}

    def clear(self) -> None:
        """Begin with an empty folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()

    def files(self) -> dict[str, bytes]:
        """Return the files of the folder by their names without times, their contents without the tree's path.

        The request's hashes, of config.yaml too, are left out.
        """
        found = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        kept = [path for path in found if not any(fnmatchcase(path.name, pattern) for pattern in LEFT_OUT)]
        here, files = str(self.tree).encode(), {}
        for path in kept:
            content = path.read_bytes()
            files[STAMP.sub("TIME", str(path.relative_to(self.folder)))] = content.replace(here, b"TREE")
        for name in files:
            if name.endswith("/request.json"):
                files[name] = HASHES.sub(rb"\1HASH", files[name])
        return files

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


# --- what is run ------------------------------------------------------------------------------------------------------


def cases(spec: str, text: str, *, plot: bool) -> Iterator[list[Command]]:
    """Yield commands for a spec, those together that use the same record."""
    swept, compared, trained = (f"\n{key}:" in text for key in ("sweep", "compare", "optimizer"))
    quick = () if plot else ("--no-plot",)
    yield from ([command] for command in read_only(spec))
    yield from variants([("run", spec, *given, *quick) for given in ((), *((override,) for override in OVERRIDES))])
    yield [("run", spec, "--json", "--no-plot")]
    yield from variants([("sweep", spec, *fleet, *quick) for fleet in FLEETS if swept])
    for dtype in OVERRIDES[-2:] if trained else ():
        yield from variants([("sweep", spec, dtype, "--param", RATES, *fleet, *quick) for fleet in FLEETS])
    chosen = () if compared else ("--optimizers", "sgd,adam")
    yield from variants([("compare", spec, *chosen, *fleet, *quick) for fleet in FLEETS if trained])


def read_only(spec: str) -> list[Command]:
    """Return commands that write no record."""
    explained: list[Command] = [("explain", spec, "--format", form) for form in ("text", "markdown", "latex")]
    return [
        ("validate", spec),
        *explained,
        ("explain", spec, "--step", "3"),
        ("check", spec),
        ("check", spec, "--json"),
    ]


def variants(commands: list[Command]) -> Iterator[list[Command]]:
    """Yield commands that write a record each, and to the first one's those that read it."""
    for k, command in enumerate(commands):
        yield [command, *(() if k else reading(command[0]))]


def reading(kind: str) -> list[Command]:
    """Return commands that read the last record."""
    long = ("--long",) if kind != "run" else ()
    parquet = ("export", "last", "--format", "parquet", "-o", "runs/last.parquet", "-q")
    return [("show", "last"), ("show", "last", "--log"), ("export", "last", *long), parquet]


# --- what is compared -------------------------------------------------------------------------------------------------

STAMP = re.compile(r"\d{8}-\d{6}-[0-9a-f]{8}")  # of a record's folder: its time, and a hash of its config.yaml
HASHES = re.compile(rb'("(?:config_)?sha256": )"[0-9a-f]{64}"')
MASKS = (
    (STAMP, "TIME"),
    (re.compile(r"(?m)^(  started +).*$"), r"\1TIME"),
    (re.compile(r"(?m)^(  took +).*$"), r"\1TIME"),
    (re.compile(r"(?m)^(  gdcli +)\d+\.\d+\S*$"), r"\1VERSION"),
    (re.compile(r"(?m)^(  (?:timing|environment)\.json +).*$"), r"\1SIZE"),
    (re.compile(r"(?m)^(  \S.*/ +)[\d.]+ [KMG]?i?B$"), r"\1SIZE"),  # of a run's folder, its times included
)


def masked(content: bytes, server: Server) -> bytes:
    """Return what a command printed, without times, versions and the tree's own paths."""
    text = content.decode("utf-8", "surrogateescape")
    text = text.replace(str(server.tree), "TREE").replace(str(server.folder), "FOLDER")
    for pattern, put in MASKS:
        text = pattern.sub(put, text)
    return text.encode("utf-8", "surrogateescape")


def first_difference(old: bytes, new: bytes) -> str:
    r"""Say where two contents first differ: the line, or the byte where they are no text.

    >>> first_difference(b"a\nb\n", b"a\nc\n")
    "line 2: 'b\\n', now 'c\\n'"
    """
    try:
        texts = [content.decode().splitlines(keepends=True) for content in (old, new)]
    except UnicodeDecodeError:
        return f"byte {alike(old, new):,}, of {len(old):,} and {len(new):,}"
    k = alike(*texts)
    was, now = (text[k] if k < len(text) else "" for text in texts)
    begin = max(0, alike(was, now) - SHOWN // 2)
    shown = [repr(line[begin : begin + SHOWN]) if line else "the end" for line in (was, now)]
    return f"line {k + 1}{f' from letter {begin + 1}' if begin else ''}: {shown[0]}, now {shown[1]}"


def alike(old: Sequence[object], new: Sequence[object]) -> int:
    """Return how long a beginning two sequences share."""
    return next((k for k, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))


def words(spec: str, command: Command) -> str:
    """Return a command without its spec."""
    return " ".join(word for word in command if word != spec)


@dataclass
class Comparison:
    """Both trees' servers, and what has been found so far."""

    old: Server
    new: Server
    commands: int = 0
    refused: int = 0
    files: int = 0
    differences: int = 0
    met: dict[int, int] = field(default_factory=dict)  # how often each entry of EXPECTED was

    def case(self, spec: str, commands: list[Command]) -> None:
        """Run commands in turn in a new folder of each tree, and compare what they print and leave behind."""
        for server in (self.old, self.new):
            server.clear()
        first = words(spec, commands[0])
        for k, command in enumerate(commands):
            place = f"{first}, {words(spec, command)}" if k else first
            if self.command(spec, place, command) and not k:
                break  # there is no record to read
        self.written(spec, first)

    def command(self, spec: str, place: str, command: Command) -> bool:
        """Run a command in both trees; say whether both refused it."""
        servers = self.old, self.new
        for server in servers:
            server.ask(command)
        answers = [{name: masked(part, server) for name, part in server.answer().items()} for server in servers]
        self.commands += 1
        for name, was in answers[0].items():
            self.compare(spec, place, name, was, answers[1][name])
        refused = all(int(answer["exit code"]) not in (0, 1) for answer in answers)
        self.refused += refused
        return refused

    def written(self, spec: str, place: str) -> None:
        """Compare the files of both folders."""
        old, new = self.old.files(), self.new.files()
        for name in sorted(old.keys() | new.keys()):
            self.files += 1
            if name in old and name in new:
                self.compare(spec, place, name, old[name], new[name])
            else:
                self.differ(spec, place, name, "is there no more" if name in old else "was not there")

    def compare(self, spec: str, place: str, name: str, was: bytes, now: bytes) -> None:
        """Tell where two contents differ, if they do."""
        if was != now:
            self.differ(spec, place, name, first_difference(was, now))

    def differ(self, spec: str, place: str, name: str, how: str) -> None:
        """Print a difference, unless it is expected."""
        for k, (*patterns, _) in enumerate(EXPECTED):
            if all(map(fnmatchcase, (spec, place, name), patterns)):
                self.met[k] = self.met.get(k, 0) + 1
                return
        self.differences += 1
        print(f"{spec}: {place}: {name}: {how}", flush=True)

    def told(self, *, every: bool) -> None:
        """Print the figures."""
        for k, (*entry, why) in enumerate(EXPECTED):
            if k in self.met:
                print(f"expected: {', '.join(entry)}: {self.met[k]} differences, {why}")
            elif every:
                print(f"expected, but not met: {', '.join(entry)}: {why}")
        print(f"{self.refused:,} commands refused by both")
        print(f"{self.commands:,} commands, {self.files:,} files compared, {self.differences:,} differences")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare what two versions of gdcli print and write, byte by byte.")
    parser.add_argument("old", type=trees.tree, metavar="OLD_TREE", help=trees.OLD)
    parser.add_argument("new", type=trees.tree, nargs="?", default=trees.ROOT, metavar="NEW_TREE", help=trees.NEW)
    parser.add_argument("--only", nargs="+", default=[], metavar="SPEC", help="only these bundled specs")
    parser.add_argument("--no-plot", action="store_true", help="draw no pictures")
    return parser.parse_args()


def main() -> int:
    if sys.argv[1:2] == ["--serve"]:
        serve()
        return 0
    asked = arguments()
    specs = {path.stem: path.read_text(encoding="utf-8") for path in sorted((asked.old / "experiments").glob("*.yaml"))}
    if missing := [name for name in asked.only if name not in specs]:
        raise SystemExit(f"there is no bundled spec {', '.join(missing)}")
    with tempfile.TemporaryDirectory() as root:
        found = Comparison(
            *(Server(tree, Path(root) / name) for name, tree in (("old", asked.old), ("new", asked.new)))
        )
        for spec in asked.only or specs:
            print(spec, file=sys.stderr, flush=True)
            for commands in cases(spec, specs[spec], plot=not asked.no_plot):
                found.case(spec, commands)
        found.old.close()
        found.new.close()
    found.told(every=not asked.only)
    return int(found.differences > 0)


if __name__ == "__main__":
    sys.exit(main())
