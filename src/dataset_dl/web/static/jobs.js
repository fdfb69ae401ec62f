// The jobs as the server tells them: one stream for all pages of this window.

export class Jobs {
  constructor() {
    this.known = new Map();
    this.readers = new Set();
    this.isConnected = false;
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

  listen() {
    const stream = new EventSource("/api/events");
    stream.onopen = () => this.tell(true);
    stream.onerror = () => this.tell(false);
    stream.onmessage = (event) => {
      for (const job of JSON.parse(event.data)) {
        if (job.is_removed) this.known.delete(job.id);
        else this.known.set(job.id, job);
      }
      this.tell(true);
    };
    window.addEventListener("pagehide", () => stream.close());
    window.addEventListener("pageshow", (event) => event.persisted && this.listen());
  }

  // Many changes in one moment are one change of the page.
  tell(isConnected) {
    this.isConnected = isConnected;
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
