// Undo and redo: the pages that were, with the place where each was edited.

const PAUSE = 1200; // ms; typing in one line without a longer pause is one step

export class History {
  constructor(page) {
    this.page = page;
    this.past = [];
    this.future = [];
    this.last = null; // {key, time} of the last typing
  }

  /** Takes a new page; `at` {key, start, end} is where the cursor stood before. */
  push(page, at, typing = false) {
    const now = Date.now();
    const goesOn = typing && this.last?.key === at?.key && now - this.last.time < PAUSE;
    if (!goesOn) this.past.push({ page: this.page, at });
    this.last = typing ? { key: at?.key, time: now } : null;
    this.future = [];
    this.page = page;
  }

  /** The place of the step that was taken back, or null where none is left. */
  undo() {
    return this.step(this.past, this.future);
  }

  redo() {
    return this.step(this.future, this.past);
  }

  step(from, to) {
    const entry = from.pop();
    if (!entry) return null;
    to.push({ page: this.page, at: entry.at });
    this.page = entry.page;
    this.last = null;
    return entry.at ?? {};
  }
}
