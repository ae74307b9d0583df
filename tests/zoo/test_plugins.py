"""Plugins are found, known by their source, run once, and only where they are named."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gdcli.errors import PluginError, SpecError
from gdcli.zoo import plugins
from gdcli.zoo.losses import LOSSES
from gdcli.zoo.metrics import METRICS

pytestmark = pytest.mark.usefixtures("without_plugins")
ONE = "import gdcli\n@gdcli.metric\ndef {}(o, t): return {}\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def value_of(name: str) -> float:
    metric = METRICS[name]("mse", object())  # type: ignore[arg-type]  # any rows
    assert metric is not None
    return float(metric(None, None))  # type: ignore[arg-type]


def test_a_file_is_known_by_its_name_and_its_sha256() -> None:
    text = ONE.format("one", 1)
    Path("mine.py").write_text(text)
    (found,) = plugins.load(["mine.py"])
    assert (found.name, found.sha256) == ("mine.py", hashlib.sha256(text.encode()).hexdigest())
    assert found.source == str(Path("mine.py").absolute())
    assert value_of("one") == 1
    assert plugins.loaded() == (found,)


def test_it_is_run_once_whatever_names_it_and_again_where_it_has_changed() -> None:
    Path("mine.py").write_text("print('run')\n" + ONE.format("one", 1))
    first = plugins.load(["mine.py", "./mine.py", "mine.py"])
    assert plugins.load([str(Path("mine.py").absolute())]) == first
    assert len(first) == 1
    Path("mine.py").write_text(ONE.format("two", 2))
    (second,) = plugins.load(["mine.py"])
    assert second.sha256 != first[0].sha256
    assert ("one" in METRICS, value_of("two")) == (False, 2)
    assert plugins.loaded() == (second,)


def test_it_is_run_once(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text("print('run')\n" + ONE.format("one", 1))
    for _ in range(3):
        plugins.load(["mine.py"])
    assert capsys.readouterr().out == "run\n"


def test_nothing_is_left_beside_it() -> None:
    package(Path("own"))
    Path("mine.py").write_text(ONE.format("other", 1))
    before = sorted(Path().rglob("*"))
    plugins.load(["mine.py", "own"])
    assert sorted(Path().rglob("*")) == before


def package(folder: Path) -> None:
    (folder / "below").mkdir(parents=True)
    (folder / "__init__.py").write_text("from .below.part import number\n" + ONE.format("one", "number"))
    (folder / "below" / "__init__.py").write_text("")
    (folder / "below" / "part.py").write_text("number = 7\n")


def test_a_folder_is_a_package_and_known_by_all_its_files_in_order() -> None:
    package(Path("own"))
    (found,) = plugins.load(["own"])
    assert found.name == "own"
    assert value_of("one") == 7
    lines = "".join(
        f"{name}\0{hashlib.sha256((Path('own') / name).read_bytes()).hexdigest()}\n"
        for name in ("__init__.py", "below/__init__.py", "below/part.py")
    )
    assert found.sha256 == hashlib.sha256(lines.encode()).hexdigest()
    Path("own/below/part.py").write_text("number = 8\n")
    (changed,) = plugins.load(["own/"])
    assert changed.sha256 != found.sha256
    assert value_of("one") == 8


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place where packages are installed, with one that offers its module `own_package.kept` as `offered`."""
    site = tmp_path / "site"
    package(site / "own_package")
    (site / "own_package" / "__init__.py").write_text("")
    (site / "own_package" / "kept.py").write_text("from .below.part import number\n" + ONE.format("one", "number"))
    about = site / "own_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: own-package\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[gdcli.plugins]\noffered = own_package.kept\n")
    monkeypatch.syspath_prepend(str(site))
    yield site
    for name in [name for name in sys.modules if name.partition(".")[0] == "own_package"]:
        del sys.modules[name]


def test_an_installed_package_is_taken_by_its_entry_point(installed: Path) -> None:
    (found,) = plugins.load(["offered"])
    assert (found.name, found.source, value_of("one")) == ("offered", "offered", 7)


def test_an_installed_package_is_taken_by_the_name_of_its_module(installed: Path) -> None:
    (found,) = plugins.load(["own_package.kept"])
    assert (found.source, value_of("one")) == ("own_package.kept", 7)


def test_an_entry_point_is_not_looked_at_unless_it_is_named(installed: Path) -> None:
    Path("mine.py").write_text(ONE.format("other", 1))
    plugins.load(["mine.py"])
    assert "own_package" not in sys.modules
    assert "one" not in METRICS


