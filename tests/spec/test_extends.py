"""`extends`: merging is RFC 7396's but for choices, every value keeps its place, and a hostile base is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gdcli.errors import Place, SpecError
from gdcli.spec import bundled
from gdcli.spec.bundled import Source, find
from gdcli.spec.document import MAX_BYTES, MAX_VALUES, read
from gdcli.spec.extends import merge, merged
from gdcli.spec.json_schema import file_schema
from gdcli.spec.nodes import Node
from gdcli.spec.schema import parse
from gdcli.spec.writing import write


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def over(base: str, spec: str) -> Any:
    """What two texts are together."""
    return merge(read(base, "base.yaml"), read(spec, "spec.yaml")).plain()


def problems(name: str = "spec.yaml", *configs: str) -> list[str]:
    with pytest.raises(SpecError) as raised:
        merged(find(name), configs)
    return str(raised.value).splitlines()


# --- merging ----------------------------------------------------------------------------------------------------------

RFC_7396 = [  # the test cases of its appendix A that are mappings
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ({"z": 1}, {"a": {"bb": {"ccc": None}}}, {"z": 1, "a": {"bb": {}}}),
]


@pytest.mark.parametrize(("base", "spec", "expected"), RFC_7396)
def test_the_cases_of_json_merge_patch(base: Any, spec: Any, expected: Any) -> None:
    assert over(json.dumps(base), json.dumps(spec)) == expected


def patched(base: Any, patch: Any) -> Any:
    """MergePatch of RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    found = dict(base) if isinstance(base, dict) else {}
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = patched(found.get(name), value)
    return found


def trees() -> st.SearchStrategy[dict[str, Any]]:
    keys = st.sampled_from("abc")
    leaves = st.none() | st.integers(0, 3) | st.lists(st.none() | st.integers(0, 3), max_size=2)
    inner = st.recursive(leaves, lambda below: st.dictionaries(keys, below, max_size=3), max_leaves=8)
    return st.dictionaries(keys, inner, min_size=1, max_size=3)


@given(trees(), trees())
def test_merging_is_json_merge_patch(base: dict[str, Any], spec: dict[str, Any]) -> None:
    assert over(json.dumps(base), json.dumps(spec)) == patched(base, spec)


