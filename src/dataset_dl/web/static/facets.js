// A facet: its values with their amounts, as a list of boxes or, for years, as a histogram.

import { count, h, say, size } from "/static/dom.js";

const SHOWN = 6;
const amount = (number, unit) => (unit === "size_bytes" ? size(number) : count(number));

export class FacetList {
  constructor(name, title, cube, choose) {
    this.name = name;
    this.values = cube.facets[name].values;
    this.choose = choose;
    this.rows = new Map();
    this.isWhole = false;
    this.list = h("ul", {});
    this.more = h("button", { type: "button", class: "small", "aria-expanded": "false", onclick: () => this.turn() });
    this.root = h("section", { class: "facet" }, h("h2", { id: `facet-${name}` }, title), this.list, this.more);
    this.list.setAttribute("aria-labelledby", `facet-${name}`);
  }

  turn() {
    this.isWhole = !this.isWhole;
    this.more.setAttribute("aria-expanded", String(this.isWhole));
    this.paint(...this.painted);
  }

  row(number) {
    if (!this.rows.has(number)) {
      const value = this.values[number];
      const box = h("input", { type: "checkbox", onchange: () => this.choose(this.name, value) });
      const told = h("span", { class: "amount" });
      const bar = h("span", { class: "meter" }, h("span", {}));
      const item = h("li", {}, h("label", {}, box, h("span", { class: "value" }, value || "(empty)"), told), bar);
      this.rows.set(number, { item, box, told, bar: bar.firstChild });
    }
    return this.rows.get(number);
  }

  paint(amounts, chosen, unit) {
    this.painted = [amounts, chosen, unit];
    const isChosen = (number) => chosen.includes(this.values[number]);
    const order = [...this.values.keys()].filter((number) => amounts[number] > 0 || isChosen(number));
    order.sort((one, other) => isChosen(other) - isChosen(one) || amounts[other] - amounts[one] || one - other);
    const shown = this.isWhole ? order : order.slice(0, Math.max(SHOWN, chosen.length));
    const most = Math.max(1, ...order.map((number) => amounts[number]));
    const items = shown.map((number) => {
      const row = this.row(number);
      row.box.checked = isChosen(number);
      say(row.told, amount(amounts[number], unit));
      row.bar.style.width = `${(100 * amounts[number]) / most}%`;
      return row.item;
    });
    place(this.list, items);
    this.more.hidden = order.length <= SHOWN && !this.isWhole;
    say(this.more, this.isWhole ? "Fewer" : `All ${order.length}`);
  }
}

// Puts elements in order, and moves only those that are elsewhere: the focus stays where it is.
export function place(list, items) {
  const wanted = new Set(items);
  for (const item of [...list.children]) if (!wanted.has(item)) item.remove();
  items.forEach((item, at) => {
    if (list.children[at] !== item) list.insertBefore(item, list.children[at] ?? null);
  });
}

export class Years {
  constructor(name, title, cube, choose) {
    this.name = name;
    this.values = cube.facets[name].values;
    this.bars = this.values.map((value) => h("button", { type: "button", tabindex: -1, "aria-pressed": "false", onclick: () => choose(name, value) }, h("span", {})));
    this.group = h("div", { class: "years", role: "toolbar", "aria-labelledby": `facet-${name}`, onkeydown: (event) => this.move(event), onfocusin: (event) => this.describe(event.target), onpointerover: (event) => this.describe(event.target.closest("button")) }, ...this.bars);
    this.about = h("p", { class: "quiet about" }, "Choose years with a click, or with arrows and Enter.");
    this.root = h("section", { class: "facet" }, h("h2", { id: `facet-${name}` }, title), this.group, this.about);
  }

  move(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const there = this.bars.filter((bar) => !bar.hidden);
    const next = there[there.indexOf(document.activeElement) + step];
    if (!next) return;
    for (const bar of this.bars) bar.tabIndex = bar === next ? 0 : -1;
    next.focus();
  }

  describe(bar) {
    if (bar?.ariaLabel) say(this.about, bar.ariaLabel);
  }

  paint(amounts, chosen, unit) {
    const most = Math.max(1, ...amounts);
    this.bars.forEach((bar, number) => {
      const value = this.values[number];
      const isChosen = chosen.includes(value);
      bar.hidden = !amounts[number] && !isChosen;
      bar.setAttribute("aria-pressed", String(isChosen));
      bar.ariaLabel = `${value || "without a date"}: ${amount(amounts[number], unit)}`;
      bar.firstChild.style.height = `${Math.max(amounts[number] ? 3 : 0, (100 * amounts[number]) / most)}%`;
    });
    const there = this.bars.filter((bar) => !bar.hidden);
    if (!there.some((bar) => bar.tabIndex === 0)) {
      for (const bar of this.bars) bar.tabIndex = -1;
      if (there.length) there[0].tabIndex = 0;
    }
  }
}
