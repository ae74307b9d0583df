"""The JSON Schema of a spec, from the sections and signatures that the parser checks with.

It refuses nothing that the parser takes. The parser knows more: shapes, names of parameters, rules between arguments.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from pydantic import BaseModel

from gdcli.spec.data_sections import DataCommon, FileData, IdxData, InlineData, NamedDataset
from gdcli.spec.descriptions import described
from gdcli.spec.expectations import Expectation
from gdcli.spec.models import INIT_NAMES
from gdcli.spec.sections import EXPECT, SECTIONS, Batch, Settings, StartWeights
from gdcli.spec.signature import arguments_model
from gdcli.zoo.data import GENERATORS
from gdcli.zoo.losses import LOSSES
from gdcli.zoo.models import MODELS
from gdcli.zoo.optimizers import OPTIMIZERS
from gdcli.zoo.schedulers import SCHEDULERS
from gdcli.zoo.torch_layers import LAYERS

Schema: TypeAlias = dict[str, Any]
_Table: TypeAlias = Mapping[str, Callable[..., Any]]

_NUMBERS: Schema = {"type": "array", "minItems": 1, "items": {"type": "number"}}
_ROWS: Schema = {
    "description": "Numbers, one a row; or rows of numbers.",
    "type": "array",
    "minItems": 1,
    "anyOf": [{"items": {"type": "number"}}, {"items": _NUMBERS}],
}
_PAIR: Schema = {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "number"}}

# Pydantic writes bounds under these names where a validator stands before them.
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}

# What each key of Settings is, for an editor's tooltip; the sections and ingredients have docstrings.
_SETTINGS = {
    "name": "The experiment's name, also of its folder; the file's stem when absent.",
    "description": "Text for the reader.",
    "epochs": "Passes over the data; 0: one forward and backward, no update.",
    "device": "Where the run computes.",
    "dtype": "Floating-point type of data, parameters and losses.",
    "seed": "Of the weights; data, shuffle and noise have generators derived from it.",
    "threads": "Of the CPU; auto: 1 for small models, the physical cores for large ones.",
    "metrics": "What is told besides the loss; accuracy of classes, r2 and mae of values when absent.",
    "metric": "What the best epoch, tuning and ranking go by: loss, or a metric, of the validation rows if there are.",
    "watch": "Inputs and intermediate values whose gradients are recorded: x, h1, net_o1, linear1.output.",
    "world_size": "Processes that train the run together, as torchrun starts them; when absent as many as there are.",
    "engine": "by_hand: the backward pass written out; autograd: torch's; auto: the first where there is one.",
}


def file_schema() -> Schema:
    """Return the JSON Schema of a file, which is a whole spec, or a part of one that extends another file.

    A part may lack names and required keys, and takes keys away with null: of its mappings no more is known.
    """
    whole = json_schema()
    definitions = whole.pop("$defs")
    head = {key: whole.pop(key) for key in ("$schema", "title", "description")}
    keys: Schema = {"extends": {"description": _EXTENDS, "type": "string", "minLength": 1}}
    for key, schema in whole["properties"].items():
        own = {"$ref": f"#/$defs/spec/properties/{key}"}
        keys[key] = {"description": schema["description"], "anyOf": [own, {"type": ["object", "null"]}]}
    part = {"type": "object", "properties": keys, "required": ["extends"], "additionalProperties": False}
    return {
        **head,
        "if": {"type": "object", "required": ["extends"]},
        "then": {"$ref": "#/$defs/part"},
        "else": {"$ref": "#/$defs/spec"},
        "$defs": {"spec": whole, "part": part, **definitions},
    }


_EXPECTED = "What the end of the run is held to, by the name of the number: final_loss, accuracy, linear1.weight[0,0]."
_EXTENDS = "The file, or bundled spec, whose keys count where this one has none; null takes one of them away."


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a whole spec.

    >>> sorted(json_schema()["properties"]["optimizer"])
    ['anyOf', 'description']
    """
    definitions = _Definitions()
    settings = definitions.of_model(Settings, "settings")["properties"]
    for key, text in _SETTINGS.items():
        settings[key]["description"] = text
    properties = {
        **settings,
        "data": _data(definitions),
        "model": _model(definitions),
        "loss": _choice(definitions, "loss", _named(definitions, "loss", LOSSES, "name"), "name", "What is minimised."),
        "optimizer": _optimizer(definitions),
        "scheduler": _scheduler(definitions),
        **{key: _section(definitions, key, section) for key, section in SECTIONS.items()},
        EXPECT: _by_name(_EXPECTED, definitions.add(EXPECT, definitions.of_model(Expectation, EXPECT))),
    }
    described({"properties": properties, "$defs": definitions.found})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "gdcli experiment",
        "description": "One experiment of gdcli.",
        "type": "object",
        "properties": properties,
        "required": ["model"],
        "additionalProperties": False,
        "allOf": _RULES,
        "$defs": definitions.found,
    }


