"""`--live`: who is let in, what is sent, that it ends with the command and changes nothing of it."""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gdcli.cli.live import serving
from gdcli.commands.report import live
from gdcli.commands.report.live import MOST_STREAMS, LivePage
from gdcli.commands.report.live_data import CurveCache, live_data
from gdcli.commands.report.run_page import run_data
from gdcli.commands.report.spread_rows import MOST_ROWS
from gdcli.storage.record import read
from gdcli.storage.run_folder import Lock
from tests.hand_made import a_run, files

TIMEOUT = 30  # seconds for what comes at once where a machine is idle


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Path]:
    """A record that a process is writing."""
    folder = a_run(tmp_path / "runs", "20260101-120000", status=None)
    lock = Lock(folder)
    yield folder
    lock.release()


@pytest.fixture
def served(running: Path) -> Iterator[LivePage]:
    page = LivePage(running)
    yield page
    page.close()


def port_of(page: LivePage) -> int:
    return int(page.host.rpartition(":")[2])


def answer(page: LivePage, text: str) -> tuple[int, dict[str, str], bytes]:
    """What the server says to a request as it stands; {host} and {token} are its own."""
    whole = text.format(host=page.host, token=page.token, origin=page.origin).replace("\n", "\r\n") + "\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port_of(page)), TIMEOUT) as connection:
        connection.sendall(whole.encode())
        response = http.client.HTTPResponse(connection, method=text.split(" ")[0])
        response.begin()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def opened(page: LivePage) -> http.client.HTTPResponse:
    """A stream of events."""
    connection = http.client.HTTPConnection("127.0.0.1", port_of(page), timeout=TIMEOUT)
    connection.request("GET", f"/events?token={page.token}")
    return connection.getresponse()


def events(stream: Any) -> Iterator[tuple[str, Any]]:
    """The events of a stream, until it is closed."""
    name = ""
    for line in stream:
        key, _, value = line.decode().rstrip("\n").partition(": ")
        if key == "event":
            name = value
        elif key == "data":
            yield name, json.loads(value)


def last_step(data: Any) -> str:
    return str(data["runs"][0]["steps"]["rows"].split("\n")[-1].split(",")[0])


OWN = "Host: {host}"
PAGE = "GET /?token={token} HTTP/1.1"
REFUSED = {
    "no token": ("GET / HTTP/1.1\n" + OWN, 403),
    "an empty token": ("GET /?token= HTTP/1.1\n" + OWN, 403),
    "another token": (f"GET /?token={'A' * 43} HTTP/1.1\n" + OWN, 403),
    "more than the token": ("GET /?token={token}A HTTP/1.1\n" + OWN, 403),
    "two tokens": ("GET /?token={token}&token={token} HTTP/1.1\n" + OWN, 403),
    "a token of letters outside ASCII": ("GET /?token=%C3%A9%FF HTTP/1.1\n" + OWN, 403),
    "the stream without a token": ("GET /events HTTP/1.1\n" + OWN, 403),
    "the stream with another token": (f"GET /events?token={'A' * 43} HTTP/1.1\n" + OWN, 403),
    "another host": (PAGE + "\nHost: evil.example", 403),
    "another host at this port": (PAGE + "\nHost: localhost:80", 403),
    "this host without its port": (PAGE + "\nHost: 127.0.0.1", 403),
    "no host": ("GET /?token={token} HTTP/1.0", 403),
    "two hosts": (PAGE + "\n" + OWN + "\nHost: evil.example", 403),
    "another origin": (PAGE + "\n" + OWN + "\nOrigin: http://evil.example", 403),
    "an origin that is hidden": (PAGE + "\n" + OWN + "\nOrigin: null", 403),
    "the stream for another origin": (
        "GET /events?token={token} HTTP/1.1\n" + OWN + "\nOrigin: https://{host}", 403
    ),
    "POST": ("POST /?token={token} HTTP/1.1\nContent-Length: 0\n" + OWN, 405),
    "PUT": ("PUT /?token={token} HTTP/1.1\nContent-Length: 0\n" + OWN, 405),
    "DELETE": ("DELETE /?token={token} HTTP/1.1\n" + OWN, 405),
    "OPTIONS": ("OPTIONS /?token={token} HTTP/1.1\n" + OWN, 405),
    "a folder above": ("GET /../?token={token} HTTP/1.1\n" + OWN, 404),
    "a file above": ("GET /../../etc/passwd?token={token} HTTP/1.1\n" + OWN, 404),
    "a file above, written otherwise": ("GET /%2e%2e/spec.yaml?token={token} HTTP/1.1\n" + OWN, 404),
    "the way round": ("GET /events/../?token={token} HTTP/1.1\n" + OWN, 404),
    "a file of the record": ("GET /spec.yaml?token={token} HTTP/1.1\n" + OWN, 404),
    "a path of another server": ("GET http://evil.example/?token={token} HTTP/1.1\n" + OWN, 404),
}  # fmt: skip


