"""Hostile texts in every place of a record, its page opened in a real browser: none runs, none breaks the page."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from gdcli.cli import main
from tests.commands.report.browser import Opener, PageProbe
from tests.hand_made import a_run
from tests.promises.texts import STRINGS, bad

pytestmark = pytest.mark.slow

HIT = "window.__hit=1"
OF_PAGES = [
    f"<script>{HIT}</script>", f"</script><script>{HIT}</script>", f"--></script><!--<script>{HIT}</script>",
    f"<img src=x onerror={HIT}>", f"<svg onload={HIT}>", f"<svg><script>{HIT}</script></svg>",
    f"<iframe srcdoc='<script>parent.{HIT[7:]}</script>'>", f"<body onload={HIT}>", f"<details open ontoggle={HIT}>",
    f"<a href=javascript:{HIT}>x</a>", f"javascript:{HIT}", f"<meta http-equiv=refresh content='0;javascript:{HIT}'>",
    "<link rel=stylesheet href='data:text/css,*{display:none}'>", "<style>*{display:none!important}</style>",
    "</style><style>*{display:none}</style>", "<base href=http://192.0.2.1/>", "<form action=http://192.0.2.1>",
    "<img src=http://192.0.2.1/x.png>", f"\" autofocus onfocus={HIT} x=\"", f"' onmouseover={HIT} '", f"`;{HIT}//",
    f"\";{HIT}//", f"';{HIT}//", f"\\\";{HIT}//", f"${{{HIT}}}", f"{{{{constructor.constructor('{HIT}')()}}}}",
    f"{{% {HIT} %}}", "{name} {total} {kept}", "$& $1 $` $'", "__proto__", "constructor", "toString", "hasOwnProperty",
    "]]>", "<!--", "-->", "<![CDATA[", "&lt;script&gt;", "&#x3c;script&#x3e;", "\\u003cscript\\u003e", "</title>",
    "</main></body></html>", "<plaintext>", "<textarea>", "<noscript>", "<template>", "<math><mi//xlink:href=x>",
    "x" * 5_000, "W" * 300, "\u202e\u2066\u2069" * 20, "a\u0300" * 200, "Z\u0351\u036b\u0343" * 30,
    "👩‍👩‍👧‍👦🏳️‍🌈", "\ufffd\ufffe",
    "data", "page", "s1", "NaN", "Infinity", "null", "undefined", "", " ", "0", "1e999", "-0",
]  # fmt: skip
TEXTS = list(dict.fromkeys(text.encode("utf-8", "replace").decode() for text in [*STRINGS, *OF_PAGES]))
NAMES = [text for text in TEXTS if not {"\n", "\r"} & set(text)]
"""What a header of a table can have."""
STAMP = "20260101-120000-0123abcd"
MOST = 20  # records on one page


def test_there_are_sixty_and_more() -> None:
    assert len(NAMES) > 120
    assert sum(HIT in text for text in NAMES) >= 20


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def written(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8", "surrogatepass"))


def as_yaml(value: object) -> str:
    """JSON as YAML has it: a character beyond 16 bits is one escape."""

    def one(pair: re.Match[str]) -> str:
        return f"\\U{ord(json.loads(chr(34) + pair[0] + chr(34))):08x}"

    return re.sub(r"\\ud[89ab]\w\w\\ud[c-f]\w\w", one, json.dumps(value))


def stuffed(root: Path, texts: Sequence[str], name: str, stamp: str = "20260101-120000") -> Path:
    """A run with one text as its name, message and description, and all of them in every place that has many."""
    place = re.sub(r"[/\0]", "_", name).encode()[:200].decode(errors="ignore").strip(".") or "empty"
    folder = a_run(root / "runs", stamp, name=place, digest=f"{len(list(root.rglob('steps.csv'))):08x}")
    keys = [text for text in texts if len(json.dumps(text)) < 1000]  # a longer one is written otherwise in YAML
    spec = {
        "name": name, "description": name,
        "data": {"x": [[1.0]], "y": [1.0], "classes": list(texts), "features": list(texts)},
        "model": {"type": name, "init": {text: [text] for text in keys}},
        "watch": list(texts),
        **{text: text for text in keys},
    }  # fmt: skip
    written(folder / "config.yaml", as_yaml(spec))
    written(folder / "spec.yaml", as_yaml(spec))
    header = ",".join(map(quoted, names := [text for text in texts if text in NAMES]))
    cells = ",".join(str(k + 0.5) for k in range(len(names)))
    written(folder / "steps.csv", f"step,epoch,batch,loss,{header}\n1,1,1,0.5,{cells}\n2,2,1,0.25,{cells}\n")
    written(folder / "gradients.csv", f"step,{header}\n1,{cells}\n2,{cells}\n")
    written(folder / "epochs.csv", f"epoch,training_loss,validation_loss,{header},lr\n1,0.5,0.5,{cells},0.1\n")
    numbers = {text: k + 0.5 for k, text in enumerate(texts)}
    summary = {
        "status": "finished",
        "message": name,
        "final_loss": 0.5,
        "metrics": numbers,
        **dict.fromkeys(texts, name),
    }
    written(folder / "summary.json", json.dumps(summary | {"parameters": {text: [0.5] for text in texts}}))
    environment = {"versions": dict(zip(texts, texts, strict=True)), "device": name, "command": list(texts)}
    written(folder / "environment.json", json.dumps(environment | {"git": {"commit": name}}))
    request = {"format": 1, "command": "run", "overrides": [*texts, *(f"{each}={each}" for each in texts)]}
    written(folder / "request.json", json.dumps(request | {"options": {}}))
    for text in texts:
        file = re.sub(r"[/\0]", "_", text)[:60]
        if file.strip(".") and not (folder / file).exists():
            (folder / file).touch()
    return folder


def many_runs(root: Path, kind: str) -> Path:
    """A comparison or a sweep with a row for each text, as its label or an axis' value, and texts as metrics."""
    folder = root / "runs" / kind / STAMP
    folder.mkdir(parents=True)
    metrics = [text for text in TEXTS if text.strip() and text not in ("data", "-0")][-60:]
    axis = "label" if kind == "compare" else quoted(f"<b onclick={HIT}>")
    header = f"run,{axis},lr,lr_from,status,final_loss,best_loss,steps,epochs,{','.join(map(quoted, metrics))}"
    rows = [f"{header},weights,data,order"]
    for k, text in enumerate(TEXTS, 1):
        cells = ",".join(str(k + j) for j in range(len(metrics)))
        rows.append(f"{k},{quoted(text)},0.1,{quoted(text)},{quoted(text)},{k},{k},4,4,{cells},{quoted(text)},b,c")
        if k <= 30:
            run = a_run(root / "apart", f"20260101-{120000 + k}")
            run.rename(folder / f"{k}-{k}")
    written(folder / "results.csv", "\n".join(rows) + "\n")
    lines = ["run,label,lr,seed,status,final_loss,best_loss,steps,epochs,weights,data,order"]
    lines += [f"{k},{quoted(text)},0.1,0,finished,1,1,4,4,a,b,c" for k, text in enumerate(TEXTS, 1)]
    written(folder / "tuning.csv", "\n".join(lines) + "\n")
    for name in ("spec.yaml", "config.yaml"):
        written(folder / name, json.dumps({"name": OF_PAGES[0], "description": OF_PAGES[1]}))
    (folder / "request.json").write_text(json.dumps({"format": 1, "command": kind, "overrides": [], "options": {}}))
    ranked = {"status": "finished", "runs": len(TEXTS), "ranked_by": metrics[0]}
    written(folder / "summary.json", json.dumps(ranked))
    return folder


