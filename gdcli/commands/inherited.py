"""`model: {from: RUN}` in a document: the record that is meant, and the model that it has where none is named."""

from __future__ import annotations

import os
from pathlib import Path

from gdcli.errors import Problem, SpecError
from gdcli.spec.nodes import Entry, Node
from gdcli.spec.overrides import as_node
from gdcli.storage import config_reader
from gdcli.storage.find import find

OWN = ("init", "freeze", "from", "sha256")
"""What a model does not take from the one whose weights it starts with."""


def completed(document: Node, base: Path) -> Node:
    """Return the document with the record of `model.from` by its path, and the record's model where it names none.

    A path is relative to the spec's folder, ``base``; what is no path is a record in ``runs``, by the names that
    `gdcli show` takes. Raises SpecError for a record that there is not.
    """
    model, given = document.find(("model",)), document.find(("model", "from"))
    if model is None or given is None or not isinstance(model.value, dict) or not isinstance(given.value, str):
        return document
    path = base / given.value
    entries = dict(model.value)
    if "\0" not in given.value and not os.path.lexists(path) and not given.value.endswith(".safetensors"):
        try:
            path = find(given.value, Path("runs")).absolute()
        except SpecError as error:
            raise SpecError(Problem(given.place, "model.from", str(error))) from None
        entries["from"] = Entry(entries["from"].key, as_node(str(path), given.place))
    if "type" not in entries and path.is_dir():
        found = config_reader.read(path).get("model")
        own = {key: value for key, value in found.items() if key not in OWN} if isinstance(found, dict) else {}
        entries = {key: Entry(given.place, as_node(value, given.place)) for key, value in own.items()} | entries
    return Node(
        document.place,
        {**_entries(document), "model": Entry(_entries(document)["model"].key, Node(model.place, entries))},
    )


def _entries(node: Node) -> dict[str, Entry]:
    assert isinstance(node.value, dict)
    return node.value