def test_a_near_name_of_an_entry_point_is_told(installed: Path) -> None:
    with pytest.raises(SpecError, match=r"no package of that name is installed\. Did you mean 'offered'\?"):
        plugins.load(["ofered"])


@pytest.mark.parametrize(
    ("word", "what"),
    [
        ("none.py", "--plugin none.py: No such file or directory"),
        ("none", "--plugin none: there is no such file, and no package of that name is installed"),
        ("../none", "--plugin ../none: there is no such file"),
        ("", "--plugin : it names no file and no package"),
        ("a\0b", "--plugin a\\x00b: "),
        ("a\x1b[31m", "--plugin a\\x1b[31m: there is no such file"),
        ("empty", "--plugin empty: a folder that is no package: it has no __init__.py"),
        ("sys", "--plugin sys: is not written in Python"),
        ("bare.py", "--plugin bare.py: it registers nothing: put @gdcli.loss or the like before a function"),
    ],
)
def test_what_is_no_plugin_is_told(word: str, what: str) -> None:
    Path("empty").mkdir()
    Path("bare.py").write_text("x = 1\n")
    with pytest.raises(SpecError) as error:
        plugins.load([word])
    assert str(error.value).startswith(what)
    assert plugins.loaded() == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 1\ny = 1 / 0\n", "mine.py:2: ZeroDivisionError: division by zero"),
        ("def f():\n    raise KeyError('a')\nf()\n", "mine.py:2: f: KeyError: 'a'"),
        ("class A:\n    def f(self):\n        assert 0\nA().f()\n", "mine.py:3: A.f: AssertionError"),
        ("import no_such_module\n", "mine.py:1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = 1\ndef f(:\n", "mine.py:2: SyntaxError: invalid syntax"),
        ("import json\njson.loads('{')\n", "mine.py:2: JSONDecodeError: Expecting property name"),
        ("import sys\n\nsys.exit('enough')\n", "mine.py:3: SystemExit: enough"),
        ("raise ValueError('one\\ntwo')\n", "mine.py:1: ValueError: one"),
        ("class Own(BaseException): ...\nraise Own('hey')\n", "mine.py:2: Own: hey"),
        ("raise GeneratorExit\n", "mine.py:1: GeneratorExit"),
    ],
)
def test_a_plugin_that_raises_is_told_by_its_own_line_and_leaves_nothing(text: str, told: str) -> None:
    before = dict(LOSSES)
    Path("mine.py").write_text(text)
    with pytest.raises(PluginError) as error:
        plugins.load(["mine.py"])
    assert str(error.value).startswith(told)
    assert "\n" not in str(error.value)
    assert (before, plugins.loaded()) == (LOSSES, ())


def test_a_signal_that_comes_while_a_plugin_is_loaded_stays_one() -> None:
    Path("mine.py").write_text(ONE.format("one", 1) + "raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        plugins.load(["mine.py"])
    assert "one" not in METRICS


@pytest.mark.parametrize("place", ["pipe.py", "pipe", "own/part.py"])
def test_a_pipe_is_refused_and_not_waited_for(place: str) -> None:
    Path("own").mkdir()
    Path("own/__init__.py").write_text(ONE.format("one", 1))
    os.mkfifo(place)
    with pytest.raises(SpecError, match="is not a regular file"):
        plugins.load([place.split("/")[0]])
    with pytest.raises(SpecError, match="null is not a regular file"):
        plugins.load([os.devnull])


def test_what_a_plugin_has_registered_before_it_raises_goes_again() -> None:
    Path("mine.py").write_text(ONE.format("one", 1) + "raise ValueError\n")
    with pytest.raises(PluginError, match=r"mine\.py:4: ValueError"):
        plugins.load(["mine.py"])
    assert "one" not in METRICS


def test_bytes_that_are_no_text_are_told() -> None:
    Path("mine.py").write_bytes(b"x = '\xff\xfe'\n")
    with pytest.raises(PluginError, match=r"mine\.py"):
        plugins.load(["mine.py"])


def test_a_plugin_has_a_name_once() -> None:
    Path("mine.py").write_text(ONE.format("one", 1) + ONE.format("one", 2))
    with pytest.raises(SpecError, match=r"mine\.py:5: one: mine\.py:2 has a metric of that name"):
        plugins.load(["mine.py"])
    assert "one" not in METRICS
    Path("mine.py").write_text(ONE.format("one", 3))
    plugins.load(["mine.py"])
    assert value_of("one") == 3
