// A document that is open: its pages, the picture beside the text, and what ties them.

import { readBox } from "./api.js";
import { announce, notice, sentence } from "./announce.js";
import { help, mend } from "./dialogs.js";
import { button, el, iconOf } from "./dom.js";
import { downloads } from "./downloads.js";
import { DrawLine } from "./draw_line.js";
import { Editor } from "./editor.js";
import { number, t } from "./i18n.js";
import { Picture } from "./picture.js";
import { ProofBar } from "./proof_bar.js";
import { splitter } from "./splitter.js";
import { TextView } from "./text_view.js";

const SAVE_STATES = ["saved", "changed", "saving", "away", "conflict", "refused"];

export class DocumentView {
  /** `go(number)` leads to another page. */
  constructor(jobs, id, go) {
    Object.assign(this, { jobs, id, go, seek: false });
    this.title = el("h1", {});
    this.before = button("back", t("page.before"), {
      quiet: true,
      keys: "Alt+PageUp",
      onclick: () => this.step(-1),
    });
    this.behind = button("next", t("page.behind"), {
      quiet: true,
      keys: "Alt+PageDown",
      onclick: () => this.step(1),
    });
    this.choice = el("select", {
      "aria-label": t("page.choose"),
      onchange: () => this.go(Number(this.choice.value)),
    });
    this.state = el("span", { class: "save-state" });
    this.undo = button("undo", t("undo"), {
      quiet: true,
      keys: "Control+Z",
      onclick: () => this.editor?.undo() || announce(t("announce.no_undo")),
    });
    this.redo = button("redo", t("redo"), {
      quiet: true,
      keys: "Control+Shift+Z",
      onclick: () => this.editor?.redo() || announce(t("announce.no_redo")),
    });
    this.panes = el("div", { class: "panes" });
    this.element = el(
      "div",
      { class: "document" },
      el(
        "div",
        { class: "bar" },
        el(
          "a",
          { href: "#/", class: "home", title: t("documents") },
          iconOf("back"),
          el("span", { class: "told" }, t("documents")),
        ),
        this.title,
        el("div", { class: "pages" }, this.before, this.choice, this.behind),
        this.state,
        el("div", { class: "group" }, this.undo, this.redo),
        button("help", t("keys.title"), { quiet: true, keys: "F1", class: "help", onclick: help }),
        downloads(id, { ready: () => this.flush(), kind: "main" }),
      ),
      this.panes,
    );
    this.onJobs = () => this.refresh();
    this.onKey = (event) => this.key(event);
    this.onLeave = (event) => this.leaving(event);
    jobs.addEventListener("change", this.onJobs);
    document.addEventListener("keydown", this.onKey);
    window.addEventListener("beforeunload", this.onLeave);
    jobs.open(id);
  }

  /** Leaves the page that is open, when all of it is stored or kept in the browser. */
  async close() {
    this.jobs.removeEventListener("change", this.onJobs);
    document.removeEventListener("keydown", this.onKey);
    window.removeEventListener("beforeunload", this.onLeave);
    this.jobs.open(null);
    await this.leavePage();
  }

  /** Whether a page of a document is the one that is edited here. */
  isOpen(id, number) {
    return this.id === id && this.number === number;
  }

  flush() {
    return this.editor ? this.editor.saver.flush() : Promise.resolve(true);
  }

  async leavePage() {
    const { editor, picture } = this;
    this.editor = this.picture = this.text = null;
    if (editor && !(await editor.saver.flush())) {
      notice(t("save.kept", { n: editor.number }), "error");
    }
    editor?.close();
    picture?.close();
  }

  /** Shows page `number`, or what becomes of it while it is not read. */
  async show(page) {
    if (page === this.number && this.editor) return;
    await this.leavePage();
    this.number = page;
    this.shown = null;
    this.refresh();
  }

  /** Brings everything in line with the job as the service has it. */
  refresh() {
    const job = this.jobs.get(this.id);
    if (!job) {
      if (this.jobs.reachable && this.jobs.listed) this.say(t("document.gone"));
      return;
    }
    this.title.textContent = job.name;
    this.title.title = job.name;
    document.title = `${job.name} – khmer_fast`;
    this.refreshPages(job);
    const entry = (job.page_status ?? []).find((status) => status.number === this.number);
    if (entry?.status === "done") this.open();
    else if (entry?.status === "failed") this.say(entry.error ?? t("page.failed"), "error");
    else if (job.status === "failed") this.say(job.error ?? t("job.failed"), "error");
    else this.say(t("page.waiting"), "waiting");
  }

