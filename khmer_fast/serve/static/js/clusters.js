// Khmer clusters, split as khmer_fast.text.clusters does, and the alignment of two readings.

const BASE = "\u1780-\u17a2\u17a5-\u17b3\u25cc";
const MARK = "\u17b6-\u17d1\u17d3\u17dd";
const COENG = "\u17d2";
const CLUSTER = new RegExp(`[${BASE}](?:${COENG}[${BASE}]|[${MARK}]|${COENG})*|[^]`, "gu");

/** A base with its subscripts, vowels and signs, or any other single character; joined: the text. */
export function clusters(text) {
  return text.match(CLUSTER) ?? [];
}

/**
 * Where two lists part: blocks [i0, i1, j0, j1], "a[i0:i1] became b[j0:j1]", in order.
 * Longest common subsequence; lists are as long as a line, so its square is cheap.
 */
export function differences(a, b) {
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  const least = Math.min(a.length, b.length) - start;
  while (end < least && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const n = a.length - start - end;
  const m = b.length - start - end;
  // length[i][j] of the common subsequence of a[start + i:] and b[start + j:]
  const length = Array.from({ length: n + 1 }, () => new Uint16Array(m + 1));
  for (let i = n - 1; i >= 0; i -= 1) {
    for (let j = m - 1; j >= 0; j -= 1) {
      length[i][j] =
        a[start + i] === b[start + j]
          ? length[i + 1][j + 1] + 1
          : Math.max(length[i + 1][j], length[i][j + 1]);
    }
  }
  const blocks = [];
  let [i, j] = [0, 0];
  while (i < n || j < m) {
    const [i0, j0] = [i, j];
    while (i < n || j < m) {
      if (i < n && j < m && a[start + i] === b[start + j]) break;
      if (j === m || (i < n && length[i + 1][j] >= length[i][j + 1])) i += 1;
      else j += 1;
    }
    if (i > i0 || j > j0) blocks.push([start + i0, start + i, start + j0, start + j]);
    while (i < n && j < m && a[start + i] === b[start + j]) {
      i += 1;
      j += 1;
    }
  }
  return blocks;
}
