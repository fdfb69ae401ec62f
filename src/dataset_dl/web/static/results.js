// What a filter finds: collections, and series.

import { ask, count, h, problem, say, size } from "/static/dom.js";
import { place } from "/static/facets.js";

const PAGE = 50;
const SHOWN = 30;
const isRestricted = (licences) => /CC BY-NC/.test(licences);

export class Collections {
  constructor(listed, onDisk, choose) {
    this.listed = new Map(listed.map((each) => [each.id, each]));
    this.onDisk = onDisk;
    this.choose = choose;
    this.rows = new Map();
    this.body = h("tbody", {});
    this.none = h("p", { class: "quiet", hidden: true }, "No collection has this.");
    this.isWhole = false;
    this.more = h("button", { type: "button", onclick: () => { this.isWhole = true; this.paint(this.painted); } });
    this.root = h("div", { class: "scrolls" },
      h("table", {}, h("caption", {}, "Collections"), h("thead", {}, h("tr", {},
        ...["Collection", "Patients", "Series", "Size", "Licence"].map((title) => h("th", { scope: "col" }, title)))), this.body), this.none, this.more);
  }

  row(id) {
    if (!this.rows.has(id)) {
      const about = this.listed.get(id) ?? { name: id, description: "", cancer_types: "", licenses: "" };
      const box = h("input", { type: "checkbox", onchange: () => this.choose("collection_id", id) });
      const numbers = [0, 1, 2].map(() => h("td", { class: "number" }));
      const here = this.onDisk.get(id);
      const licences = about.licenses.split(",").map((name) => h("span", { class: isRestricted(name) ? "licence restricted" : "licence", title: name }, name));
      const item = h("tr", {},
        h("th", { scope: "row" }, h("label", {}, box, h("strong", {}, id)), here ? h("span", { class: "here" }, "on this disk") : null,
          h("div", { class: "what" }, [about.name, about.cancer_types?.replaceAll(",", ", ")].filter(Boolean).join(" · ")),
          about.description ? h("div", { class: "description" }, about.description.slice(0, 220)) : null),
        ...numbers, h("td", {}, ...licences));
      const words = Object.values(about).join(" ").toLowerCase();
      this.rows.set(id, { item, box, numbers, words });
    }
    return this.rows.get(id);
  }

  paint(painted) {
    this.painted = painted;
    const { series, size: bytes, patients, values, chosen, words } = painted;
    const wanted = words.toLowerCase();
    const found = values.map((id, number) => ({ id, number })).filter(({ id, number }) => series[number] > 0 || chosen.includes(id))
      .filter(({ id }) => !wanted || chosen.includes(id) || this.row(id).words.includes(wanted));
    found.sort((one, other) => chosen.includes(other.id) - chosen.includes(one.id) || bytes[other.number] - bytes[one.number]);
    const shown = this.isWhole ? found : found.slice(0, Math.max(SHOWN, chosen.length));
    this.more.hidden = shown.length === found.length;
    say(this.more, `All ${found.length} collections`);
    place(this.body, shown.map(({ id, number }) => {
      const row = this.row(id);
      row.box.checked = chosen.includes(id);
      say(row.numbers[0], patients ? count(patients[number]) : "");
      say(row.numbers[1], count(series[number]));
      say(row.numbers[2], size(bytes[number]));
      return row.item;
    }));
    this.none.hidden = found.length > 0;
  }
}

export class SeriesList {
  constructor() {
    this.body = h("tbody", {});
    this.more = h("button", { type: "button", onclick: () => this.next() }, "More");
    this.trouble = h("div");
    this.root = h("div", { class: "scrolls" },
      h("table", {}, h("caption", {}, "Series"), h("thead", {}, h("tr", {},
        ...["Series", "Patient", "Date", "Modality", "Body part", "Files", "Size"].map((title) => h("th", { scope: "col" }, title)))), this.body), this.trouble, this.more);
  }

  ask(query) {
    if (this.words === query.toString()) return;
    this.words = query.toString();
    this.offset = 0;
    this.body.replaceChildren();
    return this.next();
  }

  async next() {
    const words = this.words;
    this.more.disabled = true;
    try {
      const rows = await ask(`series?${[words, `limit=${PAGE}`, `offset=${this.offset}`].filter(Boolean).join("&")}`);
      if (words !== this.words) return;
      this.trouble.replaceChildren();
      this.body.append(...rows.map(row));
      this.offset += rows.length;
      this.more.hidden = rows.length < PAGE;
    } catch (error) {
      this.trouble.replaceChildren(problem(error));
    }
    this.more.disabled = false;
  }
}

function row(series) {
  return h("tr", {},
    h("th", { scope: "row" }, h("a", { href: `/series/${series.SeriesInstanceUID}` }, series.SeriesDescription || "(no description)"), h("div", { class: "what" }, series.collection_id)),
    h("td", {}, series.PatientID), h("td", { class: "date" }, series.StudyDate ?? ""), h("td", {}, series.Modality), h("td", {}, series.BodyPartExamined ?? ""),
    h("td", { class: "number" }, count(series.instanceCount)), h("td", { class: "number" }, size(series.size_bytes)));
}
