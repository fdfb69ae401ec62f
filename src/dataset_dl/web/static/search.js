// The search box: what was typed may be a value of a facet, a collection, an identifier or a condition.

import { ask, counted, h } from "/static/dom.js";
import { TITLES } from "/static/query.js";

const SHOWN = 8, PAUSE_MS = 250;

export class Search {
  constructor(cube, facets, choose, filter) {
    this.cube = cube;
    this.names = ["collection_id", ...facets.map((facet) => facet.name)];
    this.choose = choose;
    this.filter = filter;
    this.words = "";
    this.input = h("input", { type: "search", id: "search", autocomplete: "off", spellcheck: "false", placeholder: "lung, CT, a UID, a DOI, instanceCount>=100 …", oninput: () => this.typed() });
    this.list = h("ul", { class: "suggestions", "aria-label": "Suggestions" });
    this.root = h("form", { class: "search", role: "search", onsubmit: (event) => this.submitted(event) },
      h("label", { for: "search" }, "Search"), this.input, this.list);
  }

  typed() {
    const text = this.input.value.trim();
    this.heed(text);
    this.show(text ? this.local(text) : []);
    clearTimeout(this.waiting);
    if (text.length > 2) this.waiting = setTimeout(() => this.askServer(text), PAUSE_MS);
  }

  // Collections that do not have the text are left out while it stands there.
  heed(text) {
    this.words = text;
    this.filter();
  }

  local(text) {
    const wanted = text.toLowerCase();
    const found = [];
    for (const name of this.names) {
      for (const value of this.cube.facets[name].values) {
        const place = value.toLowerCase().indexOf(wanted);
        if (place >= 0) found.push({ name, value, text: `${TITLES[name]}: ${value}`, rank: (value.length === text.length ? 0 : place === 0 ? 1 : 2) });
      }
    }
    return found.sort((one, other) => one.rank - other.rank || one.value.length - other.value.length).slice(0, SHOWN);
  }

  async askServer(text) {
    let told;
    try {
      told = await ask(`suggest?text=${encodeURIComponent(text)}`);
    } catch {
      return;
    }
    if (this.input.value.trim() !== text) return;
    const more = told.map((each) => {
      if (each.hint) return { hint: each.hint };
      const name = each.id ? "id" : "where";
      return { name, value: each[name], text: `${each[name]} (${counted(each.series, "series", "series")})` };
    });
    const local = this.local(text);
    this.show([...local, ...more.filter((each) => each.name || !local.length)]);
  }

  show(found) {
    this.found = found;
    this.list.replaceChildren(...found.map((each) => h("li", {}, each.hint ? h("span", { class: "quiet" }, each.hint)
      : h("button", { type: "button", onclick: () => this.take(each) }, each.text))));
  }

  take({ name, value }) {
    this.input.value = "";
    this.heed("");
    this.show([]);
    this.choose(name, value);
    this.input.focus();
  }

  async submitted(event) {
    event.preventDefault();
    clearTimeout(this.waiting);
    const text = this.input.value.trim();
    if (!text) return;
    if (!this.found?.some((each) => each.rank === 0)) await this.askServer(text);
    const first = this.found?.find((each) => each.name);
    if (first) this.take(first);
  }
}
