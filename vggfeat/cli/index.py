"""vggfeat index: build, search, duplicates."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vggfeat._util.files import check_writable
from vggfeat._util.printable import printable, say
from vggfeat.cli.derive import derived
from vggfeat.cli.output import show
from vggfeat.cli.usage import Command
from vggfeat.errors import UsageError
from vggfeat.index.settings import IndexSettings
from vggfeat.spec import Lineage

app = typer.Typer(
    help="Find photos that look alike, and photos that are there twice.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

StoreArgument = Annotated[Path, typer.Argument(metavar="STORE", help="A store of vggfeat extract.")]


@app.command("build", cls=Command)
@derived
def build_index(
    store: StoreArgument,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Make the index anew, also if it fits the store.")] = False,
    *,
    settings: IndexSettings,
) -> None:
    """Make the index of a store, or add its new rows. Up to --exact-rows each search is exact; above, faiss is needed.

    search and duplicates make the index if there is none, and keep it up to date.
    """
    from vggfeat.index import build

    index = build(store, settings=settings, rebuild=rebuild)
    if not index.recall:
        show(f"{store}: {len(index):,} photos indexed; each search is exact")
        return
    share, queries = index.recall
    found = f"a search finds {share:.2%} of the ten nearest, measured with {queries} photos of the store"
    show(f"{store}: {len(index):,} photos indexed; {found}")


@app.command("search", cls=Command)
def search_index(
    store: StoreArgument,
    query: Annotated[list[str], typer.Argument(metavar="QUERY...", help="Images, or one store of images.")],
    k: Annotated[int, typer.Option("-k", help="How many photos for each query.")] = 10,
    csv: Annotated[Path | None, typer.Option(help="Write query,rank,path,label,similarity to this file.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the result to this file as JSON.")] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="Write a contact sheet of the photos to this file, .html or .jpg.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="File of the weights of the store. Needed if they have no name in the registry.")
    ] = None,
    lineage: Annotated[
        Lineage | None, typer.Option(help="Lineage of these weights, if it was given when the store was made.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto (the first GPU, or the CPU), cpu, cuda, cuda:1, ...")] = "auto",
) -> None:
    """Print the photos of a store that are most like each query: similarity (1 is equal), name, label."""
    from vggfeat.index.sheet import check_sheet, write_sheet

    for file in (csv, json):
        if file is not None:
            check_writable(file)
    if sheet is not None:
        check_sheet(sheet)
    from vggfeat.index import Index, results

    index = Index(store, weights=weights, lineage=lineage, device=device)
    names, images, matches = _search(index, query, k)
    if csv is not None:
        results.write_csv(csv, names, matches)
    if json is not None:
        results.write_json(json, index, names, matches)
    if sheet is not None:
        for line in write_sheet(sheet, index, images, names, matches):
            say(line)
    if csv is None and json is None and sheet is None:
        _show(names, matches)


def _search(index: Any, query: list[str], k: int) -> tuple[list[str], Any, list[Any]]:
    """Names of the queries, the queries, and what was found for each."""
    from vggfeat.index.queries import is_store
    from vggfeat.sources.item import utf8
    from vggfeat.store import Store

    stores = [one for one in query if is_store(one)]
    if stores and len(query) > 1:
        raise UsageError(f"{stores[0]}: is a store, and other queries stand beside it; search for them one by one")
    for one in query:
        if Path(one).is_dir() and not stores:
            raise UsageError(f"{one}: is a folder; name images, or a store that vggfeat extract has made of it")
    if stores:
        store = Store(stores[0])
        return store.paths, store, index.search(store, k)
    paths = [Path(one) for one in query]
    return [utf8(one) for one in query], paths, index.search(paths, k)


def _show(names: list[str], matches: list[Any]) -> None:
    for name, found in zip(names, matches, strict=True):
        show(printable(name))
        for match in found:
            label = f"\t{printable(match.label)}" if match.label else ""
            show(f"{match.similarity:8.4f}\t{printable(match.path)}{label}")


@app.command("duplicates", cls=Command)
def index_duplicates(
    store: StoreArgument,
    csv: Annotated[Path | None, typer.Option(help="Write group,path,keep,similarity,reason to this file.")] = None,
    threshold: Annotated[
        float | None, typer.Option(help="From which cosine on photos are near twins. Default: proposed from the data.")
    ] = None,
) -> None:
    """Find photos that a store has twice, and propose which one to keep. Nothing is deleted."""
    if csv is not None:
        check_writable(csv)
    from vggfeat.index import Index

    found = Index(store).duplicates(threshold)
    for line in found.remarks:
        say(f"{store}: {line}")
    say(f"{store}: near twins have a cosine of at least {found.threshold.value:.4f}: {found.threshold.reason}")
    if csv is not None:
        found.write_csv(csv)
    else:
        _show_groups(found)
    if not found.rows:
        show(f"{store}: no photo is there twice")
        return
    kinds = ", ".join(f"{count:,} as {reason}" for reason, count in found.counts.most_common())
    groups, more = found.rows[-1].group, found.counts.total()
    show(f"{store}: groups of photos: {groups:,}; photos besides those to keep: {more:,} ({kinds})")


def _show_groups(found: Any) -> None:
    for row in found.rows:
        mark = "keep" if row.keep else "    "
        show(f"{row.group:6}\t{mark}\t{row.similarity:.4f}\t{printable(row.path)}\t{row.reason}")