@pytest.mark.parametrize(("request_text", "code"), REFUSED.values(), ids=REFUSED)
def test_who_has_not_the_token_or_comes_from_elsewhere_is_refused(
    served: LivePage, request_text: str, code: int, capfd
) -> None:
    found, headers, body = answer(served, request_text)
    assert found == code
    assert b"line" not in body  # the record's name
    assert headers["cache-control"] == "no-store"
    assert ("allow" in headers) == (code == 405)
    assert capfd.readouterr() == ("", "")  # which is the command's


def test_the_page_and_its_headers(served: LivePage) -> None:
    for origin in ("", "\nOrigin: {origin}"):
        code, headers, body = answer(served, PAGE + "\n" + OWN + origin)
        assert code == 200
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert "connect-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert b"<title>line 20260101-120000-0123abcd</title>" in body
        assert served.token.encode() not in body
    assert answer(served, "HEAD /?token={token} HTTP/1.1\n" + OWN)[::2] == (200, b"")
    assert answer(served, "HEAD /events?token={token} HTTP/1.1\n" + OWN)[::2] == (200, b"")


def test_the_labels_are_in_the_browsers_language(served: LivePage) -> None:
    _, _, chinese = answer(served, PAGE + "\n" + OWN + "\nAccept-Language: zh-CN,zh;q=0.9")
    _, _, english = answer(served, PAGE + "\n" + OWN + "\nAccept-Language: en-US,zh;q=0.5")
    assert (b'<html lang="zh-Hans">' in chinese, b'<html lang="en">' in english) == (True, True)


def test_a_report_that_is_no_live_page_asks_no_server(gdcli) -> None:
    a_run(Path("runs"), "20260101-120000")
    assert gdcli("report", "last", "--curves").code == 0
    text = Path("report.html").read_text()
    assert "connect-src" not in text
    assert "EventSource" not in text


def test_each_address_has_a_token_of_its_own_that_cannot_be_guessed(running: Path) -> None:
    first, second = LivePage(running), LivePage(running)
    try:
        assert first.token != second.token
        assert min(len(first.token), len(second.token)) >= 43  # 32 random bytes
        assert first.address == f"http://127.0.0.1:{port_of(first)}/?token={first.token}"
    finally:
        first.close()
        second.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no second loopback address")
def test_it_is_bound_to_one_loopback_address(served: LivePage) -> None:
    socket.create_connection(("127.0.0.1", port_of(served)), TIMEOUT).close()
    with pytest.raises(ConnectionRefusedError):  # an address that a server of all addresses has too
        socket.create_connection(("127.0.0.2", port_of(served)), TIMEOUT)


def test_garbage_is_no_request_and_the_server_goes_on(served: LivePage, capfd) -> None:
    for garbage in (b"\0\xff\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"G" * 70_000 + b"\r\n\r\n", b""):
        with socket.create_connection(("127.0.0.1", port_of(served)), TIMEOUT) as connection:
            try:
                connection.sendall(garbage)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(2**16):
                    pass
            except ConnectionError:
                pass
    assert answer(served, PAGE + "\n" + OWN)[0] == 200
    assert capfd.readouterr() == ("", "")


def test_a_request_that_comes_byte_by_byte_is_not_awaited_for_ever(
    served: LivePage, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    monkeypatch.setattr(live, "PATIENCE", 0.2)
    stream = events(opened(served))
    next(stream)
    with socket.create_connection(("127.0.0.1", port_of(served)), TIMEOUT) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: ")
        is_open = True
        for _ in range(500):  # of 0.02 s
            try:
                connection.sendall(b"a")
            except ConnectionError:
                is_open = False
                break
            time.sleep(0.02)
        assert not is_open
    served.close()
    assert [name for name, _ in stream][-1] == "end"  # an answer may take as long as it likes
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="a worker inherits nothing here")
def test_a_worker_process_does_not_hold_the_port(running: Path) -> None:
    page, context = LivePage(running), multiprocessing.get_context("fork")
    told = context.Event()
    worker = context.Process(target=told.wait)
    worker.start()
    try:
        assert answer(page, PAGE + "\n" + OWN)[0] == 200
        page.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port_of(page)), TIMEOUT)
    finally:
        told.set()
        worker.join()


