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

/** The text of a key. `{name}` stands for values.name; [one, other] is chosen by values.n. */
export function t(key, values = {}) {
  let text = TEXTS[language][key] ?? en[key] ?? key;
  if (Array.isArray(text)) text = text[values.n === 1 ? 0 : text.length - 1];
  return text.replace(/\{(\w+)\}/g, (_, name) => {
    const value = values[name];
    return typeof value === "number" ? number(value) : String(value);
  });
}

/** A number in the language's digits. */
export function number(value) {
  return new Intl.NumberFormat(locale()).format(value);
}

export function percent(share) {
  const options = { style: "percent", maximumFractionDigits: 0 };
  return new Intl.NumberFormat(locale(), options).format(share);
}

/** How long ago a time (ISO text, or seconds since 1970) was. */
export function ago(time) {
  const date = new Date(typeof time === "number" ? time * 1000 : time);
  const minutes = Math.round((date - Date.now()) / 60_000);
  const format = new Intl.RelativeTimeFormat(locale(), { numeric: "auto" });
  if (minutes >= 0) return format.format(0, "second");
  if (minutes > -60) return format.format(minutes, "minute");
  if (minutes > -60 * 24) return format.format(Math.round(minutes / 60), "hour");
  return format.format(Math.round(minutes / 60 / 24), "day");
}

function locale() {
  return language === "km" ? "km-u-nu-khmr" : "en";
}
