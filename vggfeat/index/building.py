"""Building an index, and bringing it up to date with its store."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vggfeat._util.printable import say
from vggfeat._util.progress import progress
from vggfeat.errors import StoreError
from vggfeat.index import files, graph, tuning
from vggfeat.index.files import REBUILD, Arrays, State, folder_of, locked, read_state, write_state
from vggfeat.index.lists import Lists, trained
from vggfeat.index.reading import coder_of
from vggfeat.index.rows import KEY, Match, keys_of, marks_of, match
from vggfeat.index.settings import IndexSettings
from vggfeat.store import Store
from vggfeat.store.files import difference
from vggfeat.store.loading import Selection

PROPOSE = "build it again with --rebuild to choose new lists"


def bring_up_to_date(
    store: Store, settings: IndexSettings | None = None, rebuild: bool = False, with_graph: bool = False
) -> State:
    """Make the index of a store, or change it where the rows of the store have changed.

    settings : of an index that has other ones, or none, everything is made anew. Default: those of the index.
    Raises StoreError.
    """
    marks, folder = marks_of(store), folder_of(store.path)
    old = None if rebuild else _usable(store, folder, settings)
    if old is not None and old.parts == marks and (old.k or not with_graph):
        return old  # without a lock, so that an index can be read where nothing can be written
    with locked(store.path):
        old = None if rebuild else _usable(store, folder, settings)
        if old is not None and old.parts == marks:
            return old if old.k or not with_graph else _with_graph(Arrays(folder, old))
        if old is None and not rebuild and (folder / "index.json").exists():
            say(f"{folder}: was made with other settings, and is made anew")
        keys = keys_of(store, marks)
        arrays = Arrays(folder, old or _empty(store, folder, settings or IndexSettings()))
        indexed = arrays.read("keys", KEY, arrays.state.rows) if old else np.empty(0, KEY)
        found = match(indexed, keys)
        if old and (found.places < 0).all():  # the rows of another store, or nothing that is worth keeping
            arrays, indexed = Arrays(folder, _empty(store, folder, old.settings)), np.empty(0, KEY)
            found = match(indexed, keys)
        _add(store, arrays, found, np.concatenate([indexed, keys[found.new]]))
        if marks_of(Store(store.path)) != marks:
            raise StoreError(f"{store.path}: was changed while its index was made; run it again when it is complete")
        state = replace(arrays.state, parts=marks)
        write_state(folder, state)
        _say_what_changed(folder, old, found)
        return state if state.k or not with_graph else _with_graph(Arrays(folder, state))


def _with_graph(arrays: Arrays) -> State:
    places = arrays.read("places", np.int64, arrays.state.rows)
    graph.make(arrays, np.flatnonzero(places >= 0))
    write_state(arrays.folder, arrays.state)
    return arrays.state


def _usable(store: Store, folder: Path, settings: IndexSettings | None) -> State | None:
    """The index that a store has; None if there is none, or one of other settings.

    Raises StoreError if it belongs to a store of other descriptors.
    """
    state = read_state(folder)
    if state is None:
        return None
    if found := difference(state.fingerprint, store.fingerprint):
        key, of_index, of_store = found
        raise StoreError(f"{folder}: is the index of another store ({key} {of_index}, not {of_store}); {REBUILD}")
    return state if settings is None or state.settings == _complete(settings, store) else None


def _complete(settings: IndexSettings, store: Store) -> IndexSettings:
    return replace(settings, agg=settings.agg or store.meta.get("agg", "mean"))


def _empty(store: Store, folder: Path, settings: IndexSettings) -> State:
    settings = _complete(settings, store)
    if not len(store):
        raise StoreError(f"{store.path}: has no rows yet; run the extraction again to continue it")
    agg = settings.agg or "mean"
    dim = store.length * (len(store.scales) if agg == "stack" else 1)
    return State(
        store.fingerprint,
        agg,
        settings.normalize,
        settings.exact_rows,
        settings.goal,
        dim,
        number=max((_number(file) for file in folder.glob("*-*.bin")), default=0),  # the names of arrays are new
    )


def _number(file: Path) -> int:
    number = file.stem.rpartition("-")[2]
    return int(number) if number.isascii() and number.isdecimal() and len(number) < 9 else 0


def _add(store: Store, arrays: Arrays, found: Match, keys: np.ndarray) -> None:
    """Add the new rows of a store to an index, and forget those that it no longer has."""
    before = arrays.state.rows
    if len(found.new):
        with arrays.more_descriptors(len(found.new)) as space, progress(len(space), "indexing", "row") as bar:
            selection = Selection(store.path, agg=arrays.state.agg, normalize=arrays.state.normalize, rows=found.new)
            selection.fill(_Shown(space, bar))
    places = np.concatenate([found.places, found.new])
    arrays.write("keys", keys)
    arrays.write("places", places)
    alive = np.flatnonzero(places >= 0)
    if len(alive) > max(1, arrays.state.exact_rows):
        _list(arrays, before, alive)
    if arrays.state.k:
        graph.extend(arrays, before, alive)


class _Shown:
    """A matrix that moves a bar on as it is filled."""

    def __init__(self, X: np.ndarray, bar: Any) -> None:
        self._X, self._bar = X, bar

    def __setitem__(self, at: Any, values: np.ndarray) -> None:
        self._X[at] = values
        self._bar.update(len(values))


def _list(arrays: Arrays, before: int, alive: np.ndarray) -> None:
    """Put the rows from `before` on into lists; all of them if there are no lists yet. alive : rows that count."""
    X, state = arrays.descriptors(), arrays.state
    if state.lists is None:
        coder, first = trained(X, alive), 0
        codes, lists = np.empty((0, coder.centres.shape[1]), np.uint8), np.empty(0, np.int32)
        for what in ("mean", "projection", "centres"):
            arrays.write(what, getattr(coder, what))
    else:
        coder, first = coder_of(arrays), before
        codes = arrays.read("codes", np.uint8, before, state.lists.dim)
        lists = arrays.read("lists", np.int32, before)
    with progress(len(X) - first, "listing", "row") as bar:
        more_codes, more_lists = coder.encode(X[first:], bar)
    codes, lists = np.concatenate([codes, more_codes]), np.concatenate([lists, more_lists])
    arrays.write("codes", codes)
    arrays.write("lists", lists)
    found = tuning.tuned(X, Lists(coder, codes, lists, alive), alive, state.goal)
    count, dim = coder.centres.shape
    of_rows = state.lists.rows if state.lists else len(alive)
    arrays.state = replace(arrays.state, lists=files.Lists(of_rows, dim, count, coder.scale, *found))
    _propose(arrays, len(alive))


def _propose(arrays: Arrays, rows: int) -> None:
    """Say if an index has lost what it was built for."""
    state, lists = arrays.state, arrays.state.lists
    if lists is None:
        return
    if lists.recall.value < state.goal:
        say(
            f"{arrays.folder}: finds {lists.recall.value:.4f} of the true neighbours, below the goal of {state.goal:g}"
            + (f"; {PROPOSE}" if lists.rows < rows else "")
        )
    elif rows >= 2 * lists.rows:
        say(f"{arrays.folder}: has {rows:,} rows, and its lists were chosen for {lists.rows:,}; {PROPOSE}")


def _say_what_changed(folder: Path, old: State | None, found: Match) -> None:
    gone = int((found.places < 0).sum())
    if old is not None:
        say(f"{folder}: {len(found.new):,} rows added, {gone:,} rows of photos that are gone or have changed left out")
