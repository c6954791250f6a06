// Begins: the language, the list of documents, and which view the address names.

import { DocumentView } from "./document_view.js";
import { notice } from "./announce.js";
import { el } from "./dom.js";
import { sendDrafts } from "./drafts.js";
import { Home } from "./home.js";
import { language, setLanguage, t } from "./i18n.js";
import { Jobs } from "./jobs.js";
import { Uploads } from "./upload.js";

const jobs = new Jobs();
const uploads = new Uploads();
const main = document.getElementById("main");
let view = null;

uploads.addEventListener("job", ({ detail }) => jobs.add(detail));
jobs.addEventListener("reach", () => {
  showReach();
  if (jobs.reachable) sendKept();
});
window.addEventListener("hashchange", () => route());
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the part behind # names a view
  main.focus();
});
document.getElementById("languages").addEventListener("click", async (event) => {
  const name = event.target.dataset.language;
  if (!name || name === language) return;
  setLanguage(name);
  await route(true);
});

/** `#/` is the list of documents, `#/ID/NUMBER` a page of one. */
async function route(anew = false) {
  label();
  const [id, page] = location.hash.replace(/^#\/?/, "").split("/");
  if (!id) {
    if (anew || !(view instanceof Home)) await replace(() => new Home(jobs, uploads));
    return;
  }
  if (anew || !(view instanceof DocumentView) || view.id !== id) {
    await replace(
      () => new DocumentView(jobs, id, (number) => (location.hash = `#/${id}/${number}`)),
    );
  }
  await view.show(Number(page) || 1);
}

/** Saves what earlier visits could not, but for the page that is open: it does so itself. */
async function sendKept() {
  const isOpen = (id, number) => view instanceof DocumentView && view.isOpen(id, number);
  const saved = await sendDrafts(isOpen);
  if (saved.length > 0) notice(t("save.late", { n: saved.length }));
}

async function replace(make) {
  const first = view === null;
  await view?.close();
  view = make();
  main.replaceChildren(view.element);
  main.classList.toggle("wide", view instanceof DocumentView);
  document.body.classList.toggle("open", view instanceof DocumentView);
  window.scrollTo(0, 0);
  if (!first) main.focus(); // a screen reader begins at the new view
}

/** The texts of index.html itself. */
function label() {
  document.documentElement.lang = language;
  document.getElementById("skip").textContent = t("skip");
  for (const choice of document.querySelectorAll("[data-language]")) {
    choice.setAttribute("aria-pressed", String(choice.dataset.language === language));
  }
  document.getElementById("languages").setAttribute("aria-label", t("language"));
  showReach();
}

function showReach() {
  const away = document.getElementById("away");
  away.replaceChildren(...(jobs.reachable ? [] : [el("p", {}, t("error.away"))]));
  away.hidden = jobs.reachable;
}

await route();
await sendKept();
