"""What is written beside the loop: in order, within a bound, and what goes wrong is told to the loop."""

from __future__ import annotations

import threading

import pytest

from gdcli.runner.background import BackgroundWriter
from tests.timing import wait_for


def test_work_is_done_in_order_and_all_of_it() -> None:
    writer, found = BackgroundWriter(10), list[int]()
    for k in range(200):
        writer.put(lambda k=k: found.append(k), 3)
    writer.drain()
    assert found == list(range(200))
    writer.close()


def test_the_loop_waits_while_there_is_no_room_and_no_longer() -> None:
    writer, gate, put = BackgroundWriter(10), threading.Event(), list[int]()

    def loop() -> None:
        for k in range(5):
            writer.put(gate.wait, 5)
            put.append(k)

    thread = threading.Thread(target=loop)
    thread.start()
    wait_for(lambda: len(put) == 2)  # ten bytes
    thread.join(0.05)
    assert put == [0, 1]
    gate.set()
    thread.join()
    assert put == [0, 1, 2, 3, 4]
    writer.put(lambda: put.append(5), 1000)  # more than all room: alone
    writer.close()
    assert put[-1] == 5


@pytest.mark.parametrize("asked", ["put", "drain"])
def test_what_goes_wrong_is_told_once_and_nothing_is_done_after_it(asked: str) -> None:
    writer, done, gate = BackgroundWriter(100), list[str](), threading.Event()

    def fail() -> None:
        gate.wait()
        raise OSError("full")

    writer.put(fail, 1)
    writer.put(lambda: done.append("after"), 1)
    gate.set()
    wait_for(lambda: writer.has_failed)
    with pytest.raises(OSError, match="full"):
        writer.drain() if asked == "drain" else writer.put(lambda: done.append("more"), 1)
    writer.put(lambda: done.append("later"), 1)
    writer.drain()
    writer.close()
    assert done == []


def test_without_work_there_is_no_thread() -> None:
    before = threading.active_count()
    writer = BackgroundWriter()
    writer.drain()
    assert threading.active_count() == before
    writer.close()
