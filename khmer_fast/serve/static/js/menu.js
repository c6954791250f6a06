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
  const commands = items.map(({ name: text, note, act }) =>
    el(
      "button",
      {
        type: "button",
        role: "menuitem",
        tabindex: -1,
        onclick: () => {
          toggle(false);
          opener.focus();
          act();
        },
      },
      el("span", {}, text),
      note ? el("small", {}, note) : null,
    ),
  );
  list.append(...commands);

  function toggle(open) {
    list.hidden = !open;
    opener.setAttribute("aria-expanded", String(open));
    if (open) commands[0].focus();
  }

  root.addEventListener("keydown", (event) => {
    const at = commands.indexOf(document.activeElement);
    if (event.key === "Escape" && !list.hidden) {
      toggle(false);
      opener.focus();
    } else if (event.key === "ArrowDown" && !list.hidden) {
      commands[(at + 1) % commands.length].focus();
    } else if (event.key === "ArrowUp" && !list.hidden) {
      commands[(at - 1 + commands.length) % commands.length].focus();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  root.addEventListener("focusout", (event) => {
    if (!root.contains(event.relatedTarget)) toggle(false);
  });
  return root;
}
