"""What a record says of the checkout, and that asking for it runs and writes nothing there (P13)."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from gdcli.runner.provenance import data_hash
from gdcli.zoo.table import Table
from tests.conftest import Answer, only_folder

WHO = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always")


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *WHO, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(gdcli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one file whose time is not that of the index, and a program that leaves a mark."""
    folder = tmp_path / "tree"
    folder.mkdir()
    monkeypatch.chdir(folder)
    git(folder, "init", "-q")
    (folder / "a.txt").write_text("a\n")
    (folder / ".gitattributes").write_text("a.txt filter=x=y\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "a")
    os.utime(folder / "a.txt", (1, 1))
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    return folder


def recorded(folder: Path, call: Any) -> dict[str, Any] | None:
    answer: Answer = call("run", "linear_manual", "epochs=1", "--no-plot")
    assert answer.code == 0, answer.err
    found = json.loads((only_folder(folder / "runs") / "environment.json").read_text())["git"]
    assert not (folder.parent / "ran").exists()
    return found


def test_commit_and_whether_files_were_changed(gdcli, checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    index = (checkout / ".git/index").read_bytes()
    assert recorded(checkout, gdcli) == {"commit": commit, "dirty": False}
    assert (checkout / ".git/index").read_bytes() == index  # nor refreshed, as `git status` does


def test_a_changed_file(gdcli, checkout: Path) -> None:
    (checkout / "a.txt").write_text("b\n")
    assert recorded(checkout, gdcli) == {"commit": git(checkout, "rev-parse", "HEAD"), "dirty": True}


def test_no_checkout(gdcli, tmp_path: Path) -> None:
    assert recorded(tmp_path, gdcli) is None


def test_neither_a_monitor_nor_a_hook_of_the_checkout_runs(gdcli, checkout: Path) -> None:
    git(checkout, "config", "core.fsmonitor", str(checkout.parent / "program"))
    git(checkout, "config", "core.hooksPath", str(checkout.parent))
    os.link(checkout.parent / "program", checkout.parent / "post-index-change")
    found = recorded(checkout, gdcli)
    assert found is not None
    assert found["dirty"] is False
    git(checkout, "status")  # it does run them
    assert (checkout.parent / "ran").exists()


@pytest.mark.parametrize("kind", ["clean", "process"])
def test_a_checkout_with_filters_is_not_asked_whether_it_changed(gdcli, checkout: Path, kind: str) -> None:
    git(checkout, "config", f"filter.x=y.{kind}", str(checkout.parent / "program"))
    assert recorded(checkout, gdcli) == {"commit": git(checkout, "rev-parse", "HEAD"), "dirty": None}
    subprocess.run(["git", "status"], cwd=checkout, check=False, capture_output=True)
    assert (checkout.parent / "ran").exists()


def test_a_submodule_runs_nothing_and_counts_by_its_commit(gdcli, checkout: Path, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    git(tmp_path, "clone", "-q", str(checkout), str(inner))
    git(checkout, "submodule", "-q", "add", str(inner), "sub")
    git(checkout, "commit", "-q", "-m", "b")
    git(checkout / "sub", "config", "filter.x=y.clean", str(checkout.parent / "program"))
    os.utime(checkout / "sub/a.txt", (1, 1))
    found = recorded(checkout, gdcli)
    assert found == {"commit": git(checkout, "rev-parse", "HEAD"), "dirty": False}
    git(checkout, "status")
    assert (tmp_path / "ran").exists()


def test_what_a_checkout_lacks_is_not_fetched(gdcli, checkout: Path, tmp_path: Path) -> None:
    tree = git(checkout, "rev-parse", "HEAD^{tree}")
    (checkout / ".git/objects" / tree[:2] / tree[2:]).unlink()
    git(checkout, "config", "core.repositoryFormatVersion", "1")
    git(checkout, "config", "extensions.partialClone", "origin")
    git(checkout, "config", "remote.origin.url", f"ext::{tmp_path}/program")
    git(checkout, "config", "protocol.ext.allow", "always")
    found = recorded(checkout, gdcli)
    assert found == {"commit": git(checkout, "rev-parse", "HEAD"), "dirty": None}
    subprocess.run(["git", "status"], cwd=checkout, check=False, capture_output=True)
    assert (tmp_path / "ran").exists()


def test_the_hash_of_data_is_that_of_their_bytes_and_copies_none_of_them() -> None:
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(40_000, 32)), draw.integers(0, 3, 40_000)
    features = tuple(f"x[{k}]" for k in range(32))
    for rows in (x, np.asfortranarray(x)):
        loaded = SimpleNamespace(training=Table(rows, y, features, ("y",), 3))
        tracemalloc.start()
        found = data_hash(cast("Any", loaded))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found == hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()[:8]
        if rows is x:
            assert peak < x.nbytes / 10