def damaged(root: Path) -> list[Path]:
    """Runs whose files are no tables, no YAML or no JSON, for a text of each."""
    found = []
    for k, (name, text) in enumerate(
        (name, text)
        for name in ("steps.csv", "gradients.csv", "epochs.csv", "config.yaml", "summary.json", "environment.json")
        for text in (OF_PAGES[1], "\x00\u2028\ud800" + OF_PAGES[3], OF_PAGES[25])
    ):
        folder = a_run(root / "runs", f"20260102-1200{k:02d}", digest=f"{k:08x}")
        first = (folder / name).read_text().split("\n", 1)[0] if name in ("steps.csv", "gradients.csv") else text
        written(folder / name, f"{first}\n{text}\n")
        found.append(folder)
    return found


def is_whole(probe: PageProbe, *sections: str) -> bool:
    """Say whether the page has its sections, and of elements only those that its script makes."""
    assert [text for text in sections if text not in probe.texts("h2")] == []
    assert probe.js("[...document.querySelectorAll('script')].length") == 2
    assert probe.js("[...document.querySelectorAll('style')].length") == 1
    strange = "img, iframe, object, embed, form, link, base, textarea, template, math, details, [onload], [onerror]"
    assert probe.js("s => document.querySelectorAll(s).length", strange) == 0
    assert probe.js("[...document.querySelectorAll('a')].every(a => a.getAttribute('href').startsWith('#s'))")
    assert probe.js("document.scrollingElement.scrollWidth <= innerWidth")
    assert probe.is_quiet()
    assert bad(probe.js("document.body.innerText").replace("\xa0", " ")) == []
    return True


