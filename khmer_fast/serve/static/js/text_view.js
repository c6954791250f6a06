// The text of a page, line by line, for the keyboard first. Keys: see help.js.

import { announce } from "./announce.js";
import { el } from "./dom.js";
import { number as inWords, percent, t } from "./i18n.js";
import { alternatives, characters, clusterAt, doubts } from "./line.js";
import { LineEditor } from "./line_editor.js";
import { places } from "./page_model.js";

/** Events: "cursor" (detail: {key, index}): the cursor stands in a cluster. */
export class TextView extends EventTarget {
  constructor(editor, picture) {
    super();
    Object.assign(this, { editor, picture, least: 0.9, editors: new Map(), here: null });
    this.picking = false; // whether the arrows and Enter choose among readings
    this.list = el("div", { class: "lines" });
    this.element = el("section", { class: "text", "aria-label": t("text.title") }, this.list);
  }

  /** Shows the editor's page; the cursor goes to `place` {key, start, end}, if there is one. */
  render(place = null) {
    const { page } = this.editor;
    const all = places(page);
    const shape = JSON.stringify(
      page.regions.map(({ kind, lines, cells }) => [
        kind,
        (lines ?? []).map(({ key }) => key),
        (cells ?? []).map((cell) => [cell.row, cell.column, (cell.lines ?? []).map((l) => l.key)]),
      ]),
    );
    all.forEach(({ line }, i) => {
      const known = this.editors.get(line.key) ?? new LineEditor(this, line.key);
      this.editors.set(line.key, known);
      known.update(line, { value: i + 1, text: inWords(i + 1) }, this.least);
    });
    if (shape !== this.shape) {
      this.shape = shape;
      this.list.replaceChildren(...page.regions.map((region) => this.region(region)));
      if (all.length === 0) this.list.append(el("p", { class: "nothing" }, t("text.nothing")));
    }
    for (const [key, { element }] of this.editors) {
      if (element.isConnected || this.list.contains(element)) continue;
      this.editors.delete(key);
      if (this.here?.key === key) this.here = null;
    }
    if (place && this.editors.has(place.key)) this.focus(place.key, place.start, place.end);
    else if (this.here) this.open(this.here.key);
    else if (all.length > 0) this.editors.get(all[0].line.key).area.tabIndex = 0;
    this.tell("marks", null);
  }

  region(region) {
    const name = t(`region.${region.kind}`);
    const section = el("div", {
      class: `region ${region.kind}`,
      role: "group",
      "aria-label": name,
    });
    if (region.kind !== "text") section.append(el("span", { class: "kind" }, name));
    const element = (line) => this.editors.get(line.key).element;
    if ((region.cells ?? []).length === 0) {
      section.append(...(region.lines ?? []).map(element));
      return section;
    }
    const columns = Math.max(...region.cells.map((c) => c.column + (c.column_span ?? 1)));
    const table = el("div", { class: "cells" });
    table.style.setProperty("--columns", columns);
    for (const cell of region.cells) {
      const box = el("div", { class: "cell" }, (cell.lines ?? []).map(element));
      box.style.gridRow = `${cell.row + 1} / span ${cell.row_span ?? 1}`;
      box.style.gridColumn = `${cell.column + 1} / span ${cell.column_span ?? 1}`;
      table.append(box);
    }
    section.append(table);
    return section;
  }

  /** Doubted stretches [{key, start, end, index, confidence}] of the page, in reading order. */
  allDoubts() {
    return places(this.editor.page).flatMap(({ line }) =>
      doubts(line, this.least).map((doubt) => ({ key: line.key, ...doubt })),
    );
  }

  setLeast(least) {
    this.least = least;
    this.render();
  }

  focus(key, start = 0, end = start) {
    this.editors.get(key)?.focus(start, end);
  }

  /** The place of the cursor, or null. */
  place() {
    return this.here ? this.editors.get(this.here.key).place : null;
  }

  // -- what the cursor does

  cursor(of) {
    const { start, end } = of.place;
    const line = this.editor.line(of.key);
    if (!line) return;
    const touching = doubts(line, this.least).filter((d) => d.start <= start && end <= d.end);
    const doubt = touching.find((d) => start < d.end) ?? touching[0];
    const cluster = doubt ?? clusterAt(line, start);
    const index = cluster?.index ?? null;
    if (!doubt || doubt.start !== start || doubt.end !== end) this.picking = false;
    const same = this.here?.key === of.key && this.here.index === index;
    if (same && of.element.classList.contains("active")) return;
    this.here = { key: of.key, index };
    this.open(of.key);
    this.tell("cursor", this.here);
  }

  open(key) {
    for (const [other, shut] of this.editors) if (other !== key) shut.shut();
    const of = this.editors.get(key);
    if (!of) return;
    const line = this.editor.line(key);
    const { index } = this.here;
    const strip = this.picture.strip(line, index);
    of.open(strip, this.choicesOf(line, index), 0);
    of.element.scrollIntoView({ block: "nearest" });
  }

  /** The reading at the cursor, if it is doubted or has others, and those. */
  choicesOf(line, index) {
    const all = characters(line);
    if (index === null || index < 0 || !all[index]) return [];
    const { text, confidence } = all[index];
    if (confidence === 1) return []; // typed, chosen or accepted
    const others = alternatives(line, index);
    if (others.length === 0 && confidence >= this.least) return [];
    return [{ text, confidence, index }, ...others];
  }

  typed(of, text) {
    const at = this.place();
    const caret = of.area.selectionStart;
    this.picking = false;
    this.editor.type(of.key, text, at);
    if (of.area.selectionStart !== caret) of.area.setSelectionRange(caret, caret);
    this.cursor(of);
  }

