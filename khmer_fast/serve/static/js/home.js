// The first view: where files are dropped, and the documents with their progress.

import { deleteJob } from "./api.js";
import { announce, notice, sentence } from "./announce.js";
import { confirmDelete } from "./dialogs.js";
import { button, el, iconOf } from "./dom.js";
import { downloads } from "./downloads.js";
import { ago, number, percent, t } from "./i18n.js";
import { dropped, readable } from "./upload.js";

const SOON = 3; // days before a document goes that its row says so
const CELLS = 60; // of a progress strip, at most
const AHEAD = 3; // files that wait to be sent and are shown

export class Home {
  constructor(jobs, uploads) {
    Object.assign(this, { jobs, uploads, rows: new Map() });
    document.title = "khmer_fast";
    this.files = el("input", {
      type: "file",
      multiple: true,
      accept: ".pdf,image/*",
      hidden: true,
    });
    this.folder = el("input", { type: "file", webkitdirectory: true, hidden: true });
    for (const input of [this.files, this.folder]) {
      input.addEventListener("change", () => {
        this.take([...input.files]);
        input.value = "";
      });
    }
    this.options = options();
    this.drop = el(
      "div",
      { class: "drop" },
      iconOf("file"),
      el("p", { class: "call" }, t("drop.call")),
      el("p", { class: "what" }, t("drop.what")),
      el(
        "div",
        { class: "choose" },
        button("file", t("drop.files"), { class: "main", onclick: () => this.files.click() }),
        button("folder", t("drop.folder"), { onclick: () => this.folder.click() }),
      ),
      this.files,
      this.folder,
    );
    this.sending = el("ul", { class: "uploads", "aria-label": t("uploads") });
    this.list = el("ul", { class: "jobs" });
    this.none = el("p", { class: "none" }, t("documents.none"));
    this.element = el(
      "div",
      { class: "start" },
      el("div", { class: "intro" }, el("h1", {}, t("home.title")), el("p", {}, t("home.text"))),
      this.drop,
      this.options.element,
      el("h2", {}, t("documents")),
      this.sending,
      this.list,
      this.none,
    );
    this.onJobs = () => this.renderJobs();
    this.onUploads = () => this.renderUploads();
    jobs.addEventListener("change", this.onJobs);
    uploads.addEventListener("change", this.onUploads);
    this.watchDrops();
    this.renderJobs();
    this.renderUploads();
  }

  close() {
    this.jobs.removeEventListener("change", this.onJobs);
    this.uploads.removeEventListener("change", this.onUploads);
    for (const [name, listener] of this.drops) window.removeEventListener(name, listener);
  }

  /** Files may be dropped anywhere in the window. */
  watchDrops() {
    const over = (on) => this.drop.classList.toggle("over", on);
    this.drops = [
      ["dragover", (event) => (event.preventDefault(), over(true))],
      ["dragleave", (event) => event.relatedTarget === null && over(false)],
      [
        "drop",
        async (event) => {
          event.preventDefault();
          over(false);
          this.take(await dropped(event.dataTransfer));
        },
      ],
    ];
    for (const [name, listener] of this.drops) window.addEventListener(name, listener);
  }

  take(all) {
    const { files, skipped } = readable(all);
    if (skipped > 0) notice(t("drop.skipped", { n: skipped }));
    if (files.length === 0) return;
    this.uploads.add(files, this.options.values());
    announce(t("drop.taken", { n: files.length }));
  }

  renderUploads() {
    const { all } = this.uploads;
    // What waits stands behind what moves, and is counted where it is much.
    const waiting = all.filter(({ status }) => status === "waiting");
    const shown = [
      ...all.filter((upload) => !waiting.includes(upload)),
      ...waiting.slice(0, AHEAD),
    ];
    const more = waiting.length - AHEAD;
    this.sending.replaceChildren(...shown.map((upload) => this.uploadRow(upload)));
    if (more > 0) this.sending.append(el("li", { class: "none" }, t("uploads.more", { n: more })));
    this.sending.hidden = all.length === 0;
  }

  uploadRow(upload) {
    const { file, status, share, error } = upload;
    const text = error ? sentence(error) : status === "sending" ? percent(share) : "";
    const row = el(
      "li",
      { class: `upload ${status}` },
      el("span", { class: "name" }, file.name),
      el("span", { class: "state" }, `${t(`upload.${status}`)} ${text}`),
    );
    if (status === "failed") {
      const again = () => this.uploads.retry(upload);
      row.append(
        error.code === "password_needed"
          ? this.passwordForm(upload)
          : button("turn", t("again"), { onclick: again }),
        button("close", t("close"), { quiet: true, onclick: () => this.uploads.drop(upload) }),
      );
    }
    return row;
  }

