"""`gdcli explain`: the worked backward pass."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from gdcli.cli import options
from gdcli.cli.output import Output
from gdcli.cli.signals import import_engine
from gdcli.commands import specs
from gdcli.errors import SpecError

Format = Literal["text", "markdown", "latex"]


def explain(
    words: Annotated[
        list[str], typer.Argument(metavar="SPEC [KEY=VALUE]...", help="A YAML file or a bundled name, and overrides.")
    ],
    step: Annotated[int, typer.Option(min=1, help="Which step of the run; the ones before are trained.")] = 1,
    only: Annotated[str | None, typer.Option(metavar="NAMES", help="Some values: h1,o1,loss,dw5,db1,new_w5.")] = None,
    form: Annotated[Format, typer.Option("--format", help="text, markdown or latex.")] = "text",
    seed: options.SeedOption = None,
) -> int:
    """Write out one training step with its numbers: forward, loss, every derivative by the chain rule, update.

    Example: gdcli explain backprop_2x2 --only h1,o1,loss,dw5
    """
    name, overrides = options.split_spec(words)
    loaded = specs.loaded(name, options.overriding(overrides, seed, None), "explain")
    names = None if only is None else [part.strip() for part in only.split(",")]
    if names is not None and "" in names:
        raise SpecError(f"--only takes names with commas between: h1,o1,loss,dw5 (got '{only}')")
    import_engine()
    from gdcli.commands import explain as explaining

    if names is not None:
        text = explaining.only(explaining.quantities(loaded, names, step), form)
    else:
        text = explaining.render(explaining.explain(loaded, step), form)
    Output()(text)
    return 0