def opened_by(opened: Opener, folders: Sequence[Path], page: Path) -> PageProbe:
    assert main(["report", *map(str, folders), "-o", str(page), "-q"]) == 0
    return opened(page, 390)


def test_a_run_with_all_texts_in_every_place(tmp_path: Path, opened: Opener) -> None:
    probe = opened_by(opened, [stuffed(tmp_path, TEXTS, OF_PAGES[0])], tmp_path / "a.html")
    assert is_whole(probe, "Summary", "Curves", "Steps", "Spec", "Files, Environment")
    for selector in ("table[aria-label=Spec] th", "table[aria-label=Results] th", ".chart-legend button span"):
        shown = set(probe.texts(selector))
        for text in (OF_PAGES[0], OF_PAGES[3], OF_PAGES[25], "</title>", "$& $1 $` $'"):
            assert any(text in each for each in shown), (selector, text)
    assert probe.texts("table[aria-label=Steps] tbody tr:first-child td")[2] == "0.5"


def test_each_text_as_the_name_of_a_record(tmp_path: Path, opened: Opener) -> None:
    """Twenty records a page, side by side: each third of the texts, and the longest."""
    texts = [*TEXTS[::3], *sorted(TEXTS, key=len)[-5:]]
    folders = [
        stuffed(tmp_path, [text], text, f"2026{1 + k // 28:02d}{1 + k % 28:02d}-120000") for k, text in enumerate(texts)
    ]
    for k in range(0, len(folders), MOST):
        part = folders[k : k + MOST]
        probe = opened_by(opened, part, tmp_path / f"{k}.html")
        assert is_whole(probe, "Side by side", *["Curves"] * len(part))
        assert probe.texts("h2").count("Curves") == len(part)


@pytest.mark.parametrize("kind", ["compare", "sweep"])
def test_a_row_for_each_text_and_texts_as_metrics(tmp_path: Path, opened: Opener, kind: str) -> None:
    probe = opened_by(opened, [many_runs(tmp_path, kind)], tmp_path / "a.html")
    assert is_whole(probe, "All runs", "The best run", "Curves", "Spec")
    probe.page.get_by_role("button", name="Next rows").first.click()
    rows = probe.texts("table.sorted tbody th")
    assert any(OF_PAGES[0] in text for text in rows)
    for heading in range(8):
        probe.page.locator("table.sorted button.sort").nth(heading).click()
    for k, name in enumerate(("across", "up", "Last axis")):
        probe.page.locator("label.slider", has_text=name).locator("select").last.select_option(index=7 + k)
    probe.page.get_by_role("button", name="hide all rows").click()
    probe.page.get_by_role("button", name="show all rows").click()
    assert is_whole(probe, "All runs")


def test_damaged_files_are_told_and_the_rest_is_there(tmp_path: Path, opened: Opener) -> None:
    probe = opened_by(opened, damaged(tmp_path), tmp_path / "a.html")
    assert is_whole(probe, "Side by side")
    told = " ".join(probe.texts(".problem"))
    for name in ("steps.csv", "gradients.csv", "epochs.csv", "config.yaml", "summary.json", "environment.json"):
        assert name in told
    assert len(re.findall("Summary", " ".join(probe.texts("h2")))) > 10
