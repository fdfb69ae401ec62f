// Explore: how much there is under any filter, at once.

import { ask, counted, h, problem, say, size } from "/static/dom.js";
import { Cube, FACETS, UNITS } from "/static/cube.js";
import { FacetList, Years } from "/static/facets.js";
import { Query, TITLES, addressOf } from "/static/query.js";
import { Collections, SeriesList } from "/static/results.js";
import { Search } from "/static/search.js";

const UNIT_NAMES = { patients: "patients", studies: "studies", series: "series", instances: "files", size_bytes: "size" };
let cube = null;

export async function load() {
  cube ??= new Cube(await ask("cube"));
  return cube;
}

export async function show(root, { about, go, search }) {
  const waiting = h("p", { class: "quiet" }, "Counting all of IDC, which takes some seconds the first time…");
  root.append(waiting);
  const [known, listed, trees] = await Promise.all([load(), ask("collections"), ask("disk").catch(() => [])]);
  waiting.remove();
  const view = new Explore(root, known, listed, trees, about, go);
  view.set(search);
  return { changed: (now) => view.set(now) };
}

class Explore {
  constructor(root, known, listed, trees, about, go) {
    this.cube = known;
    this.go = go;
    this.about = about;
    this.query = new Query();
    this.unit = "series";
    this.counted = null; // what the server has counted, and for which question
    const choose = (name, value) => this.go(addressOf("explore", this.query.toggled(name, value)));
    this.title = h("h1", {});
    this.detail = h("p", { class: "totals", role: "status" });
    this.chips = h("ul", { class: "chips", "aria-label": "Chosen" });
    this.trouble = h("div");
    this.facets = FACETS.filter((name) => name !== "collection_id").map((name) => new (name === "year" ? Years : FacetList)(name, TITLES[name], known, choose));
    this.search = new Search(known, this.facets, choose, () => this.paintCollections());
    this.collections = new Collections(listed, onDisk(trees), choose);
    this.series = new SeriesList();
    this.units = h("select", { onchange: () => { this.unit = this.units.value; this.paint(); } },
      ...UNITS.map((unit) => h("option", { value: unit }, UNIT_NAMES[unit])));
    this.units.value = this.unit;
    this.tabs = { collections: this.tab("Collections", "collections"), series: this.tab("Series", "series") };
    this.open = h("a", { class: "button" }, "Build a cohort");
    this.sum = h("span", {});
    this.columns = h("div", { class: "columns" },
      h("aside", { "aria-label": "Filters" }, h("details", { open: matchMedia("(min-width: 60rem)").matches, class: "filters" }, h("summary", {}, "Filters"),
        h("label", { class: "unit" }, "Count ", this.units), ...this.facets.map((facet) => facet.root))),
      h("section", { class: "results", "aria-label": "Results" },
        h("div", { class: "tabs", role: "group", "aria-label": "Show" }, this.tabs.collections, this.tabs.series),
        this.collections.root, this.series.root));
    root.append(h("div", { class: "lead" }, this.title, this.detail, this.search.root, this.chips, this.trouble), this.columns, h("div", { class: "bar" }, this.sum, this.open));
    this.pick("collections");
  }

  tab(title, name) {
    return h("button", { type: "button", "aria-pressed": "false", onclick: () => this.pick(name) }, title);
  }

  pick(name) {
    this.picked = name;
    for (const [each, button] of Object.entries(this.tabs)) button.setAttribute("aria-pressed", String(each === name));
    this.collections.root.hidden = name !== "collections";
    this.series.root.hidden = name !== "series";
    if (name === "series") this.series.ask(this.query);
  }

  set(search) {
    this.query = new Query(search);
    this.trouble.replaceChildren();
    this.paint();
    if (this.query.needsServer) this.askServer();
    if (this.picked === "series") this.series.ask(this.query);
  }

  // Facets are known here; for other conditions the server counts, and what it says stays until the next question.
  async askServer() {
    const asked = new Query(this.query.toString());
    asked.facets = {};
    const words = asked.toString();
    const whole = this.query.toString();
    if (this.counted?.whole === whole) return;
    try {
      const [part, all] = await Promise.all([ask(`count?${words}`), words === whole ? null : ask(`count?${whole}`)]);
      if (this.query.toString() !== whole) return;
      this.counted = { words, whole, cells: part.cells, totals: (all ?? part).totals };
      this.trouble.replaceChildren();
    } catch (error) {
      this.counted = null;
      this.trouble.replaceChildren(problem(error));
    }
    this.paint();
  }

  paint() {
    const query = this.query;
    const needs = query.needsServer;
    const mine = needs && this.counted?.whole === query.toString() ? this.counted : null;
    const answer = this.cube.answer(query.facets, mine ? mine.cells : null);
    const totals = needs ? (mine?.totals ?? null) : this.cube.totals(answer);
    const canCount = !needs || UNITS.indexOf(this.unit) >= 2;
    const unit = canCount ? this.unit : "series";
    for (const option of this.units.options) option.disabled = needs && UNITS.indexOf(option.value) < 2;
    this.units.value = unit;
    this.tell(totals);
    for (const facet of this.facets) facet.paint(this.cube.counts(answer, facet.name, unit), query.facets[facet.name] ?? [], unit);
    this.found = {
      series: this.cube.counts(answer, "collection_id", "series"),
      size: this.cube.counts(answer, "collection_id", "size_bytes"),
      patients: needs ? null : this.cube.counts(answer, "collection_id", "patients"),
      values: this.cube.facets.collection_id.values,
      chosen: query.facets.collection_id ?? [],
    };
    this.paintCollections();
    this.chips.replaceChildren(...query.chips().map(([name, value, text]) => h("li", {},
      h("button", { type: "button", class: "chip", "aria-label": `Remove ${text}`, onclick: () => this.go(addressOf("explore", query.toggled(name, value))) }, text, h("span", { "aria-hidden": "true" }, " ×")))));
    if (!query.isEmpty) this.chips.append(h("li", {}, h("a", { href: "/explore" }, "Clear all")));
    this.open.href = addressOf("cohort", query);
    this.open.hidden = query.isEmpty;
  }

  paintCollections() {
    this.collections.paint({ ...this.found, words: this.search.words });
  }

  tell(totals) {
    this.columns.classList.toggle("stale", totals === null);
    if (totals === null) {
      say(this.title, this.trouble.hasChildNodes() ? "This cannot be counted" : "Counting…");
      for (const each of [this.detail, this.sum]) say(each, "");
      return;
    }
    const { patients, studies, series, instances, size_bytes } = totals;
    const what = this.query.isEmpty ? `IDC v${this.about.idc_version} has` : "Your choice has";
    say(this.title, `${what} ${counted(series, "series", "series")} of ${counted(patients, "patient")}, ${size(size_bytes)}`);
    say(this.detail, `${counted(studies, "study", "studies")}, ${counted(instances, "file")}. Every number is exact.`);
    say(this.sum, this.query.isEmpty ? "Choose collections or values to build a cohort." : `${counted(series, "series", "series")}, ${size(size_bytes)}`);
    this.detail.dataset.series = series;
  }
}

// Collection → how many of its series are in trees on this disk.
function onDisk(trees) {
  const found = new Map();
  for (const tree of trees) for (const [name, series] of Object.entries(tree.collections ?? {})) found.set(name, Math.max(found.get(name) ?? 0, series));
  return found;
}
