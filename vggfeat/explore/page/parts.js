// Small parts of the page, made of elements; texts from outside are texts, never HTML.

import { tile } from "./server.js";

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter(Boolean));
  return made;
}

export const button = (text, action, properties = {}) =>
  element("button", { type: "button", onclick: action, ...properties }, text);

export const paragraph = (text, className = "") => element("p", { className }, text);

// Colours that differ from their neighbours in the list: the golden angle goes around the circle of hues.
export const colourOf = (number) => `hsl(${(number * 137.508 + 205) % 360} 62% ${number % 2 ? 46 : 58}%)`;

export function label(text, number) {
  const square = element("i", { className: "swatch" });
  square.style.backgroundColor = number >= 0 ? colourOf(number) : "transparent";
  return element("span", { className: "label" }, square, number >= 0 ? text : "no label");
}

// A photo as a button. about: {row, name, class, cosine?}
export function photo(about, classes, open, remark) {
  const name = about.class >= 0 ? classes[about.class] : "no label";
  const figure = about.cosine === undefined ? "" : about.cosine.toFixed(3);
  const caption = remark ?? figure;
  const made = element("button", { type: "button", className: "photo", title: about.name, onclick: () => open(about.row) },
    element("img", { src: tile(about.row), alt: "", loading: "lazy", width: 144, height: 144 }),
    label(name, about.class),
    caption && element("span", { className: "figure" }, caption));
  made.ariaLabel = [about.name, name, figure && `cosine ${figure}`, remark].filter(Boolean).join(", ");
  return made;
}

export const photos = (list, classes, open) =>
  element("ul", { className: "photos" }, ...list.map((about) => element("li", {}, photo(about, classes, open))));
