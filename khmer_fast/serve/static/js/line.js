// One line: what of it is doubted, other readings of it, and the line after an edit.
// Lines are those of docs/document.schema.json and are never changed, only replaced.

import { clusters, differences } from "./clusters.js";

/** The line's characters, where they do not say its text: clusters as sure as the line. */
export function characters(line) {
  const known = line.characters ?? [];
  if (known.map((c) => c.text).join("") === line.text) return known;
  return clusters(line.text).map((text) => ({ text, confidence: line.confidence, box: null }));
}

/** Stretches [{start, end, index, confidence}] surer than nothing and less sure than `least`. */
export function doubts(line, least) {
  if (line.text === "") {
    return line.confidence < least
      ? [{ start: 0, end: 0, index: -1, confidence: line.confidence }]
      : [];
  }
  const found = [];
  let start = 0;
  characters(line).forEach(({ text, confidence }, index) => {
    if (confidence < least) found.push({ start, end: start + text.length, index, confidence });
    start += text.length;
  });
  return found;
}

/** The cluster [{start, end, index}] round an offset of the text, or null in an empty line. */
export function clusterAt(line, offset) {
  let start = 0;
  const all = characters(line);
  for (let index = 0; index < all.length; index += 1) {
    const end = start + all[index].text.length;
    if (offset < end || index === all.length - 1) return { start, end, index };
    start = end;
  }
  return null;
}

/** Other readings [{start, end, text}] of the stretch round cluster `index`, best first. */
export function alternatives(line, index) {
  const own = characters(line).map((c) => c.text);
  const found = new Map();
  for (const alternative of line.alternatives ?? []) {
    const other = clusters(alternative.text);
    for (let [i0, i1, j0, j1] of differences(own, other)) {
      if (i0 === i1 && i0 > 0) [i0, j0] = [i0 - 1, j0 - 1]; // an insertion belongs to what it follows
      if (index < i0 || index >= i1) continue;
      const start = own.slice(0, i0).join("").length;
      const end = start + own.slice(i0, i1).join("").length;
      const text = other.slice(j0, j1).join("");
      found.set(`${start} ${end} ${text}`, { start, end, text });
    }
  }
  return [...found.values()];
}

/** The line with another text: what stays keeps its box and confidence, what is typed is sure. */
export function withText(line, text) {
  const before = characters(line);
  const after = clusters(text);
  const blocks = differences(
    before.map((c) => c.text),
    after,
  );
  const result = [];
  let at = 0;
  for (const [i0, i1, j0, j1] of blocks) {
    result.push(...before.slice(at, i0));
    const places = share(union(before.slice(i0, i1).map((c) => c.box)), j1 - j0);
    for (let j = j0; j < j1; j += 1) {
      result.push({ text: after[j], confidence: 1, box: places[j - j0] });
    }
    at = i1;
  }
  result.push(...before.slice(at));
  return rebuilt(line, text, result);
}

/** The line with cluster `index` (all of them: null) taken as right. */
export function accepted(line, index = null) {
  if (line.text === "") return { ...line, confidence: 1 };
  const sure = characters(line).map((c, i) =>
    index === null || i === index ? { ...c, confidence: 1 } : c,
  );
  return rebuilt(line, line.text, sure);
}

/** The two lines that a line becomes when it is cut before offset `at` of its text. */
export function split(line, at) {
  const all = characters(line);
  let count = 0;
  for (let length = 0; count < all.length && length < at; count += 1) {
    length += all[count].text.length;
  }
  const [left, top, right, bottom] = line.box;
  const ends = [all.slice(0, count), all.slice(count)];
  const before = union(ends[0].map((c) => c.box));
  const behind = union(ends[1].map((c) => c.box));
  const share_ = left + ((right - left) * count) / Math.max(all.length, 1);
  const middle = before && behind ? (before[2] + behind[0]) / 2 : share_;
  const x = Math.min(Math.max(Math.round(middle), left + 1), right - 1);
  const boxes = [
    [left, top, Math.max(x, left + 1), bottom],
    [Math.min(x, right - 1), top, right, bottom],
  ];
  return ends.map((part, i) => {
    const trimmed = trim(part);
    const text = trimmed.map((c) => c.text).join("");
    return rebuilt(unplaced(line, boxes[i]), text, trimmed);
  });
}