  // -- what keys do

  key(event, of) {
    if (event.isComposing) return;
    const act = this.action(event, of);
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }

  /** What a key does in a line, or undefined where it is the text area's own. */
  action(event, of) {
    const { area } = of;
    const { start, end } = of.place;
    const plain = !event.altKey && !event.ctrlKey && !event.metaKey;
    const option = event.altKey && !event.ctrlKey && !event.getModifierState("AltGraph");
    const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code);
    if (option && digit && of.choices[digit[1]]) return () => this.take(of, Number(digit[1]));
    if (option && event.shiftKey && event.key === "ArrowUp") return () => this.move(of, -1);
    if (option && event.shiftKey && event.key === "ArrowDown") return () => this.move(of, 1);
    if (event.ctrlKey && event.shiftKey && event.key === "Delete") return () => this.remove(of);
    if (!plain) return undefined;
    switch (event.key) {
      case "Enter":
        if (event.shiftKey) return () => this.split(of);
        if (this.picking || of.active > 0) return () => this.take(of, of.active ?? 0);
        return () => this.acceptLine(of);
      case "ArrowDown":
      case "ArrowUp": {
        const step = event.key === "ArrowDown" ? 1 : -1;
        if (event.shiftKey) return undefined;
        if (!this.picking && of.isTall() && start !== (step > 0 ? area.value.length : 0)) {
          return undefined; // to another row of the same line, then to its end
        }
        if (this.picking && of.choices.length > 1) return () => this.pointAt(of, step);
        return () => this.step(of, step);
      }
      case "Escape":
        return this.picking ? () => this.stopPicking(of) : undefined;
      case "Backspace":
        return start === 0 && end === 0 ? () => this.joinBefore(of) : undefined;
      case "Delete":
        return start === area.value.length && end === start ? () => this.join(of) : undefined;
      default:
        return undefined;
    }
  }

  /** Goes to the next (1) or the last (-1) doubted stretch of the page; whether there is one. */
  nextDoubt(step = 1) {
    const all = this.allDoubts();
    const next = this.doubtAfter(all, step) ?? (step > 0 ? all[0] : all.at(-1));
    if (next) this.goTo(next, all.length);
    else announce(t("text.sure"));
    return Boolean(next);
  }

  /** The doubted stretch behind (1) or before (-1) the cursor, or undefined. */
  doubtAfter(all, step = 1) {
    const sequence = new Map(places(this.editor.page).map(({ line }, i) => [line.key, i]));
    const here = this.place();
    const after = (d) =>
      !here ||
      sequence.get(d.key) > sequence.get(here.key) ||
      (d.key === here.key &&
        (d.start > here.start || (d.start === here.start && d.end > here.end)));
    const before = (d) =>
      here &&
      (sequence.get(d.key) < sequence.get(here.key) ||
        (d.key === here.key && d.start < here.start));
    return step > 0 ? all.find(after) : all.findLast(before);
  }

  goTo(doubt, left) {
    this.editors.get(doubt.key).withKeyboard(false);
    this.focus(doubt.key, doubt.start, doubt.end);
    this.picking = true;
    const line = this.editor.line(doubt.key);
    const text = line.text.slice(doubt.start, doubt.end) || t("line.empty");
    const others = Math.max(this.editors.get(doubt.key).choices.length - 1, 0);
    const values = { text, confidence: percent(doubt.confidence), n: others };
    announce(`${t("announce.doubt", values)} ${t("text.unsure", { n: left })}`);
  }

  pointAt(of, step) {
    const count = of.choices.length;
    of.point((of.active + step + count) % count);
    announce(of.choices[of.active].text);
  }

  stopPicking(of) {
    this.picking = false;
    of.point(0);
    of.area.setSelectionRange(of.place.end, of.place.end);
  }

  /** Takes choice `i` (0: what stands there) and goes to the next doubted stretch. */
  take(of, i) {
    const at = this.place() ?? of.place;
    const choice = of.choices[i];
    if (i === 0 || !choice) this.editor.accept(of.key, choice?.index ?? null, at);
    else this.editor.choose(of.key, choice, at);
    this.nextDoubt();
  }

  /** Takes the whole line as right and goes to the next. */
  acceptLine(of) {
    const at = of.place;
    if (doubts(this.editor.line(of.key), 1).length > 0) this.editor.accept(of.key, null, at);
    this.step(of, 1, true);
  }

  step(of, step, toStart = false) {
    const keys = places(this.editor.page).map(({ line }) => line.key);
    const key = keys[keys.indexOf(of.key) + step];
    if (key === undefined) return;
    const start = toStart ? 0 : Math.min(of.place.start, this.editor.line(key).text.length);
    this.focus(key, start);
  }

  split(of) {
    const at = of.place;
    if (at.start > 0 && at.start < of.area.value.length) this.editor.split(of.key, at.start, at);
    else announce(t("announce.no_split"));
  }

  join(of) {
    if (!this.editor.join(of.key, of.place)) announce(t("announce.no_join"));
  }

  joinBefore(of) {
    const keys = places(this.editor.page).map(({ line }) => line.key);
    const before = keys[keys.indexOf(of.key) - 1];
    if (before === undefined || !this.editor.join(before, of.place))
      announce(t("announce.no_join"));
  }

  move(of, step) {
    if (this.editor.move(of.key, step, of.place)) announce(t("announce.moved"));
  }

  remove(of) {
    this.editor.remove(of.key, of.place);
    announce(t("announce.removed"));
  }

  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
