"""The pages that are made from the code: every key of the spec, every command; and the man page of the same commands.

MkDocs calls the functions ``on_...`` when it builds the site; ``python docs/generated.py gdcli.1`` writes the man page.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
import typing
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import typer

from gdcli import __version__
from gdcli.cli.application import app
from gdcli.spec.descriptions import DESCRIPTIONS
from gdcli.spec.json_schema import file_schema, json_schema

SECTIONS = {
    "data": ("Data", ["data"]),
    "generators": ("Generated data", ["generate"]),
    "models": ("Models", ["model", "init", "layer"]),
    "losses": ("Losses", ["loss"]),
    "optimizers": ("Optimizers", ["optimizer"]),
    "schedulers": ("Schedulers", ["scheduler"]),
}
"""Pages of the reference: a title, and the kinds of definitions that stand on it; the other keys are settings."""

ONE_OF = {"data": "source of data", "generate": "generator"}


def on_config(config: Any) -> Any:
    """Add the made pages to the navigation."""
    spec = next(entry["The spec"] for entry in config["nav"] if "The spec" in entry)
    spec += [{page_title(text): name} for name, text in spec_pages().items()]
    commands = [{page_title(text): name} for name, text in command_pages().items()]
    config["nav"].append({"Commands": commands})
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the made pages to the files of the site."""
    from mkdocs.structure.files import File

    for name, text in {**spec_pages(), **command_pages()}.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Say of a Chinese page that it is one, for readers' fonts and voices."""
    return output.replace('<html lang="en"', '<html lang="zh-Hans"', 1) if page.url.endswith(".zh.html") else output


def page_title(text: str) -> str:
    """Return the first heading of a page."""
    return text.partition("\n")[0].removeprefix("# ").strip("`")


# --- the spec ---------------------------------------------------------------------------------------------------------


def spec_pages() -> dict[str, str]:
    """Return the pages of all keys of the spec, by name."""
    schema = json_schema()
    definitions = schema["$defs"]
    on_pages = {kind: name for name, (_, kinds) in SECTIONS.items() for kind in kinds}
    own = {name: inner for name, inner in schema["properties"].items() if name not in SECTIONS and name not in on_pages}
    own["extends"] = file_schema()["$defs"]["part"]["properties"]["extends"]
    pages = {"reference/settings.md": _settings_page(own, definitions)}
    for name, (title, kinds) in SECTIONS.items():
        parts = [f"# {title}: every key"]
        for kind in kinds:
            if kind in schema["properties"]:
                parts.append(f"The key `{kind}`: {schema['properties'][kind]['description']}")
            found = {full: inner for full, inner in definitions.items() if full.partition(".")[0] == kind}
            common = _common([_rows(inner) for full, inner in found.items() if not _is_helper(full)])
            parts += [_definition(full, inner, common) for full, inner in found.items()]
            if common:
                parts.append(f"## Keys of every {ONE_OF.get(kind, kind)}\n\n" + "\n".join([*HEAD, *common]))
        pages[f"reference/{name}.md"] = "\n\n".join(parts) + "\n"
    return pages


def _settings_page(own: dict[str, Any], definitions: dict[str, Any]) -> str:
    sections, rows, rest = [], [], set()
    for name, inner in own.items():
        target = _reference(inner)
        if target in definitions or "properties" in inner:
            body = definitions.get(target, inner)
            sections.append(f"## {name}\n\n{inner['description']}\n\n{_table(body, [])}")
        else:
            rows.append(_row(name, inner, required=False))
            rest.add(name)
    shown = {kind for _, kinds in SECTIONS.values() for kind in kinds} | {"numbers"} | set(own) - rest
    sections += [
        _definition(full, inner, []) for full, inner in definitions.items() if full.partition(".")[0] not in shown
    ]
    head = "# Settings: every key\n\nKeys at the top of a spec, then its sections."
    return "\n\n".join([head, "\n".join([*HEAD, *rows]), *sections]) + "\n"


def _reference(schema: dict[str, Any]) -> str | None:
    """Return the name of the definition that a schema is, alone or beside short forms."""
    for inner in (schema, *schema.get("anyOf", ())):
        if "$ref" in inner:
            return str(inner["$ref"]).rpartition("/")[2]
    return None


HEAD = ["key | takes | default | what it is", "---|---|---|---"]


def _definition(full: str, schema: dict[str, Any], common: list[str]) -> str:
    kind, _, name = full.partition(".")
    heading = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name) or kind
    parts = [f"## {heading}", schema.get("description", "")]
    if "properties" in schema:
        parts.append(_table(schema, common))
    else:
        rows = dict.fromkeys(row for inner in schema.get("anyOf", ()) for row in _rows(inner))
        parts += [f"It takes {_takes(schema)}.", "\n".join([*HEAD, *rows]) if rows else ""]
    return "\n\n".join(part for part in parts if part)


