// Starts the page: the map first, then what belongs to a photo.

import { listen } from "./gestures.js";
import { PhotoMap } from "./map.js";
import { Panel } from "./panel.js";
import { colourOf } from "./parts.js";
import { floats, integers, json, send } from "./server.js";

const POLL = 1000; // milliseconds
const SLOW_POLL = 5000;

const find = (id) => document.getElementById(id);
let state = await json("state");
const [places, classes, labels] = await Promise.all([floats("map"), integers("classes"), json("labels")]);
const map = new PhotoMap(find("photos"), find("marks"), state, places, classes);
const panel = new Panel(find("panel"), map, labels, state.decisions, { act, toggle, relabel });

find("name").textContent = state.name;
document.title = `${state.name} · vggfeat`;
find("all-labels").append(...labels.map((name) => Object.assign(document.createElement("option"), { value: name })));

const photos = (rows) => `${rows.length.toLocaleString()} photo${rows.length === 1 ? "" : "s"}`;

function say(text) {
  find("now").textContent = text;
}

// ---- decisions

let before = Promise.resolve(); // decisions are sent one after the other: the last one counts

function act(...order) {
  before = before.then(() => decide(...order));
}

async function decide(rows, decision, label = "", reason = "") {
  if (!rows.length) return;
  try {
    take(await send("decide", JSON.stringify({ rows, decision, label, reason })));
    const done = { keep: "to keep", remove: "to remove", relabel: `to relabel as ${label}` }[decision] ?? "without a decision";
    say(`${photos(rows)} ${done}`);
  } catch (error) {
    say(error.message);
  }
}

function take(list) {
  map.decisions = new Map(list.map((one) => [one.row, one]));
  panel.decisionsChanged(list);
  map.draw();
}

const meant = () => (map.selection.size ? [...map.selection] : map.current === undefined ? [] : [map.current]);

function toggle(rows) {
  map.select(rows, { add: true });
}

function relabel(rows = meant(), label = "") {
  if (!rows.length) return;
  const dialog = find("relabel");
  find("relabel-title").textContent = `Relabel ${photos(rows)}`;
  find("relabel-label").value = label;
  find("reason").value = "";
  dialog.returnValue = "cancel";
  dialog.onclose = () => {
    const name = find("relabel-label").value.trim();
    if (dialog.returnValue === "relabel" && name) act(rows, "relabel", name, find("reason").value.trim());
  };
  dialog.showModal();
}

// ---- the map

listen(map, find("marks"), {
  open: (row, focus) => panel.open(row, focus),
  decide: (decision) => act(meant(), decision),
  relabel: () => relabel(),
  help: () => find("keys").showModal(),
  lassoing: () => find("lasso").ariaPressed === "true",
});

map.addEventListener("current", async () => {
  const row = map.current;
  const text = await panel.announce(row);
  if (map.current === row) say(text);
});
map.addEventListener("arranged", tell);
map.addEventListener("selection", () => {
  find("picked").hidden = !map.selection.size;
  find("picked-count").textContent = `${map.selection.size.toLocaleString()} selected`;
});

const press = (id, action) => find(id).addEventListener("click", action);
const zoom = (factor) => () => { map.view.zoom(factor); map.draw(); };
press("in", zoom(1.4));
press("out", zoom(1 / 1.4));
press("fit", () => { map.view.fit(); map.draw(); });
press("help", () => find("keys").showModal());
press("lasso", () => { find("lasso").ariaPressed = find("lasso").ariaPressed !== "true"; });
press("colour", () => {
  const on = find("colour").ariaPressed !== "true";
  find("colour").ariaPressed = on;
  map.colour(on ? labels.map((_, number) => colourOf(number)) : undefined);
});
press("picked-relabel", () => relabel());
press("picked-clear", () => map.select([]));
for (const one of document.querySelectorAll("[data-decide]")) {
  one.addEventListener("click", () => act(meant(), one.dataset.decide));
}
find("colour").hidden = !labels.length;

// ---- a photo that is dropped on the page

const hint = find("drop");
addEventListener("dragover", (event) => {
  event.preventDefault();
  hint.hidden = false;
});
addEventListener("dragleave", (event) => { hint.hidden = Boolean(event.relatedTarget); });
addEventListener("drop", (event) => {
  event.preventDefault();
  hint.hidden = true;
  if (event.dataTransfer.files.length) panel.search(event.dataTransfer.files[0]);
});

// ---- what changes on the server

const STAGES = { comparing: "comparing photos", arranging: "arranging the map" };

function tell() {
  const count = state.rows === state.total
    ? `${state.rows.toLocaleString()} photos`
    : `${state.rows.toLocaleString()} of ${state.total.toLocaleString()} photos`;
  const gone = Object.entries(state.missing).map(([reason, n]) => `${n.toLocaleString()} ${reason}`);
  const share = state.map.stage === "arranging" ? ` ${Math.round(100 * state.map.share)} %` : "";
  const stage = STAGES[state.map.stage] ? `${STAGES[state.map.stage]}${share}` : "";
  const left = map.grid.taken.size < map.shown.reduce((sum, one) => sum + one, 0);
  const level = left ? `${map.grid.taken.size.toLocaleString()} shown at this zoom` : "";
  const text = [count, level, stage, gone.length ? `not shown: ${gone.join("; ")}` : ""].filter(Boolean).join(" · ");
  if (find("status").textContent !== text) find("status").textContent = text;
}

async function poll() {
  try {
    const next = await json("state");
    if (next.map.version !== state.map.version) map.move(await floats("map"));
    if (next.map.stage !== state.map.stage) panel.stageChanged(next.map.stage);
    state = next;
    tell();
  } catch {
    find("status").textContent = "vggfeat explore has ended; start it again and open its new address";
    return;
  }
  setTimeout(poll, state.map.stage === "done" ? SLOW_POLL : POLL);
}

tell();
poll();
json("decisions").then(take, (error) => say(error.message));
