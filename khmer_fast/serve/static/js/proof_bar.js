// The bar of the text: how many clusters are doubted, from which confidence on, and the way to them.

import { button, el } from "./dom.js";
import { number, t } from "./i18n.js";

const LEVELS = [0.5, 0.75, 0.9, 0.97]; // confidences below which clusters are marked
const USUAL = 0.9;
const SLOT = "khmer_fast level";

/** Events: "level" (`least` has changed), "before", "ahead", "accept" (buttons). */
export class ProofBar extends EventTarget {
  constructor() {
    super();
    this.least = stored();
    this.count = el("span", { class: "count", role: "status" });
    this.level = el(
      "select",
      { "aria-label": t("level.title"), onchange: () => this.choose() },
      LEVELS.map((value) =>
        el("option", { value, selected: value === this.least }, t("level", { p: 100 * value })),
      ),
    );
    const to = (name) => () => this.dispatchEvent(new CustomEvent(name));
    this.ahead = button("down", t("doubt.next"), {
      keys: "Alt+ArrowDown",
      class: "next",
      onclick: to("ahead"),
    });
    this.element = el(
      "div",
      { class: "tools proof", role: "toolbar", "aria-label": t("text.tools") },
      this.count,
      el("label", { class: "level" }, this.level),
      button("up", t("doubt.previous"), {
        quiet: true,
        keys: "Alt+ArrowUp",
        onclick: to("before"),
      }),
      this.ahead,
      button("check", t("doubt.accept"), { quiet: true, keys: "Enter", onclick: to("accept") }),
    );
  }

  /** Shows `n` doubted clusters, and where the way ahead leads without any. */
  show(n, toNextPage) {
    this.count.textContent = n > 0 ? t("text.unsure", { n }) : t("text.sure");
    this.count.classList.toggle("none", n === 0);
    const name = n === 0 && toNextPage ? "page.behind" : "doubt.next";
    this.ahead.querySelector("span").textContent = t(name);
  }

  choose() {
    this.least = Number(this.level.value);
    try {
      localStorage.setItem(SLOT, this.level.value);
    } catch {
      // storage is switched off: the level is this visit's
    }
    this.dispatchEvent(new CustomEvent("level"));
  }
}

function stored() {
  try {
    const level = Number(localStorage.getItem(SLOT));
    return LEVELS.includes(level) ? level : USUAL;
  } catch {
    return USUAL; // as above
  }
}
