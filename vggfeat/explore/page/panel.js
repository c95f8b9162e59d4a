// The panel beside the map: a photo and its neighbours, labels, twins, doubtful labels, decisions.

import { button, element, framed, label, paragraph, photo, photos } from "./parts.js";
import { json, send } from "./server.js";

const TABS = ["photo", "labels", "twins", "doubts", "decisions"];
const WORDS = { keep: "Keep", remove: "Remove", relabel: "Relabel" };
const WAIT = "Not known yet: the photos are being compared.";

export class Panel {
  // file: of the decisions. actions: act(rows, decision, label), toggle(rows), relabel(rows, label)
  constructor(place, map, classes, file, actions) {
    [this.place, this.map, this.classes, this.file, this.actions] = [place, map, classes, file, actions];
    this.decisions = [];
    this.hidden = new Set(); // classes that are not shown
    this.row = undefined;
    this.open = this.open.bind(this);
    for (const name of TABS) this.tab(name).addEventListener("click", () => this.show(name));
    this.tab("photo").parentElement.addEventListener("keydown", (event) => this.turn(event));
    this.show("photo");
  }

  tab(name) {
    return document.getElementById(`tab-${name}`);
  }

  turn(event) { // arrows go from tab to tab
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = TABS[(TABS.indexOf(this.name) + step + TABS.length) % TABS.length];
    this.show(next);
    this.tab(next).focus();
  }

  async show(name) {
    this.name = name;
    for (const one of TABS) {
      this.tab(one).ariaSelected = one === name;
      this.tab(one).tabIndex = one === name ? 0 : -1;
    }
    this.place.setAttribute("aria-labelledby", `tab-${name}`);
    this.place.scrollTop = 0;
    try {
      const made = await this[`make_${name}`]();
      if (this.name === name) this.place.replaceChildren(...made.filter(Boolean));
    } catch (error) {
      if (this.name === name) this.place.replaceChildren(paragraph(error.message, "error"));
    }
  }

  // ---- a photo

  open(row, focus = false) {
    this.row = row;
    if (this.map.current !== row) this.map.visit(row);
    return this.show("photo").then(() => focus && this.place.querySelector("button")?.focus());
  }

  about(row) { // asked once for a photo, while it is the last one
    if (this.known?.row !== row) this.known = { row, about: json(`row/${row}`) };
    return this.known.about;
  }

  async announce(row) { // the name of a photo for people who do not see the map
    const about = await this.about(row);
    const decision = this.map.decisions.get(row);
    const name = about.class >= 0 ? this.classes[about.class] : "no label";
    return [about.name, name, decision && WORDS[decision.decision]].filter(Boolean).join(", ");
  }

  async make_photo() {
    if (this.row === undefined) return [
      paragraph("Click a photo to see its neighbours, or drop a photo from your disk on the page.", "hint"),
      this.chooser(),
    ];
    const about = await this.about(this.row);
    const decided = this.map.decisions.get(this.row);
    const act = (decision) => () => this.actions.act([this.row], decision);
    const choice = (decision, action) =>
      button(WORDS[decision], action, { ariaPressed: decided?.decision === decision, className: decision });
    return [
      ...framed(element("img", { className: "whole", src: `photo/${this.row}`, alt: about.name }), about),
      element("h2", { className: "file" }, about.name),
      element("p", {}, label(this.classes[about.class], about.class)),
      about.missing && paragraph(`One of the photos ${about.missing}.`, "error"),
      element("p", { className: "row", role: "group", ariaLabel: "Decision" },
        choice("keep", act("keep")), choice("remove", act("remove")),
        choice("relabel", () => this.actions.relabel([this.row], decided?.label)),
        decided && button("Undo", act(null), { className: "quiet" })),
      decided?.label && paragraph(`New label: ${decided.label}${decided.reason ? ` (${decided.reason})` : ""}`),
      element("h3", {}, "Nearest photos"),
      photos(about.neighbours, this.classes, this.open),
      this.chooser(),
    ];
  }

  chooser() { // for keyboards: the same as dropping a file
    const input = element("input", { type: "file", accept: "image/*", onchange: () => this.search(input.files[0]) });
    return element("label", { className: "chooser" }, "Search with a photo from your disk ", input);
  }

  async search(file) {
    this.row = undefined;
    await this.show("photo");
    this.place.replaceChildren(paragraph(`Describing ${file.name} …`, "hint"));
    try {
      const found = await send("search", file);
      this.place.replaceChildren(
        element("h2", { className: "file" }, file.name),
        element("h3", {}, "Nearest photos"),
        photos(found.neighbours, this.classes, this.open),
        this.chooser(),
      );
    } catch (error) {
      this.place.replaceChildren(paragraph(error.message, "error"), this.chooser());
    }
  }

  // ---- labels

