// Archives: from patients to studies to series, a look at a series, and what is chosen becomes a transfer.

import { announce, ask, counted, h, problem } from "/static/dom.js";
import { check, day, field, may, nodes, nodeSelect, table } from "./shared.js";

const FIELDS = [["PatientID", "Patient ID"], ["PatientName", "Patient name"], ["StudyDate", "Study date"], ["Modality", "Modality"], ["AccessionNumber", "Accession number"]];

export async function show(root, { go, search }) {
  const view = new Archives(root, await nodes(), go);
  await view.follow(search);
  return { changed: (asked) => view.follow(asked) };
}

class Archives {
  constructor(root, several, go) {
    this.go = go;
    this.nodes = several;
    this.chosen = new Map();
    const asked = several.filter((node) => may(node, "query"));
    if (!asked.length) {
      root.append(h("h1", {}, "Archives"), h("p", {}, "No archive is known yet. `dataset-dl pacs nodes add NAME ADDRESS` adds one."));
      this.follow = async () => {};
      return;
    }
    this.node = nodeSelect("node", "Archive", asked);
    this.fields = FIELDS.map(([name, title]) => [name, field(name, title, { autocomplete: "off", placeholder: name === "StudyDate" ? "2024-01-01..2024-01-31" : "" })]);
    this.found = h("div", { class: "found", "aria-live": "polite" });
    this.transfer = h("div");
    root.append(h("h1", {}, "Archives"),
      h("form", { class: "card query", onsubmit: (event) => this.submit(event) }, this.node.root, h("div", { class: "facts" }, ...this.fields.map(([, each]) => each.root)),
        h("div", { class: "buttons" }, h("button", { type: "submit", class: "button" }, "Search"))),
      this.found, this.transfer);
  }

  submit(event) {
    event.preventDefault();
    const asked = new URLSearchParams({ node: this.node.select.value });
    for (const [name, each] of this.fields) if (each.input.value.trim()) asked.set(name, each.input.value.trim());
    this.go(`/archives?${asked}`);
  }

  // The address holds the query, so that Back goes back from series to studies to patients.
  async follow(search) {
    const asked = new URLSearchParams(search);
    if (!asked.has("node")) return this.found.replaceChildren();
    this.node.select.value = asked.get("node");
    for (const [name, each] of this.fields) each.input.value = asked.get(name) ?? "";
    const level = asked.has("StudyInstanceUID") ? "series" : asked.get("level") ?? "patients";
    this.found.replaceChildren(h("p", {}, "Searching…"));
    const conditions = new URLSearchParams([...asked].filter(([name]) => !["node", "level"].includes(name)));
    try {
      const { rows } = await ask(`pacs/nodes/${encodeURIComponent(asked.get("node"))}/${level}?${conditions}`);
      this.found.replaceChildren(h("h2", {}, counted(rows.length, { patients: "patient", studies: "study", series: "series" }[level], level)), rows.length ? this[level](asked.get("node"), rows, conditions) : h("p", {}, "Nothing matches."));
      announce(counted(rows.length, level.replace(/s$/, ""), level));
    } catch (error) {
      this.found.replaceChildren(problem(error));
    }
    this.paintTransfer();
  }

  link(node, level, conditions, text) {
    return h("a", { href: `/archives?${new URLSearchParams({ node, level, ...Object.fromEntries(conditions) })}` }, text || "(none)");
  }

  patients(node, rows, conditions) {
    return table("Patients", ["Patient ID", "Name", "Born", "Sex", "Studies"], rows.map((row) => [
      this.link(node, "studies", row.PatientID ? new Map([...conditions, ["PatientID", row.PatientID]]) : conditions, row.PatientID),
      row.PatientName, day(row.PatientBirthDate), row.PatientSex, row.studies]));
  }

  studies(node, rows) {
    return table("Studies", ["Patient ID", "Date", "Modalities", "Description", "Instances", "Transfer"], rows.map((row) => [
      this.link(node, "series", new Map([["StudyInstanceUID", row.StudyInstanceUID]]), row.PatientID),
      day(row.StudyDate), row.ModalitiesInStudy, row.StudyDescription, row.NumberOfStudyRelatedInstances, this.choose(node, row)]));
  }

  choose(node, row) {
    const input = h("input", { type: "checkbox", "aria-label": `Transfer the study of ${row.PatientID}, ${day(row.StudyDate)}`, checked: this.chosen.has(row.StudyInstanceUID) });
    input.addEventListener("change", () => {
      if (input.checked) this.chosen.set(row.StudyInstanceUID, { node, StudyInstanceUID: row.StudyInstanceUID, PatientID: row.PatientID });
      else this.chosen.delete(row.StudyInstanceUID);
      this.paintTransfer();
    });
    return input;
  }

  series(node, rows) {
    return table("Series", ["Series", "Modality", "Description", "Instances", "Look"], rows.map((row) => [
      row.SeriesNumber || "(none)", row.Modality, row.SeriesDescription, row.NumberOfSeriesRelatedInstances, this.look(node, row)]));
  }

  look(node, row) {
    if (!may(this.nodes.find((each) => each.name === node), "retrieve")) return "";
    const button = h("button", { type: "button", class: "small", "aria-label": `Look at series ${row.SeriesNumber}` }, "Look");
    button.addEventListener("click", async () => {
      button.disabled = true;
      button.textContent = "Fetching…";
      try {
        await ask(`pacs/nodes/${encodeURIComponent(node)}/look`, { study: row.StudyInstanceUID, series: row.SeriesInstanceUID });
        await this.go(`/series/${row.SeriesInstanceUID}`);
      } catch (error) {
        button.replaceWith(problem(error));
      }
    });
    return button;
  }

  // The studies that are chosen, also on other pages of results, as a job.
  paintTransfer() {
    const targets = this.nodes.filter((node) => may(node, "send"));
    const sources = new Set([...this.chosen.values()].map((each) => each.node));
    if (!this.chosen.size || !targets.length) return this.transfer.replaceChildren();
    if (sources.size > 1) return this.transfer.replaceChildren(h("p", { class: "problem" }, "The chosen studies are of several archives; a job has one."));
    const [source] = sources;
    const target = nodeSelect("target", "To", targets.filter((node) => node.name !== source));
    const pseudonymise = check("pseudonymise", "Put pseudonyms in", !may(this.nodes.find((node) => node.name === source), "retrieve"));
    const name = field("name", "Name of the job");
    const told = h("div", { "aria-live": "polite" });
    const create = async (event) => {
      event.preventDefault();
      try {
        const job = await ask("transfers", { source, target: target.select.value, name: name.input.value, pseudonymise: pseudonymise.input.checked, studies: [...this.chosen.values()], start: true });
        this.chosen.clear();
        await this.go(`/transfers/${job.id}`);
      } catch (error) {
        told.replaceChildren(problem(error));
      }
    };
    this.transfer.replaceChildren(h("form", { class: "card", onsubmit: create }, h("h2", {}, `Transfer ${counted(this.chosen.size, "study", "studies")} from ${source}`),
      target.root, name.root, pseudonymise.root, told, h("div", { class: "buttons" }, h("button", { type: "submit", class: "button" }, "Start the transfer"))));
  }
}
