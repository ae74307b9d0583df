"""Where a run comes from: its spec, the machine and the checkout, and what tells its start values and data apart."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pydantic
import torch
import yaml
from numpy.typing import NDArray

from gdcli import __version__
from gdcli.engine.device import resolve_threads
from gdcli.engine.gradient_log import keep_of
from gdcli.engine.problem import TrainingProblem, build
from gdcli.engine.process_group import ProcessGroup
from gdcli.spec import config
from gdcli.spec.load import Loaded
from gdcli.spec.world_size import require_world
from gdcli.spec.writing import write
from gdcli.storage import models
from gdcli.storage.files import json_text
from gdcli.zoo.data import generator

if TYPE_CHECKING:
    from gdcli.spec.bundled import SpecFile
    from gdcli.zoo.plugins import Plugin

FirstFiles = tuple[str, dict[str, bytes | str]]
"""The text of config.yaml, and the first files of a record: the specs, as given and resolved, the environment."""

Hashes = tuple[str, str, str]
"""8 hex digits each of the start values, the training rows, and the first epoch's batches."""

_ENGINES = {"elementwise": "by_hand", "batched": "by_hand", "objective": "autograd", "vmapped": "autograd"}
"""The engine in config.yaml of a run that is trained with others: that of the run alone."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a run came from: the spec's text as given or merged, the command line, and the plugins that it named."""

    text: bytes
    arguments: tuple[str, ...]
    tags: tuple[str, ...] = ()  # to find it by
    plugins: tuple[Plugin, ...] = ()
    files: tuple[SpecFile, ...] = ()  # that the text was merged from
    objects: tuple[str, ...] = ()  # of a Python program, in place of parts of the spec


def prepared(loaded: Loaded, group: ProcessGroup | None = None) -> TrainingProblem:
    """Set the number of threads that a run has, and build it; one of several processes connects it to the others.

    Raises SpecError for a spec of another number of processes, MachineError where the others have another one.
    """
    require_world(loaded, 1 if group is None else group.size)
    torch.set_num_threads(resolve_threads(loaded))
    problem = build(loaded, group)
    if group is not None:
        group.connect(problem.device)
        spec, (hashes,) = config.digest(config.filled_in(loaded.spec)), hashes_of(problem)
        group.require_same("spec, start values or data", " ".join((spec, *hashes)))
    return problem


# --- the first files --------------------------------------------------------------------------------------------------


def head(problem: TrainingProblem, origin: Provenance, run: int = 0, keep: str | None = None) -> FirstFiles:
    """Return the first files of a run of a problem; ``keep`` is what it keeps of its gradients, as one of many."""
    loaded, engine = problem.members[run], _ENGINES.get(problem.kernel_name, problem.kernel_name)
    device, threads, keep = problem.device, resolve_threads(loaded), keep or keep_of(problem)
    name, size = (str(device), 1) if problem.group is None else (device.type, problem.group.size)  # each its own CUDA
    resolved = config.resolved(loaded, device=name, threads=threads, engine=engine, keep=keep, world_size=size)
    text, found = _first_files(write(resolved), origin, device, threads)
    fitted = preprocessing(loaded)
    return text, found if fitted is None else {models.PREPROCESSING: fitted, **found}


def preprocessing(loaded: Loaded) -> str | None:
    """Return preprocessing.json; None where nothing is fitted, and the columns are no file's, known by their names."""
    fitted = loaded.preprocessing
    if fitted is None or not (fitted.is_fitted or loaded.data_file is not None):
        return None
    return json_text(fitted.to_json())


def batch_head(loaded: Loaded, origin: Provenance) -> FirstFiles:
    """Return the first files of a sweep or comparison."""
    return _first_files(write(config.filled_in(loaded.spec)), origin, torch.device("cpu"), resolve_threads(loaded))


def _first_files(text: str, origin: Provenance, device: torch.device, threads: int) -> FirstFiles:
    machine = json_text(environment(origin, device, threads))
    return text, {"spec.yaml": origin.text, "environment.json": machine, "config.yaml": text}  # last: all are there


