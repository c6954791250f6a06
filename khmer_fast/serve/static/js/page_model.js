// A page (docs/document.schema.json) and its edits. Pages are never changed: each edit gives a new
// one that shares what stayed, so that undo is a list of pages. A line carries a `key`, unique in
// its page and the same from edit to edit, which is not sent to the server.

import * as lines from "./line.js";

let nextKey = 1;

/** The server's page with a key for every line, those of `like` where it has as many lines. */
export function opened(page, like = null) {
  const known = like ? places(like).map(({ line }) => line.key) : [];
  const same = known.length === places(page).length;
  return mapLines(page, (line) => [{ ...line, key: same ? known.shift() : nextKey++ }]);
}

/** The JSON that the server is sent. */
export function serialized(page) {
  return JSON.stringify(page, (name, value) =>
    name === "key" || name === "revision" ? undefined : value,
  );
}

/** Every line [{line, list, index, region}] in reading order; `list` counts regions and cells. */
export function places(page) {
  const found = [];
  lists(page).forEach(({ lines: all, region }, list) =>
    all.forEach((line, index) => found.push({ line, list, index, region })),
  );
  return found;
}

/** The line of a key, or undefined. */
export function lineOf(page, key) {
  return places(page).find(({ line }) => line.key === key)?.line;
}

/** The page with another line in the place of the one that has its key. */
export function withLine(page, changed) {
  return mapLines(page, (line) => [line.key === changed.key ? changed : line]);
}

/** Cuts a line before offset `at` of its text: {page, key} of the second part. */
export function splitLine(page, key, at) {
  const second = nextKey++;
  const changed = mapLines(page, (line) => {
    if (line.key !== key) return [line];
    const [first, rest] = lines.split(line, at);
    return [first, { ...rest, key: second }];
  });
  return { page: changed, key: second };
}

/** Joins a line with the one behind it: {page, key, offset of the joint}; null for a list's last. */
export function joinLine(page, key) {
  const all = places(page);
  const at = all.findIndex(({ line }) => line.key === key);
  const [here, next] = [all[at], all[at + 1]];
  if (!here || !next || next.list !== here.list) return null;
  const joined = { ...lines.joined(here.line, next.line), key };
  const without = removeLine(page, next.line.key);
  return { page: withLine(without, joined), key, offset: here.line.text.length };
}

/** The page with a line one place further up (-1) or down (1), across regions; null at the ends. */
export function moveLine(page, key, step) {
  const all = places(page);
  const here = all.find(({ line }) => line.key === key);
  const list = lists(page)[here.list].lines;
  const index = here.index + step;
  if (index >= 0 && index < list.length) {
    return mapLists(page, (ofList, number) => {
      if (number !== here.list) return ofList;
      const moved = ofList.filter((line) => line.key !== key);
      moved.splice(index, 0, here.line);
      return moved;
    });
  }
  const target = here.list + step;
  if (target < 0 || target >= lists(page).length) return null;
  return mapLists(page, (ofList, number) => {
    if (number === here.list) return ofList.filter((line) => line.key !== key);
    if (number !== target) return ofList;
    return step > 0 ? [here.line, ...ofList] : [...ofList, here.line];
  });
}

/** The page without a line. */
export function removeLine(page, key) {
  return mapLines(page, (line) => (line.key === key ? [] : [line]));
}

/** Puts a line that was read now where it stands in the page: {page, key}. */
export function insertLine(page, line) {
  const added = { ...line, key: nextKey++ };
  const [x, y] = middle(added.box);
  const all = lists(page);
  const target = all
    .map(({ box }, list) => ({ list, distance: distance(box, x, y) }))
    .sort((a, b) => a.distance - b.distance)[0];
  const height = added.box[3] - added.box[1];
  if (!target || target.distance > 2 * height) {
    const region = { kind: "text", box: added.box, lines: [added], cells: [] };
    const behind = page.regions.findIndex(({ box }) => box[1] > y);
    const at = behind < 0 ? page.regions.length : behind;
    const regions = [...page.regions.slice(0, at), region, ...page.regions.slice(at)];
    return { page: { ...page, regions }, key: added.key };
  }
  const changed = mapLists(page, (ofList, list) => {
    if (list !== target.list) return ofList;
    const behind = ofList.findIndex((other) => {
      const [otherX, otherY] = middle(other.box);
      const sameRow = Math.abs(otherY - y) < height / 2;
      return sameRow ? otherX > x : otherY > y;
    });
    const at = behind < 0 ? ofList.length : behind;
    return [...ofList.slice(0, at), added, ...ofList.slice(at)];
  });
  return { page: changed, key: added.key };
}

/** The lists of lines of a page: [{lines, box, region}], a region's own and each of its cells'. */
function lists(page) {
  return page.regions.flatMap((region) =>
    (region.cells ?? []).length > 0
      ? region.cells.map((cell) => ({ lines: cell.lines ?? [], box: cell.box, region }))
      : [{ lines: region.lines ?? [], box: region.box, region }],
  );
}

/** The page with every list of lines (in the order of `lists`) changed; empty regions are gone. */
function mapLists(page, change) {
  let number = 0;
  const regions = [];
  for (const region of page.regions) {
    if ((region.cells ?? []).length > 0) {
      const cells = region.cells.map((cell) => {
        const all = change(cell.lines ?? [], number++);
        return all === cell.lines ? cell : { ...cell, lines: all, box: around(cell.box, all) };
      });
      regions.push({ ...region, cells });
      continue;
    }
    const all = change(region.lines ?? [], number++);
    if (all === region.lines) regions.push(region);
    else if (all.length > 0) regions.push({ ...region, lines: all, box: around(region.box, all) });
  }
  return { ...page, regions };
}

function mapLines(page, change) {
  return mapLists(page, (list) => {
    const changed = list.flatMap(change);
    const same = changed.length === list.length && changed.every((line, i) => line === list[i]);
    return same ? list : changed;
  });
}

function around(box, all) {
  return lines.union([box, ...all.map((line) => line.box)]);
}

function middle([left, top, right, bottom]) {
  return [(left + right) / 2, (top + bottom) / 2];
}

function distance([left, top, right, bottom], x, y) {
  return Math.hypot(Math.max(left - x, 0, x - right), Math.max(top - y, 0, y - bottom));
}
