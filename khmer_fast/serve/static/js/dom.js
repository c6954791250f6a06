// Elements without innerHTML: children that are strings become text nodes.

/** An HTML element: el("a", {class: "x", href: "/", onclick: f}, "text", child, null). */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

/** A button with an icon and a name that is shown beside it or, `quiet`, told only. */
export function button(icon, name, attributes = {}) {
  const { quiet, keys, ...rest } = attributes;
  const title = keys ? `${name} (${keys.replace(/\w+/g, (key) => KEYS[key] ?? key)})` : name;
  return el(
    "button",
    { type: "button", title, "aria-keyshortcuts": keys, ...rest },
    icon ? iconOf(icon) : null,
    el("span", { class: quiet ? "told" : null }, name),
  );
}

const KEYS = {
  ArrowUp: "↑",
  ArrowDown: "↓",
  Enter: "↵",
  Control: "Ctrl",
  Delete: "Del",
  PageUp: "PgUp",
  PageDown: "PgDn",
};

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

const ICONS = {
  back: "M15 5l-7 7 7 7",
  next: "M9 5l7 7-7 7",
  undo: "M8 5L4 9l4 4M4 9h10a6 6 0 010 12h-3",
  redo: "M16 5l4 4-4 4M20 9H10a6 6 0 000 12h3",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  fit: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  width: "M3 5v14M21 5v14M7 12h10M10 9l-3 3 3 3M14 9l3 3-3 3",
  turn: "M19 12a7 7 0 11-2.6-5.4M17 2v5h-5",
  draw: "M4 8V4h4M16 4h4v4M20 16v4h-4M8 20H4v-4M12 9v6M9 12h6",
  check: "M5 12.5l4.5 4.5L19 7.5",
  split: "M12 3v5M12 16v5M4 12h5M15 12h5M9 9l3 3-3 3M15 9l-3 3 3 3",
  join: "M4 7h16M4 17h16M12 9v6M9 12l3 3 3-3",
  up: "M12 19V6M6 11l6-6 6 6",
  down: "M12 5v13M6 13l6 6 6-6",
  remove: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  help: "M9 9a3 3 0 114.5 2.6c-1 .6-1.5 1.2-1.5 2.4M12 18v.01",
  folder: "M3 6h6l2 2h10v11H3z",
  file: "M6 3h8l5 5v13H6zM14 3v5h5",
  close: "M6 6l12 12M18 6L6 18",
};

/** A decorative icon. */
export function iconOf(name) {
  return svg(
    "svg",
    { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" },
    svg("path", { d: ICONS[name] }),
  );
}