_IS_OBJECTIVE: Schema = {
    "properties": {"model": {"type": "object", "properties": {"type": {"const": "objective"}}, "required": ["type"]}},
    "required": ["model"],
}
_RULES: list[Schema] = [
    {
        "if": _IS_OBJECTIVE,
        "then": {"properties": {"data": False, "loss": False, "batch": {"enum": ["full", {"mode": "full"}]}}},
        "else": {"required": ["data", "loss"]},
    },
    {
        "anyOf": [
            {"required": ["optimizer"]},
            {"properties": {"epochs": {"const": 0}}, "required": ["epochs"]},
            {"required": ["sweep"]},
            {"required": ["compare"]},
        ]
    },
]


class _Definitions:
    """The entries of ``$defs``: each model's own under its kind, so that equal names of two kinds do not clash."""

    def __init__(self) -> None:
        self.found: Schema = {}

    def add(self, name: str, schema: Schema) -> Schema:
        self.found[name] = schema
        return {"$ref": f"#/$defs/{name}"}

    def of_model(self, model: type[BaseModel], kind: str) -> Schema:
        """Return a model's schema in standard words; what it defines itself moves to ours."""
        schema: Schema = _standard(model.model_json_schema(ref_template=f"#/$defs/{kind}.{{model}}"))
        for name, inner in schema.pop("$defs", {}).items():
            self.add(f"{kind}.{name}", inner)
        if "description" in schema:
            schema["description"] = _first_line(schema["description"])
        return schema