CHOICES = [
    # the same choice keeps its settings, whole or short; another one brings its own
    ("optimizer: {name: adam, lr: 0.1}", "optimizer: {lr: 0.2}", {"name": "adam", "lr": 0.2}),
    ("optimizer: {name: adam, lr: 0.1}", "optimizer: {name: adam, eps: 1.0}", {"name": "adam", "lr": 0.1, "eps": 1.0}),
    ("optimizer: {name: adam, beta1: 0.8}", "optimizer: {name: sgd, lr: 1}", {"name": "sgd", "lr": 1}),
    ("optimizer: {name: adam, beta1: 0.8}", "optimizer: adam", {"name": "adam", "beta1": 0.8}),
    ("optimizer: {name: adam, beta1: 0.8}", "optimizer: sgd", "sgd"),
    ("optimizer: sgd", "optimizer: {lr: 0.2}", {"name": "sgd", "lr": 0.2}),
    ("model: {type: mlp, layers: [2, 3]}", "model: {type: linear}", {"type": "linear"}),
    ("model: {from: last}", "model: {type: linear}", {"from": "last", "type": "linear"}),
    ("batch: {size: 8}", "batch: {mode: full}", {"mode": "full"}),
    ("batch: {size: 8}", "batch: {mode: mini-batch}", {"size": 8, "mode": "mini-batch"}),
    ("scheduler: {name: step, step_size: 2}", "scheduler: {name: cosine}", {"name": "cosine"}),
    ("scheduler: {groups: {b: constant}}", "scheduler: {name: step}", {"groups": {"b": "constant"}, "name": "step"}),
    (
        "scheduler: {groups: {b: {name: warmup, then: {name: cosine, steps: 5}}}}",
        "scheduler: {groups: {b: {then: {name: step}}}}",
        {"groups": {"b": {"name": "warmup", "then": {"name": "step"}}}},
    ),
    (
        "scheduler: {name: warmup, then: {name: warmup, then: {name: cosine, steps: 5}}}",
        "scheduler: {then: {then: step}}", {"name": "warmup", "then": {"name": "warmup", "then": "step"}},
    ),
    # a source of data takes the place of another, and what all sources take stays
    (
        "data: {generate: {kind: moons, n: 9}, standardize: true, seed: 2}", "data: {dataset: iris}",
        {"standardize": True, "seed": 2, "dataset": "iris"},
    ),
    ("data: {file: a.csv, target: y, missing: drop}", "data: {x: [1], y: [2]}", {"x": [1], "y": [2]}),
    ("data: {file: a.csv, target: y}", "data: {file: b.csv}", {"file": "b.csv", "target": "y"}),
    ("data: {target: y}", "data: {file: b.csv}", {"file": "b.csv", "target": "y"}),
    ("data: {generate: {kind: moons, noise: 1}}", "data: {generate: {kind: xor}}", {"generate": {"kind": "xor"}}),
    ("data: {generate: {kind: xor, n: 4}}", "data: {generate: {n: 8}}", {"generate": {"kind": "xor", "n": 8}}),
    # one value of several keys
    ("data: {test: {file: a, sha256: b}}", "data: {test: {file: c}}", {"test": {"file": "c"}}),
    (
        "model: {init: {w: {normal: [0, 1]}}}", "model: {init: {w: {uniform: [0, 1]}}}",
        {"init": {"w": {"uniform": [0, 1]}}},
    ),
    ("clip: {norm: 1}", "clip: {value: 2}", {"value": 2}),
    (
        "compare: {optimizers: {a: {name: adam, beta1: 0.5}, sgd: {lr: 1}}}",
        "compare: {optimizers: {a: {name: sgd}, sgd: {name: sgd, momentum: 0.5}}}",
        {"optimizers": {"a": {"name": "sgd"}, "sgd": {"lr": 1, "name": "sgd", "momentum": 0.5}}},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("base", "spec", "expected"), CHOICES)
def test_another_choice_brings_its_own_settings(base: str, spec: str, expected: Any) -> None:
    (found,) = over(base, spec).values()
    assert found == expected


@pytest.mark.parametrize("name", bundled.names())
def test_a_spec_in_two_files_is_the_spec_written_whole(name: str) -> None:
    """Every second key of each mapping stands in the base, the others in the spec, and in a third file."""

    def part(value: dict[str, Any], number: int) -> dict[str, Any]:
        found = {}
        for k, (key, item) in enumerate(value.items()):
            if isinstance(item, dict) and len(item) > 2 and key != "init":
                found[key] = part(item, number)
            elif k % 3 == number:
                found[key] = item
        return found

    whole = read((bundled.folder() / f"{name}.yaml").read_bytes(), name).plain()
    Path("base.yaml").write_text(write(part(whole, 0)))
    Path("spec.yaml").write_text(write({"extends": "base.yaml", **part(whole, 1)}))
    Path("more.yaml").write_text(write(part(whole, 2)))
    source = merged(find("spec.yaml"), ["more.yaml"])
    assert source.document is not None
    assert source.document.plain() == whole
    assert read(source.text, "spec.yaml").plain() == whole
    alone = merged(find(name))
    assert alone.document is not None
    assert (alone.document.plain(), alone.text, alone.files) == (whole, find(name).text, ())


# --- places -----------------------------------------------------------------------------------------------------------


def leaves(node: Node) -> Iterator[tuple[Place, str]]:
    """Each key and scalar of a document with its place."""
    if isinstance(node.value, dict):
        for key, entry in node.value.items():
            yield entry.key, key
            yield from leaves(entry.node)
    elif isinstance(node.value, tuple):
        for item in node.value:
            yield from leaves(item)
    else:
        yield node.place, node.text


def test_every_key_and_value_keeps_its_place() -> None:
    Path("below").mkdir()
    Path("below/base.yaml").write_text(
        "# base\nepochs: 5\noptimizer:\n  name: sgd\n  lr: 0.1\ndata: {x: [1, 2], y: [3]}\n"
    )
    Path("spec.yaml").write_text("seed: 3\nextends: below/base.yaml\noptimizer: {momentum: 0.5, lr: 0.25}\n")
    Path("more.yaml").write_text("\n\nepochs: 8\nstop: {loss: 0.5}\n")
    found = merged(find("spec.yaml"), ["more.yaml"]).document
    assert found is not None
    files = set()
    for place, text in leaves(found):
        assert Path(place.file).read_text().split("\n")[place.line - 1][place.column - 1 :].startswith(text)
        files.add(place.file)
    assert files == {"spec.yaml", "below/base.yaml", "more.yaml"}


# --- what cannot be extended ------------------------------------------------------------------------------------------

REFUSED = [
    ("extends: 5", "spec.yaml:1:10: extends: must be the path of a spec"),
    ("seed: 1\nextends: [a, b]", "spec.yaml:2:10: extends: must be the path of a spec"),
    ("extends: ''", "spec.yaml:1:10: extends: must be the path of a spec"),
    ("extends: spec.yaml", "spec.yaml:1:10: extends: this file extends itself"),
    ("extends: ./x/../spec.yaml", "spec.yaml:1:10: extends: this file extends itself"),
    ("extends: circle.yaml", "circle.yaml:2:1: extends: the two extend each other (it is extended at spec.yaml:1:10)"),
    ("extends: into_a_loop.yaml",
     "into_a_loop.yaml:1:1: extends: a file that is extended cannot extend another one"),
    ("extends: second.yaml", "second.yaml:1:1: extends: a file that is extended cannot extend another one"),
    ("extends: bsae.yaml", "spec.yaml:1:10: extends: there is no file 'bsae.yaml', and no bundled spec of that name."
     " Did you mean 'base.yaml'?"),
    ("extends: x/bsae.yml", "spec.yaml:1:10: extends: there is no file 'x/bsae.yml', and no bundled spec of that name."
     " Did you mean 'x/base.yml'?"),
    ("extends: irs", "spec.yaml:1:10: extends: there is no file 'irs', and no bundled spec of that name."
     " Did you mean 'iris'?"),
    ("extends: x", "spec.yaml:1:10: extends: 'x' is a folder, not a spec"),
    ("extends: /dev/zero", "spec.yaml:1:10: extends: '/dev/zero' is not a regular file"),
    ("extends: pipe", "spec.yaml:1:10: extends: 'pipe' is not a regular file"),
    ("extends: loop", "spec.yaml:1:10: extends: cannot read 'loop'"),
    ("extends: spec.yaml/base", "spec.yaml:1:10: extends: there is no file"),
    (f"extends: {'a' * 300}", "spec.yaml:1:10: extends: this cannot be the name of a file"),
    (f"extends: {'a/' * 4000}b", "spec.yaml:1:10: extends: cannot read"),
    ("extends: large.yaml", f"large.yaml:1:1: larger than {MAX_BYTES:,} bytes"),
    ("extends: bomb.yaml", "bomb.yaml:1:4: a: anchors are refused"),
    ("extends: list.yaml", "list.yaml:1:1: the document is a list"),
    ("extends: empty.yaml", "empty.yaml:1:1: the file is empty"),
    ("extends: broken.yaml", "broken.yaml:2:7: data: the bracket that opens here is not closed"),
]  # fmt: skip


@pytest.fixture
def hostile() -> None:
    Path("x").mkdir()
    os.mkfifo("pipe")
    Path("loop").symlink_to("loop")
    texts = {
        "base.yaml": "seed: 1", "x/base.yml": "seed: 1", "circle.yaml": "seed: 1\nextends: spec.yaml",
        "second.yaml": "extends: base.yaml", "into_a_loop.yaml": "extends: loop",
        "large.yaml": "a" * (MAX_BYTES + 1), "empty.yaml": "",
        "bomb.yaml": "a: &a [1, 1]\nb: [*a, *a]", "list.yaml": "[1]",
        "broken.yaml": "seed: 1\ndata: {x: [1]\nmodel: mlp",
    }  # fmt: skip
    for name, text in texts.items():
        Path(name).write_text(text)


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize(("text", "expected"), REFUSED)
def test_what_cannot_be_extended_is_told_at_its_place(text: str, expected: str) -> None:
    Path("spec.yaml").write_text(text)
    assert problems()[0].startswith(expected)


@pytest.mark.usefixtures("hostile")
def test_a_file_of_config_is_refused_as_a_base_is() -> None:
    Path("spec.yaml").write_text("epochs: 3")
    assert problems("spec.yaml", "bsae.yaml") == [
        "--config: there is no file 'bsae.yaml', and no bundled spec of that name. Did you mean 'base.yaml'?"
    ]
    assert problems("spec.yaml", "base.yaml", "second.yaml")[0].startswith(
        "second.yaml:1:1: extends: a file of --config"
    )
    assert problems("spec.yaml", "pipe") == ["--config: 'pipe' is not a regular file"]


@pytest.mark.parametrize(
    ("value", "limit"),
    [
        (f"[{', '.join('1' * 12_000)}]", "20,000 values"),
        (f"[{', '.join(['[]'] * 6_000)}]", "10,000 lists and mappings"),
        (f"[{', '.join(['x' * 9_999] * 20)}]", "262,144 bytes"),
    ],
    ids=["values", "lists", "bytes"],
)
def test_files_that_are_too_much_together_are_refused(value: str, limit: str) -> None:
    """A record's spec has to be read again; what is at its limit can be."""
    for name, head in (("base", ""), ("spec", "extends: base.yaml\n")):
        Path(f"{name}.yaml").write_text(f"{head}{name}: {value}")
    assert problems() == [f"spec.yaml:1:1: merged from base.yaml, spec.yaml: more than {limit}"]


def test_files_that_are_just_not_too_much_can_be_read_again() -> None:
    count = MAX_VALUES - 3  # the document, two lists
    Path("base.yaml").write_text(f"a: [{', '.join('1' * (count // 2))}]")
    for more, is_read in ((0, True), (1, False)):
        Path("spec.yaml").write_text(f"extends: base.yaml\nb: [{', '.join('1' * (count - count // 2 + more))}]")
        if is_read:
            read(merged(find("spec.yaml")).text, "spec.yaml")
        else:
            problems()


def test_a_misspelled_extends_is_known() -> None:
    Path("spec.yaml").write_text("extend: iris")
    document = merged(find("spec.yaml")).document
    assert document is not None
    with pytest.raises(SpecError, match="Did you mean 'extends'"):
        parse(document, "spec")


# --- paths, comments, schema ------------------------------------------------------------------------------------------

PATHS = """
data: {file: rows.csv, validation: v.csv, test: {file: "../t.csv"}}
model: {type: linear, from: w.safetensors}
"""


def test_a_path_is_relative_to_the_file_that_it_stands_in() -> None:
    for folder in ("common", "mine"):
        Path(folder).mkdir()
    Path("common/base.yaml").write_text(PATHS)
    Path("mine/spec.yaml").write_text("extends: ../common/base.yaml\ndata: {validation: own.csv}")
    Path("idx.yaml").write_text("data: {idx: {images: i.gz, labels: /abs/l.gz}}\nmodel: {from: last}")
    found = merged(find("mine/spec.yaml")).document
    assert found is not None
    assert found.find(("data", "file")) is not None
    wanted = {"file": "common/rows.csv", "validation": "mine/own.csv", "test": "t.csv"}
    data = found.plain()["data"]
    given = {"file": data["file"], "validation": data["validation"], "test": data["test"]["file"]}
    assert {key: os.path.normpath(Path("mine", path)) for key, path in given.items()} == wanted
    assert os.path.normpath(Path("mine", found.plain()["model"]["from"])) == "common/w.safetensors"
    images = merged(find("mine/spec.yaml"), ["idx.yaml"]).document
    assert images is not None
    assert images.plain()["data"]["idx"] == {"images": "../i.gz", "labels": "/abs/l.gz"}
    assert images.plain()["model"]["from"] == "last"  # a record, as there is no such file


def test_a_path_of_another_folder_is_taken_away_by_null() -> None:
    Path("mine").mkdir()
    Path("mine/base.yaml").write_text("data: {file: rows.csv, validation: v.csv}")
    Path("spec.yaml").write_text("extends: mine/base.yaml\ndata: {validation: null}")
    Path("mine/more.yaml").write_text("data: {file: null}")
    document = merged(find("spec.yaml"), ["mine/more.yaml"]).document
    assert document is not None
    assert document.plain() == {"data": {}}


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        ("data.file: [a.csv, b.csv]", {"data.file": ["../common/a.csv", "../common/b.csv"]}),
        ("file: 'a.csv, b.csv'", {"file": ["../common/a.csv", "../common/b.csv"]}),
        ("data.validation: [0.1, v.csv]", {"data.validation": [0.1, "../common/v.csv"]}),
        ("data.validation: '0.1,0.2'", {"data.validation": "0.1,0.2"}),
        ("zip: {data.file: [a.csv], lr: [0.1]}", {"zip": {"data.file": ["../common/a.csv"], "lr": [0.1]}}),
        ("model.from: [last, w.safetensors]", {"model.from": ["last", "../common/w.safetensors"]}),
        ("weight: [1, 2]", {"weight": [1, 2]}),
    ],
)
def test_the_paths_of_a_sweep_are_relative_to_its_file_too(grid: str, expected: dict[str, Any]) -> None:
    for folder in ("common", "mine"):
        Path(folder).mkdir()
    for name in ("a.csv", "b.csv"):
        Path("common", name).touch()
    Path("common/base.yaml").write_text(f"sweep: {{parameters: {{{grid}}}}}")
    Path("mine/spec.yaml").write_text("extends: ../common/base.yaml")
    document = merged(find("mine/spec.yaml")).document
    assert document is not None
    assert document.plain()["sweep"]["parameters"] == expected


