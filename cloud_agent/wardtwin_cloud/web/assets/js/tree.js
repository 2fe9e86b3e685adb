// The places as a tree: hospital › building › floor › room. Arrow keys walk, Enter chooses, as ARIA's tree pattern asks.
import { h, icon, setText, t } from "./page.js";

export class Tree {
  constructor(root, choose) {
    this.root = root;
    this.choose = choose;
    this.items = new Map();
    root.addEventListener("keydown", (event) => this.key(event));
    root.addEventListener("click", (event) => {
      const item = event.target.closest("[role=treeitem]");
      if (!item) return;
      if (event.target.closest(".twist") && item.hasAttribute("aria-expanded")) this.open(item, item.getAttribute("aria-expanded") !== "true");
      else this.pick(item);
    });
  }

  build(hospital, elsewhere) {
    this.items.clear();
    const room = (place) => this.item("room", place.room_id, place.name, 4);
    const floor = (place) => this.item("floor", place.floor_id, place.name, 3, place.rooms.map(room));
    const building = (place) => this.item("building", place.building_id, place.name, 2, place.floors.map(floor));
    const top = this.item("hospital", hospital.hospital_id, hospital.name, 1, hospital.buildings.map(building));
    this.root.replaceChildren(top);
    if (elsewhere) this.root.append(this.item("elsewhere", "", t("twin.elsewhere"), 1));
    this.focusable(top);
  }

  item(noun, id, name, level, children = []) {
    const count = h("span", { class: "tree-count num" });
    const flag = h("span", { class: "tree-flag" });
    const row = h("span", { class: "tree-row" }, h("span", { class: "twist", "aria-hidden": "true" }, children.length ? icon("i-open") : null),
      h("span", { class: "tree-name", title: name }, name), flag, count);
    const item = h("li", { role: "treeitem", "aria-level": level, "aria-selected": "false", "aria-label": name, tabindex: -1,
      "aria-expanded": children.length ? "true" : null }, row);
    if (children.length) item.append(h("ul", { role: "group" }, children));
    item.place = { noun, id };
    this.items.set(`${noun}:${id}`, { item, count, flag, name });
    return item;
  }

  select(place) {
    for (const { item } of this.items.values()) item.setAttribute("aria-selected", "false");
    const found = this.items.get(`${place.noun}:${place.id}`);
    if (!found) return;
    found.item.setAttribute("aria-selected", "true");
    this.focusable(found.item);
    for (let up = found.item.parentElement.closest("[role=treeitem]"); up; up = up.parentElement.closest("[role=treeitem]")) this.open(up, true);
    if (this.root.offsetParent) found.item.firstElementChild.scrollIntoView({ block: "nearest" });
  }

  /** How many devices are there, and the worst open warning. */
  mark(place, devices, severity) {
    const found = this.items.get(`${place.noun}:${place.id}`);
    if (!found) return;
    setText(found.count, devices ? String(devices) : "");
    if (found.flag.dataset.severity !== (severity ?? "")) {
      found.flag.dataset.severity = severity ?? "";
      found.flag.replaceChildren(...(severity ? [icon(`w-${severity}`, `shape severity-${severity}`)] : []));
    }
    const label = severity ? `${found.name}, ${devices}, ${t(`severity.${severity}`)}` : `${found.name}, ${devices}`;
    if (found.item.getAttribute("aria-label") !== label) found.item.setAttribute("aria-label", label);
  }

  pick(item) {
    this.focusable(item);
    item.focus({ preventScroll: true });
    this.choose(item.place);
  }

  focusable(item) {
    for (const other of this.root.querySelectorAll("[tabindex='0']")) other.tabIndex = -1;
    item.tabIndex = 0;
  }

  open(item, expanded) {
    if (item.hasAttribute("aria-expanded")) item.setAttribute("aria-expanded", String(expanded));
  }

  visible() {
    return [...this.root.querySelectorAll("[role=treeitem]")].filter((item) => !item.parentElement.closest("[aria-expanded=false]"));
  }

  key(event) {
    const item = event.target.closest("[role=treeitem]");
    if (!item || event.ctrlKey || event.metaKey || event.altKey) return;
    const shown = this.visible();
    const at = shown.indexOf(item);
    const expanded = item.getAttribute("aria-expanded");
    let next = null;
    switch (event.key) {
      case "ArrowDown": next = shown[at + 1]; break;
      case "ArrowUp": next = shown[at - 1]; break;
      case "Home": next = shown[0]; break;
      case "End": next = shown.at(-1); break;
      case "ArrowRight":
        if (expanded === "false") this.open(item, true);
        else if (expanded === "true") next = item.querySelector("[role=treeitem]");
        break;
      case "ArrowLeft":
        if (expanded === "true") this.open(item, false);
        else next = item.parentElement.closest("[role=treeitem]");
        break;
      case "Enter":
      case " ": this.pick(item); break;
      default: return;
    }
    event.preventDefault();
    if (next) {
      this.focusable(next);
      next.focus();
    }
  }
}
