"""`gdcli schema`: the JSON Schema of a spec."""

from __future__ import annotations

from gdcli.cli.output import Output


def schema() -> None:
    """Print the JSON Schema of a spec, for editors: gdcli schema > gdcli.schema.json."""
    from gdcli.spec.json_schema import json_schema
    from gdcli.storage.files import json_text

    Output()(json_text(json_schema()))