def test_a_folder_with_the_name_of_a_bundled_spec_does_not_hide_it() -> None:
    Path("mine/iris").mkdir(parents=True)
    Path("mine/spec.yaml").write_text("extends: iris")
    document = merged(find("mine/spec.yaml")).document
    assert document is not None
    assert document.find(("model",)) is not None


def test_a_name_of_a_file_cannot_end_the_comment() -> None:
    Path("base\nseed: 7\n.yaml").write_text("epochs: 3")
    source = merged(Source(Path("spec.yaml"), "spec.yaml", b'extends: "base\\nseed: 7\\n.yaml"'))
    assert read(source.text, "spec.yaml").plain() == {"epochs": 3}


def test_the_schema_of_a_file_takes_parts_of_a_spec_where_it_extends_one() -> None:
    schema = file_schema()
    Draft202012Validator.check_schema(schema)
    valid = Draft202012Validator(schema).is_valid
    part = {"optimizer": {"lr": 0.1, "momentum": None}, "epochs": None, "data": {"validation": 0.2}, "seed": 3}
    assert valid({"extends": "base.yaml", **part})
    assert not valid(part)
    assert not valid({"extends": "base.yaml", "sede": 3})
    assert not valid({"extends": "base.yaml", "epochs": "many"})
    assert not valid({"extends": 3})
    whole = read((bundled.folder() / "backprop_2x2.yaml").read_bytes(), "f").plain()
    assert valid(whole)
    assert not valid(whole | {"epochs": None})
