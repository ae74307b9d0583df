"""Here, in processes and on a Dask cluster: the same bytes, whatever dies on the way."""

from __future__ import annotations

import contextlib
import csv
import gc
import json
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gdcli.runner.executors import dask, processes
from tests.conftest import Answer, only_folder
from tests.runner import many_runs
from tests.runner.many_runs import VICTIM, contents
from tests.timing import HANG, wait_for

GDCLI = [sys.executable, "-m", "gdcli"]

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*fork.*:DeprecationWarning",  # a test process may have threads
    "ignore::ResourceWarning",  # of processes that are killed here
)

SIX = (
    "sweep", "backprop_2x2", "-p", "lr=0.1,0.5,1", "-p", "seed=1,2", "model.init={}", "epochs=12", "print.style=tensor",
    "--no-plot",
)  # fmt: skip
"""Six runs that train as one fleet, cut into one shard a worker."""


@pytest.fixture
def alone(gdcli) -> dict[str, bytes]:
    """The record of the six runs, undisturbed and in one process."""
    assert gdcli(*SIX, "-o", "alone").code == 0
    found = contents(Path("alone"))
    assert len(found) == 5 + 6 * 8
    assert len(set(found["results.csv"].decode().split(","))) > 6 * 2  # no two runs alike
    return found


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Workers that die once; yields the mark of the death."""
    marker = tmp_path / "died_once"  # no folder that a test writes
    monkeypatch.setenv("GDCLI_TEST_MARKER", str(marker))
    monkeypatch.setattr("gdcli.runner.executors.worker.run_task", many_runs.dies_once)
    yield marker
    assert marker.exists()


def rows_of(output: Path) -> list[dict[str, str]]:
    with (only_folder(output) / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_processes_leave_the_bytes_of_one_process(gdcli, alone: dict[str, bytes]) -> None:
    assert gdcli(*SIX, "--jobs", "2", "-o", "two").code == 0
    assert contents(Path("two")) == alone
    assert gdcli(*SIX, "--jobs", "6", "-o", "six").code == 0
    assert contents(Path("six")) == alone


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_leaves_the_bytes_of_one_process(gdcli, alone: dict[str, bytes]) -> None:
    pytest.importorskip("distributed")
    pytest.importorskip("cryptography")
    answer = gdcli(*SIX, "--cluster", "local:2", "-o", "dask")
    assert answer.code == 0, answer.err
    assert contents(Path("dask")) == alone


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_comparison_that_tunes_has_one_cluster_for_all_its_runs(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The grid's runs, those beyond its edges and those of the table: three times shards are given out."""
    distributed = pytest.importorskip("distributed")
    pytest.importorskip("cryptography")
    made, begin = [], distributed.LocalCluster.__init__
    monkeypatch.setattr(
        distributed.LocalCluster,
        "__init__",
        lambda self, *args, **more: (made.append(self), begin(self, *args, **more))[1],
    )
    given, run = [], dask.Cluster.__call__
    monkeypatch.setattr(dask.Cluster, "__call__", lambda self, *args: (given.append(self), run(self, *args))[1])
    words = ("compare", "optimizers_2x2", "--tune", "3", "--tune-range", "1e-4,1e-3", "--no-plot")
    answer = gdcli(*words, "--cluster", "local:1", "-o", "dask")
    assert (answer.code, "warning" in answer.err) == (0, False), answer.err
    assert (len(made), len(given)) == (1, 3)
    assert made[0].status.name == "closed"
    assert gdcli(*words, "-o", "alone").code == 0
    assert contents(Path("dask")) == contents(Path("alone"))


def listening(processes: Iterable[int]) -> list[str]:
    """Where processes listen, as /proc has it: the address in hex, a port."""
    files = (file for process in processes for file in Path(f"/proc/{process}/fd").iterdir())
    sockets = {str(file.readlink()) for file in files if os.path.lexists(file)}
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return [line[1] for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in sockets]