  async make_labels() {
    if (!this.classes.length) return [paragraph("These photos have no labels.", "hint")];
    const counts = new Uint32Array(this.classes.length);
    for (const number of this.map.classes) if (number >= 0) counts[number]++;
    const boxes = this.classes.map((_, number) =>
      element("input", { type: "checkbox", checked: !this.hidden.has(number), onchange: (event) => {
        this.hidden[event.target.checked ? "delete" : "add"](number);
        this.filter();
      } }));
    const all = (checked) => () => {
      this.hidden = new Set(checked ? [] : this.classes.keys());
      for (const box of boxes) box.checked = checked;
      this.filter();
    };
    return [
      element("p", { className: "row" }, button("Show all", all(true)), button("Show none", all(false))),
      element("ul", { className: "labels" }, ...this.classes.map((name, number) => element("li", {},
        element("label", {}, boxes[number], label(name, number),
          element("span", { className: "figure" }, counts[number].toLocaleString())),
        button("Only", () => { all(false)(); boxes[number].click(); }, { ariaLabel: `Only ${name}`, className: "quiet" })))),
      ...this.confusions(await json("confusions")),
    ];
  }

  confusions(found) { // of a model: label, predicted class, how many
    if (!found.length) return [];
    return [
      element("h3", {}, "Confusions of the model"),
      element("ul", { className: "labels" }, ...found.map(({ given, predicted, rows }) => element("li", {},
        element("span", { className: "pair" }, label(this.classes[given], given), "as", label(this.classes[predicted], predicted)),
        element("span", { className: "figure" }, rows.length.toLocaleString()),
        button("Only", () => this.only(rows), {
          ariaLabel: `Only ${this.classes[given]} as ${this.classes[predicted]}`, className: "quiet" })))),
    ];
  }

  only(rows) {
    const shown = new Uint8Array(this.map.classes.length);
    for (const row of rows) shown[row] = 1;
    this.map.show(shown);
  }

  filter() {
    this.map.show(Uint8Array.from(this.map.classes, (number) => (this.hidden.has(number) ? 0 : 1)));
  }

  // ---- twins and doubts

  async make_twins() {
    const found = await json("twins");
    if (!found) return [paragraph(WAIT, "hint")];
    const why = `A cosine of ${found.threshold.toFixed(4)} or more makes twins: ${found.reason}.`;
    if (!found.count) return [paragraph("No near twins.", "hint"), paragraph(why, "hint")];
    const more = found.count > found.groups.length ? `, of which ${found.groups.length} are shown` : "";
    return [
      paragraph(`${count(found.count, "group")} of near twins${more}. ${why}`, "hint"),
      ...found.groups.map((group) => element("section", { className: "group" },
        photos(group, this.classes, this.open),
        button("Select all but the first", () => this.actions.toggle(group.slice(1).map(({ row }) => row)),
          { className: "quiet" }))),
    ];
  }

  async make_doubts() {
    const found = await json("doubts");
    if (!found) return [paragraph(WAIT, "hint")];
    const { how } = found;
    if (!found.count) return [paragraph("No doubtful labels.", "hint"), paragraph(how, "hint")];
    const more = found.count > found.rows.length ? `, of which ${found.rows.length} are shown` : "";
    return [
      paragraph(`${count(found.count, "doubtful label")}${more}. ${how}`, "hint"),
      element("ul", { className: "doubts" }, ...found.rows.map((one) => element("li", {},
        photo(one, this.classes, this.open, `${this.classes[one.other]}: ${one.why}`),
        element("span", { className: "row" },
          button("Keep", () => this.actions.act([one.row], "keep"), { ariaLabel: `Keep ${one.name}` }),
          button(`Relabel as ${this.classes[one.other]}`, () => this.actions.relabel([one.row], this.classes[one.other])))))),
    ];
  }

  stageChanged() {
    if (this.name === "twins" || this.name === "doubts") this.show(this.name);
  }

  // ---- decisions

  decisionsChanged(list) {
    this.decisions = list;
    this.tab("decisions").textContent = list.length ? `Decisions (${list.length.toLocaleString()})` : "Decisions";
    if (this.name === "decisions" || (this.name === "photo" && this.row !== undefined)) this.show(this.name);
  }

  make_decisions() {
    const file = element("p", { className: "hint" }, "Decisions are kept in ", element("code", {}, this.file), ".");
    if (!this.decisions.length) return [paragraph("No decisions yet: select photos, then keep, remove or relabel them.", "hint"), file];
    return [
      file,
      element("ul", { className: "doubts" }, ...this.decisions.map((one) => element("li", {},
        photo(one, this.classes, this.open, one.decision === "relabel" ? `Relabel as ${one.label}` : WORDS[one.decision]),
        one.reason && paragraph(one.reason, "hint"),
        button("Undo", () => this.actions.act([one.row], null), { ariaLabel: `Undo ${one.name}`, className: "quiet" })))),
    ];
  }
}

const count = (number, word) => `${number.toLocaleString()} ${word}${number === 1 ? "" : "s"}`;
