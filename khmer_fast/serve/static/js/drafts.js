// Pages that could not be saved yet, kept in the browser over reloads and crashes.

import { putPage } from "./api.js";

const PREFIX = "khmer_fast draft ";

const slot = (id, number) => `${PREFIX}${id} ${number}`;

/** Keeps a page's JSON and the revision that it was made from; whether there was room for it. */
export function keepDraft(id, number, revision, body) {
  try {
    const draft = `{"revision":${JSON.stringify(revision)},"page":${body}}`;
    localStorage.setItem(slot(id, number), draft);
    return true;
  } catch {
    return false; // storage is full or switched off: the draft is an extra, saving goes on
  }
}

/** What is kept of a page: {revision, page}, or null. */
export function draftOf(id, number) {
  try {
    return JSON.parse(localStorage.getItem(slot(id, number)));
  } catch {
    return null; // no storage, or a text that is not ours
  }
}

export function forgetDraft(id, number) {
  try {
    localStorage.removeItem(slot(id, number));
  } catch {
    // no storage, so no draft
  }
}

/**
 * Saves drafts of pages that are not open (`isOpen(id, number)`), when the service is back: the
 * numbers of pages that were saved. A page that was changed elsewhere meanwhile waits until it is
 * opened and asks then; one that is gone is forgotten.
 */
export async function sendDrafts(isOpen) {
  const saved = [];
  for (const [id, number] of kept()) {
    const draft = draftOf(id, number);
    if (!draft || isOpen(id, number)) continue;
    try {
      await putPage(id, number, JSON.stringify(draft.page), draft.revision);
      saved.push(number);
    } catch (error) {
      if (error.status !== 404) continue;
    }
    forgetDraft(id, number);
  }
  return saved;
}

/** Job id and page number of each draft. */
function kept() {
  try {
    return Object.keys(localStorage)
      .filter((key) => key.startsWith(PREFIX))
      .map((key) => key.slice(PREFIX.length).split(" "))
      .map(([id, number]) => [id, Number(number)]);
  } catch {
    return []; // as above
  }
}
