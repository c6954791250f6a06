// The border between picture and text, moved with a pointer or the arrow keys, and kept.

import { el } from "./dom.js";
import { t } from "./i18n.js";

const LEAST = 25; // percent of the width that either side keeps
const STEP = 3; // percent a key
const SLOT = "khmer_fast border";

/** A separator for `panes`, whose `--picture` it sets. */
export function splitter(panes) {
  let share = stored();
  const bar = el("div", {
    class: "splitter",
    role: "separator",
    tabindex: 0,
    "aria-orientation": "vertical",
    "aria-label": t("splitter"),
    "aria-valuemin": LEAST,
    "aria-valuemax": 100 - LEAST,
  });
  const set = (value) => {
    share = Math.min(Math.max(value, LEAST), 100 - LEAST);
    panes.style.setProperty("--picture", `${share}%`);
    bar.setAttribute("aria-valuenow", Math.round(share));
  };
  const keep = () => {
    try {
      localStorage.setItem(SLOT, share.toFixed(1));
    } catch {
      // storage is switched off: the border is this visit's
    }
  };
  bar.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    bar.setPointerCapture(event.pointerId);
  });
  bar.addEventListener("pointermove", (event) => {
    if (!bar.hasPointerCapture(event.pointerId)) return;
    const { left, width } = panes.getBoundingClientRect();
    set((100 * (event.clientX - left)) / width);
  });
  bar.addEventListener("pointerup", keep);
  bar.addEventListener("dblclick", () => (set(50), keep()));
  bar.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -STEP, ArrowRight: STEP }[event.key];
    if (!step) return;
    event.preventDefault();
    set(share + step);
    keep();
  });
  set(share);
  return bar;
}

function stored() {
  try {
    return Number(localStorage.getItem(SLOT)) || 50;
  } catch {
    return 50; // as above
  }
}
