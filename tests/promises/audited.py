"""Command lines run under an audit hook: what a hostile spec or name makes this program do to the machine.

Run as a script in a folder of its own: reads command lines as JSON from standard input, one list of words each, and
writes one JSON document: the exit code of each, and every event that none of them may cause.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from gdcli.cli import main

OUT = ("--output", "out/runs")
WARM_UP = [
    ["run", "linear_manual", *OUT],
    ["run", "mlp_digits", "epochs=1", *OUT],
    ["run", "quadratic_bowl", "epochs=2", *OUT],
    ["run", "torch_layers.yaml", *OUT],
    ["run", "from_csv.yaml", *OUT],
    ["sweep", "--param", "w=0:1:0.5", *OUT],
    ["sweep", "backprop_2x2", "--param", "lr=0.1,0.5", *OUT],
    ["compare", "--optimizers", "sgd,adam", "epochs=2", *OUT],
    ["explain", "backprop_2x2"],
    ["explain", "backprop_2x2", "--gaps", "3", "--output", "out/sheet.md", "--force"],
    ["grade", "backprop_2x2", "out/sheet.key.csv"],
    ["check", "backprop_2x2"],
    ["plot", "backprop_2x2", "--output", "out/curves.png"],
    ["plot", "backprop_2x2", "--kind", "network", "--output", "out/network.svg"],
    ["ema", *OUT],
    ["catalog"],
    ["validate", "linear_manual"],
    ["schema"],
    ["cp"],
    ["cp", "linear_manual", "out/copy.yaml"],
]
FORBIDDEN = (
    "compile", "exec", "import", "pickle.find_class", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn",
    "os.spawn", "os.fork", "os.forkpty", "pty.spawn", "os.startfile", "socket.connect", "socket.bind", "socket.sendto",
    "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request", "ctypes.dlopen", "ctypes.dlsym",
    "ctypes.call_function", "code.__new__", "marshal.loads", "sys.addaudithook", "os.kill", "os.chown",
    "ftplib.connect", "smtplib.connect", "webbrowser.open", "sqlite3.connect", "mmap.__new__",
)  # fmt: skip
WRITES = {
    "os.mkdir": 1, "os.rmdir": 1, "os.remove": 1, "os.truncate": 1, "os.chmod": 1, "os.utime": 1, "os.rename": 2,
    "os.link": 2, "os.symlink": 2, "shutil.rmtree": 1, "shutil.move": 2, "shutil.copyfile": 2, "os.setxattr": 1,
}  # fmt: skip

RELATIVE = ("os.mkdir", "os.rmdir", "os.remove", "os.rename")  # their last arguments are folders that are open


class Auditor:
    """Notes what is forbidden, with the command line that caused it."""

    def __init__(self, inside: Path) -> None:
        self.inside, self.found, self.words = os.path.realpath(inside), [], list[str]()
        self.on, self.learns, self.own_texts = False, False, set[str]()

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        self.on = False  # the hook is not to audit itself
        try:
            if event in ("compile", "exec") and not imports():
                self.check_text(event, arguments)
            elif event in FORBIDDEN and not self._own_import(event, arguments):
                self.note(event, arguments)
            elif event in WRITES:
                count = WRITES[event]
                folders = arguments[-count:] if event in RELATIVE else (-1, -1)
                for path, folder in zip(arguments[:count], folders, strict=False):
                    self.check(event, path, folder)
            elif event == "open" and self._writes(arguments):
                self.check(event, arguments[0])
        finally:
            self.on = True

    def check_text(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note a text that is compiled or run, unless good command lines do so too: Typer evaluates annotations."""
        first = arguments[0]
        text = repr((first.co_name, first.co_consts, first.co_names) if hasattr(first, "co_code") else first)
        if self.learns:
            self.own_texts.add(text)
        elif text not in self.own_texts:
            self.note(event, arguments)

    @staticmethod
    def _own_import(event: str, arguments: tuple[Any, ...]) -> bool:
        """Say whether it is a module of Python or of an installed package, imported only now."""
        if event == "import":
            return str(arguments[0]).partition(".")[0] in ALLOWED
        return event in ("compile", "exec", "marshal.loads", "code.__new__") and imports()

    @staticmethod
    def _writes(arguments: tuple[Any, ...]) -> bool:
        _, mode, flags = arguments
        if isinstance(mode, str):
            return bool(set(mode) & set("wax+"))
        return bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))

    def check(self, event: str, path: Any, folder: int = -1) -> None:
        if isinstance(path, int) or path == os.devnull:
            return
        base = Path() if folder == -1 else Path(f"/proc/self/fd/{folder}").readlink()
        real = os.path.realpath(base / os.fsdecode(path))
        if real != self.inside and not real.startswith(self.inside + os.sep):
            self.note(event, (path,))

    def note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.learns:
            return
        self.found.append([event, repr(arguments)[:300], self.words])


def imports() -> bool:
    """Say whether Python is importing a module just now."""
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap_external>":
            return True
        frame = frame.f_back
    return False


ALLOWED = {*sys.stdlib_module_names, *metadata.packages_distributions(), "gdcli"}


def silent(words: list[str]) -> tuple[int, str]:
    """Run one command line and return its exit code and what it wrote to standard error."""
    errors = io.StringIO()
    with (Path(os.devnull)).open("w") as nothing, contextlib.redirect_stderr(errors):
        old = os.dup(1)
        os.dup2(nothing.fileno(), 1)
        try:
            code = main(words)
        finally:
            sys.stdout.flush()
            os.dup2(old, 1)
            os.close(old)
    return code, errors.getvalue()


def audited() -> dict[str, Any]:
    """Run everything and return what is to be judged."""
    warm = {" ".join(words): silent(words) for words in WARM_UP}  # once for all that is imported late
    auditor = Auditor(Path("out"))
    sys.addaudithook(auditor)
    auditor.on = auditor.learns = True
    for words in WARM_UP:
        silent([*words, "--force"] if words[0] in ("plot", "cp") and len(words) > 1 else words)
    auditor.on = auditor.learns = False
    answers = []
    for words in json.load(sys.stdin):
        auditor.words, auditor.on = words, True
        code, errors = silent(words)
        auditor.on = False
        answers.append([words, code, errors[-2000:]])
    return {"warm": warm, "answers": answers, "found": auditor.found}


if __name__ == "__main__":
    answer = audited()
    print(json.dumps(answer))