def _standard(schema: Any) -> Any:
    """Return pydantic's schema without titles it made of the names, with bounds under their standard names."""
    if isinstance(schema, list):
        return [_standard(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    standard = {}
    for key, value in schema.items():
        if key in ("properties", "$defs"):  # names, not keywords
            standard[key] = {name: _standard(inner) for name, inner in value.items()}
        elif key in ("default", "enum", "const"):
            standard[key] = value
        elif key != "title":
            standard[_BOUNDS.get(key, key)] = _standard(value)
    return standard


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]


def _named(definitions: _Definitions, kind: str, table: _Table, tag: str) -> dict[str, Schema]:
    """Return each ingredient of a table as a mapping: its name under ``tag``, and its arguments."""
    schemas = {}
    for name, function in table.items():
        schema = definitions.of_model(arguments_model(function), kind)
        schema["description"] = _first_line(inspect.getdoc(function))
        schema["properties"] = {tag: {"const": name}, **schema["properties"]}
        schema["required"] = [tag, *schema.get("required", [])]
        schemas[name] = schema
    return schemas


def _choice(
    definitions: _Definitions, kind: str, schemas: Mapping[str, Schema], tag: str, text: str, *, short: bool = True
) -> Schema:
    """Return the choice between mappings, and between the bare names of those that need no argument."""
    mappings = {"oneOf": [definitions.add(f"{kind}.{name}", schema) for name, schema in schemas.items()]}
    if not short:
        return {"description": text, **mappings}
    bare = [name for name, schema in schemas.items() if schema["required"] == [tag]]
    return {"description": text, "anyOf": [{"type": "string", "enum": bare}, mappings]}


def _by_name(text: str, schema: Schema) -> Schema:
    """Return a mapping from names or globs of parameters."""
    return {"description": text, "type": "object", "additionalProperties": schema}


def _data(definitions: _Definitions) -> Schema:
    generators = _named(definitions, "generate", GENERATORS, "kind")
    generate = _choice(definitions, "generate", generators, "kind", "Rows made up from the seed.", short=False)
    inline = definitions.of_model(InlineData, "data")
    inline["properties"] = {"x": _ROWS, "y": _ROWS}
    sources = {
        "inline": ("Rows written in the spec.", inline),
        "file": ("Columns of a CSV, TSV, Parquet or NPZ file.", definitions.of_model(FileData, "data")),
        "idx": ("Images and labels of two IDX files.", definitions.of_model(IdxData, "data")),
        "generate": (
            "Rows made up from the seed.",
            {"type": "object", "properties": {"generate": generate}, "required": ["generate"]},
        ),
        "dataset": ("A data set inside scikit-learn's wheel.", definitions.of_model(NamedDataset, "data")),
    }
    common = definitions.of_model(DataCommon, "data")["properties"]
    for text, schema in sources.values():
        schema |= {"description": text, "additionalProperties": False}
        schema["properties"] |= common
    schemas = {name: schema for name, (_, schema) in sources.items()}
    return _choice(definitions, "data", schemas, "", "Where the rows come from.", short=False)


def _model(definitions: _Definitions) -> Schema:
    definitions.add("numbers", {"type": "array", "items": {"anyOf": [{"type": "number"}, {"$ref": "#/$defs/numbers"}]}})
    start = definitions.add(
        "init",
        {
            "description": "Nested lists, a number that fills, a distribution, or a name of torch.nn.init.",
            "anyOf": [
                {"type": "number"},
                {"type": "string", "enum": list(INIT_NAMES)},
                {"$ref": "#/$defs/numbers"},
                *(
                    {
                        "type": "object",
                        "properties": {name: dict(_PAIR)},
                        "required": [name],
                        "additionalProperties": False,
                    }
                    for name in ("normal", "uniform")
                ),
            ],
        },
    )
    schemas = _named(definitions, "model", MODELS, "type")
    schemas["sequential"]["properties"]["layers"]["items"] = _layer(definitions)
    weights = definitions.of_model(StartWeights, "model")["properties"]
    for schema in schemas.values():
        schema["properties"] |= weights
        schema["properties"] |= {
            "init": _by_name("Start values by parameter name or glob.", start),
            "freeze": {
                "description": "Parameters that are not trained, by name or glob.",
                "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
            },
        }
    chosen = _choice(definitions, "model", schemas, "type", "What is trained.")
    names: Schema = {key: {} for key in ("type", "from")}  # what else a record's model takes is that model's
    of_record = {"type": "object", "properties": names, "required": ["from"], "not": {"required": ["type"]}}
    return {**chosen, "anyOf": [*chosen["anyOf"], of_record]}


def _layer(definitions: _Definitions) -> Schema:
    """Return one of torch's layers: a name, a mapping, or a list of layers whose input is added."""
    name = {"name": {"type": "string", "description": "The layer's own name; its place, from 0, when absent."}}
    inside = {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/layer"}}
    one = {
        "type": "object",
        "properties": {"layer": {"type": "string", "enum": sorted(LAYERS)}, "last": {"type": "boolean"}, **name},
        "required": ["layer"],  # the rest are the arguments of torch's class
    }
    several = {
        "type": "object",
        "properties": {"residual": inside, **name},
        "required": ["residual"],
        "additionalProperties": False,
    }
    return definitions.add("layer", {"anyOf": [{"type": "string", "enum": sorted(LAYERS)}, one, several]})


def _optimizer(definitions: _Definitions) -> Schema:
    schemas = _named(definitions, "optimizer", OPTIMIZERS, "name")
    for schema in schemas.values():
        settings = {key: value for key, value in schema["properties"].items() if key != "name"}
        settings = {key: {k: v for k, v in value.items() if k != "default"} for key, value in settings.items()}
        one = {"type": "object", "properties": settings, "additionalProperties": False}
        schema["properties"]["groups"] = _by_name("Settings of groups of parameters, by name or glob.", one)
    return _choice(definitions, "optimizer", schemas, "name", "The update rule.")


def _scheduler(definitions: _Definitions) -> Schema:
    """Return a schedule with its groups, or the groups alone."""
    alone = _named(definitions, "schedule", SCHEDULERS, "name")
    one = {"anyOf": [*alone.values(), {"enum": sorted(SCHEDULERS)}]}
    groups = _by_name("Schedules of groups of parameters, by name or glob.", one)
    schemas = _named(definitions, "scheduler", SCHEDULERS, "name")
    for schema in schemas.values():
        schema["properties"]["groups"] = groups
    only = {"type": "object", "properties": {"groups": groups}, "required": ["groups"], "additionalProperties": False}
    chosen = _choice(definitions, "scheduler", schemas, "name", "How the learning rate changes over the epochs.")
    return {**chosen, "anyOf": [*chosen["anyOf"], only]}


def _section(definitions: _Definitions, key: str, section: type[BaseModel]) -> Schema:
    schema = definitions.of_model(section, key)
    if key == "print":
        schema["properties"]["predict"] = {"anyOf": [{"type": "number"}, _NUMBERS, {"type": "null"}]}
    own = definitions.add(key, schema)
    description = {"description": schema["description"]}
    if section is Batch:
        modes = schema["properties"]["mode"]["enum"]
        return {**description, "anyOf": [{"type": "string", "enum": modes}, own]}
    if key in ("sweep", "compare"):  # null is as good as absent
        return {**description, "anyOf": [own, {"type": "null"}]}
    return {**description, **own}
