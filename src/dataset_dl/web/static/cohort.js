// Cohort: what it holds, what it costs and asks, and three ways to take it along.

import { ask, announce, copyable, count, counted, duration, h, problem, saving, size } from "/static/dom.js";
import { load } from "/static/explore.js";
import { Query, addressOf } from "/static/query.js";

export async function show(root, context) {
  const query = new Query(context.search);
  root.append(h("h1", {}, "Cohort"));
  if (query.isEmpty) {
    root.append(h("p", {}, "Nothing is chosen yet. ", h("a", { href: "/explore" }, "Explore IDC"), " and choose collections, modalities or other values."));
    return { changed: (search) => again(root, context, search) };
  }
  const [cube, counted_] = await Promise.all([load(), query.needsServer ? ask(`count?${query}`) : null]);
  const totals = counted_?.totals ?? cube.totals(cube.answer(query.facets));
  await new Cohort(root, query, totals, context).refresh();
  return { changed: (search) => again(root, context, search) };
}

function again(root, context, search) {
  root.replaceChildren();
  return show(root, { ...context, search });
}

class Cohort {
  constructor(root, query, totals, { go, about }) {
    this.query = query;
    this.totals = totals;
    this.go = go;
    const roots = about.roots.map((each) => each.path);
    this.to = h("input", { id: "to", required: true, value: `${roots[0].replace(/\/$/, "")}/${nameOf(query)}`, onchange: () => this.refresh() });
    this.layout = h("input", { id: "layout", placeholder: "%collection_id/%PatientID/%StudyInstanceUID/%Modality_%SeriesInstanceUID", onchange: () => this.refresh() });
    this.md5 = h("input", { type: "checkbox", onchange: () => this.refresh() });
    this.rate = h("input", { id: "rate", type: "number", min: "0.1", step: "any", onchange: () => this.refresh() });
    this.facts = h("dl", { class: "facts" });
    this.rights = h("div");
    this.examples = h("ul", { class: "paths" });
    this.code = h("div", { class: "codes" });
    this.trouble = h("div");
    this.start = h("button", { class: "button", type: "submit" }, "Download");
    root.append(
      h("p", { class: "chips" }, ...query.chips().map(([, , text]) => h("span", { class: "chip" }, text)), " ", h("a", { href: addressOf("explore", query) }, "Change")),
      this.facts,
      h("form", { class: "card", onsubmit: (event) => this.download(event) }, h("h2", {}, "Download"),
        h("label", { for: "to" }, "To"), this.to, h("p", { class: "quiet" }, `Below ${roots.join(" or ")}.`),
        h("details", {}, h("summary", {}, "Options"),
          h("label", { for: "layout" }, "Directories"), this.layout,
          h("label", { for: "rate" }, "At most, in MB/s"), this.rate,
          h("label", { class: "inline" }, this.md5, "Also compare MD5 sums")),
        // What an answer makes longer or shorter is below the button: it would move it away from the pointer.
        this.start, this.trouble, h("h3", {}, "Where the series go"), this.examples),
      h("section", { class: "card" }, h("h2", {}, "The same elsewhere"), this.code,
        h("p", {}, "As a file: ", ...[["parquet", "lockfile (.parquet)"], ["s5cmd", "s5cmd manifest"], ["csv", "CSV"], ["bib", "citations (BibTeX)"]]
          .flatMap(([form, title]) => [saving(`cohort/file?${query}&format=${form}`, form === "bib" ? "CITATIONS.bib" : `cohort.${form}`, title), " · "]).slice(0, -1))),
      this.rights,
    );
  }

  body() {
    return {
      ...this.query.body(), to: this.to.value,
      ...(this.layout.value && { layout: this.layout.value }), ...(this.md5.checked && { verify: "md5" }),
      ...(this.rate.value && { max_rate_mbps: Number(this.rate.value) }),
    };
  }

  async refresh() {
    const mine = (this.turn = (this.turn ?? 0) + 1);
    let told;
    try {
      told = await ask("cohort", this.body());
    } catch (error) {
      if (mine === this.turn) this.trouble.replaceChildren(problem(error));
      return;
    }
    if (mine !== this.turn) return;
    // Download is never disabled for a problem: it may be mended by the time of the press, and part of it may be there.
    this.trouble.replaceChildren();
    const { patients, studies, series, instances, size_bytes } = this.totals;
    const fits = told.needed_bytes <= told.free_bytes;
    const time = told.rate_mbps ? `${duration(size_bytes / told.rate_mbps / 1e6)} at ${told.rate_mbps.toFixed(1)} MB/s, the rate of the last download`
      : `${duration(size_bytes / 50e6)} at 50 MB/s; nothing has been measured yet`;
    this.facts.replaceChildren(...[
      ["Series", count(series)], ["Patients", count(patients)], ["Studies", count(studies)], ["Files", count(instances)], ["Size", size(size_bytes)],
      ["Free there", h("span", { class: fits ? "" : "restricted" }, `${size(told.free_bytes)}${fits ? "" : `, but it needs ${size(told.needed_bytes)}`}`)], ["Time", time],
    ].map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
    this.examples.replaceChildren(...told.examples.map((each) => h("li", {}, `${told.destination}/${each}`)));
    this.code.replaceChildren(copyable("In a shell", told.command), copyable("In Python", told.python));
    this.rights.replaceChildren(h("section", { class: "card" }, h("h2", {}, "Licences"), licences(told.licences),
      h("details", {}, h("summary", {}, `${counted(told.works.length, "work")} to cite`), h("ul", {}, ...told.works.map((work) => h("li", {}, work.citation))))));
  }

  async download(event) {
    event.preventDefault();
    this.start.disabled = true;
    announce("Planning the download…");
    try {
      const job = await ask("jobs", this.body());
      await this.go("/downloads");
      announce(`Job ${job.id} is in the queue.`);
    } catch (error) {
      this.trouble.replaceChildren(problem(error));
      this.start.disabled = false;
    }
  }
}

function licences(several) {
  return h("div", { class: "scrolls" }, h("table", {}, h("caption", {}, "Licences"), h("thead", {}, h("tr", {}, ...["Licence", "It asks", "Series", "Size"].map((title) => h("th", { scope: "col" }, title)))),
    h("tbody", {}, ...several.map((each) => h("tr", {}, h("th", { scope: "row" }, h("span", { class: each.is_restricted ? "licence restricted" : "licence" }, each.name ?? "unknown")),
      h("td", {}, each.asks), h("td", { class: "number" }, count(each.series)), h("td", { class: "number" }, size(each.size_bytes)))))));
}

// A name for the directory that says what is in it.
function nameOf(query) {
  const words = [...(query.facets.collection_id ?? []).slice(0, 2), ...(query.facets.Modality ?? []).slice(0, 2)];
  return words.join("-").replace(/[^A-Za-z0-9_-]+/g, "-").toLowerCase() || "cohort";
}
