// Results in every format, and the corrections, as downloads.

import { getFile } from "./api.js";
import { announce, notice, sentence } from "./announce.js";
import { el } from "./dom.js";
import { t } from "./i18n.js";
import { menu } from "./menu.js";

const FORMATS = [
  ["docx", ".docx"],
  ["pdf", ".pdf"],
  ["text", ".txt"],
  ["markdown", ".md"],
  ["csv", ".csv"],
  ["xlsx", ".xlsx"],
  ["hocr", ".hocr"],
  ["alto", ".xml"],
  ["page", ".xml"],
  ["json", ".json"],
];

/** A menu of downloads of a job; `ready` resolves (true) when all edits are stored. */
export function downloads(id, { ready = async () => true, kind = null } = {}) {
  const items = FORMATS.map(([format, suffix]) => ({
    name: t(`format.${format}`),
    note: suffix,
    act: () => download(id, format, ready),
  }));
  items.push({
    name: t("format.corrections"),
    note: ".zip",
    act: () => download(id, "corrections", ready),
  });
  return menu("download", t("download"), items, { class: kind });
}

async function download(id, format, ready) {
  announce(t("download.making"));
  try {
    if (!(await ready())) {
      notice(t("download.unsaved"), "error");
      return;
    }
    const { blob, name } = await getFile(id, format);
    const address = URL.createObjectURL(blob);
    el("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
    announce(t("download.made", { name }));
  } catch (error) {
    notice(sentence(error), "error");
  }
}
