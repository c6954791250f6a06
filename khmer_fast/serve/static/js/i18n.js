// The interface's language: English or Khmer, kept from visit to visit.

import { en } from "../texts/en.js";
import { km } from "../texts/km.js";

const TEXTS = { en, km };
const SLOT = "khmer_fast language";

export let language = chosen();

function chosen() {
  let stored = null;
  try {
    stored = localStorage.getItem(SLOT);
  } catch {
    // storage is switched off: the browser's language decides each time
  }
  return stored in TEXTS ? stored : navigator.language?.startsWith("km") ? "km" : "en";
}

/** Changes the language; whoever shows texts has to show them anew. */
export function setLanguage(name) {
  language = name;
  document.documentElement.lang = name;
  try {
    localStorage.setItem(SLOT, name);
  } catch {
    // as above
  }
}

/** Whether the language has a text of its own for a key. */
export function has(key) {
  return key in TEXTS[language];
}

/** The text of a key. `{name}` stands for values.name; [one, other] is chosen by values.n. */
export function t(key, values = {}) {
  let text = TEXTS[language][key] ?? en[key] ?? key;
  if (Array.isArray(text)) text = text[values.n === 1 ? 0 : text.length - 1];
  return text.replace(/\{(\w+)\}/g, (_, name) => {
    const value = values[name];
    return typeof value === "number" ? number(value) : String(value);
  });
}

/** A whole number in the language's digits (not every browser knows Khmer ones). */
export function number(value) {
  const digits = String(Math.round(value));
  if (language !== "km") return digits;
  return digits.replace(/\d/g, (digit) => String.fromCharCode(0x17e0 + Number(digit)));
}

export function percent(share) {
  return `${number(100 * share)} %`;
}

/** How long ago a time (ISO text, or seconds since 1970) was. */
export function ago(time) {
  const date = new Date(typeof time === "number" ? time * 1000 : time);
  const minutes = Math.round((Date.now() - date) / 60_000);
  if (minutes < 1) return t("ago.now");
  if (minutes < 60) return t("ago.minutes", { n: minutes });
  if (minutes < 24 * 60) return t("ago.hours", { n: Math.round(minutes / 60) });
  return t("ago.days", { n: Math.round(minutes / 60 / 24) });
}
