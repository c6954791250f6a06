// The page's picture with its lines: zoom, rotation of the view, and marks. One SVG in page pixels,
// so that every mark is a box of the page as it is in its JSON, however it is shown.

import { imageAddress } from "./api.js";
import { button, el, svg } from "./dom.js";
import { t } from "./i18n.js";
import { characters, doubts } from "./line.js";
import { places } from "./page_model.js";

const STEP = 1.25; // of a zoom
const LEAST = 0.05; // screen pixels a page pixel
const MOST = 6;
const WIDTHS = [1200, 1800, 2700]; // of pictures that are asked for
const STRIP = 2700; // width of the picture that a line is cut out of
const MARGIN = 24; // screen pixels round the page when it is fitted

/** Events: "pick" (detail: {key, index}): a line was clicked, at its cluster `index` or null. */
export class Picture extends EventTarget {
  constructor(id, number) {
    super();
    Object.assign(this, { id, number, turn: 0, fitted: "width", scale: 1, marked: {} });
    this.image = svg("image", { x: 0, y: 0 });
    this.boxes = svg("g");
    this.top = svg("g");
    this.sheet = svg("g", {}, this.image, this.boxes, this.top);
    this.svg = svg("svg", {
      class: "sheet",
      role: "img",
      "aria-label": t("picture.of", { n: number }),
    });
    this.svg.append(this.sheet);
    this.scroll = el("div", { class: "scroll", tabindex: 0, role: "region" }, this.svg);
    this.scroll.setAttribute("aria-label", t("picture.scroll"));
    this.tools = el(
      "div",
      { class: "tools", role: "toolbar", "aria-label": t("picture.tools") },
      button("minus", t("picture.smaller"), { quiet: true, onclick: () => this.zoom(1 / STEP) }),
      button("plus", t("picture.larger"), { quiet: true, onclick: () => this.zoom(STEP) }),
      button("width", t("picture.width"), { quiet: true, onclick: () => this.fit("width") }),
      button("fit", t("picture.page"), { quiet: true, onclick: () => this.fit("page") }),
      button("turn", t("picture.turn"), { quiet: true, onclick: () => this.rotate() }),
    );
    this.element = el(
      "section",
      { class: "picture", "aria-label": t("picture.title") },
      this.tools,
      this.scroll,
    );
    this.boxes.addEventListener("click", (event) => this.pick(event));
    this.scroll.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.observer = new ResizeObserver(() => this.fitted && this.fit(this.fitted));
    this.observer.observe(this.scroll);
  }

  /** Shows a page's lines; `least` is the confidence below which a cluster is marked. */
  show(page, least) {
    const size = `${page.width} ${page.height}`;
    Object.assign(this, { page, least });
    if (this.size !== size) {
      this.size = size;
      this.image.setAttribute("width", page.width);
      this.image.setAttribute("height", page.height);
      this.fit(this.fitted ?? "width");
    }
    this.boxes.replaceChildren(
      ...places(page).map(({ line }) =>
        svg("polygon", {
          class: doubts(line, least).length > 0 ? "line unsure" : "line",
          points: outline(line),
          "data-key": line.key,
        }),
      ),
    );
    this.mark(this.marked);
  }

  /** Marks a line and one of its clusters, and brings the line into view. */
  mark({ key, index = null }, scroll = false) {
    this.marked = { key, index };
    for (const polygon of this.boxes.children) {
      polygon.classList.toggle("active", Number(polygon.dataset.key) === key);
    }
    const line = this.page && places(this.page).find((place) => place.line.key === key)?.line;
    this.top.replaceChildren(...(line ? marks(line, index, this.least) : []));
    if (line && scroll) this.reveal(line.box);
  }

  /** A small picture of one line, for its place in the text. */
  strip(line, index) {
    const [left, top, right, bottom] = line.box;
    const edge = Math.round((bottom - top) * 0.25) + 2;
    const [width, height] = [right - left + 2 * edge, bottom - top + 2 * edge];
    return svg(
      "svg",
      {
        class: "strip",
        viewBox: `${left - edge} ${top - edge} ${width} ${height}`,
        preserveAspectRatio: "xMinYMid meet",
        "aria-hidden": "true",
      },
      svg("image", { href: this.address(STRIP), width: this.page.width, height: this.page.height }),
      marks(line, index, this.least),
    );
  }

  fit(how) {
    this.fitted = how;
    if (!this.page || this.scroll.clientWidth === 0) return;
    const [width, height] = this.extent();
    const across = (this.scroll.clientWidth - MARGIN) / width;
    const down = (this.scroll.clientHeight - MARGIN) / height;
    this.draw(how === "page" ? Math.min(across, down) : across);
  }

  zoom(factor, at = null) {
    this.fitted = null;
    const area = this.scroll.getBoundingClientRect();
    const [x, y] = at ?? [area.width / 2, area.height / 2];
    const before = this.scale;
    this.draw(Math.min(Math.max(before * factor, LEAST), MOST));
    const grown = this.scale / before;
    this.scroll.scrollLeft = (this.scroll.scrollLeft + x) * grown - x;
    this.scroll.scrollTop = (this.scroll.scrollTop + y) * grown - y;
  }

  rotate() {
    this.turn = (this.turn + 90) % 360;
    if (this.fitted) this.fit(this.fitted);
    else this.draw(this.scale);
  }

