// A button that opens a list of commands below it.

import { button, el } from "./dom.js";

/** `items`: [{name, note, act}]. */
export function menu(icon, name, items, attributes = {}) {
  const list = el("div", { class: "menu-list", hidden: true, role: "menu", "aria-label": name });
  const opener = button(icon, name, {
    "aria-haspopup": "menu",
    "aria-expanded": "false",
    onclick: () => toggle(list.hidden),
    ...attributes,
  });
  const root = el("div", { class: "menu" }, opener, list);
  const commands = []; // made when they are first shown: a list may hold a thousand menus

  function command({ name: text, note, act }) {
    const choose = () => {
      toggle(false);
      opener.focus();
      act();
    };
    return el(
      "button",
      { type: "button", role: "menuitem", tabindex: -1, onclick: choose },
      el("span", {}, text),
      note ? el("small", {}, note) : null,
    );
  }

  function toggle(open) {
    if (open && commands.length === 0) {
      commands.push(...items.map(command));
      list.append(...commands);
    }
    list.hidden = !open;
    opener.setAttribute("aria-expanded", String(open));
    if (open) commands[0].focus();
  }

  root.addEventListener("keydown", (event) => {
    if (list.hidden) return;
    const at = commands.indexOf(document.activeElement);
    const last = commands.length - 1;
    const to = {
      ArrowDown: at === last ? 0 : at + 1,
      ArrowUp: at <= 0 ? last : at - 1,
      Home: 0,
      End: last,
    };
    if (event.key === "Escape") {
      toggle(false);
      opener.focus();
    } else if (event.key in to) commands[to[event.key]].focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  root.addEventListener("focusout", (event) => {
    if (!root.contains(event.relatedTarget)) toggle(false);
  });
  return root;
}
