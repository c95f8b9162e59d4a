// Small parts of the page, made of elements; texts from outside are texts, never HTML.

import { tile } from "./server.js";

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter(Boolean));
  return made;
}

function drawn(name, properties) { // a part of a drawing
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(properties)) made.setAttribute(key, value);
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

// A photo with the boxes of its objects over it, in pixels of the photo; and a button for each, the surest is shown.
export function framed(image, { width, height, objects }) {
  const drawing = drawn("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  const choices = objects.map((one, number) => {
    const [x0, y0, x1, y1] = one.box;
    const place = { x: x0, y: y0, width: Math.max(0, x1 - x0), height: Math.max(0, y1 - y0) };
    const box = drawn("g", {});
    box.append(drawn("rect", place), drawn("rect", place));
    drawing.append(box);
    const isEmpty = !place.width || !place.height;
    const show = (on) => {
      choice.ariaPressed = on;
      box.style.display = on ? "" : "none";
    };
    const text = [one.label, `${Math.round(100 * one.probability)} %`, isEmpty && "no box"].filter(Boolean).join(" ");
    const choice = button(text, () => show(choice.ariaPressed !== "true"), { disabled: isEmpty });
    show(!number && !isEmpty);
    return choice;
  });
  const photo = element("div", { className: "framed" }, image, drawing);
  return [photo, choices.length && element("p", { className: "row boxes", role: "group", ariaLabel: "Boxes" }, ...choices)];
}
