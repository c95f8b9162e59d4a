// Mouse, touch and keys on the map.

const CLICK = 6; // CSS pixels that a click may move
const STEP = 80; // CSS pixels that Shift and an arrow move the map
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// actions: open(row), decide(decision), relabel(), help(); lassoing(): whether a drag draws a lasso, also without Shift.
export function listen(map, canvas, actions) {
  const pointers = new Map();
  let [moved, drawing] = [0, false];
  const place = (event) => [event.offsetX, event.offsetY];

  canvas.addEventListener("pointerdown", (event) => {
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, place(event));
    if (pointers.size > 1) map.lasso = [];
    else [moved, drawing] = [0, event.shiftKey || actions.lassoing()];
    if (pointers.size === 1 && drawing) map.lasso = [place(event)];
  });

  canvas.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) {
      canvas.classList.toggle("over", map.rowAt(...place(event)) !== undefined);
      return;
    }
    const [x, y] = place(event);
    moved += Math.hypot(x - before[0], y - before[1]);
    if (pointers.size === 2) pinch(event.pointerId, before, [x, y]);
    else if (drawing) map.lasso.push(...event.getCoalescedEvents().map(place));
    else if (moved > CLICK) map.view.move(x - before[0], y - before[1]);
    pointers.set(event.pointerId, [x, y]);
    map.draw();
  });

  function pinch(id, before, now) {
    const [, other] = [...pointers].find(([key]) => key !== id);
    const distance = (point) => Math.max(1, Math.hypot(point[0] - other[0], point[1] - other[1]));
    map.view.move((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
    map.view.zoom(distance(now) / distance(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
  }

  canvas.addEventListener("pointerup", (event) => {
    if (pointers.size === 1 && map.lasso.length > 2) map.select(map.rowsInLasso(), { add: event.ctrlKey });
    else if (pointers.size === 1 && moved <= CLICK) click(event);
    release(event);
  });
  canvas.addEventListener("pointercancel", release);

  function release(event) {
    pointers.delete(event.pointerId);
    map.lasso = [];
    map.draw();
  }

  function click(event) {
    const row = map.rowAt(...place(event));
    if (row === undefined) return;
    if (event.ctrlKey || event.metaKey || event.shiftKey) map.select([row], { toggle: true });
    map.choose(row);
    actions.open(row);
  }

  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 30 : 1;
    map.view.zoom(2 ** (-event.deltaY * lines / (event.ctrlKey ? 100 : 300)), ...place(event));
    map.draw();
  }, { passive: false });

  const keys = {
    "+": () => map.view.zoom(1.4),
    "=": () => map.view.zoom(1.4),
    "-": () => map.view.zoom(1 / 1.4),
    0: () => map.view.fit(),
    Enter: () => map.current !== undefined && actions.open(map.current, true),
    " ": () => map.current !== undefined && map.select([map.current], { toggle: true }),
    a: () => map.select([...map.visible()].map(([row]) => row)),
    Escape: () => map.select([]),
    k: () => actions.decide("keep"),
    r: () => actions.decide("remove"),
    l: () => actions.relabel(),
    u: () => actions.decide(null),
    "?": () => actions.help(),
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = ARROWS[event.key];
    const action = arrow
      ? () => (event.shiftKey ? map.view.move(-STEP * arrow[0], -STEP * arrow[1]) : map.go(...arrow))
      : keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
    map.draw();
  });
}