  passwordForm(upload) {
    const input = el("input", {
      type: "password",
      autocomplete: "off",
      required: true,
      "aria-label": t("upload.password"),
      placeholder: t("upload.password"),
    });
    const form = el("form", { class: "choose" }, input, el("button", {}, t("upload.open")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.uploads.retry(upload, { password: input.value });
    });
    return form;
  }

  /** Brings the rows in line with the jobs; a row that stays keeps its focus and open menu. */
  renderJobs() {
    const { all } = this.jobs;
    for (const [id, row] of this.rows) {
      if (all.some((job) => job.id === id)) continue;
      row.element.remove();
      this.rows.delete(id);
    }
    all.forEach((job, i) => {
      const row = this.rows.get(job.id) ?? new JobRow(this.jobs, job);
      this.rows.set(job.id, row);
      row.update(job);
      if (this.list.children[i] !== row.element) {
        this.list.insertBefore(row.element, this.list.children[i] ?? null);
      }
    });
    this.none.hidden = all.length > 0;
    this.drop.classList.toggle("small", all.length > 0);
  }
}

class JobRow {
  constructor(jobs, { id }) {
    Object.assign(this, { jobs, id });
    this.link = el("a", { class: "name", href: `#/${id}/1` });
    this.state = el("span", { class: "state" });
    this.strip = el("div", { class: "progress", role: "progressbar", "aria-valuemin": 0 });
    this.menu = downloads(id);
    this.remove = button("remove", t("delete"), { quiet: true, onclick: () => this.delete() });
    this.element = el(
      "li",
      { class: "job" },
      el("div", { class: "about" }, this.link, this.state, this.strip),
      el("div", { class: "group" }, this.menu, this.remove),
    );
  }

  update(job) {
    const pages = job.page_status ?? [];
    this.name = job.name;
    this.link.textContent = job.name;
    this.element.className = `job ${job.status}`;
    const parts = [t(`status.${job.status}`)];
    if (job.status === "failed" && job.error) parts.push(job.error);
    if (job.pages) {
      const all = { done: number(job.done), n: job.pages };
      parts.push(job.status === "done" ? t("pages", all) : t("pages.done", all));
    }
    if (job.failed) parts.push(t("pages.failed", { n: job.failed }));
    if (job.created) parts.push(ago(job.created));
    const left = job.expires ? t("expires", { n: daysUntil(job.expires) }) : "";
    if (left && daysUntil(job.expires) <= SOON) parts.push(left);
    this.state.title = left;
    this.state.textContent = parts.join(" · ");
    this.strip.setAttribute("aria-label", t("progress.of", { name: job.name }));
    this.strip.setAttribute("aria-valuemax", job.pages ?? 1);
    this.strip.setAttribute("aria-valuenow", (job.done ?? 0) + (job.failed ?? 0));
    this.strip.hidden = job.status === "done" && !job.failed;
    const cells = grouped(pages);
    if (cells.join() !== this.cells?.join()) {
      this.cells = cells;
      this.strip.replaceChildren(...cells.map((status) => el("i", { class: status })));
    }
    this.menu.hidden = !job.done || job.status === "queued" || job.status === "reading";
  }

  async delete() {
    if (!(await confirmDelete(this.name))) return;
    try {
      await deleteJob(this.id);
      this.jobs.remove(this.id);
      announce(t("delete.done", { name: this.name }));
    } catch (error) {
      notice(sentence(error), "error");
    }
  }
}

/** A status for each page, or for each of CELLS groups of them. */
function grouped(pages) {
  const size = Math.ceil(pages.length / CELLS);
  const cells = [];
  for (let i = 0; i < pages.length; i += size) {
    const all = new Set(pages.slice(i, i + size).map(({ status }) => status));
    if (all.size === 1) cells.push([...all][0]);
    else cells.push(all.has("failed") ? "failed" : "reading");
  }
  return cells;
}

function daysUntil(time) {
  return Math.max(Math.ceil((new Date(time) - Date.now()) / 86_400_000), 0);
}

/** What may be said about the files before they are sent. */
function options() {
  const field = (name, input) => {
    input.name = name;
    return el("label", {}, el("span", {}, t(`option.${name}`)), input);
  };
  const select = (name, values) =>
    el(
      "select",
      {},
      values.map((value) => el("option", { value }, t(`option.${name}.${value}`))),
    );
  const form = el(
    "form",
    { class: "options" },
    field("pages", el("input", { type: "text", placeholder: "1-3,7", autocomplete: "off" })),
    field("password", el("input", { type: "password", autocomplete: "off" })),
    field("layout", select("layout", ["auto", "page", "line"])),
    field("text_layer", select("text_layer", ["auto", "never", "only"])),
  );
  form.addEventListener("submit", (event) => event.preventDefault());
  const element = el("details", { class: "more" }, el("summary", {}, t("options")), form);
  return { element, values: () => Object.fromEntries(new FormData(form)) };
}
