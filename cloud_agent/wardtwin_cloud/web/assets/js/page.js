// What every page carries in its data blocks: strings, time zone, clock. And the smallest DOM builder that does.

export function block(id) {
  const element = document.getElementById(id);
  return element ? JSON.parse(element.textContent) : null;
}

export const context = block("context");
const strings = block("strings");

/** The string of `key` with {name} filled in, as in catalogue.py. */
export function t(key, values = {}) {
  const text = strings[key];
  if (text === undefined) throw new Error(`no string ${key}`);
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/** The name of `word` in `family`; a word the catalogue lacks is shown as it is, readable. */
export function word(family, name) {
  const known = strings[`${family}.${name}`];
  if (known !== undefined) return known;
  const plain = name.replaceAll("_", " ").trim();
  return plain.charAt(0).toUpperCase() + plain.slice(1);
}

const SVG = "http://www.w3.org/2000/svg";

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export function h(tag, attributes = {}, ...children) {
  return build(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return build(document.createElementNS(SVG, tag), attributes, children);
}

export function icon(name, className = "icon") {
  return svg("svg", { class: className, "aria-hidden": "true" }, svg("use", { href: `#${name}` }));
}

/** Shape, word and colour of a state; `text` replaces the word where more is to be said. */
export function stateMark(state, text = t(`state.${state}`)) {
  return h("span", { class: `state state-${state}` }, icon(`s-${state}`, "shape"), h("span", {}, text));
}

export function severityMark(severity, text = t(`severity.${severity}`)) {
  return h("span", { class: `severity severity-${severity}` }, icon(`w-${severity}`, "shape"), h("span", {}, text));
}

/** Set text only where it differs: live numbers must not disturb a selection or a screen reader. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