  /** Where a pointer is, in page pixels. */
  point(event) {
    const matrix = this.sheet.getScreenCTM().inverse();
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix);
    return [x, y];
  }

  /** The part of the page that is in view: [left, top, right, bottom] in page pixels. */
  view() {
    const area = this.scroll.getBoundingClientRect();
    const a = this.point({ clientX: area.left, clientY: area.top });
    const b = this.point({ clientX: area.right, clientY: area.bottom });
    const { width, height } = this.page;
    const within = (value, most) => Math.min(Math.max(value, 0), most);
    return [
      within(Math.min(a[0], b[0]), width),
      within(Math.min(a[1], b[1]), height),
      within(Math.max(a[0], b[0]), width),
      within(Math.max(a[1], b[1]), height),
    ];
  }

  close() {
    this.observer.disconnect();
  }

  /** Width and height of the page as it is turned. */
  extent() {
    const { width, height } = this.page;
    return this.turn % 180 === 0 ? [width, height] : [height, width];
  }

  /** The picture at the width that the view (or a strip) needs; the page has no wider one. */
  address(width = null, number = this.number) {
    const wanted = width ?? this.page.width * this.scale * Math.min(window.devicePixelRatio, 2);
    const size = WIDTHS.find((known) => known >= wanted) ?? this.page.width;
    return imageAddress(this.id, number, Math.min(size, this.page.width));
  }

  draw(scale) {
    this.scale = scale;
    const { width, height } = this.page;
    const [across, down] = this.extent();
    const shift = { 0: [0, 0], 90: [height, 0], 180: [width, height], 270: [0, width] }[this.turn];
    this.sheet.setAttribute("transform", `translate(${shift}) rotate(${this.turn})`);
    this.svg.setAttribute("viewBox", `0 0 ${across} ${down}`);
    this.svg.setAttribute("width", Math.round(across * scale));
    this.svg.setAttribute("height", Math.round(down * scale));
    const address = this.address();
    if (this.image.getAttribute("href") !== address) this.image.setAttribute("href", address);
  }

  reveal([left, top, right, bottom]) {
    const matrix = this.sheet.getScreenCTM();
    const area = this.scroll.getBoundingClientRect();
    const a = new DOMPoint(left, top).matrixTransform(matrix);
    const b = new DOMPoint(right, bottom).matrixTransform(matrix);
    const low = { x: Math.min(a.x, b.x) - area.left, y: Math.min(a.y, b.y) - area.top };
    const high = { x: Math.max(a.x, b.x) - area.left, y: Math.max(a.y, b.y) - area.top };
    const by = { left: 0, top: 0 };
    const wide = high.x - low.x > area.width;
    if (low.x < 0 || (wide && low.x > area.width / 4)) by.left = low.x - MARGIN;
    else if (high.x > area.width && !wide) by.left = high.x - area.width + MARGIN;
    if (low.y < MARGIN || high.y > area.height - MARGIN) {
      by.top = (low.y + high.y) / 2 - area.height / 2;
    }
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (by.left || by.top) this.scroll.scrollBy({ ...by, behavior: still ? "instant" : "smooth" });
  }

  pick(event) {
    const key = Number(event.target.dataset.key);
    const line = places(this.page).find((place) => place.line.key === key)?.line;
    if (!line) return;
    const [x] = this.point(event);
    const index = characters(line).findIndex(({ box }) => box && box[0] <= x && x < box[2]);
    const detail = { key, index: index < 0 ? null : index };
    this.dispatchEvent(new CustomEvent("pick", { detail }));
  }

  wheel(event) {
    if (!event.ctrlKey) return; // a plain wheel scrolls
    event.preventDefault();
    const area = this.scroll.getBoundingClientRect();
    const factor = Math.exp(-event.deltaY / 300);
    this.zoom(factor, [event.clientX - area.left, event.clientY - area.top]);
  }
}

/** Points round a line: its polygon's extent along the slope of its baseline, or its box. */
function outline(line) {
  const [left, top, right, bottom] = line.box;
  const { baseline = [], polygon = [] } = line;
  let [slope, low, high] = [0, top, bottom];
  if (baseline.length > 1 && polygon.length > 2) {
    const [first, last] = [baseline[0], baseline.at(-1)];
    slope = (last[1] - first[1]) / Math.max(last[0] - first[0], 1);
    const offsets = polygon.map(([x, y]) => y - slope * x);
    [low, high] = [Math.min(...offsets), Math.max(...offsets)];
  }
  const at = (x, offset) => `${x},${slope * x + offset}`;
  return [at(left, low), at(right, low), at(right, high), at(left, high)].join(" ");
}

/** Boxes of a line's doubted clusters and of the one at the cursor. */
function marks(line, index, least) {
  const all = characters(line);
  const rect = (box, kind) =>
    svg("rect", {
      class: kind,
      x: box[0],
      y: line.box[1],
      width: box[2] - box[0],
      height: line.box[3] - line.box[1],
    });
  const found = doubts(line, least)
    .filter((doubt) => all[doubt.index]?.box)
    .map((doubt) => rect(all[doubt.index].box, "doubt"));
  if (all[index]?.box) found.push(rect(all[index].box, "cursor"));
  return found;
}
