// What changed, for those who do not see it, and short notices for everyone.

import { button, el } from "./dom.js";
import { has, t } from "./i18n.js";

const SHOWN = 8000; // ms

/** Tells a screen reader. */
export function announce(text) {
  const region = document.getElementById("told");
  region.textContent = region.textContent === text ? `${text}\u00a0` : text;
}

/** Shows a notice for a while; errors stay until they are closed. */
export function notice(text, kind = "info") {
  const shown = el("div", { class: `notice ${kind}`, role: kind === "error" ? "alert" : "status" });
  shown.append(
    el("p", {}, text),
    button("close", t("close"), { quiet: true, class: "plain", onclick: () => shown.remove() }),
  );
  document.getElementById("notices").append(shown);
  if (kind !== "error") setTimeout(() => shown.remove(), SHOWN);
}

/** The sentence for an error: of the page's language, else the service's, which is English. */
export function sentence(error) {
  if (has(`error.${error.code}`)) return t(`error.${error.code}`);
  return error.message || t("error.status", { status: error.status });
}
