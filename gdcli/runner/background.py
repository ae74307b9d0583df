"""Work done in a thread beside the loop: it waits in a bounded queue, and the loop waits only while that is full."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Condition, Thread

MOST_WAITING = 2**25
"""Bytes of the work that waits, about: half a second of the slowest format."""


class BackgroundWriter:
    """One thread, begun with the first work, that does what it is given, in order.

    What it raises is raised by the next call; nothing is done after that.
    """

    def __init__(self, most: int = MOST_WAITING) -> None:
        self._most, self._size = most, 0
        self._queue: deque[tuple[Callable[[], object], int]] = deque()  # the first is at work
        self._changed = Condition()
        self._error: BaseException | None = None
        self.has_failed = self._ends = False
        self._thread: Thread | None = None

    def put(self, work: Callable[[], object], size: int) -> None:
        """Add work on so many bytes, once there is room for them; some that is larger than all room waits alone."""
        with self._changed:
            self._changed.wait_for(lambda: self.has_failed or not self._queue or self._size + size <= self._most)
            self._tell()
            if self.has_failed:
                return
            self._queue.append((work, size))
            self._size += size
            self._changed.notify_all()
            if self._thread is None:
                self._thread = Thread(target=self._work, name="gdcli-writer", daemon=True)
                self._thread.start()

    def drain(self) -> None:
        """Wait until all is done."""
        with self._changed:
            self._changed.wait_for(lambda: not self._queue)
            self._tell()

    def close(self) -> None:
        """End the thread once all is done. What it raised, and nobody asked for, is left."""
        with self._changed:
            self._ends = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _tell(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._ends)
                if not self._queue:
                    return
                work, size = self._queue[0]
            try:
                work()
            except BaseException as error:  # whatever it is, the loop's own thread tells it
                with self._changed:
                    self._error, self.has_failed = error, True
                    self._queue.clear()
                    self._size = 0
                    self._changed.notify_all()
            else:
                with self._changed:
                    self._queue.popleft()
                    self._size -= size
                    self._changed.notify_all()
            del work
