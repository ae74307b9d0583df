"""The processes that train one run together: what torchrun says of this one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gdcli.errors import SpecError

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun sets in the environment of each process."""


@dataclass(frozen=True, slots=True)
class World:
    """This process as one of ``size``; ``local_rank`` counts those of this machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0


def world_of(environment: Mapping[str, str]) -> World:
    """Return what torchrun says of this process; one that it did not start is alone. Raises SpecError for no numbers.

    >>> world_of({}).size
    1
    >>> torchrun = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    >>> world_of(torchrun)
    World(rank=1, size=2, local_rank=1)
    """
    given = [environment.get(name, "") for name in VARIABLES]
    if not all(given):
        return World()
    numbers = [int(text) if text.isdecimal() and text.isascii() and len(text) < 10 else -1 for text in given[:3]]
    rank, size, local_rank = numbers
    if not (0 <= rank < size and 0 <= local_rank < size):
        told = ", ".join(f"{name}={text}" for name, text in zip(VARIABLES, given[:3], strict=False))
        raise SpecError(f"the environment says {told}, which torchrun does not")
    return World(rank, size, local_rank)


def command_for(size: int, command: str) -> str:
    """Return how a command is started with so many processes.

    >>> command_for(1, "resume RUN"), command_for(2, "resume RUN")
    ('gdcli resume RUN', 'torchrun --nproc-per-node 2 -m gdcli resume RUN')
    """
    return f"gdcli {command}" if size == 1 else f"torchrun --nproc-per-node {size} -m gdcli {command}"


def counted(size: int) -> str:
    """Return a number of processes in words.

    >>> counted(1), counted(2)
    ('1 process', '2 processes')
    """
    return f"{size:,} process{'' if size == 1 else 'es'}"
