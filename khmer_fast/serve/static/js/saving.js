// Autosave of one page with If-Match. What is not saved yet is kept in the browser, too, so that a
// reload or a crash while the service is away loses nothing.

import { putPage } from "./api.js";
import { forgetDraft, keepDraft } from "./drafts.js";
import { serialized } from "./page_model.js";

const DELAY = 700; // ms after the last edit
const RETRY = 3000; // ms while the service cannot be reached

/** States: saved, changed, saving, away, conflict, refused (`error` says why). Event: "state". */
export class Saver extends EventTarget {
  constructor(id, number, page, revision) {
    super();
    Object.assign(this, { id, number, revision, state: "saved", error: null });
    this.base = page; // as the service has it, with our keys
    this.page = page;
  }

  /** Takes the page as it is now and saves it soon. */
  changed(page) {
    this.page = page;
    if (this.state === "conflict") return; // until it is mended
    if (this.state !== "saving") this.become("changed");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.save(), DELAY);
  }

  /** Goes on from the service's page after a conflict. */
  rebase(base, revision, page) {
    Object.assign(this, { base, revision });
    this.become("changed");
    this.changed(page);
  }

  /** Saves what is left; resolves whether all is stored. */
  async flush() {
    clearTimeout(this.timer);
    if (this.page !== this.base) this.keep();
    if (this.running) await this.running;
    if (this.page !== this.base && this.state !== "conflict") await this.save();
    return this.page === this.base;
  }

  /** One PUT at a time: what changes meanwhile is saved after it. */
  save() {
    this.running ??= this.send().finally(() => {
      this.running = null;
    });
    return this.running;
  }

  async send() {
    const page = this.page;
    if (page === this.base) {
      this.forget();
      return this.become("saved");
    }
    this.become("saving");
    const body = this.keep();
    try {
      this.revision = await putPage(this.id, this.number, body, this.revision);
      this.base = page;
    } catch (error) {
      return this.failed(error);
    }
    if (this.page === page) {
      this.forget();
      return this.become("saved");
    }
    this.become("changed");
    this.timer = setTimeout(() => this.save(), DELAY);
  }

  failed(error) {
    this.error = error;
    if (error.status === 412) return this.become("conflict");
    const again = error.status === 0 || error.status === 429 || error.status >= 500;
    this.become(again ? "away" : "refused");
    if (again) this.timer = setTimeout(() => this.save(), RETRY);
  }

  close() {
    clearTimeout(this.timer);
  }

  become(state) {
    if (this.state === state) return;
    this.state = state;
    this.dispatchEvent(new CustomEvent("state"));
  }

  /** Keeps the page in the browser until it is stored; its JSON. */
  keep() {
    const body = serialized(this.page);
    keepDraft(this.id, this.number, this.revision, body);
    return body;
  }

  forget() {
    forgetDraft(this.id, this.number);
  }
}