/** One line of two, with a space between them. */
export function joined(first, second) {
  const box = union([first.box, second.box]);
  const space = first.text && second.text ? [{ text: " ", confidence: 1, box: null }] : [];
  const all = [...characters(first), ...space, ...characters(second)];
  const text = all.map((c) => c.text).join("");
  const flags = [...new Set([...(first.flags ?? []), ...(second.flags ?? [])])];
  return rebuilt({ ...unplaced(first, box), flags }, text, all);
}

/** The box [left, top, right, bottom] round boxes (null ones left out), or null. */
export function union(boxes) {
  const known = boxes.filter((box) => box);
  if (known.length === 0) return null;
  return [
    Math.min(...known.map((b) => b[0])),
    Math.min(...known.map((b) => b[1])),
    Math.max(...known.map((b) => b[2])),
    Math.max(...known.map((b) => b[3])),
  ];
}

/** `count` boxes side by side in one, or as many nulls. */
function share(box, count) {
  const [left, top, right, bottom] = box ?? [0, 0, 0, 0];
  return Array.from({ length: count }, (_, i) => {
    if (!box || right - left < count) return null;
    const edge = (k) => Math.round(left + ((right - left) * k) / count);
    return [edge(i), top, edge(i + 1), bottom];
  });
}

function trim(all) {
  const text = all.map((c) => c.text);
  let [start, end] = [0, all.length];
  while (start < end && text[start].trim() === "") start += 1;
  while (end > start && text[end - 1].trim() === "") end -= 1;
  return all.slice(start, end);
}

/** A line in another box: what was drawn round the old one, and other readings of it, are gone. */
function unplaced(line, box) {
  return { ...line, box, baseline: [], polygon: [], alternatives: [] };
}

/** The line with a text and its characters; its words and its confidence follow from them. */
function rebuilt(line, text, all) {
  const confidence = Math.min(1, ...all.map((c) => c.confidence));
  const flags = line.flags ?? [];
  const settled = text !== line.text || confidence === 1;
  return {
    ...line,
    text,
    confidence,
    characters: all,
    words: words(line, all),
    flags: settled ? flags.filter((flag) => !OF_READING.includes(flag)) : flags,
  };
}

const OF_READING = ["doubtful", "check digit", "low confidence", "truncated", "failed"];

/** Words of characters; one that stood there already stays as it was. */
function words(line, all) {
  const found = [];
  let part = [];
  const end = () => {
    if (part.length === 0) return;
    const text = part.map((c) => c.text).join("");
    const box = union(part.map((c) => c.box));
    const confidence = Math.min(...part.map((c) => c.confidence));
    const old = (line.words ?? []).find((w) => w.text === text && box && overlap(w.box, box));
    found.push({
      text,
      confidence: Math.max(confidence, old?.confidence ?? 0),
      box: old?.box ?? box,
    });
    part = [];
  };
  for (const character of all) {
    if (character.text.trim() === "") end();
    else part.push(character);
  }
  end();
  return placed(found, line.box);
}

function overlap(a, b) {
  return a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
}

/** Words without a box get one between their neighbours', by their length. */
function placed(found, box) {
  return found.map((word, i) => {
    if (word.box) return word;
    const before = found
      .slice(0, i)
      .reverse()
      .find((w) => w.box);
    const behind = found.slice(i + 1).find((w) => w.box);
    const left = Math.min(before ? before.box[2] : box[0], box[2] - 1);
    const right = Math.max(behind ? behind.box[0] : box[2], left + 1);
    return { ...word, box: [left, box[1], right, box[3]] };
  });
}
