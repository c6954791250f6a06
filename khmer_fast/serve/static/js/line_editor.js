// One line of the text: a text area over its own text with marks, and, where the cursor is, the
// line's picture, other readings and what can be done with it.

import { button, el } from "./dom.js";
import { t, percent } from "./i18n.js";
import { doubts } from "./line.js";

const VERY = 0.5; // confidence under which a mark is stronger

export class LineEditor {
  /** `view` is the TextView that it belongs to. */
  constructor(view, key) {
    Object.assign(this, { view, key });
    this.number = el("span", { class: "number", "aria-hidden": "true" });
    this.marks = el("div", { class: "marks", "aria-hidden": "true", lang: "km" });
    this.area = el("textarea", {
      rows: 1,
      lang: "km",
      spellcheck: "false",
      autocapitalize: "off",
      autocomplete: "off",
      tabindex: -1,
    });
    this.flags = el("div", { class: "flags" });
    this.above = el("div", { class: "above" });
    this.below = el("div", { class: "below" });
    this.element = el(
      "div",
      { class: "line", "data-key": key },
      this.number,
      el(
        "div",
        { class: "body" },
        this.above,
        el("div", { class: "field" }, this.marks, this.area),
        this.flags,
        this.below,
      ),
    );
    this.area.addEventListener("input", () => this.typed());
    this.area.addEventListener("keydown", (event) => view.key(event, this));
    this.area.addEventListener("beforeinput", (event) => {
      if (event.inputType.startsWith("history")) event.preventDefault(); // undo is the page's
    });
    this.area.addEventListener("pointerdown", () => this.withKeyboard(true));
    for (const name of ["focus", "keyup", "click", "select"]) {
      this.area.addEventListener(name, () => view.cursor(this));
    }
  }

  /** Where the cursor stands: {key, start, end}. */
  get place() {
    return { key: this.key, start: this.area.selectionStart, end: this.area.selectionEnd };
  }

  /** Whether the text takes more than one row. */
  isTall() {
    return this.area.clientHeight > 2 * parseFloat(getComputedStyle(this.area).lineHeight);
  }

  /** Whether the cursor brings a phone's keyboard up: not when it only goes to a doubted place. */
  withKeyboard(wanted) {
    const touch = matchMedia("(pointer: coarse)").matches;
    this.area.inputMode = wanted || !touch ? "text" : "none";
  }

  update(line, number, least) {
    if (line === this.line && number.value === this.value && least === this.least) return;
    Object.assign(this, { line, least, value: number.value });
    this.number.textContent = number.text;
    if (this.area.value !== line.text) this.area.value = line.text;
    const unsure = doubts(line, least);
    this.element.classList.toggle("unsure", unsure.length > 0);
    this.element.classList.toggle("empty", line.text === "");
    this.area.placeholder = line.text === "" ? t("line.empty") : "";
    const state = unsure.length > 0 ? t("line.unsure", { n: unsure.length }) : "";
    this.area.setAttribute("aria-label", [t("line.name", { n: number.value }), state].join(" "));
    this.marks.replaceChildren(...marked(line, unsure));
    this.flags.replaceChildren(
      ...(line.flags ?? []).map((flag) => el("span", { class: "flag" }, t(`flag.${flag}`))),
    );
  }

  typed() {
    const text = this.area.value.replace(/[\r\n]+/g, " ");
    this.view.typed(this, text);
  }

  focus(start = 0, end = start) {
    this.area.focus({ preventScroll: true });
    this.area.setSelectionRange(start, end);
    this.view.cursor(this);
  }

  /** Opens the line: its picture, the readings of the cluster at the cursor, its tools. */
  open(strip, choices, active) {
    this.element.classList.add("active");
    this.area.tabIndex = 0;
    this.above.replaceChildren(strip);
    this.choices = choices;
    const list = el(
      "div",
      { class: "choices", role: "listbox", id: "choices", "aria-label": t("choices.title") },
      choices.map((choice, i) => this.option(choice, i, i === active)),
    );
    if (!this.tools) this.tools = this.makeTools();
    this.below.replaceChildren(...(choices.length > 0 ? [list, this.tools] : [this.tools]));
    this.point(choices.length > 0 ? active : null);
  }

  /** Marks choice `active` as the one that Enter takes; null: none. */
  point(active) {
    this.active = active;
    this.below.querySelectorAll("[role=option]").forEach((option, i) => {
      option.setAttribute("aria-selected", String(i === active));
    });
    if (active === null) this.area.removeAttribute("aria-activedescendant");
    else this.area.setAttribute("aria-activedescendant", `choice-${active}`);
  }

  shut() {
    this.element.classList.remove("active");
    this.area.tabIndex = -1;
    this.area.removeAttribute("aria-activedescendant");
    this.choices = [];
    this.above.replaceChildren();
    this.below.replaceChildren();
  }

  option(choice, i, selected) {
    const { view } = this;
    const name = choice.text === "" ? t("choices.nothing") : choice.text.replaceAll(" ", "␣");
    // A reading may replace more than the doubted cluster: then it says what.
    const old = i === 0 ? "" : this.line.text.slice(choice.start, choice.end);
    const whole = i > 0 && old !== this.choices[0].text ? `${old} →` : null;
    const note = choice.confidence === undefined ? null : percent(choice.confidence);
    return el(
      "div",
      {
        class: "choice",
        role: "option",
        id: `choice-${i}`,
        "aria-selected": String(selected),
        title: choice.confidence === undefined ? `Alt+${i}` : "Enter",
        onpointerdown: (event) => event.preventDefault(), // the cursor stays in the line
        onclick: () => view.take(this, i),
      },
      el("kbd", { "aria-hidden": "true" }, i === 0 ? "↵" : String(i)),
      whole ? el("span", { lang: "km", class: "old" }, whole) : null,
      el("span", { lang: "km" }, name),
      note ? el("small", {}, note) : null,
    );
  }

  makeTools() {
    const { view } = this;
    const tool = (icon, name, keys, act) =>
      button(icon, t(name), { quiet: true, keys, onclick: () => act() });
    return el(
      "div",
      { class: "line-tools", role: "toolbar", "aria-label": t("line.tools") },
      tool("check", "line.accept", "Enter", () => view.acceptLine(this)),
      tool("split", "line.split", "Shift+Enter", () => view.split(this)),
      tool("join", "line.join", null, () => view.join(this)),
      tool("up", "line.up", "Alt+Shift+ArrowUp", () => view.move(this, -1)),
      tool("down", "line.down", "Alt+Shift+ArrowDown", () => view.move(this, 1)),
      tool("remove", "line.remove", "Control+Shift+Delete", () => view.remove(this)),
    );
  }
}

/** The line's text as nodes, its doubted stretches as marks. */
function marked(line, unsure) {
  const nodes = [];
  let at = 0;
  for (const { start, end, confidence } of unsure) {
    if (end === start) continue;
    nodes.push(line.text.slice(at, start));
    const kind = confidence < VERY ? "very" : "little";
    nodes.push(el("mark", { class: kind }, line.text.slice(start, end)));
    at = end;
  }
  nodes.push(line.text.slice(at), "\u200b"); // an empty line is as high as one with text
  return nodes;
}
