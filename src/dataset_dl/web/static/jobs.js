// The jobs as the server tells them: one stream for all windows of this browser, which may open only six.

import { ask, request } from "/static/dom.js";

const AGAIN_MS = 1000;

export class Jobs {
  constructor() {
    this.known = new Map();
    this.removed = new Set();
    this.readers = new Set();
    this.last = 0;
    this.isConnected = false;
    this.channel = new BroadcastChannel("jobs");
    this.channel.onmessage = ({ data }) => this.take(data.jobs, data.isConnected);
  }

  get list() {
    return [...this.known.values()].sort((one, other) => other.id - one.id);
  }

  // Calls a function now and after each change; returns a function that ends that.
  onchange(reader) {
    this.readers.add(reader);
    reader();
    return () => this.readers.delete(reader);
  }

  async listen() {
    try {
      this.take(await ask("jobs"), true);
    } catch {
      this.tell();
    }
    // The window that gets the lock listens for all; when it is closed, another one gets it.
    navigator.locks.request("jobs", () => this.stream());
  }

  async stream() {
    for (;;) {
      try {
        await this.read(await request("events", { headers: { "Last-Event-ID": String(this.last) } }));
      } catch {
        // Tried again below.
      }
      this.pass([], false);
      await new Promise((done) => setTimeout(done, AGAIN_MS));
    }
  }

  async read(answer) {
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    this.pass([], true);
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) {
        const lines = event.split("\n");
        const told = (name) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
        if (told("data") === undefined) continue;
        this.last = Number(told("id"));
        this.pass(JSON.parse(told("data")), true);
      }
    }
  }

  pass(jobs, isConnected) {
    this.take(jobs, isConnected);
    this.channel.postMessage({ jobs, isConnected });
  }

  take(jobs, isConnected) {
    for (const job of jobs) {
      if (job.is_removed) {
        this.removed.add(job.id);
        this.known.delete(job.id);
      } else if (!this.removed.has(job.id) && !(this.known.get(job.id)?.change >= job.change)) {
        this.known.set(job.id, job);
        this.last = Math.max(this.last, job.change);
      }
    }
    this.isConnected = isConnected;
    this.tell();
  }

  // Many changes in one moment are one change of the page.
  tell() {
    if (this.isTelling) return;
    this.isTelling = true;
    const now = () => {
      this.isTelling = false;
      for (const reader of this.readers) reader();
    };
    if (document.hidden) setTimeout(now, 1000);
    else requestAnimationFrame(now);
  }
}