def test_a_stream_has_what_the_files_have_and_ends_with_the_server(running: Path) -> None:
    page = LivePage(running)
    stream = events(opened(page))
    name, data = next(stream)
    assert (name, last_step(data), data["live"]["status"]) == ("data", "3", "running")
    with (running / "steps.csv").open("a") as file:
        file.write("4,4,1,0.5,0.1,1.0\n5,5,1,0.2")  # and a row that is being written
    name, data = next(stream)
    assert (name, last_step(data), data["runs"][0]["problems"]) == ("data", "4", [])
    (running / "summary.json").write_text('{"status": "finished", "final_loss": 0.5}')
    page.close()
    *others, last = stream
    assert [name for name, _ in others] == ["data"]
    assert others[0][1]["live"]["status"] == "finished"
    assert last == ("end", "finished")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port_of(page)), TIMEOUT)


def test_so_many_streams_and_no_more_are_open(served: LivePage) -> None:
    streams = [opened(served) for _ in range(MOST_STREAMS)]
    for stream in streams:
        next(events(stream))
    assert answer(served, "GET /events?token={token} HTTP/1.1\n" + OWN)[0] == 503
    assert answer(served, PAGE + "\n" + OWN)[0] == 200
    for stream in streams:
        stream.close()


def test_a_record_is_read_in_a_small_share_of_the_time(running: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, read_at = [100.0], list[float]()
    clock = SimpleNamespace(monotonic=lambda: now[0], thread_time=lambda: 2.0 * len(read_at))  # 2 s of work each

    def reading(folder: Path, cache: CurveCache) -> Any:
        read_at.append(now[0])
        return {}

    monkeypatch.setattr(live, "time", clock)
    monkeypatch.setattr(live, "live_data", reading)
    feed = live.Feed(running)
    for _ in range(2_000):
        with (running / "steps.csv").open("a") as file:
            file.write("4,4,1,0.5,0.1,1.0\n")
        feed.latest()
        now[0] += 0.1
    assert 2 * len(read_at) <= 0.04 * 200 + 2  # seconds
    assert len(read_at) >= 4


def test_looking_for_news_counts_as_reading(running: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, looks = [100.0], [0]
    clock = SimpleNamespace(monotonic=lambda: now[0], thread_time=lambda: 2.0 * looks[0])

    def look(folder: Path) -> Any:
        looks[0] += 1
        return ()

    monkeypatch.setattr(live, "time", clock)
    monkeypatch.setattr(live, "signature_of", look)
    feed = live.Feed(running)
    for _ in range(2_000):
        assert feed.latest() == 1
        now[0] += 0.1
    assert 4 <= looks[0] <= 0.04 * 200 / 2 + 1


def test_a_folder_or_link_in_the_place_of_the_record_is_not_read(
    tmp_path: Path, running: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "PAUSE", 0.0)
    monkeypatch.setattr(live, "SHARE", 0.0)
    other = a_run(tmp_path / "other", "20260101-130000", steps=7, status=None)
    feed = live.Feed(running)
    assert (feed.latest(), last_step(feed.data)) == (1, "3")
    moved = running.rename(tmp_path / "moved")
    assert feed.latest() == 1
    running.symlink_to(other)
    assert feed.latest() == 1
    running.unlink()
    other.rename(running)
    assert feed.latest() == 1
    running.rename(tmp_path / "away")
    moved.rename(running)
    with (running / "steps.csv").open("a") as file:
        file.write("4,4,1,0.5,0.1,1.0\n")
    assert (feed.latest(), last_step(feed.data)) == (2, "4")


def test_what_cannot_be_read_now_leaves_what_was_read_before(running: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PAUSE", 0.0)
    monkeypatch.setattr(live, "SHARE", 0.0)
    feed = live.Feed(running)
    assert (feed.latest(), last_step(feed.data)) == (1, "3")
    steps = (running / "steps.csv").read_bytes()
    (running / "steps.csv").write_bytes(b"step,loss\n1,\xff\n")
    monkeypatch.setattr(live, "live_data", lambda *given: 1 / 0)
    assert (feed.latest(), last_step(feed.data)) == (1, "3")
    monkeypatch.undo()
    (running / "steps.csv").write_bytes(steps + b"4,4,1,0.5,0.1,1.0\n")
    feed = live.Feed(running)
    assert (feed.latest(), last_step(feed.data)) == (1, "4")


# --- what is read -----------------------------------------------------------------------------------------------------


def test_a_short_run_is_read_as_the_report_reads_it(tmp_path: Path) -> None:
    record = read(a_run(tmp_path, "20260101-120000", steps=100))
    assert run_data(record, spread=True) == run_data(record)


def test_of_a_long_run_rows_evenly_spread_are_read(tmp_path: Path) -> None:
    folder, count = a_run(tmp_path, "20260101-120000", steps=1), 100_000
    rows = [f"{k},{(k + 9) // 10},{k % 10},{1 / k!r},0.1,{2 / k!r}" for k in range(1, count + 1)]
    (folder / "steps.csv").write_text("\n".join(["step,epoch,batch,loss,lr,gradient_norm", *rows, ""]))
    epochs = [f"{k},{1 / k!r},,0.1" for k in range(1, count // 10 + 1)]
    (folder / "epochs.csv").write_text("\n".join(["epoch,training_loss,validation_loss,lr", *epochs, ""]))
    data = run_data(read(folder), spread=True)
    found = data["steps"]["rows"].split("\n")
    assert 500 < len(found) <= MOST_ROWS
    assert set(found) <= set(rows)
    steps = [int(row.split(",")[0]) for row in found]
    assert (steps[0], steps[-1], data["steps"]["total"], data["steps"]["spread"]) == (1, count, count, True)
    assert max(b - a for a, b in pairwise(steps)) < 5 * count / len(found)
    places = [[*map(int, row.split(",")[:2])] for row in data["epochs"]["rows"].split("\n")]
    assert len(places) > 500
    assert max(abs(step - 10 * epoch) for step, epoch in places) < 200  # 10 steps each


def test_a_comparison_shows_runs_in_training_beside_those_that_have_ended(gdcli) -> None:
    assert gdcli("compare", "--optimizers", "sgd,adam,rmsprop", "--fleet", "off", "--no-plot").code == 0
    (folder,), cache = Path("runs/optimizers_2x2").iterdir(), CurveCache()
    whole = live_data(folder, cache)
    assert (whole["training"], [row[0] for row in whole["many"]["rows"]["rows"]]) == (None, ["sgd", "adam", "rmsprop"])
    for name in ("summary.json", "2-adam/summary.json", "3-rmsprop/summary.json", "3-rmsprop/steps.csv"):
        (folder / name).unlink()
    results = folder / "results.csv"
    lines = results.read_text().splitlines(keepends=True)
    results.write_text("".join(lines[:2]))
    now = live_data(folder, cache)
    assert [row[0] for row in now["many"]["rows"]["rows"]] == ["sgd"]
    charts = now["training"]["charts"]
    assert [one["label"] for one in charts[0]["series"]] == ["2-adam"]
    with (folder / "2-adam/steps.csv").open("a") as file:
        file.write("101,101,1,7.0,0.1,1.0\n")
    charts = live_data(folder, cache)["training"]["charts"]
    assert (charts[0]["series"][0]["last"], charts[0]["series"][0]["values"][-1]) == (101, 7.0)
    results.write_text(lines[0])
    assert live_data(folder, cache)["many"] is None


# --- the command ------------------------------------------------------------------------------------------------------

RUN = ("run", "backprop_2x2", "print.style=tensor")
OF_THE_MACHINE = ("timing.json", "environment.json")  # times, and the command line


def started(*words: str) -> tuple[subprocess.Popen[bytes], Any]:
    """A command in a process of its own, which prints to out.txt, and its stream of events."""
    environment = {**os.environ, "PYTHONPATH": str(Path(live.__file__).parents[3])}
    with Path("out.txt").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "gdcli", *words], stdout=out, stderr=subprocess.PIPE, env=environment
        )
    assert process.stderr is not None
    line = process.stderr.readline().decode()
    assert line.startswith("live: http://127.0.0.1:"), line
    address = line.removeprefix("live: http://").strip()
    connection = http.client.HTTPConnection(address.partition("/")[0], timeout=TIMEOUT)
    connection.request("GET", f"/events?{address.partition('?')[2]}")
    return process, connection.getresponse()


def test_a_run_with_it_prints_and_records_the_same_and_ends(gdcli) -> None:
    words = (*RUN, "epochs=8000", "--quiet", "--no-plot")
    plain = gdcli(*words, "--output", "plain")
    process, stream = started(*words, "--output", "live", "--live")
    found = [*events(stream)]
    process.communicate(timeout=TIMEOUT)
    assert (process.returncode, Path("out.txt").read_text()) == (plain.code, plain.out)
    assert found[-1] == ("end", "finished")
    assert last_step(found[-2][1]) == "8000"
    pair = [
        {path.split("/", 2)[2]: data for path, data in files(Path(root)).items() if not path.endswith(OF_THE_MACHINE)}
        for root in ("plain", "live")
    ]
    assert pair[0] == pair[1]
    assert "steps.csv" in pair[0]


def test_an_interrupt_ends_it_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    process, stream = started(*RUN, "epochs=1000000", "--quiet", "--no-plot", "--live")
    found = events(stream)
    assert next(found)[0] == "data"
    process.send_signal(signal.SIGINT)
    *_, last = found
    assert last == ("end", "interrupted")
    process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130


def test_a_run_that_diverges_or_fails_exits_as_without_it_and_leaves_no_server(gdcli) -> None:
    words = ("run", "linear_regression", "lr=1e6", "epochs=100", "--no-plot")
    plain, with_it = gdcli(*words), gdcli(*words, "--live")
    assert (with_it.code, with_it.out) == (plain.code, plain.out) == (1, plain.out)
    assert with_it.err.startswith("live: http://127.0.0.1:")
    assert gdcli("run", "no_such_spec", "--live").code == 2
    assert not [thread for thread in threading.enumerate() if thread.name == "live"]


def test_how_a_run_ended_is_told_before_pages_are_waited_for(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    close = LivePage.close

    def closed(page: LivePage) -> None:
        print("waiting", file=sys.stderr)
        close(page)

    monkeypatch.setattr(LivePage, "close", closed)
    found = gdcli("run", "linear_regression", "lr=1e6", "epochs=100", "--no-plot", "--live")
    assert found.code == 1
    assert "record: " in found.err.partition("waiting")[0]


def test_a_sweep_serves_its_page_and_a_surface_of_losses_has_none(gdcli) -> None:
    swept = gdcli("sweep", "backprop_2x2", "--param", "lr=0.1,0.5", "--live", "--no-plot")
    assert (swept.code, "live: http://127.0.0.1:" in swept.err) == (0, True)
    grid = gdcli("sweep", "--param", "w=0:1:0.5", "--live", "--no-plot")
    assert grid.code == 0
    assert "http://" not in grid.err
    assert "--live: nothing is trained here" in grid.err


def test_a_port_that_cannot_be_had_is_one_warning(gdcli, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = gdcli(*RUN, "--no-plot", "--quiet")

    def refused(*arguments: Any) -> None:
        raise OSError(98, "Address already in use")

    monkeypatch.setattr(live._Server, "server_bind", refused)
    found = gdcli(*RUN, "--no-plot", "--quiet", "--live")
    assert (found.code, found.out) == (plain.code, plain.out)
    (line,) = found.err.splitlines()
    assert line.startswith("warning: --live: the page cannot be served, training goes on without it:")


def test_of_the_processes_of_torchrun_the_first_serves(running: Path, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    for name, value in {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    for rank, lines in (("1", 0), ("0", 1)):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("LOCAL_RANK", rank)
        with serving(True) as opened:
            opened(running)
        assert len(capfd.readouterr().err.splitlines()) == lines