  refreshPages(job) {
    const all = job.page_status ?? [];
    const options = all.map((entry) => {
      const state = entry.status === "done" ? "" : ` · ${t(`status.${entry.status}`)}`;
      return [entry.number, `${number(entry.number)} / ${number(job.pages ?? all.length)}${state}`];
    });
    while (this.choice.length > options.length) this.choice.lastChild.remove();
    options.forEach(([value, text], i) => {
      const option = this.choice.options[i] ?? this.choice.appendChild(el("option"));
      option.value = value;
      if (option.textContent !== text) option.textContent = text;
    });
    this.choice.value = String(this.number);
    this.before.disabled = !all.some((entry) => entry.number < this.number);
    this.behind.disabled = !all.some((entry) => entry.number > this.number);
  }

  say(text, kind = "") {
    if (this.shown === text) return;
    this.shown = text;
    this.panes.replaceChildren(el("p", { class: `message ${kind}`, role: "status" }, text));
  }

  async open() {
    if (this.editor || this.shown === "opening") return;
    this.shown = "opening";
    const { number: page } = this;
    let editor;
    try {
      editor = await Editor.open(this.id, page);
    } catch (error) {
      this.say(sentence(error), "error");
      return;
    }
    if (this.number !== page || this.editor) return; // another page was asked for meanwhile
    this.editor = editor;
    this.picture = new Picture(this.id, page);
    this.text = new TextView(editor, this.picture);
    this.bar = new ProofBar();
    this.text.least = this.bar.least;
    this.draw = new DrawLine(this.picture);
    this.drawing = button("draw", t("draw"), { keys: "Alt+N", "aria-pressed": "false" });
    this.drawing.addEventListener("click", () => this.toggleDrawing());
    this.hint = el("p", { class: "hint", hidden: true }, t("draw.hint"));
    this.picture.tools.append(this.drawing);
    this.picture.tools.after(this.hint);
    this.text.element.prepend(this.bar.element);
    this.panes.replaceChildren(
      this.picture.element,
      splitter(this.panes),
      this.text.element,
      this.notes(),
    );
    this.tie();
    this.picture.show(editor.page, this.bar.least);
    this.text.render();
    this.saveState();
    if (this.seek) this.text.nextDoubt();
    this.seek = false;
    const behind = this.numberBehind();
    if (behind !== undefined) new Image().src = this.picture.address(null, behind); // ahead of time
  }

  /** What the reader says of the page beside its text. */
  notes() {
    const { notes = [], origin } = this.editor.page;
    const all = notes.map(({ text }) => text);
    if (origin?.source === "text layer") all.push(t("origin.layer"));
    if (all.length === 0) return el("span", { hidden: true });
    return el(
      "details",
      { class: "page-notes" },
      el("summary", {}, t("notes", { n: all.length })),
      el(
        "ul",
        {},
        all.map((text) => el("li", {}, text)),
      ),
    );
  }

  tie() {
    const { bar, editor, picture, text, draw } = this;
    picture.addEventListener("pick", ({ detail: { key, index } }) => {
      const line = editor.line(key);
      const start = (line.characters ?? [])
        .slice(0, index ?? 0)
        .reduce((n, c) => n + c.text.length, 0);
      text.focus(key, Math.min(start, line.text.length));
    });
    text.addEventListener("cursor", ({ detail }) => picture.mark(detail, true));
    text.addEventListener("marks", () =>
      bar.show(text.allDoubts().length, this.numberBehind() !== undefined),
    );
    editor.addEventListener("change", ({ detail }) => {
      picture.show(editor.page, bar.least);
      text.render(detail);
    });
    editor.addEventListener("state", () => this.saveState());
    bar.addEventListener("level", () => {
      picture.show(editor.page, bar.least);
      text.setLeast(bar.least);
    });
    bar.addEventListener("before", () => text.nextDoubt(-1));
    bar.addEventListener("ahead", () => this.goAhead());
    bar.addEventListener("accept", () => this.accept());
    draw.addEventListener("box", ({ detail }) => this.readBox(detail));
    draw.addEventListener("end", () => this.drawn());
  }

