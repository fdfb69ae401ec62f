// Upload: files of this machine go to a node, with pseudonyms put in here, before anything leaves it.

import { ask, count, counted, h, problem, request, say } from "/static/dom.js";
import { check, field, may, nodes, nodeSelect, table } from "./shared.js";

const AT_ONCE = 3;
const MOST_SHOWN = 200;

export async function show(root) {
  const view = new Upload(root, (await nodes()).filter((node) => may(node, "send")));
  return { end: () => view.stop() };
}

class Upload {
  constructor(root, several) {
    this.isStopped = false;
    this.open = 0; // drops that are at work
    this.patients = new Map(); // pseudonym that was typed → whose it is
    this.target = nodeSelect("target", "To", several);
    this.pseudonymise = check("pseudonymise", "Put pseudonyms in on this machine, before anything leaves it", true);
    this.key = field("key", "Key for pseudonyms (at least 16 characters; it stays on this machine)", { type: "password", autocomplete: "off" });
    this.pseudonym = field("pseudonym", "Pseudonym, if all files are of one patient", { autocomplete: "off" });
    this.folder = field("folder", "Folder", { type: "file", webkitdirectory: true, multiple: true });
    this.drop = h("div", { class: "card drop" }, this.folder.root, h("p", { class: "quiet" }, "Or drop files and folders here. Files that are no DICOM are left out."));
    this.bar = h("progress", { max: 1, value: 0, "aria-label": "Progress of the upload", hidden: true });
    this.numbers = h("p", { class: "numbers", role: "status" });
    this.told = h("div", { "aria-live": "polite" });
    root.append(h("h1", {}, "Upload"), h("form", { class: "card", onsubmit: (event) => event.preventDefault() }, this.target.root, this.pseudonymise.root, this.key.root, this.pseudonym.root), this.drop, this.bar, this.numbers, this.told);
    this.pseudonymise.input.addEventListener("change", () => (this.key.root.hidden = this.pseudonym.root.hidden = !this.pseudonymise.input.checked));
    this.folder.input.addEventListener("change", async () => {
      await this.send([...this.folder.input.files]);
      this.folder.input.value = ""; // a browser says nothing if the same folder is chosen again
    });
    this.drop.addEventListener("dragover", (event) => event.preventDefault());
    this.drop.addEventListener("drop", async (event) => {
      event.preventDefault();
      await this.send(await filesOf(event.dataTransfer));
    });
  }

  stop() {
    this.isStopped = true;
  }

  async send(files) {
    // What is dropped meanwhile is counted together with what is on its way.
    if (!this.open) this.begin();
    this.open += 1;
    try {
      const change = this.pseudonymise.input.checked ? await this.changing() : async (bytes) => ({ bytes });
      this.counts.total += files.length;
      const left = files.values();
      await Promise.all(Array.from({ length: AT_ONCE }, () => this.work(left, change)));
    } catch (error) {
      this.errors.push(error);
    }
    this.open -= 1;
    if (!this.open) this.report();
  }

  begin() {
    this.counts = { done: 0, sent: 0, others: 0, total: 0 };
    this.behind = [];
    this.errors = []; // why nothing of a drop was sent
    this.told.replaceChildren();
    this.bar.hidden = false;
  }

  // What puts pseudonyms in: the rules come from the server, the key never goes there.
  async changing() {
    const { keyOf, pseudonymise, rulesOf } = await import("/pages/pseudonyms/pseudonymise.js");
    const key = await keyOf(this.key.input.value);
    const rules = rulesOf(await ask("pseudonyms/rules"));
    const pseudonym = this.pseudonym.input.value.trim();
    return async (bytes) => {
      const changed = await pseudonymise(bytes, rules, key, { pseudonym });
      if (pseudonym && !changed.held) this.refuseOthers(pseudonym, changed.whose);
      return changed;
    };
  }

  refuseOthers(pseudonym, whose) {
    if (!this.patients.has(pseudonym)) this.patients.set(pseudonym, whose);
    if (this.patients.get(pseudonym) !== whose) throw new Error(`not sent: the pseudonym ${pseudonym} went to another patient here, or to another study without a PatientID; drop the files of one patient, or leave it empty`);
  }

  async work(left, change) {
    for (const file of left) {
      if (this.isStopped) return;
      await this.one(file, change);
      this.counts.done += 1;
      this.paint();
    }
  }

  async one(file, change) {
    const name = file.webkitRelativePath || file.name;
    try {
      const bytes = new Uint8Array(await file.arrayBuffer());
      if (!isDicom(bytes) && !/\.(dcm|dicom|ima)$/i.test(name)) return (this.counts.others += 1);
      const changed = await change(bytes);
      if (changed.held) return this.behind.push([name, `held back for review: ${changed.held}`]);
      const answer = await request(`pacs/nodes/${encodeURIComponent(this.target.select.value)}/instances`, { method: "POST", headers: { "Content-Type": "application/dicom" }, body: changed.bytes });
      const told = await answer.json();
      if (told.is_stored) this.counts.sent += 1;
      else this.behind.push([name, told.problem]);
    } catch (error) {
      this.behind.push([name, error.message]);
    }
  }

  paint() {
    this.bar.value = this.counts.done / (this.counts.total || 1);
    say(this.numbers, `${count(this.counts.done)} of ${counted(this.counts.total, "file")} · ${count(this.counts.sent)} sent · ${count(this.behind.length)} left behind · ${count(this.counts.others)} no DICOM`);
  }

  report() {
    this.paint();
    this.told.replaceChildren(...this.errors.map(problem));
    const all = `${counted(this.counts.sent, "instance")} at ${this.target.select.value}.`;
    if (this.behind.length) this.told.append(h("p", { class: "problem", role: "alert" }, `${counted(this.behind.length, "file")} did not go there. ${all}`), table("Left behind", ["File", "Why"], this.behind.slice(0, MOST_SHOWN)));
    else if (!this.errors.length) this.told.append(h("p", {}, `Done: ${all}`));
  }
}

const isDicom = (bytes) => String.fromCharCode(...bytes.subarray(128, 132)) === "DICM";

async function filesOf(transfer) {
  const found = [];
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  for (const entry of entries) await below(entry, found);
  return found;
}

async function below(entry, found) {
  if (entry.isFile) return found.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
  const reader = entry.createReader();
  for (;;) {
    const several = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!several.length) return;
    for (const each of several) await below(each, found);
  }
}
