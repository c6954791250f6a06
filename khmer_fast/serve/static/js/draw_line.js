// Drawing the box of a line that was missed: with a pointer, or with the arrow keys. What the
// reader noted as ink of no line is outlined meanwhile: a click, or Space and Enter, reads it.

import { svg } from "./dom.js";

const STEP = 8; // page pixels a key
const LEAST = 6; // page pixels of a side; less is a click

/** Draws on a Picture. Events: "box" (detail: [left, top, right, bottom], page pixels), "end". */
export class DrawLine extends EventTarget {
  constructor(picture) {
    super();
    this.picture = picture;
    this.on = false;
    this.rect = svg("rect", { class: "drawn" });
    this.hints = svg("g");
    const { scroll } = picture;
    scroll.addEventListener("pointerdown", (event) => this.on && this.down(event));
    scroll.addEventListener("pointermove", (event) => this.start && this.moved(event));
    scroll.addEventListener("pointerup", (event) => this.start && this.up(event));
    scroll.addEventListener("pointercancel", () => (this.start = null));
    scroll.addEventListener("keydown", (event) => this.on && this.key(event));
  }

  /** Begins with a box in the middle of the view, which keys move and a pointer replaces. */
  begin() {
    this.on = true;
    const [left, top, right, bottom] = this.picture.view();
    const [x, y] = [(left + right) / 2, (top + bottom) / 2];
    const width = (right - left) * 0.6;
    this.show([x - width / 2, y - width / 24, x + width / 2, y + width / 24]);
    this.unread = (this.picture.page.notes ?? [])
      .filter(({ kind }) => kind === "unread ink")
      .flatMap(({ boxes }) => boxes ?? []);
    this.visited = -1;
    this.hints.replaceChildren(
      ...this.unread.map(([x, y, x1, y1]) =>
        svg("rect", { class: "unread", x, y, width: x1 - x, height: y1 - y }),
      ),
    );
    this.picture.sheet.append(this.hints, this.rect);
    this.picture.scroll.classList.add("drawing");
    this.picture.scroll.focus();
  }

  end() {
    this.on = false;
    this.start = null;
    this.rect.remove();
    this.hints.remove();
    this.picture.scroll.classList.remove("drawing");
    this.dispatchEvent(new CustomEvent("end"));
  }

  down(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.picture.scroll.setPointerCapture(event.pointerId);
    this.start = this.picture.point(event);
  }

  moved(event) {
    const [x, y] = this.picture.point(event);
    const [x0, y0] = this.start;
    this.show([Math.min(x, x0), Math.min(y, y0), Math.max(x, x0), Math.max(y, y0)]);
  }

  up(event) {
    this.moved(event);
    this.start = null;
    const [left, top, right, bottom] = this.box;
    if (right - left >= LEAST && bottom - top >= LEAST) {
      this.done();
      return;
    }
    const clicked = this.unread.find(
      ([x0, y0, x1, y1]) => x0 <= left && left < x1 && y0 <= top && top < y1,
    );
    if (!clicked) return;
    this.show(clicked);
    this.done();
  }

  /** Arrows move the box, with Shift its right or lower edge; Space takes it to unread ink. */
  key(event) {
    const way = {
      ArrowLeft: [-STEP, 0],
      ArrowRight: [STEP, 0],
      ArrowUp: [0, -STEP],
      ArrowDown: [0, STEP],
    }[event.key];
    if (way && !event.altKey) {
      const [left, top, right, bottom] = this.box;
      const [x, y] = way;
      if (event.shiftKey) {
        this.show([
          left,
          top,
          Math.max(right + x, left + LEAST),
          Math.max(bottom + y, top + LEAST),
        ]);
      } else this.show([left + x, top + y, right + x, bottom + y]);
    } else if (event.key === " " && this.unread.length > 0) {
      this.visited = (this.visited + 1) % this.unread.length;
      this.show(this.unread[this.visited]);
      this.picture.reveal(this.box);
    } else if (event.key === "Enter") this.done();
    else if (event.key === "Escape") this.end();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  show(box) {
    const { width, height } = this.picture.page;
    const within = (value, most) => Math.round(Math.min(Math.max(value, 0), most));
    const [left, top, right, bottom] = box;
    this.box = [
      within(left, width),
      within(top, height),
      within(right, width),
      within(bottom, height),
    ];
    this.rect.setAttribute("x", this.box[0]);
    this.rect.setAttribute("y", this.box[1]);
    this.rect.setAttribute("width", this.box[2] - this.box[0]);
    this.rect.setAttribute("height", this.box[3] - this.box[1]);
  }

  done() {
    const { box } = this;
    this.end();
    this.dispatchEvent(new CustomEvent("box", { detail: box }));
  }
}