def answers_to_a_stranger(port: int) -> list[bytes]:
    """What comes back over a plain connection, and an encrypted one without the command's certificate."""
    found = []
    for is_encrypted in (False, True):
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            stranger: socket.socket = socket.create_connection(("127.0.0.1", port), timeout=HANG)
            with stranger:
                if is_encrypted:
                    stranger = ssl._create_unverified_context().wrap_socket(stranger)
                stranger.sendall(b"GET / HTTP/1.0\r\n\r\n")
                found.append(stranger.recv(1000))
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="finds what listens in /proc")
def test_a_local_cluster_answers_nobody_but_the_command(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    pytest.importorskip("cryptography")
    before = listening([os.getpid()])
    places: set[str] = set()
    answers: list[bytes] = []

    def look(*results: object) -> None:
        places.update(set(listening([os.getpid(), *children_of(os.getpid())])) - set(before))
        for place in places if not answers else ():
            answers.extend(answers_to_a_stranger(int(place.partition(":")[2], 16)))

    monkeypatch.setattr("gdcli.runner.executors.dask.save_partial", look)
    answer = gdcli(*SIX, "--cluster", "local:1")
    assert answer.code == 0, answer.err
    assert len(places) == 3  # the scheduler, the worker and its nurse: no dashboard
    assert {place.partition(":")[0] for place in places} == {"0100007F"}  # 127.0.0.1
    assert set(answers) <= {b""}


def test_a_process_that_dies_once_loses_nothing(gdcli, alone: dict[str, bytes], dying: Path) -> None:
    answer = gdcli(*SIX, "--jobs", "2", "-o", "died")
    assert (answer.code, "failed" in answer.err) == (0, False), answer.err
    assert "warning: --jobs 2: a worker process died; what was being done is done again" in answer.err.splitlines()
    assert contents(Path("died")) == alone


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_s_worker_that_dies_once_loses_nothing(gdcli, alone: dict[str, bytes], dying: Path) -> None:
    pytest.importorskip("distributed")
    pytest.importorskip("cryptography")
    answer = gdcli(*SIX, "--cluster", "local:2", "-o", "dask")
    assert (answer.code, "failed" in answer.err) == (0, False), answer.err
    (lost,) = [line for line in answer.err.splitlines() if line.startswith("warning: ")]
    assert lost.startswith("warning: --cluster local:2: lost a worker, tls://127.0.0.1:")
    assert lost.endswith("; what it was doing is done again")
    assert contents(Path("dask")) == alone


def check_one_lost(answer: Answer, output: Path, alone: dict[str, bytes], tries: int) -> None:
    """Only the run that kills its worker is failed; it is told, kept and counted."""
    assert answer.code == 1, answer.err
    told = answer.err.splitlines()
    assert f"lr=0.5,seed=1: failed: its worker process died {tries} times" in told
    assert "1 of 6 runs failed" in told
    root = only_folder(output)
    found, before = (text.decode().splitlines() for text in ((root / "results.csv").read_bytes(), alone["results.csv"]))
    assert found[VICTIM].startswith(f"{VICTIM},0.5,1,failed,")
    assert found[:VICTIM] + found[VICTIM + 1 :] == before[:VICTIM] + before[VICTIM + 1 :]
    good = {name: text for name, text in alone.items() if "/" in name and not name.startswith(str(VICTIM))}
    assert good == {name: text for name, text in contents(output).items() if name[0].isdecimal()}
    assert json.loads((root / "summary.json").read_text())["failed"] == 1


@pytest.mark.slow
def test_a_run_that_kills_every_process_is_the_only_one_lost(
    gdcli, alone: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gdcli.runner.executors.worker.run_task", many_runs.dies_always)
    check_one_lost(gdcli(*SIX, "--jobs", "2", "-o", "died"), Path("died"), alone, 3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_run_that_kills_every_worker_of_a_cluster_is_the_only_one_lost(
    gdcli, alone: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    pytest.importorskip("cryptography")
    monkeypatch.setattr("gdcli.runner.executors.worker.run_task", many_runs.dies_always)
    monkeypatch.setattr("gdcli.runner.executors.worker.TRIES", 2)  # a worker takes seconds to start again
    check_one_lost(gdcli(*SIX, "--cluster", "local:2", "-o", "dask"), Path("dask"), alone, 2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_whose_workers_do_not_come_back_is_told_and_gone_on_with(
    gdcli, alone: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    pytest.importorskip("cryptography")
    client = dask._client

    @contextlib.contextmanager
    def without_workers(*arguments: Any) -> Iterator[Any]:
        with client(*arguments) as found:
            found.cluster.scale(0)
            yield found

    monkeypatch.setattr(dask, "_client", without_workers)
    monkeypatch.setattr(dask, "GONE_SECONDS", 1)
    answer = gdcli(*SIX, "--cluster", "local:2", "-o", "dask")
    assert (answer.code, answer.err.splitlines()[-1]) == (
        3, "--cluster local:2: all workers are gone, and none comes back",
    )  # fmt: skip
    assert gdcli("resume", "last", "-o", "dask").code == 0
    assert contents(Path("dask")) == alone


# --- whole processes --------------------------------------------------------------------------------------------------


def children_of(process: int) -> list[int]:
    """The live processes that a process started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == process and state != "Z":
            found.append(int(stat.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the workers in /proc")
def test_no_worker_outlives_its_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that lives on holds the lock of the record, and the next command is told that it is in use."""
    monkeypatch.setattr(processes, "PATIENCE", 0.1)
    others = set(children_of(os.getpid()))
    pool = processes._Pool(1)
    monkeypatch.setattr("gdcli.runner.executors.worker.run_task", time.sleep)
    pool.submit(HANG)  # type: ignore[arg-type]  # a worker at work
    workers = set(children_of(os.getpid())) - others
    assert workers
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)  # it cannot obey SIGTERM
    pool.stop()
    assert not workers & set(children_of(os.getpid()))


def started(folder: Path, *arguments: str, rows: int) -> subprocess.Popen[bytes]:
    """Start a sweep and wait until its results.csv has rows."""
    process = subprocess.Popen([*GDCLI, *arguments], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    have_come = wait_for(
        lambda: any(table.read_bytes().count(b"\n") > rows for table in folder.glob("runs/*/*/results.csv")),
        lambda: process.poll() is not None,
    )
    assert have_come, process.communicate()
    return process


SLOW = ("linear_manual", "epochs=5000", "--fleet", "off", "--no-plot", "record.gradients=none", "print.style=epoch")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the workers in /proc")
def test_a_process_killed_from_outside_while_results_come(tmp_path: Path) -> None:
    sweep = ("sweep", *SLOW, "-p", "lr=linspace(0.001,0.01,8)")
    process = started(tmp_path, *sweep, "--jobs", "2", rows=0)
    wait_for(lambda: list(tmp_path.glob("runs/*/*/*/steps.csv")), lambda: process.poll() is not None)
    workers = children_of(process.pid)
    assert workers
    os.kill(workers[0], signal.SIGKILL)
    _, err = process.communicate(timeout=HANG)
    assert process.returncode == 0, err
    assert b"failed" not in err
    other = tmp_path / "undisturbed"
    other.mkdir()
    subprocess.run([*GDCLI, *sweep], cwd=other, check=True, capture_output=True)
    assert contents(tmp_path / "runs") == contents(other / "runs")


@pytest.mark.slow
@pytest.mark.parametrize("how", [(), ("--jobs", "2")], ids=["here", "jobs"])
def test_ctrl_c_leaves_a_table_that_reads(tmp_path: Path, how: tuple[str, ...]) -> None:
    process = started(tmp_path, "sweep", *SLOW, "-p", "lr=linspace(0.001,0.01,500)", *how, rows=2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=HANG)
    assert process.returncode == 130, err
    assert b"Traceback" not in err
    rows = rows_of(tmp_path / "runs")
    assert 2 <= len(rows) < 500
    assert [int(row["run"]) for row in rows] == sorted({int(row["run"]) for row in rows})
    ended = [row for row in rows if row["status"] == "finished"]
    assert len(ended) >= 2
    assert all(float(row["final_loss"]) >= 0 for row in ended)
    assert all(row["status"] == "interrupted" for row in rows if row not in ended)
    assert json.loads((only_folder(tmp_path / "runs") / "summary.json").read_text())["status"] == "interrupted"


@pytest.mark.slow
def test_results_come_one_by_one_here(tmp_path: Path) -> None:
    process = started(tmp_path, "sweep", *SLOW, "-p", "lr=linspace(0.001,0.01,12)", rows=1)
    try:
        (table,) = tmp_path.glob("runs/*/*/results.csv")
        assert process.poll() is None
        early = table.read_bytes()
        _, err = process.communicate(timeout=HANG)
    finally:
        process.kill()
    assert process.returncode == 0, err
    whole = table.read_bytes()
    assert whole.startswith(early)
    assert early.count(b"\n") < whole.count(b"\n") == 13


# --- what cannot be ---------------------------------------------------------------------------------------------------


def refused(answer: Answer, code: int) -> str:
    """The one line that a refused command tells; nothing is left behind."""
    assert (answer.code, answer.out) == (code, ""), answer.err
    assert not list(Path.cwd().iterdir())
    (line,) = answer.err.splitlines()
    return line


TWO = ("sweep", "backprop_2x2", "-p", "lr=0.1,0.5")


def test_a_cluster_without_dask(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    for command in (TWO, ("compare",)):
        told = refused(gdcli(*command, "--cluster", "local:2"), 3)
        assert told == "--cluster needs Dask, which is not installed: pip install 'gradient-descent-cli[dask]'"


def test_a_local_cluster_without_cryptography(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setitem(sys.modules, "cryptography", None)
    told = refused(gdcli(*TWO, "--cluster", "local:2"), 3)
    assert told == "--cluster needs cryptography, which is not installed: pip install 'gradient-descent-cli[dask]'"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_that_does_not_answer(gdcli) -> None:
    pytest.importorskip("distributed")
    told = refused(gdcli("compare", "--tune", "3", "--cluster", "tcp://127.0.0.1:1"), 3)
    assert told.startswith("--cluster tcp://127.0.0.1:1: no answer from the cluster: ")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("address", ["nonsense", "foo://a:1"])
def test_an_address_that_is_none(gdcli, address: str) -> None:
    pytest.importorskip("distributed")
    assert refused(gdcli(*TWO, "--cluster", address), 3).startswith(f"--cluster {address}: no answer from the cluster")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_client_that_did_not_connect_does_not_stop_the_next(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask's own loop fails after ten seconds if its thread collects such a client before it begins."""
    utils = pytest.importorskip("distributed.utils")
    begin = utils.asyncio_run
    monkeypatch.setattr(utils, "asyncio_run", lambda *args, **kwargs: (gc.collect(), begin(*args, **kwargs)))
    for _ in range(2):
        gc.disable()
        try:
            answer = gdcli(*TWO, "--cluster", "nonsense")
        finally:
            gc.enable()
        assert refused(answer, 3).startswith("--cluster nonsense: no answer from the cluster")


@pytest.mark.parametrize("count", ["0", "-1", "two", ""])
def test_a_local_cluster_of_no_processes(gdcli, count: str) -> None:
    told = refused(gdcli(*TWO, "--cluster", f"local:{count}"), 2)
    assert told == f"--cluster local:{count}: write local:N, with N processes of at least 1. Try 'gdcli sweep --help'."


@pytest.mark.parametrize("command", [TWO, ("compare",)], ids=["sweep", "compare"])
def test_processes_and_a_cluster_exclude_each_other(gdcli, command: tuple[str, ...]) -> None:
    assert "--jobs and --cluster exclude each other" in refused(
        gdcli(*command, "--jobs", "2", "--cluster", "local:2"), 2
    )


@pytest.mark.slow
@pytest.mark.parametrize("limits", [(128, 128), (64, 1024)])
def test_a_fleet_with_folders_keeps_to_the_limit_of_open_files(gdcli, limits: tuple[int, int]) -> None:
    """90 runs of three logs each: in fleets of (128 - 64) / 3 runs where no more files are allowed."""
    words = ("sweep", "linear_manual", "-p", "lr=linspace(0.001,0.01,90)", "print.style=epoch", "--no-plot")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    assert gdcli(*words, "-o", "free").code == 0
    done = subprocess.run([*GDCLI, *words, "-o", "few"], preexec_fn=limit, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert contents(Path("few")) == contents(Path("free"))


def test_a_cluster_tells_nothing_to_a_client_that_leaves() -> None:
    """Else the scheduler writes a traceback where it is slower than the connection's end."""
    told: list[str] = []

    class Client:
        def unsubscribe_topic(self, topic: str) -> None:
            told.append(f"no more of {topic}")

        def __enter__(self) -> Client:
            return self

        def __exit__(self, *error: object) -> None:
            told.append("left")

    cluster = dask.Cluster(None, "tcp://a:1", 0, None, print)
    cluster._client = cluster._open.enter_context(Client())
    cluster.close()
    cluster.close()
    assert told == ["no more of all", "left"]
