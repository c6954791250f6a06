// Two edits of one page: mine and the one that the service has meanwhile.

import { lineOf, places, withLine } from "./page_model.js";
import { withText } from "./line.js";

/**
 * My page with their changes of lines that I did not touch: {page, both: [{key, mine, theirs}]},
 * `both` being lines that both changed, which stay mine. Null where they added, removed or moved
 * lines: then one page must win. `base` has my keys, `theirs` has its lines in base's order.
 */
export function merge(base, mine, theirs) {
  const before = places(base).map(({ line }) => line);
  const after = places(theirs).map(({ line }) => line);
  if (before.length !== after.length) return null;
  let page = mine;
  const both = [];
  for (const [i, old] of before.entries()) {
    const now = after[i];
    if (now.box.join() !== old.box.join()) return null;
    if (now.text === old.text && now.confidence === old.confidence) continue;
    const own = lineOf(mine, old.key);
    if (!own) return null;
    if (own === old) page = withLine(page, { ...now, key: old.key });
    else if (own.text !== now.text) both.push({ key: old.key, mine: own.text, theirs: now.text });
  }
  return { page, both };
}

/** The page with the text of a line that both changed as they have it. */
export function takeTheirs(page, { key, theirs }) {
  return withLine(page, withText(lineOf(page, key), theirs));
}
