"""The smallest Typer program with a help text: what a command line costs before it does anything."""

from pathlib import Path
from typing import Annotated

import typer


def train(
    spec: Annotated[str, typer.Argument(help="A file.")],
    output: Annotated[Path, typer.Option(help="Where to.")] = Path(),
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print less.")] = False,
) -> None:
    """Train one experiment."""
    print(spec, output, quiet)


if __name__ == "__main__":
    typer.run(train)
