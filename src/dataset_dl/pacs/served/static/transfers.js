// Transfers: jobs, the tasks of one, the instances of a task; live as long as the page is seen.

import { announce, ask, count, counted, h, problem, say, when } from "/static/dom.js";
import { STATES, table } from "./shared.js";

const ACTIONS = {
  verify: ["Verify", ["PAUSED", "PENDING"]], start: ["Start", ["PAUSED"]], pause: ["Pause", ["PENDING", "IN_PROGRESS"]], cancel: ["Cancel", ["PENDING", "IN_PROGRESS", "PAUSED"]],
  retry: ["Retry what failed", ["WARNING", "FAILURE", "CANCELED"]], restart: ["Restart", ["SUCCESS", "WARNING", "FAILURE", "CANCELED"]], delete: ["Delete", ["PAUSED", "PENDING", "SUCCESS", "WARNING", "FAILURE", "CANCELED"]],
};
const LOOK_MS = 1000;
const PAGE = 100;

export async function show(root, { go, rest, about }) {
  let view = begin(root, rest, go, about);
  const timer = setInterval(() => document.hidden || view.look(), LOOK_MS);
  await view.look();
  return {
    end: () => clearInterval(timer),
    changed: async (search, other) => {
      view = begin(root, other, go, about);
      await view.look();
    },
  };
}

function begin(root, rest, go, about) {
  root.replaceChildren();
  return rest ? new Job(root, Number(rest), go, about) : new Jobs(root);
}

class Jobs {
  constructor(root) {
    this.last = -1;
    this.known = new Map();
    this.list = h("ul", { class: "jobs" });
    this.none = h("p", {}, "There is no transfer yet. ", h("a", { href: "/archives" }, "Search an archive"), " or ", h("a", { href: "/batch" }, "drop a spreadsheet"), ".");
    this.trouble = h("div");
    root.append(h("h1", {}, "Transfers"), this.trouble, this.none, this.list);
  }

  async look() {
    try {
      const { last, jobs } = await ask(`transfers?since=${this.last}`);
      this.trouble.replaceChildren();
      this.last = last;
      for (const job of jobs) this.known.set(job.id, job);
      this.none.hidden = this.known.size > 0;
      if (jobs.length) this.list.replaceChildren(...[...this.known.values()].sort((one, other) => other.id - one.id).map(card));
    } catch (error) {
      this.trouble.replaceChildren(problem(error));
    }
  }
}

function card(job) {
  return h("li", { class: "card job", "data-state": job.state, "data-job": job.id },
    h("div", { class: "head" }, h("h2", {}, h("a", { href: `/transfers/${job.id}` }, titleOf(job))), h("span", { class: "state" }, STATES[job.state])),
    progressOf(job), h("p", { class: "numbers" }, numbersOf(job)), job.message ? h("p", { class: "message" }, job.message) : null);
}

const titleOf = (job) => `${job.id}: ${job.name || (job.kind === "batch" ? "a spreadsheet" : "chosen studies")}`;

function endedOf(job) {
  return ["SUCCESS", "WARNING", "FAILURE", "CANCELED"].reduce((sum, state) => sum + (job.counts[state] ?? 0), 0);
}

function progressOf(job) {
  return h("progress", { max: job.tasks, value: endedOf(job), "aria-label": `Progress of transfer ${job.id}` });
}

function numbersOf(job) {
  const states = Object.entries(job.counts).map(([state, number]) => `${count(number)} ${STATES[state]}`);
  return [counted(job.tasks, "task"), ...states, `by ${job.owner}`, job.verified_by ? `verified by ${job.verified_by}` : "", when(job.created)].filter(Boolean).join(" · ");
}

