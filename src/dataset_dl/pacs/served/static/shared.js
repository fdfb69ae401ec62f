// What the pages of archives share: choosing nodes, tables, and states in words.

import { ask, h } from "/static/dom.js";

export const STATES = {
  PENDING: "waits", IN_PROGRESS: "runs", PAUSED: "paused", SUCCESS: "done", WARNING: "some of it failed", FAILURE: "failed", CANCELED: "canceled",
};

export const nodes = () => ask("pacs/nodes");

export const may = (node, ...verbs) => verbs.some((verb) => node.may.includes(verb));

// A labelled select of the nodes for which something is allowed.
export function nodeSelect(id, title, several, chosen = "") {
  const options = several.map((node) => h("option", { value: node.name }, node.hours ? `${node.name} (${node.hours})` : node.name));
  const select = h("select", { id, name: id }, ...options);
  if (several.some((node) => node.name === chosen)) select.value = chosen;
  return { select, root: h("p", {}, h("label", { for: id }, title), select) };
}

export function field(id, title, properties = {}) {
  const input = h("input", { id, name: id, ...properties });
  return { input, root: h("p", {}, h("label", { for: id }, title), input) };
}

export function check(id, title, checked = false) {
  const input = h("input", { id, type: "checkbox", checked });
  return { input, root: h("label", { class: "inline", for: id }, input, title) };
}

// Rows are lists of texts and elements; the first one names the row.
export function table(caption, columns, rows) {
  const line = (cells) => h("tr", {}, ...cells.map((cell, place) => (place ? h("td", {}, cell) : h("th", { scope: "row" }, cell))));
  return h("div", { class: "scrolls", tabindex: 0, role: "region", "aria-label": caption }, h("table", {},
    h("caption", {}, caption), h("thead", {}, h("tr", {}, ...columns.map((column) => h("th", { scope: "col" }, column)))), h("tbody", {}, ...rows.map(line))));
}

export const day = (text) => text.replace(/^(\d{4})(\d{2})(\d{2})$/, "$1-$2-$3");
