"""Building an index, and bringing it up to date with its store."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vggfeat._util.printable import say
from vggfeat._util.progress import progress
from vggfeat.errors import StoreError
from vggfeat.index import files, graph, tuning
from vggfeat.index.files import (
    FORMAT,
    REBUILD,
    Arrays,
    Basis,
    PartMark,
    State,
    folder_of,
    locked,
    read_state,
    write_state,
)
from vggfeat.index.fixed import FixedPoint
from vggfeat.index.lists import Lists, trained
from vggfeat.index.reading import alive_of, coder_of, places_of
from vggfeat.index.rows import KEY, Match, keys_of, marks_of, match
from vggfeat.index.settings import IndexSettings
from vggfeat.neighbours import Neighbours
from vggfeat.store import Store
from vggfeat.store.files import difference
from vggfeat.store.loading import Selection

PROPOSE = "build it again with --rebuild to choose new lists"


def bring_up_to_date(
    store: Store,
    settings: IndexSettings | None = None,
    rebuild: bool = False,
    *,
    lists: bool = True,
    with_graph: bool = False,
) -> State:
    """Make the index of a store, or change it where the rows of the store have changed.

    settings : of an index that has other ones, or none, everything is made anew. Default: those of the index. lists :
    makes those that a search among many rows needs. with_graph : computes the graph. What there is of both is kept up
    to date in any case. Raises StoreError.
    """
    marks, folder = marks_of(store), folder_of(store.path)

    def is_complete(state: State) -> bool:
        lacks_lists = lists and state.lists is None and state.needs_lists(len(store))
        return state.parts == marks and not lacks_lists and (state.has_graph or not with_graph)

    old = None if rebuild else _usable(store, folder, settings)
    if old is not None and is_complete(old):
        return old  # without a lock, so that an index can be read where nothing can be written
    with locked(store.path):
        old = None if rebuild else _usable(store, folder, settings)
        if old is None and not rebuild and (other := read_state(folder)):
            settings = settings or other.settings
            how = "with other settings" if other.format == FORMAT else "by an earlier version"
            say(f"{folder}: was made {how}, and is made anew")
        arrays = Arrays(folder, old or _empty(store, folder, settings or IndexSettings()))
        if arrays.state.parts != marks:
            _follow(store, arrays, marks)
        if lists and arrays.state.lists is None:
            _list(arrays, 0, alive_of(arrays))
        write_state(folder, arrays.state)
        if with_graph and not arrays.state.has_graph:
            graph.make(arrays, alive_of(arrays))
            write_state(folder, arrays.state)
        return arrays.state


def graph_of(store: Store, basis: Basis) -> Neighbours:
    """The graph of nearest neighbours, as `Index.neighbours`. basis : what it has to be made of. Raises StoreError."""
    state = bring_up_to_date(store, lists=False, with_graph=True)
    if state.basis != basis:
        raise StoreError(f"{store.path}: was changed while it was used, or its index was; open it again")
    arrays = Arrays(folder_of(store.path), state)
    return graph.of_store(graph.read(arrays, state.rows), places_of(arrays, len(store)), len(store))


def _usable(store: Store, folder: Path, settings: IndexSettings | None) -> State | None:
    """The index that a store has; None if there is none, or one of other settings or of an earlier format.

    Raises StoreError if it belongs to a store of other descriptors.
    """
    state = read_state(folder)
    if state is None:
        return None
    if found := difference(state.fingerprint, store.fingerprint):
        key, of_index, of_store = found
        raise StoreError(f"{folder}: is the index of another store ({key} {of_index}, not {of_store}); {REBUILD}")
    fits = state.format == FORMAT and (settings is None or state.settings == _complete(settings, store))
    return state if fits else None


def basis_of(store: Store) -> Basis:
    """What the rows of the index of a store are made of, or will be. Raises StoreError if its file is damaged."""
    state = read_state(folder_of(store.path))
    settings = _complete(state.settings if state else IndexSettings(), store)
    assert settings.agg is not None
    return Basis(marks_of(store), settings.agg, settings.normalize)


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


def _follow(store: Store, arrays: Arrays, marks: list[PartMark]) -> None:
    """Add the new rows of a store to an index, and forget those that it no longer has."""
    keys, before = keys_of(store, marks), arrays.state.rows
    indexed = arrays.read("keys", KEY, before) if before else np.empty(0, KEY)
    found = match(indexed, keys)
    if (found.places < 0).all():  # a new index, that of another store, or nothing that is worth keeping
        arrays.state = _empty(store, arrays.folder, arrays.state.settings)
        indexed, found = np.empty(0, KEY), Match(np.empty(0, np.int64), found.new)
    _add(store, arrays, found, np.concatenate([indexed, keys[found.new]]))
    if marks_of(Store(store.path)) != marks:
        raise StoreError(f"{store.path}: was changed while its index was made; run it again when it is complete")
    arrays.state = replace(arrays.state, parts=marks)
    if before:
        gone = before - int((found.places >= 0).sum())
        added, left_out = f"{len(found.new):,} rows added", f"{gone:,} rows of photos that are gone or have changed"
        say(f"{arrays.folder}: {added}, {left_out} left out")


def _add(store: Store, arrays: Arrays, found: Match, keys: np.ndarray) -> None:
    before = arrays.state.rows
    if len(found.new):
        with arrays.more_descriptors(len(found.new)) as space, progress(len(space), "indexing", "row", delay=2) as bar:
            selection = Selection(store.path, agg=arrays.state.agg, normalize=arrays.state.normalize, rows=found.new)
            selection.fill(_Shown(space, bar))
    places = np.concatenate([found.places, found.new])
    arrays.write("keys", keys)
    arrays.write("places", places)
    alive = np.flatnonzero(places >= 0)
    if arrays.state.lists:
        _list(arrays, before, alive)
    if arrays.state.has_graph:
        graph.extend(arrays, before, alive)


class _Shown:
    """A matrix that moves a bar on as it is filled."""

    def __init__(self, X: FixedPoint, bar: Any) -> None:
        self._X, self._bar = X, bar

    def __setitem__(self, at: tuple[Any, slice], values: np.ndarray) -> None:
        self._X[at[0]] = values  # of one store: these are all columns
        self._bar.update(len(values))


def _list(arrays: Arrays, before: int, alive: np.ndarray) -> None:
    """Put the rows from `before` on into lists; all of them if there are no lists yet. alive : rows that count.

    Of few rows there are no lists.
    """
    X, state = arrays.descriptors(), arrays.state
    if not state.needs_lists(len(alive)):
        arrays.state = replace(state, lists=None)
        return
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
        more_codes, more_lists = coder.encode(X, first, bar)
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
