// The page that is open: its edits, undo and redo, and saving. Views listen to it.

import { getPage } from "./api.js";
import { draftOf } from "./drafts.js";
import { History } from "./history.js";
import * as lines from "./line.js";
import { merge } from "./merge.js";
import * as model from "./page_model.js";
import { Saver } from "./saving.js";

/** Events: "change" (detail: where the cursor goes, {key, start, end}, or null), "state". */
export class Editor extends EventTarget {
  /** Opens a stored page; what an earlier visit could not save is taken up again. */
  static async open(id, number) {
    const stored = await getPage(id, number);
    return new Editor(id, number, model.opened(stored.page), stored.revision);
  }

  constructor(id, number, page, revision) {
    super();
    Object.assign(this, { id, number });
    this.saver = new Saver(id, number, page, revision);
    this.history = new History(page);
    this.saver.addEventListener("state", () => this.dispatchEvent(new CustomEvent("state")));
    const draft = draftOf(id, number);
    if (!draft) return;
    this.history.push(model.opened(draft.page), null);
    if (draft.revision === revision) this.saver.changed(this.page);
    else {
      this.fromDraft = true; // what it started from is gone: one of the two pages must win
      this.saver.page = this.page;
      this.saver.become("conflict");
    }
  }

  get page() {
    return this.history.page;
  }

  line(key) {
    return model.lineOf(this.page, key);
  }

  type(key, text, at) {
    this.apply(model.withLine(this.page, lines.withText(this.line(key), text)), at, null, true);
  }

  /** Puts another reading {start, end, text} into a line; it counts as typed. */
  choose(key, { start, end, text }, at) {
    const { text: old } = this.line(key);
    const changed = lines.withText(this.line(key), old.slice(0, start) + text + old.slice(end));
    // An alternative may hold doubted clusters that stay as they are: choosing it settles them.
    let [from, settled] = [0, changed];
    lines.characters(changed).forEach((character, index) => {
      if (from >= start && from < start + text.length) settled = lines.accepted(settled, index);
      from += character.text.length;
    });
    const place = { key, start: start + text.length, end: start + text.length };
    this.apply(model.withLine(this.page, settled), at, place);
  }

  /** Takes cluster `index` of a line, or all of it (null), as right. */
  accept(key, index, at) {
    this.apply(model.withLine(this.page, lines.accepted(this.line(key), index)), at, at);
  }

  split(key, offset, at) {
    const { page, key: second } = model.splitLine(this.page, key, offset);
    this.apply(page, at, { key: second, start: 0, end: 0 });
  }

  /** Joins a line with the next one; whether there was one. */
  join(key, at) {
    const joined = model.joinLine(this.page, key);
    if (joined) this.apply(joined.page, at, { key, start: joined.offset, end: joined.offset });
    return Boolean(joined);
  }

  move(key, step, at) {
    const page = model.moveLine(this.page, key, step);
    if (page) this.apply(page, at, at);
    return Boolean(page);
  }

  remove(key, at) {
    const all = model.places(this.page);
    const index = all.findIndex(({ line }) => line.key === key);
    const near = (all[index + 1] ?? all[index - 1])?.line.key;
    const place = near === undefined ? null : { key: near, start: 0, end: 0 };
    this.apply(model.removeLine(this.page, key), at, place);
  }

  insert(line, at) {
    const { page, key } = model.insertLine(this.page, line);
    this.apply(page, at, { key, start: 0, end: 0 });
    return key;
  }

  undo() {
    return this.step(this.history.undo());
  }

  redo() {
    return this.step(this.history.redo());
  }

  /** After a conflict: what merges by itself, and what both changed; see merge.js. */
  async theirs() {
    const stored = await getPage(this.id, this.number);
    const page = model.opened(stored.page, this.saver.base);
    const known = this.saver.state === "conflict" && !this.fromDraft;
    const merged = known ? merge(this.saver.base, this.page, page) : null;
    return { page, revision: stored.revision, merged };
  }

  /** Ends a conflict with a page, which is saved over `theirs`. */
  settle(page, theirs) {
    this.fromDraft = false;
    this.history.push(page, null);
    this.saver.rebase(theirs.page, theirs.revision, page);
    this.dispatchEvent(new CustomEvent("change", { detail: null }));
  }

  apply(page, at, place, typing = false) {
    this.history.push(page, at, typing);
    this.saver.changed(page);
    this.dispatchEvent(new CustomEvent("change", { detail: place }));
  }

  step(at) {
    if (!at) return false;
    this.saver.changed(this.page);
    const place = at.key !== undefined && this.line(at.key) ? at : null;
    this.dispatchEvent(new CustomEvent("change", { detail: place }));
    return true;
  }

  close() {
    this.saver.close();
  }
}
