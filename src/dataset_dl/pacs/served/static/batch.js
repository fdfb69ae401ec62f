// Batch: a spreadsheet is looked at row by row, and becomes a job only if all of it is right.

import { ask, counted, h, problem } from "/static/dom.js";
import { check, field, may, nodes, nodeSelect, table } from "./shared.js";

export async function show(root, { go }) {
  const several = await nodes();
  const source = nodeSelect("source", "From", several.filter((node) => may(node, "retrieve", "retrieve-pseudonymised")));
  const targets = several.filter((node) => may(node, "send"));
  const target = nodeSelect("target", "To", targets, targets.find((node) => node.name !== source.select.value)?.name);
  const name = field("name", "Name of the job");
  const pseudonymise = check("pseudonymise", "Put pseudonyms in", true);
  const file = field("file", "Spreadsheet (.xlsx or .csv)", { type: "file", accept: ".xlsx,.csv" });
  const told = h("div", { "aria-live": "polite" });
  const create = h("button", { type: "button", class: "button", disabled: true, onclick: () => send(false) }, "Create and start");
  const drop = h("div", { class: "card drop" }, file.root, h("p", { class: "quiet" }, "Or drop it here. Columns: PatientID, StudyInstanceUID, SeriesInstanceUID, Pseudonym."));
  let sheet = null;

  async function take(found) {
    sheet = { file: found.name, data: await base64(found) };
    await send(true);
  }

  async function send(isCheck) {
    if (!sheet) return;
    create.disabled = true;
    try {
      const body = { ...sheet, source: source.select.value, target: target.select.value, name: name.input.value || sheet.file, pseudonymise: pseudonymise.input.checked, check: isCheck, start: true };
      const answer = await ask("transfers/batch", body);
      if (answer.job) return await go(`/transfers/${answer.job.id}`);
      told.replaceChildren(h("h2", {}, sheet.file), ...report(answer));
      create.disabled = answer.wrong.length > 0 || answer.needs_pseudonymise;
    } catch (error) {
      told.replaceChildren(problem(error));
    }
  }

  file.input.addEventListener("change", async () => {
    if (file.input.files[0]) await take(file.input.files[0]);
    file.input.value = ""; // a browser says nothing if the same file is chosen again, mended
  });
  drop.addEventListener("dragover", (event) => event.preventDefault());
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
  for (const each of [source.select, target.select, pseudonymise.input]) each.addEventListener("change", () => send(true));
  root.append(h("h1", {}, "Batch"), h("form", { class: "card", onsubmit: (event) => event.preventDefault() }, source.root, target.root, name.root, pseudonymise.root), drop, told, h("div", { class: "buttons" }, create));
  return {};
}

function report({ tasks, wrong, needs_pseudonymise: needs }) {
  const said = [];
  if (wrong.length) said.push(h("p", { class: "problem", role: "alert" }, `${counted(wrong.length, "row is", "rows are")} wrong, so nothing was created.`), table("Wrong rows", ["Row", "What is wrong"], wrong.map((each) => [String(each.row), each.reason])));
  if (needs) said.push(h("p", { class: "problem", role: "alert" }, "It has pseudonyms. Without “Put pseudonyms in” the files would keep their names."));
  if (!said.length) said.push(h("p", {}, `All rows are right: ${counted(tasks, "study becomes a task", "studies become tasks")}.`));
  return said;
}

async function base64(file) {
  const address = await new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
  return address.slice(address.indexOf(",") + 1);
}
