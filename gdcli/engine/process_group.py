"""The processes of one run: what they send each other, what they agree on, and how each sees that another is gone."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import torch
from torch import Tensor, distributed
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from gdcli.errors import GdcliError, MachineError
from gdcli.spec.world import World

if TYPE_CHECKING:
    from gdcli.engine.loop import Interrupt

LONG = timedelta(days=30)
"""How long a process waits for another one that is alive: a step, a picture, a disk may take any time."""
CONNECT = timedelta(minutes=5)
"""And for torchrun's store."""
BEAT_SECONDS = 1.0
"""Between two signs of life of a process."""
GONE_SECONDS = 20.0
"""Without a sign of life after which a process is taken for gone; torchrun ends the others 30 seconds after it."""
REASON_SECONDS = 2.0
"""That the reason of one that ended may take to arrive."""
DONE, FAILED = "done", "failed"
"""The last signs of life."""
EXTRA = 2
"""Numbers that a step sends beside the gradient: the clock of rank 0, and how many were interrupted."""

Leave = Callable[[str], NoReturn]
"""Tells why, where there is something to tell, and ends the process on the spot."""


class ProcessGroup:
    """This process among those of one run. Sums are over all of them, and every one gets the same bits.

    All call the same methods in the same order. torchrun's store carries what is said before the group is connected,
    signs of life, and why a process ended.
    """

    def __init__(self, world: World, leave: Leave) -> None:
        self.rank, self.size, self.local_rank = world.rank, world.size, world.local_rank
        self.device = torch.device("cpu")
        self._leave, self._leaving, self._begun, self._clock = leave, threading.Lock(), 0.0, 0.0
        self._has_told = False  # why it ends
        self._own: Interrupt | None = None
        self._agreed: Interrupt | None = None
        try:
            store, _, _ = next(rendezvous("env://", timeout=CONNECT))
            store.set_timeout(LONG)
            self._store = PrefixStore("gdcli", store)
            watched = PrefixStore("gdcli", store.clone())  # a store serves one thread at a time
        except (RuntimeError, ValueError) as error:
            raise MachineError(f"torchrun's store cannot be reached: {_brief(error)}") from None
        self._closed = threading.Event()
        self._watch = threading.Thread(target=self._watch_others, args=(watched,), daemon=True)
        self._watch.start()

    @property
    def is_first(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0

    # --- before the group is connected ------------------------------------------------------------------------------

    def said(self, name: str, text: str) -> str:
        """Return a text of rank 0's; what the others give is not looked at."""
        if self.is_first:
            self._store.set(name, text)
            return text
        while not self._store.check([name]):  # a wait in the store would hold up signals
            if self._store.check(["ended/0"]):
                self._leave_with("rank 0 has ended")
            time.sleep(0.02)
        return self._store.get(name).decode()

    def require_same(self, name: str, text: str) -> None:
        """Raise MachineError where a text is not that of rank 0."""
        if self.said(name, text) != text:
            raise MachineError(f"its {name} are not those of rank 0: are the files and the versions the same here?")

    def connect(self, device: torch.device) -> None:
        """Join the others: by gloo on the CPU, by nccl on CUDA."""
        self.device = device
        if device.type == "cuda":
            torch.cuda.set_device(device)
        if self.is_first:
            self._store.set("ready", "")
        backend = "nccl" if device.type == "cuda" else "gloo"
        with self._lost():
            distributed.init_process_group(
                backend, store=self._store, rank=self.rank, world_size=self.size, timeout=LONG
            )
        self._begun = time.perf_counter()  # the training's time is not that of reading the data

    # --- between steps ----------------------------------------------------------------------------------------------

    def part(self, rows: int) -> slice:
        """Return which of so many rows are this process's: neighbours, the first processes have one more.

        With more processes than rows some have none.
        """
        each, more = divmod(rows, self.size)
        start = self.rank * each + min(self.rank, more)
        return slice(start, start + each + (self.rank < more))

    def sum(self, tensor: Tensor) -> None:
        """Put the sum over all processes into a tensor of the device, in place."""
        with self._lost():
            distributed.all_reduce(tensor)

    def sum_step(self, flat: Tensor) -> None:
        """Sum a step's gradient, which ends with room for what is agreed on. Synchronises with the device."""
        own = self._own is not None and self._own.requested
        clock = time.perf_counter() - self._begun if self.is_first else 0.0
        flat[-EXTRA:] = torch.tensor([clock, float(own)])
        self.sum(flat)
        self._clock, interrupted = flat[-EXTRA:].tolist()
        if interrupted and self._agreed is not None:
            self._agreed.requested = True

    def now(self) -> float:
        """Return the seconds of rank 0's clock at the last step: the same number in all processes."""
        return self._clock

    def shared(self, interrupt: Interrupt) -> Interrupt:
        """Return a flag that is set in all processes after the same step, once that of one of them is."""
        self._own, self._agreed = interrupt, replace(interrupt, requested=False)
        return self._agreed

    def agreed(self, flag: bool) -> bool:
        """Return what rank 0 says."""
        answer = torch.tensor([float(flag and self.is_first)], device=self.device)
        self.sum(answer)
        return bool(answer.item())

    def from_first(self, content: bytes) -> bytes:
        """Return bytes that rank 0 has."""
        length = torch.tensor([len(content)], device=self.device)
        with self._lost():
            distributed.broadcast(length, 0)
            data = torch.empty(int(length.item()), dtype=torch.uint8, device=self.device)
            if self.is_first and content:
                data.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
            if len(data):
                distributed.broadcast(data, 0)
        return data.cpu().numpy().tobytes()

    def gathered(self, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return tensors [N] of all processes as [W, N], on the host."""
        found = {}
        for name, tensor in own.items():
            whole = torch.zeros((self.size, *tensor.shape), dtype=tensor.dtype, device=self.device)
            whole[self.rank] = tensor.to(self.device)
            self.sum(whole)
            found[name] = whole.cpu()
        return found

    # --- when one is gone -------------------------------------------------------------------------------------------

    @contextmanager
    def _lost(self) -> Iterator[None]:
        """End this process where another one does not take part any more."""
        try:
            yield
        except RuntimeError as error:
            who = f"rank {1 - self.rank}" if self.size == 2 else "another process"
            self._leave_with(f"{who} of this run is gone ({_brief(error)})")

    def _leave_with(self, what: str, store: Store | None = None) -> NoReturn:
        """End this process, and tell why, unless another one tells it: rank 0 repeats what others said."""
        reason, until = None, time.monotonic() + REASON_SECONDS
        with suppress(RuntimeError):  # the store may be gone too
            while reason is None and time.monotonic() < until:
                reason = self._reason(store or self._store)
                time.sleep(0.05)
        self._leaving.acquire()  # for good: one thread tells it, and ends both
        if reason is not None and not self.is_first:
            self._leave("")
        what = what if reason is None else f"rank {reason[0]} ended: {reason[1]}"
        self._leave(f"{what}. gdcli resume goes on from the last checkpoint, with as many processes")

    def _reason(self, store: Store) -> tuple[int, str] | None:
        for rank in range(self.size):
            if rank != self.rank and store.check([f"ended/{rank}"]):
                return rank, store.get(f"ended/{rank}").decode()
        return None

    def _watch_others(self, store: Store) -> None:
        """Give signs of life, and look for those of the others, beside what the process does."""
        names, seen, beat = [f"alive/{rank}" for rank in range(self.size)], dict[int, tuple[bytes, float]](), 0
        here = _numbered_here()
        while True:
            # looked at before the signs are: one that has ended well has said so before
            over = {rank for rank, (sign, _) in seen.items() if rank != self.rank and _is_over(sign.decode(), here)}
            try:
                store.set(names[self.rank], f"{beat} {os.getpid()} {here}")
                beats = store.multi_get(names) if store.check(names) else []
            except RuntimeError:
                if self._closed.is_set():
                    return
                self._leave("torchrun, which has started it, is gone")
            if self._closed.wait(BEAT_SECONDS):
                return
            beat += 1
            self._compare(beats, seen, over, store)

    def _compare(
        self, beats: Sequence[bytes], seen: dict[int, tuple[bytes, float]], over: set[int], store: Store
    ) -> None:
        now = time.monotonic()
        for rank, sign in enumerate(beats):
            before, at = seen.get(rank, (b"", now))
            if sign == FAILED.encode() and rank != self.rank:
                self._leave_with(f"rank {rank} of this run has ended", store)
            if sign == before and rank in over:  # the transfer that waits for it may never fail
                self._leave_with(f"rank {rank} of this run is gone", store)
            if sign == before and sign != DONE.encode() and now - at > GONE_SECONDS:
                self._leave_with(f"rank {rank} of this run has given no sign of life for {now - at:.0f} s", store)
            if sign != before:
                seen[rank] = sign, now

    # --- the end ----------------------------------------------------------------------------------------------------

    def failed(self, reason: str) -> None:
        """Say to the others why this process ends: the first reason counts."""
        if not self._has_told:
            with suppress(RuntimeError):
                self._store.set(f"ended/{self.rank}", reason)
        self._has_told = True

    def tells(self, error: GdcliError) -> bool:
        """Say whether this process is to tell an error: not where rank 0 has one too before the training begins."""
        if self.is_first:
            return True
        with suppress(RuntimeError):
            while not self._store.check(["ready"]):
                if self._store.check(["ended/0"]):
                    return False
                time.sleep(0.05)
        return True

    def close(self, last: str) -> None:
        """Leave the others, with a last sign of life."""
        self._closed.set()
        self._watch.join()
        with suppress(RuntimeError):
            self._store.set(f"alive/{self.rank}", last)
            if self.is_first and last == DONE:
                self._wait_for_others()  # where torchrun does not, rank 0 has the store
        if distributed.is_initialized():
            distributed.destroy_process_group()

    def _wait_for_others(self) -> None:
        names, until = [f"alive/{rank}" for rank in range(self.size)], time.monotonic() + GONE_SECONDS
        while time.monotonic() < until and not {DONE.encode(), FAILED.encode()}.issuperset(
            self._store.multi_get(names)
        ):
            time.sleep(0.02)


@contextmanager
def joined(world: World, leave: Leave) -> Iterator[ProcessGroup]:
    """Yield the group of this process, which is closed in the end; the others are told why, if it fails."""
    group, last = ProcessGroup(world, leave), FAILED
    try:
        yield group
        last = DONE
    except BaseException as error:
        group.failed(str(error) if isinstance(error, GdcliError) else f"it was stopped ({type(error).__name__})")
        raise
    finally:
        group.close(last)


def _numbered_here() -> str:
    """Return what all processes have in common that have their numbers from the same table, "" where none is known."""
    with suppress(OSError):
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}{Path('/proc/self/ns/pid').readlink()}"
    return ""


def _is_over(sign: str, here: str) -> bool:
    """Say whether the process that gave a sign of life is no more; of one on another machine that is not known."""
    _, number, where = [*sign.split(" "), "", ""][:3]
    return here != "" and where == here and not Path("/proc", number).exists()


def _brief(error: Exception) -> str:
    """Return the first sentence of what torch says of a failed transfer, without the place in its own source."""
    first = next(iter(str(error).splitlines()), "") or type(error).__name__
    return re.sub(r"^\[[^]]*\]\s*", "", first).partition(". ")[0]