  /** To the next doubted stretch: of this page, else of the next one, else from this one's start. */
  goAhead() {
    const behind = this.numberBehind();
    if (behind === undefined || this.text.doubtAfter(this.text.allDoubts())) {
      this.text.nextDoubt();
      return;
    }
    this.seek = true;
    this.go(behind);
  }

  accept() {
    const { here, editors } = this.text;
    const of = here && editors.get(here.key);
    if (!of) this.text.nextDoubt();
    else if (of.choices.length > 0) this.text.take(of, of.active ?? 0);
    else this.text.acceptLine(of);
  }

  // -- a line that was missed

  toggleDrawing() {
    if (this.draw.on) this.draw.end();
    else {
      this.draw.begin();
      this.drawing.setAttribute("aria-pressed", "true");
      this.hint.hidden = false;
      announce(t("draw.hint"));
    }
  }

  drawn() {
    this.drawing?.setAttribute("aria-pressed", "false");
    if (this.hint) this.hint.hidden = true;
  }

  async readBox(box) {
    const { editor, text } = this;
    announce(t("draw.reading"));
    try {
      const line = await readBox(this.id, this.number, box);
      if (this.editor !== editor) return;
      const key = editor.insert(line, text.place());
      const added = editor.line(key);
      announce(t("draw.read", { text: added.text || t("line.empty") }));
    } catch (error) {
      notice(sentence(error), "error");
    }
  }

  // -- saving

  saveState() {
    if (!this.editor) return;
    const { state, error } = this.editor.saver;
    for (const name of SAVE_STATES) this.state.classList.toggle(name, name === state);
    this.state.replaceChildren(el("span", {}, t(`save.${state}`)));
    if (["away", "conflict", "refused"].includes(state)) announce(t(`save.${state}`));
    if (state === "refused") notice(t("save.why", { why: sentence(error) }), "error");
    if (state === "conflict") this.settle();
    if (state === "away") this.jobs.refresh(); // says so at the top, and when it is back
  }

  /** Mends a conflict: by itself where the edits do not touch, else by asking. */
  async settle() {
    const { editor } = this;
    const again = button(null, t("conflict.mend"), { class: "main", onclick: () => this.settle() });
    this.state.replaceChildren(el("span", {}, t("save.conflict")), again);
    try {
      const theirs = await editor.theirs();
      const page = await mend(editor.page, theirs);
      if (!page || this.editor !== editor) return;
      editor.settle(page, theirs);
      if (theirs.merged?.both.length === 0) notice(t("conflict.merged"));
    } catch (error) {
      notice(sentence(error), "error");
    }
  }

  leaving(event) {
    if (!this.editor || this.editor.saver.state === "saved") return;
    this.editor.saver.keep();
    this.editor.saver.save();
    event.preventDefault();
  }

  // -- keys for the whole document

  key(event) {
    if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
    const act = this.action(event);
    if (!act) return;
    event.preventDefault();
    act();
  }

  action(event) {
    const command = (event.ctrlKey || event.metaKey) && !event.altKey;
    const option = event.altKey && !event.ctrlKey && !event.shiftKey;
    if (event.key === "F1") return help;
    if (option && event.key === "PageUp") return () => this.step(-1);
    if (option && event.key === "PageDown") return () => this.step(1);
    if (!this.editor) return undefined;
    if (command && event.code === "KeyZ")
      return () => (event.shiftKey ? this.redo : this.undo).click();
    if (command && event.code === "KeyY") return () => this.redo.click();
    if (command && event.code === "KeyS") return () => this.flush();
    if (option && event.code === "KeyN") return () => this.toggleDrawing();
    if (option && event.key === "ArrowDown") return () => this.goAhead();
    if (option && event.key === "ArrowUp") return () => this.text.nextDoubt(-1);
    return undefined;
  }

  step(by) {
    const next = this.numberBehind(by);
    if (next !== undefined) this.go(next);
  }

  /** The number of the page `by` pages further, or undefined. */
  numberBehind(by = 1) {
    const numbers = (this.jobs.get(this.id)?.page_status ?? []).map((entry) => entry.number);
    return numbers[numbers.indexOf(this.number) + by];
  }
}
