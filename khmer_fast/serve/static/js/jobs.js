// The list of documents, kept as the service has it: one stream of events and a poll for the rest.
// A browser opens six connections to a host, so only one job is watched at a time, the one that is
// open or else the first that is being read. Both ways begin again by themselves after a restart.

import { eventsAddress, listJobs } from "./api.js";

const POLL = 4000; // ms between lists while something is being read
const RETRY = 2000; // ms between tries while the service cannot be reached
const SOON = 500; // ms from a broken stream to the next list

const isOver = (job) => job.status === "done" || job.status === "failed";

/** Events: "change" (detail: the job's id, or null for the list), "reach" (detail: reachable). */
export class Jobs extends EventTarget {
  constructor() {
    super();
    this.all = []; // newest first
    this.opened = null; // id of the document that is open
    this.reachable = true;
    this.listed = false; // whether the service has told its list yet
    this.watched = null; // {id, source}
    this.refresh();
  }

  get(id) {
    return this.all.find((job) => job.id === id);
  }

  /** Takes the service's list now, and again while something is unfinished. */
  async refresh() {
    clearTimeout(this.timer);
    try {
      this.all = await listJobs();
      this.listed = true;
      this.tell("change", null);
      this.reach(true);
    } catch (error) {
      this.reach(error.status !== 0 && error.status < 502);
    }
    this.watch();
    if (!this.reachable) this.refreshIn(RETRY);
    else if (this.all.some((job) => !isOver(job))) this.refreshIn(POLL);
  }

  add(job) {
    this.all = [job, ...this.all.filter(({ id }) => id !== job.id)];
    this.tell("change", null);
    this.watch();
    this.refreshIn(POLL);
  }

  remove(id) {
    this.all = this.all.filter((job) => job.id !== id);
    this.tell("change", null);
    this.watch();
  }

  /** The document that is open (or null) is watched before others. */
  open(id) {
    this.opened = id;
    this.watch();
  }

  watch() {
    const unfinished = this.all.filter((job) => !isOver(job));
    const job =
      unfinished.find(({ id }) => id === this.opened) ??
      unfinished.findLast(({ status }) => status === "reading") ??
      unfinished.at(-1);
    if (this.watched?.id === job?.id) return;
    this.watched?.source.close();
    this.watched = null;
    if (!job) return;
    const source = new EventSource(eventsAddress(job.id));
    this.watched = { id: job.id, source };
    source.addEventListener("page", (event) => this.takePage(job.id, JSON.parse(event.data)));
    source.addEventListener("job", (event) => this.takeJob(JSON.parse(event.data)));
    source.onerror = () => {
      if (this.watched?.source !== source) return;
      if (source.readyState === EventSource.CLOSED) this.watched = null; // no stream came: ask anew
      this.refreshIn(SOON); // the browser opens a broken stream again by itself
    };
  }

  refreshIn(wait) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.refresh(), wait);
  }

  takePage(id, entry) {
    const job = this.get(id);
    if (!job) return;
    const known = (job.page_status ?? []).filter(({ number }) => number !== entry.number);
    const pages = [...known, entry].sort((a, b) => a.number - b.number);
    this.takeJob({
      ...job,
      page_status: pages,
      done: pages.filter(({ status }) => status === "done").length,
      failed: pages.filter(({ status }) => status === "failed").length,
    });
  }

  takeJob(job) {
    this.all = this.all.map((other) => (other.id === job.id ? { ...other, ...job } : other));
    this.reach(true);
    this.tell("change", job.id);
    if (isOver(job)) this.watch();
  }

  reach(reachable) {
    if (this.reachable !== reachable) this.tell("reach", (this.reachable = reachable));
  }

  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