def _common(tables: list[list[str]]) -> list[str]:
    """Return the rows that several tables all have."""
    return [row for row in tables[0] if all(row in table for table in tables)] if len(tables) > 1 else []


def _is_helper(full: str) -> bool:
    """Whether a definition is part of others, as `data.IdxFiles`, `init`; the choices have names in small letters."""
    return not full.partition(".")[2][:1].islower()


def _rows(schema: dict[str, Any]) -> list[str]:
    required = schema.get("required", ())
    return [_row(name, inner, required=name in required) for name, inner in schema.get("properties", {}).items()]


def _table(schema: dict[str, Any], common: list[str]) -> str:
    rows = [row for row in _rows(schema) if row not in common]
    return "\n".join([*HEAD, *rows]) if rows else "No other keys."


def _row(name: str, schema: dict[str, Any], *, required: bool) -> str:
    default = "required" if required else _default(schema)
    text = schema.get("description") or DESCRIPTIONS.get(name, "")
    cells = (f"`{name}`", _takes(schema), default, text)
    return _line(cells)


def _line(cells: Sequence[str]) -> str:
    """Return the line of a table; signs | in code are no ends of cells, others are escaped."""
    texts = []
    for cell in cells:
        parts = " ".join(cell.split()).split("`")
        texts.append("`".join(part if k % 2 else part.replace("|", "\\|") for k, part in enumerate(parts)))
    return " | ".join(texts)


def _default(schema: dict[str, Any]) -> str:
    value = schema.get("default")
    if value is None:
        return ""
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _takes(schema: dict[str, Any]) -> str:
    """Return in words what a schema takes."""
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return _names([str(value) for value in schema["enum"]])
    if "$ref" in schema:
        return _linked(str(schema["$ref"]).rpartition("/")[2])
    for key in ("anyOf", "oneOf"):
        if key in schema and schema.get("type") != "object":
            texts = [_takes(inner) for inner in schema[key] if inner.get("type") != "null"]
            return " or ".join(dict.fromkeys(texts))
    return _of_type(schema)


def _names(names: list[str]) -> str:
    if len(names) > 30:
        return "one of torch's layers, which `gdcli catalog layer` lists"
    return ", ".join(f"`{name}`" for name in names)


def _linked(name: str) -> str:
    kind = name.partition(".")[0]
    texts = {"init": "a start value", "layer": "a layer", "numbers": "nested lists of numbers"}
    return texts.get(kind, "a mapping" if kind == name or name[name.find(".") + 1].isupper() else f"`{name}`")


def _of_type(schema: dict[str, Any]) -> str:
    kind = schema.get("type", "array" if "items" in schema else None)
    if kind == "array":
        if "anyOf" in schema:
            return " or ".join(_takes(inner) for inner in schema["anyOf"])
        items = [*schema.get("prefixItems", ()), schema.get("items", {})]
        few = schema.get("maxItems")
        return f"a list of {few if few == 2 else ''} {_plural(_takes(items[0]))}".replace("  ", " ")
    if kind == "object":
        keys = list(schema.get("properties", ()))
        if keys:
            return "`{" + ", ".join(f"{key}: ..." for key in keys) + "}`"
        inner = schema.get("additionalProperties")
        named = isinstance(inner, dict) and "$ref" in inner
        return f"a mapping from names to {_plural(_takes(inner))}" if named else "a mapping"
    words = {"number": "number", "integer": "integer", "boolean": "`true`, `false`", "string": "text", None: "anything"}
    return words[kind] + _bounds(schema)


def _plural(text: str) -> str:
    for one, many in (("number", "numbers"), ("integer", "integers"), ("text", "texts"), ("a list", "lists")):
        if text.startswith(one):
            return many + text.removeprefix(one)
    return text.removeprefix("a ") + "s" if text.startswith("a ") else text


