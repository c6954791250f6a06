// Files and folders that were dropped or chosen, sent two at a time; each becomes a job.

import { postJob } from "./api.js";

const AT_ONCE = 2;
const TRIES = 5; // of a file while the service cannot be reached
const PAUSE = 3; // seconds, where the service names none

const READABLE = /\.(pdf|png|jpe?g|tiff?|webp|bmp|gif|jp2)$/i;

/** What can be read among files, and how many of them cannot. */
export function readable(files) {
  const good = files.filter((file) => READABLE.test(file.name));
  return { files: good, skipped: files.length - good.length };
}

/** All files of a drop, those in folders too. */
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (entries.length === 0) return [...transfer.files];
  return (await Promise.all(entries.map(filesOf))).flat();
}

async function filesOf(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    // a call gives at most a hundred
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) break;
    found.push(...some);
  }
  found.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  return (await Promise.all(found.map(filesOf))).flat();
}

/** Sends files. Events: "change" (uploads: [{file, status, share, error}]), "job" (detail: job). */
export class Uploads extends EventTarget {
  constructor() {
    super();
    this.all = [];
    this.sending = 0;
  }

  add(files, options) {
    for (const file of files) {
      this.all.push({ file, options, key: newKey(), status: "waiting", share: 0, tries: 0 });
    }
    this.next();
  }

  /** Sends one that failed again, with other options where they were wrong. */
  retry(upload, options = {}) {
    const anew = { status: "waiting", share: 0, tries: 0, error: null, key: newKey() };
    Object.assign(upload, anew, { options: { ...upload.options, ...options } });
    this.next();
  }

  drop(upload) {
    this.all = this.all.filter((other) => other !== upload);
    this.tell("change");
  }

  next() {
    this.tell("change");
    const upload = this.all.find(({ status }) => status === "waiting");
    if (!upload || this.sending >= AT_ONCE) return;
    this.send(upload);
    this.next();
  }

  async send(upload) {
    upload.status = "sending";
    this.sending += 1;
    try {
      const job = await postJob(upload.file, upload.options, upload.key, (share) => {
        upload.share = share;
        this.tell("change");
      });
      this.all = this.all.filter((other) => other !== upload);
      this.tell("job", job);
    } catch (error) {
      this.failed(upload, error);
    }
    this.sending -= 1;
    this.next();
  }

  failed(upload, error) {
    upload.tries += 1;
    const full = error.status === 429 || error.status === 503;
    const again = full || (error.status === 0 && upload.tries < TRIES);
    upload.status = again ? "paused" : "failed";
    upload.error = error;
    if (!again) return;
    const wait = 1000 * (error.retryAfter ?? PAUSE);
    setTimeout(() => {
      if (upload.status !== "paused") return;
      upload.status = "waiting";
      this.next();
    }, wait);
  }

  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/** A name for one upload, by which the service knows a second try of it. */
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16)); // randomUUID needs https
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
