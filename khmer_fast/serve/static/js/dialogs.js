// Questions and explanations in front of the page: modal <dialog>s, closed by Escape.

import { button, el } from "./dom.js";
import { t } from "./i18n.js";
import { takeTheirs } from "./merge.js";

/** Shows a dialog; resolves the value of the button that closed it, or null. */
function ask(title, content, choices) {
  const dialog = el("dialog", { "aria-labelledby": "dialog-title" });
  const close = (value) => () => dialog.close(value);
  dialog.append(
    el("h2", { id: "dialog-title" }, title),
    ...content,
    el(
      "div",
      { class: "choose" },
      choices.map(({ name, value, kind }) =>
        button(null, name, { class: kind, onclick: close(value) }),
      ),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue || null);
    });
  });
}

/** Whether a document shall be deleted. */
export async function confirmDelete(name) {
  const answer = await ask(
    t("delete.title"),
    [el("p", {}, t("delete.text", { name }))],
    [
      { name: t("cancel"), value: "" },
      { name: t("delete"), value: "delete", kind: "danger" },
    ],
  );
  return answer === "delete";
}

const KEYS = [
  ["Alt+↓", "keys.next"],
  ["Alt+↑", "keys.previous"],
  ["↵", "keys.accept"],
  ["↓ ↑", "keys.point"],
  ["Alt+1 … 9", "keys.choose"],
  ["Ctrl+Z", "keys.undo"],
  ["Ctrl+Shift+Z", "keys.redo"],
  ["Shift+↵", "keys.split"],
  ["⌫ · Del", "keys.join"],
  ["Alt+Shift+↑ ↓", "keys.move"],
  ["Ctrl+Shift+Del", "keys.remove"],
  ["Alt+N", "keys.draw"],
  ["Alt+PgUp PgDn", "keys.pages"],
  ["Ctrl+S", "keys.save"],
  ["F1", "keys.help"],
];

/** The list of keys. */
export function help() {
  const rows = KEYS.flatMap(([keys, text]) => [
    el("dt", {}, el("kbd", {}, keys)),
    el("dd", {}, t(text)),
  ]);
  return ask(
    t("keys.title"),
    [el("p", {}, t("keys.marks")), el("dl", { class: "keys" }, rows)],
    [{ name: t("close"), value: "", kind: "main" }],
  );
}

/**
 * What becomes of a page that was changed elsewhere, too: the page to go on with, or null (later).
 * `theirs` is Editor.theirs()'s answer, `mine` the page as it is here.
 */
export async function mend(mine, theirs) {
  const { merged } = theirs;
  if (merged && merged.both.length === 0) return merged.page;
  const content = [el("p", {}, t(merged ? "conflict.lines" : "conflict.page"))];
  const theirsChosen = new Set();
  for (const both of merged?.both ?? []) content.push(question(both, theirsChosen));
  const choices = merged
    ? [{ name: t("conflict.save"), value: "save", kind: "main" }]
    : [
        { name: t("conflict.theirs"), value: "theirs" },
        { name: t("conflict.mine"), value: "mine", kind: "main" },
      ];
  const answer = await ask(t("conflict.title"), content, [
    { name: t("conflict.later"), value: "" },
    ...choices,
  ]);
  if (answer === "mine") return mine;
  if (answer === "theirs") return theirs.page;
  if (answer !== "save") return null;
  return merged.both
    .filter(({ key }) => theirsChosen.has(key))
    .reduce((page, both) => takeTheirs(page, both), merged.page);
}

function question(both, theirsChosen) {
  const choice = (whose, text) => {
    const input = el("input", {
      type: "radio",
      name: `line-${both.key}`,
      checked: whose === "mine",
    });
    input.addEventListener("change", () => {
      if (whose === "theirs") theirsChosen.add(both.key);
      else theirsChosen.delete(both.key);
    });
    const label = el("span", {}, t(`conflict.${whose}_line`));
    return el("label", {}, input, label, el("bdi", { lang: "km" }, text));
  };
  return el(
    "fieldset",
    {},
    el("legend", { class: "told" }, t("conflict.which")),
    choice("mine", both.mine),
    choice("theirs", both.theirs),
  );
}