def _bounds(schema: dict[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {schema[key]:,}" for key, sign in signs.items() if key in schema and abs(schema[key]) < 2**31]
    return f" {', '.join(found)}" if found else ""


# --- the commands -----------------------------------------------------------------------------------------------------


def program() -> Any:
    """Return gdcli itself, whose options stand before a command."""
    return typer.main.get_command(app())


def commands() -> Iterator[tuple[str, Any]]:
    """Yield the name of each command, and the command."""
    group = program()
    yield from ((name, command) for name, command in group.commands.items() if not command.hidden)


def _usage(name: str, command: Any) -> str:
    words = [_metavar(each) for each in command.params if each.param_type_name == "argument"]
    return " ".join([f"gdcli {name}", "[OPTIONS]", *words])


def _metavar(argument: Any) -> str:
    word = argument.metavar or str(argument.name).upper()
    return word if argument.required or word.startswith("[") else f"[{word}]"


def _options(command: Any) -> Iterator[tuple[str, str]]:
    """Yield each option as it is written, and its help with the default."""
    for each in command.params:
        if each.param_type_name != "option" or each.hidden:
            continue
        written = ", ".join([*each.opts, *each.secondary_opts])
        if not each.is_flag:
            written += f" {each.metavar or _word(command, each.name)}"
        shown = each.default not in (None, False, (), []) and not each.is_flag and not callable(each.default)
        default = f" Default: {each.default}." if shown and "Default" not in (each.help or "") else ""
        yield written, (each.help or "") + default


def _word(command: Any, name: str) -> str:
    """Return what an option takes: its choices, or the name of its type."""
    hint = inspect.signature(command.callback, eval_str=True).parameters[name].annotation
    while typing.get_args(hint) and typing.get_origin(hint) is not typing.Literal:
        hint = typing.get_args(hint)[0]
    choices = typing.get_args(hint)
    return "|".join(map(str, choices)) if choices else NAMES.get(hint, hint.__name__.upper())


NAMES = {str: "TEXT", int: "N", float: "NUMBER"}


def _arguments(command: Any) -> Iterator[tuple[str, str]]:
    for each in command.params:
        if each.param_type_name == "argument":
            yield _metavar(each), getattr(each, "help", None) or ""


def command_pages() -> dict[str, str]:
    """Return a page for gdcli and for each command, by name."""
    lines = [f"| [`gdcli {name}`]({name}.md) | {_first_line(command.help)} |" for name, command in commands()]
    whole = [
        "# gdcli",
        "```text\ngdcli [OPTIONS] COMMAND ...\n```",
        "\n".join(["| command | does |", "|---|---|", *lines]),
    ]
    pages = {"commands/gdcli.md": "\n\n".join([*whole, _option_table(_options(program()))]) + "\n"}
    for name, command in commands():
        parts = [f"# gdcli {name}", _examples(command.help), f"```text\n{_usage(name, command)}\n```"]
        table = _option_table([*_arguments(command), *_options(command)])
        pages[f"commands/{name}.md"] = "\n\n".join([*parts, table]) + "\n"
    return pages


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _option_table(rows: Iterable[tuple[str, str]]) -> str:
    cells = [(f"`{written}`", text) for written, text in rows]
    return "\n".join(["option | what it does", "---|---", *map(_line, cells)])


def _examples(text: str) -> str:
    """Return a command's help with its examples as code."""
    paragraphs = text.replace("\b\n", "").split("\n\n")
    return "\n\n".join(
        f"Example: `{each.strip().removeprefix('Example: ')}`"
        if each.startswith("Example: ") and "\n" not in each.strip()
        else each
        for each in paragraphs
    )


def man_page() -> str:
    """Return the man page gdcli(1): all commands with their options, in troff."""
    lines = [
        f'.TH GDCLI 1 "" "gdcli {__version__}"',
        ".SH NAME",
        r"gdcli \- gradient descent and backpropagation from one YAML file",
        ".SH SYNOPSIS",
        ".B gdcli",
        r"\fICOMMAND\fR [\fIOPTIONS\fR] [\fIARGUMENTS\fR]",
        ".SH OPTIONS",
        *_troff_options(_options(program())),
        ".SH COMMANDS",
    ]
    for name, command in commands():
        lines += [f".SS {_troff(_usage(name, command))}", *_troff_paragraphs(command.help)]
        lines += _troff_options([*_arguments(command), *_options(command)])
    lines += [".SH EXIT STATUS", *_troff_options(EXIT_CODES.items())]
    return "\n".join(lines) + "\n"


EXIT_CODES = {
    "0": "Done.",
    "1": "It ran, and failed: a run diverged, a check or verification found a difference.",
    "2": "Bad input: a spec, a table, an option.",
    "3": "The machine: a full disk, a missing package, a record in use or damaged.",
    "130, 143": "Stopped by SIGINT or SIGTERM; the record is complete to the last step.",
    "70": "A bug in gdcli.",
}


def _troff_options(rows: Iterable[tuple[str, str]]) -> list[str]:
    return [line for written, text in rows for line in (".TP", rf"\fB{_troff(written)}\fR", _troff(text))]


def _troff(text: str) -> str:
    """Return a text on one line in which troff finds nothing to obey."""
    line = " ".join(text.split()).replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{line}" if line.startswith((".", "'")) else line


def _troff_paragraphs(text: str) -> list[str]:
    return [line for each in text.replace("\b\n", "").split("\n\n") for line in (".PP", _troff(each))]


if __name__ == "__main__":
    os.environ.setdefault("COLUMNS", "100")
    Path(sys.argv[1]).write_text(man_page(), encoding="utf-8")