class Job {
  constructor(root, id, go, about) {
    this.id = id;
    this.go = go;
    this.about = about;
    this.last = -1;
    this.pages = [0];
    this.state = "";
    this.head = h("div");
    this.filter = h("select", { id: "state", onchange: () => this.choose() }, h("option", { value: "" }, "all states"), ...Object.entries(STATES).map(([state, words]) => h("option", { value: state }, words)));
    this.tasks = h("div");
    this.paging = h("div", { class: "buttons" });
    this.instances = h("div");
    this.trouble = h("div", { "aria-live": "polite" });
    root.append(h("p", {}, h("a", { href: "/transfers" }, "All transfers")), this.head, this.trouble, h("p", {}, h("label", { for: "state" }, "Tasks"), this.filter), this.tasks, this.paging, this.instances);
  }

  async look() {
    try {
      const tasks = this.last < 0 ? this.asked() : null; // at once, the first time
      const job = await ask(`transfers/${this.id}`);
      if (job.change === this.last) return;
      this.last = job.change;
      this.paintHead(job);
      await this.paintTasks(tasks ?? this.asked());
    } catch (error) {
      this.trouble.replaceChildren(problem(error));
    }
  }

  paintHead(job) {
    const buttons = Object.entries(ACTIONS).filter(([, [, states]]) => states.includes(job.state)).map(([action, [title]]) =>
      h("button", { type: "button", onclick: () => this.act(action), "aria-label": `${title}: transfer ${job.id}` }, title));
    this.head.replaceChildren(h("h1", {}, `Transfer ${titleOf(job)}`), h("div", { class: "card job", "data-state": job.state, "data-job": job.id },
      h("p", {}, h("span", { class: "state" }, STATES[job.state])), progressOf(job), h("p", { class: "numbers" }, numbersOf(job)), h("p", { class: "message" }, job.message),
      h("div", { class: "buttons" }, ...buttons)));
  }

  async act(action) {
    try {
      const told = await ask(`transfers/${this.id}/${action}`, {});
      this.trouble.replaceChildren();
      if (told.is_deleted) return this.go("/transfers");
      announce(`Transfer ${this.id}: ${STATES[told.state]}.`);
      await this.look();
    } catch (error) {
      this.trouble.replaceChildren(problem(error));
    }
  }

  choose() {
    this.state = this.filter.value;
    this.pages = [0];
    return this.paintTasks();
  }

  asked() {
    return ask(`transfers/${this.id}/tasks?after=${this.pages.at(-1)}&limit=${PAGE}&state=${this.state}`);
  }

  async paintTasks(asked = this.asked()) {
    const several = await asked;
    this.tasks.replaceChildren(several.length ? table("Tasks", ["Study", "Patient ID", "Pseudonym", "From", "To", "State", "Instances", "What is to be said"], several.map((task) => [
      h("button", { type: "button", class: "link", onclick: () => this.show(task), "aria-label": `Instances of ${task.StudyInstanceUID}` }, task.StudyInstanceUID || task.PatientID),
      task.PatientID, task.pseudonym, task.source, task.target, STATES[task.state], task.instances ? `${count(task.done)} of ${count(task.instances)}` : "", task.message])) : h("p", {}, "No task is in this state."));
    const earlier = h("button", { type: "button", disabled: this.pages.length < 2, onclick: () => (this.pages.pop(), this.paintTasks()) }, "Earlier tasks");
    const later = h("button", { type: "button", disabled: several.length < PAGE, onclick: () => (this.pages.push(several.at(-1).id), this.paintTasks()) }, "Later tasks");
    this.paging.replaceChildren(...(this.pages.length > 1 || several.length === PAGE ? [earlier, later] : []));
  }

  async show(task) {
    const several = await ask(`transfers/${this.id}/tasks/${task.id}/instances`);
    const answer = (each) => (each.status === null ? "no answer" : each.status === 0 ? "stored" : `status ${each.status.toString(16).toUpperCase().padStart(4, "0")}${each.words ? `: ${each.words}` : ""}`);
    const title = h("h2", { tabindex: -1 }, `Instances of ${task.StudyInstanceUID}`);
    this.instances.replaceChildren(title, several.length ? table("Instances", ["Instance", "Answer", "When"], several.map((each) => [each.SOPInstanceUID, answer(each), when(each.at)])) : h("p", {}, "None was sent yet."));
    title.focus();
    say(document.getElementById("said"), counted(several.length, "instance"));
  }
}
