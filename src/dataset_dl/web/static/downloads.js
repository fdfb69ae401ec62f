// Downloads: the queue, live, and what can be done with each job.

import { ask, announce, count, counted, duration, h, problem, say, size, when } from "/static/dom.js";
import { place } from "/static/facets.js";

const STATES = {
  PENDING: "waits", IN_PROGRESS: "runs", PAUSED: "paused", SUCCESS: "complete and verified", WARNING: "some of it failed", FAILURE: "failed", CANCELED: "canceled",
};
const KINDS = { download: "Download", verify: "Verify", repair: "Repair", update: "Update" };
const MOVES = {
  pause: ["Pause", ["PENDING", "IN_PROGRESS"]], resume: ["Resume", ["PAUSED"]], cancel: ["Cancel", ["PENDING", "IN_PROGRESS", "PAUSED"]],
  retry: ["Retry what failed", ["WARNING", "FAILURE", "CANCELED"]], remove: ["Remove from the list", ["SUCCESS", "WARNING", "FAILURE", "CANCELED"]],
};

export function show(root, { jobs }) {
  const view = new Downloads(root, jobs);
  const stop = jobs.onchange(() => view.paint());
  return { end: stop, changed: () => {} };
}

class Downloads {
  constructor(root, jobs) {
    this.jobs = jobs;
    this.cards = new Map();
    this.list = h("ul", { class: "jobs" });
    this.none = h("p", {}, "Nothing is in the queue. ", h("a", { href: "/explore" }, "Explore IDC"), " and build a cohort.");
    this.lost = h("p", { class: "problem", role: "alert", hidden: true }, "This page has lost its server. If `dataset-dl web` was started again, open its new link; jobs stand as paused then.");
    this.trouble = h("div");
    root.append(h("h1", {}, "Downloads"), this.lost, this.trouble, this.none, this.list);
  }

  paint() {
    const list = this.jobs.list;
    this.lost.hidden = this.jobs.isConnected || !this.jobs.known.size;
    this.none.hidden = list.length > 0;
    for (const id of this.cards.keys()) if (!this.jobs.known.has(id)) this.cards.delete(id);
    place(this.list, list.map((job) => {
      if (!this.cards.has(job.id)) this.cards.set(job.id, new Card((path, body) => this.act(path, body)));
      return this.cards.get(job.id).paint(job);
    }));
  }

  async act(path, body = {}) {
    try {
      const told = await ask(path, body);
      this.trouble.replaceChildren();
      if (told.state) announce(`Job ${told.id}: ${STATES[told.state]}.`);
    } catch (error) {
      this.trouble.replaceChildren(problem(error));
    }
  }
}

class Card {
  constructor(act) {
    this.act = act;
    this.title = h("h2", {});
    this.state = h("span", { class: "state" });
    this.bar = h("progress", { max: 1 });
    this.numbers = h("p", { class: "numbers" });
    this.message = h("p", { class: "message" });
    this.buttons = h("div", { class: "buttons" });
    this.made = new Map();
    this.failures = h("ul", { class: "failures" });
    this.summary = h("summary", {});
    this.failed = h("details", { hidden: true }, this.summary, this.failures);
    this.root = h("li", { class: "card job" }, h("div", { class: "head" }, this.title, this.state), this.bar, this.numbers, this.message, this.failed, this.buttons);
  }

  paint(job) {
    if (this.change === job.change) return this.root;
    this.change = job.change;
    this.root.dataset.state = job.state;
    this.root.dataset.job = job.id;
    const name = `${KINDS[job.kind] ?? job.kind} ${job.id}: ${job.destination}`;
    say(this.title, name);
    say(this.state, STATES[job.state]);
    this.bar.setAttribute("aria-label", `Progress of job ${job.id}`);
    const progress = job.progress;
    const isOpen = ["PENDING", "IN_PROGRESS", "PAUSED"].includes(job.state);
    this.bar.hidden = !isOpen;
    this.bar.value = progress?.total_bytes ? progress.completed_bytes / progress.total_bytes : 0;
    say(this.numbers, numbersOf(job));
    say(this.message, job.message);
    this.message.hidden = !job.message;
    this.paintFailures(job.outcome);
    this.paintButtons(job);
    return this.root;
  }

  paintFailures(outcome) {
    const failures = outcome.failures ?? [];
    const deviations = outcome.deviations ?? [];
    this.failed.hidden = !failures.length && !deviations.length;
    if (this.failed.hidden) return;
    say(this.summary, failures.length ? counted(outcome.failure_count ?? failures.length, "failed series", "failed series") : counted(outcome.deviation_count ?? deviations.length, "deviation"));
    this.failures.replaceChildren(
      ...failures.map((each) => h("li", {}, `${each.SeriesInstanceUID ?? each.crdc_series_uuid}: ${each.cause.replaceAll("_", " ")}. ${each.message}`)),
      ...deviations.map((each) => h("li", {}, `${each.directory}${each.file ? `/${each.file}` : ""}: ${each.problem} ${each.detail}`)));
  }

  paintButtons(job) {
    const offered = Object.entries(MOVES).filter(([, [, states]]) => states.includes(job.state)).map(([move, [title]]) => [move, title, () => this.act(`jobs/${job.id}/${move}`)]);
    if (job.kind === "download" && ["SUCCESS", "WARNING"].includes(job.state)) offered.push(["verify", "Verify", () => this.act("check", { kind: "verify", to: job.destination })]);
    if (job.kind === "verify" && job.state === "WARNING") offered.push(["repair", "Repair", () => this.act("check", { kind: "repair", to: job.destination })]);
    place(this.buttons, offered.map(([name, title, act]) => {
      if (!this.made.has(name)) this.made.set(name, h("button", { type: "button", onclick: act, "aria-label": `${title}: job ${job.id}` }, title));
      return this.made.get(name);
    }));
  }
}

function numbersOf(job) {
  const progress = job.progress;
  const asked = job.request.series_count === undefined ? "" : `${counted(job.request.series_count, "series", "series")}, ${size(job.request.size_bytes)}`;
  if (!progress) return [asked, `added ${when(job.created)}`].filter(Boolean).join(" · ");
  const parts = [];
  if (progress.total_series) parts.push(`${count(progress.completed_series)} of ${count(progress.total_series)} series`);
  if (progress.total_bytes) parts.push(`${size(progress.completed_bytes)} of ${size(progress.total_bytes)}`);
  if (job.state === "IN_PROGRESS" && progress.throughput_mbps) parts.push(`${progress.throughput_mbps.toFixed(1)} MB/s`);
  if (job.state === "IN_PROGRESS" && progress.seconds_left) parts.push(`${duration(progress.seconds_left)} left`);
  if (progress.failed_series) parts.push(`${count(progress.failed_series)} failed`);
  if (job.ended && !["PENDING", "IN_PROGRESS"].includes(job.state)) parts.push(when(job.ended));
  return parts.join(" · ");
}
