"""A contact sheet: pages of pictures for a browser, which need no network; keys 1 to 9 set labels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataset_dl.scratch import written_whole

if TYPE_CHECKING:
    from dataset_dl.thumbnails.database import Database

SHEET = "index.html"
_PICTURES_A_PAGE = 2_000
_SHOWN = ("PatientID", "Modality", "SeriesInstanceUID", "InstanceNumber", "frame", "split")


def write_sheet(database: Database) -> Path:
    """Write the pages beside a database; return the first one."""
    target = database.target
    entries = (_entry(row) for row in database.rows() if row["id"])
    number, more = 1, list(islice(entries, _PICTURES_A_PAGE))
    while True:
        page, more = more, list(islice(entries, _PICTURES_A_PAGE))
        _write(target / _page_name(number), _page(target.name, page, number, has_next=bool(more)))
        if not more:
            break
        number += 1
    for stale in _later_pages(target, number):
        stale.unlink(missing_ok=True)
    return target / _page_name(1)


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    told = {name: row[name] for name in _SHOWN if row[name] not in (None, "")}
    return {"id": row["id"], "src": f"pictures/{row['picture']}", "label": row["label"] or "", "about": told}


def _page_name(number: int) -> str:
    return SHEET if number == 1 else f"index-{number}.html"


def _later_pages(target: Path, last: int) -> Iterator[Path]:
    for path in target.glob("index-*.html"):
        number = path.stem.removeprefix("index-")
        if number.isdecimal() and int(number) > last:
            yield path


def _write(path: Path, text: str) -> None:
    with written_whole(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def _page(title: str, entries: list[dict[str, Any]], number: int, *, has_next: bool) -> str:
    links = []
    if number > 1:
        links.append(f'<a rel="prev" href="{_page_name(number - 1)}">previous</a>')
    if has_next:
        links.append(f'<a rel="next" href="{_page_name(number + 1)}">next</a>')
    # “</” would end the script.
    data = json.dumps(entries, ensure_ascii=False).replace("</", "<\\/")
    return (
        _TEMPLATE.replace("{title}", escape(title))
        .replace("{links}", " ".join(links))
        .replace("{page}", str(number))
        .replace("{data}", data)
    )


_TEMPLATE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
  body { margin: 0; background: #111; color: #ddd; font: 14px system-ui, sans-serif; }
  header { position: sticky; top: 0; display: flex; flex-wrap: wrap; gap: .6em; align-items: center;
           padding: .5em 1em; background: #1c1c1c; }
  header h1 { font-size: 1em; margin: 0; }
  header input { background: #000; color: inherit; border: 1px solid #555; padding: .2em .4em; }
  header .keys input { width: 6em; }
  a { color: #8cf; }
  main { display: grid; grid-template-columns: repeat(auto-fill, minmax(140px, 1fr));
         gap: 6px; padding: 6px; }
  figure { margin: 0; padding: 4px; border: 2px solid transparent; min-width: 0; }
  figure:focus { border-color: #8cf; outline: none; }
  figure[hidden] { display: none; }
  img { width: 100%; height: 140px; object-fit: contain; background: #000; }
  figcaption { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; font-size: 12px; }
  .label { color: #fd6; font-weight: bold; }
</style>
<header>
  <h1>{title}</h1>
  <nav>{links}</nav>
  <input id="find" type="search" placeholder="find" aria-label="find">
  <span class="keys" id="keys"></span>
  <button id="export">Export labels as CSV</button>
  <span id="count"></span>
</header>
<main id="sheet"></main>
<script>
"use strict";
const entries = {data};
const store = "dataset-dl labels of " + document.title;
const changed = JSON.parse(localStorage.getItem(store) || "{}");
const names = JSON.parse(localStorage.getItem(store + " names") || "{}");
const sheet = document.getElementById("sheet");
const labelOf = entry => entry.id in changed ? changed[entry.id] : entry.label;

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}
for (const entry of entries) {
  const figure = element("figure"), picture = element("img"), caption = element("figcaption");
  figure.tabIndex = 0;
  figure.dataset.id = entry.id;
  picture.loading = "lazy";
  picture.src = entry.src;
  picture.alt = Object.values(entry.about).join(" ");
  figure.title = Object.entries(entry.about).map(([name, value]) => name + ": " + value).join("\\n");
  caption.append(element("span", labelOf(entry), "label"), " ", picture.alt);
  figure.append(picture, caption);
  figure.entry = entry;
  sheet.append(figure);
}
function setLabel(figure, label) {
  changed[figure.entry.id] = label;
  localStorage.setItem(store, JSON.stringify(changed));
  figure.querySelector(".label").textContent = label;
  tell();
}
function tell() {
  document.getElementById("count").textContent =
    entries.length + " pictures, " + Object.keys(changed).length + " labels set here";
}
function move(figure, steps) {
  const shown = [...sheet.children].filter(each => !each.hidden);
  const next = shown[Math.min(shown.length - 1, Math.max(0, shown.indexOf(figure) + steps))];
  if (next) next.focus();
}
sheet.addEventListener("keydown", event => {
  const figure = event.target.closest("figure");
  if (!figure || event.ctrlKey || event.metaKey || event.altKey) return;
  const columns = getComputedStyle(sheet).gridTemplateColumns.split(" ").length;
  const steps = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns}[event.key];
  if (steps) { event.preventDefault(); move(figure, steps); }
  else if (/^[1-9]$/.test(event.key)) { setLabel(figure, names[event.key] || event.key); move(figure, 1); }
  else if (event.key === "0" || event.key === "Backspace") { event.preventDefault(); setLabel(figure, ""); }
});
for (let key = 1; key <= 9; key++) {
  const input = element("input");
  input.placeholder = key + " = " + key;
  input.setAttribute("aria-label", "label of key " + key);
  input.value = names[key] || "";
  input.addEventListener("input", () => {
    names[key] = input.value.trim();
    localStorage.setItem(store + " names", JSON.stringify(names));
  });
  document.getElementById("keys").append(input);
}
document.getElementById("find").addEventListener("input", event => {
  const words = event.target.value.toLowerCase();
  for (const figure of sheet.children)
    figure.hidden = !(figure.title + " " + labelOf(figure.entry)).toLowerCase().includes(words);
});
document.getElementById("export").addEventListener("click", () => {
  const quoted = text => '"' + text.replaceAll('"', '""') + '"';
  const lines = Object.entries(changed).map(pair => pair.map(quoted).join(","));
  const link = element("a");
  link.href = URL.createObjectURL(new Blob(["id,label\\n" + lines.join("\\n") + "\\n"], {type: "text/csv"}));
  link.download = "labels.csv";
  link.click();
});
tell();
if (sheet.firstChild) sheet.firstChild.focus();
</script>
</html>
"""
