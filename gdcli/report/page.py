"""One HTML file that needs nothing else: data, scripts and styles in one template, for `gdcli report`.

The file has one script and one style, whose hashes stand in its Content-Security-Policy: nothing else runs or loads,
whatever the texts of a record are. The data is JSON in a block that is never run; what is stepped through, which says
much again and again, lies in it deflated. The same data gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "html"
SCRIPTS = (
    "vendor/uPlot.iife.min.js", "words.js", "elements.js", "charts.js", "net.js", "surface.js", "stepping.js",
    "pictures.js", "many.js", "main.js",
)  # fmt: skip
LIVE = "live.js"
"""Follows a record that grows: of the page that a command serves alone."""
STYLES = ("vendor/uPlot.min.css", "page.css", "stepping.css", "many.css")
LANGUAGES = {"en": "en", "zh": "zh-Hans"}
"""The languages of the labels, with their names in HTML."""
NOSCRIPT = {
    "en": "This page draws itself by its own script: allow it to run.",
    "zh": "本页由自带的脚本绘制，请允许其运行。",
}


def page(title: str, data: Mapping[str, Any], lang: str = "en", *, live: bool = False) -> str:
    """Return the page of some data, which is what JSON can have, with labels in ``lang``, en or zh.

    A ``live`` page follows its server. Raises ValueError for NaN or an infinite number, which JSON has not.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    script, style = _joined(_scripts(live)), _joined(STYLES)
    allowed = live_policy() if live else policy(script, style)
    environment = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    found: str = environment.get_template("page.html").render(
        title=title, lang=LANGUAGES[lang], noscript=NOSCRIPT[lang],
        policy=allowed, style=style, script=script, data=json_block({"lang": lang, **data}),
    )  # fmt: skip
    return found


def policy(script: str, style: str) -> str:
    """Return the Content-Security-Policy that lets one script and one style through, and no address at all."""
    allowed = f"script-src '{digest(script)}'; style-src '{digest(style)}'"
    return f"default-src 'none'; {allowed}; img-src data:; base-uri 'none'; form-action 'none'"


def live_policy() -> str:
    """Return the policy of a live page, which may also ask its own server."""
    return f"{policy(_joined(_scripts(live=True)), _joined(STYLES))}; connect-src 'self'"


def _scripts(live: bool) -> tuple[str, ...]:
    return (*SCRIPTS[:-1], LIVE, SCRIPTS[-1]) if live else SCRIPTS


def digest(text: str) -> str:
    """Return the hash of an inline script or style as a policy has it.

    >>> digest("")
    'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='
    """
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def deflated(data: Any) -> str:
    """Return data as JSON, deflated (RFC 1950), in base64: an eighth of derivations is left."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode())).decode()


def json_block(data: Any) -> str:
    r"""Return JSON in ASCII that ends no block of HTML and begins no tag, comment or entity.

    >>> json_block({"</script>": "&é"})
    '{"\\u003c/script\\u003e":"\\u0026\\u00e9"}'
    """
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _joined(names: tuple[str, ...]) -> str:
    """Return files one behind the other."""
    return "\n".join((FOLDER / name).read_text(encoding="utf-8").strip() for name in names)