def environment(origin: Provenance, device: torch.device, threads: int) -> dict[str, Any]:
    """Return what a result may depend on besides the spec."""
    more: dict[str, Any] = {"tags": list(origin.tags)} if origin.tags else {}
    if origin.plugins:
        more["plugins"] = [{"source": each.source, "sha256": each.sha256} for each in origin.plugins]
    if origin.objects:
        more["objects"] = list(origin.objects)
    if origin.files:
        more["spec"] = [{"file": each.name, "sha256": each.sha256} for each in origin.files]
    loaded = {"torch": torch, "numpy": np, "pydantic": pydantic, "PyYAML": yaml, "orjson": orjson}
    return {
        "versions": {"gdcli": __version__, "python": platform.python_version()}
        | {name: str(module.__version__) for name, module in loaded.items()}
        | {name: _installed(name) for name in ("matplotlib", "scipy")},  # not imported, they may not be needed
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "threads": threads,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "command": ["gdcli", *origin.arguments],
        "git": _git(Path.cwd()),
    } | more


_installed = cache(metadata.version)  # which reads a file: once for the runs of a sweep


@cache
def _git(folder: Path) -> dict[str, Any] | None:
    """Return commit and dirtiness of the checkout that the command ran in, None outside of one.

    Nothing is written there, and no program runs that its own configuration names: no monitor or hook, no clone to
    fetch from, no submodule's. One that names filters, which would run on changed files, is not asked for dirtiness.
    """
    git = shutil.which("git")
    if git is None or not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return None

    def ask(*arguments: str) -> str | None:
        command = [git, *_NO_PROGRAMS, *arguments]
        try:
            answer = subprocess.run(
                command, cwd=folder, env=os.environ | _NO_FETCH, capture_output=True, timeout=5, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return answer.stdout.decode(errors="replace").strip() if answer.returncode == 0 else None

    commit, keys = ask("rev-parse", "HEAD"), ask("config", "--list", "--name-only", "--show-scope")
    if commit is None:
        return None
    if keys is None or any(_FILTER.match(key) for key in keys.splitlines()):
        return {"commit": commit, "dirty": None}
    status = ask("status", "--porcelain", "--untracked-files=no", "--ignore-submodules=dirty")
    return {"commit": commit, "dirty": None if status is None else bool(status)}


_NO_PROGRAMS = ("--no-optional-locks", "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")
_NO_FETCH = {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": ""}
_FILTER = re.compile(r"(?!system|global|command)\w+\tfilter\.")
"""A filter of the checkout's own; those of the user's configuration are the user's."""


# --- hashes -----------------------------------------------------------------------------------------------------------


def hashes_of(problem: TrainingProblem) -> list[Hashes]:
    """Return each run's hashes, before it is trained."""
    values = problem.theta.values[: problem.runs].cpu().numpy()[:, problem.theta.model_order]
    data: dict[int, str] = {}  # the same for many runs, as the orders are
    orders: dict[int, str] = {}
    found = []
    for loaded, row in zip(problem.members, values, strict=True):
        table, seed = id(loaded.training), loaded.spec.settings.seed
        if table not in data:
            data[table] = data_hash(loaded)
        if seed not in orders:
            orders[seed] = _order_hash(loaded)
        found.append((_digits(row.tobytes()), data[table], orders[seed]))
    return found


HASHED = 2**18
"""Numbers that are hashed at a time."""


def data_hash(loaded: Loaded) -> str:
    """Return 8 hex digits of the training rows; nothing for an objective."""
    table = loaded.training
    return "" if table is None else _digits(*_bytes_of(table.x), *_bytes_of(table.y))


def _bytes_of(array: NDArray[Any]) -> Iterator[memoryview]:
    """Yield the bytes of an array, row after row, numbers in float32 as those in float64: some at a time, no copy."""
    flat = np.ascontiguousarray(array).reshape(-1)
    wide = np.dtype(np.float64) if flat.dtype == np.float32 else flat.dtype
    for start in range(0, len(flat), HASHED):
        yield flat[start : start + HASHED].astype(wide, copy=False).view(np.uint8).data


def _order_hash(loaded: Loaded) -> str:
    """Return 8 hex digits of the first epoch's batches; nothing for an objective."""
    batch, samples = loaded.spec.batch, loaded.samples
    if not samples:
        return ""
    order = generator(loaded.spec.settings.seed, "shuffle").permutation(samples).tobytes() if batch.shuffles else b""
    return _digits(order, str((batch.rows(samples), batch.steps(samples))).encode())


def _digits(*parts: bytes | memoryview) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()[:8]
