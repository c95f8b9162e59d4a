"""How an extraction ends: what is said of its source and its stores, and what is refused."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from vggfeat._util.left_out import LeftOut
from vggfeat._util.printable import say
from vggfeat.errors import DataError, StoreError, VggfeatError
from vggfeat.extraction.decoding import DEFECT
from vggfeat.extraction.opening import Images
from vggfeat.extraction.places import AGAIN, CHANGED, NOT_COMPARED, RELABELLED, UNIDENTIFIED, Findings
from vggfeat.store.reading import Store
from vggfeat.store.writing import Writer


def say_of_stores(lines: Mapping[Path, Sequence[str]]) -> None:
    """Print the lines of each store: those of all stores once, others with the name of their store."""
    for line in dict.fromkeys(line for of_store in lines.values() for line in of_store):
        having = [store for store, of_store in lines.items() if line in of_store]
        for text in [line] if len(having) == len(lines) else [f"{store}: {line}" for store in having]:
            say(text)


def say_what_was_found(
    remarks: LeftOut, found: Mapping[Path, Findings], source: Images, share: tuple[int, int]
) -> None:
    """Print what the source leaves out, and how it differs from the existing rows of each store.

    Of several processes each compares its own images, and the first one tells what all of them see.
    """
    only = None if share[0] == 0 else (UNIDENTIFIED, NOT_COMPARED)
    for line in remarks.lines(only):
        say(line)
    say_of_stores({store: [*one.remarks.lines(only), *_gone(one, source, share)] for store, one in found.items()})


def _gone(found: Findings, source: Images, share: tuple[int, int]) -> list[str]:
    if share[0] > 0 or not isinstance(source, str | Path) or not found.whole or found.known == found.listed:
        return []
    what = f"rows kept of images that {source} no longer has (extract into a new store to be without them)"
    return [f"{what}: {found.known - found.listed:,}"]


def refuse_changes(found: Findings, store: Path) -> None:
    """Raise StoreError if existing rows had to be changed, which several processes cannot do together."""
    for reason in (CHANGED, AGAIN, RELABELLED):
        if count := found.remarks.count(reason):
            raise StoreError(
                f"{store}: {reason}: {count:,}, such as {found.remarks.example(reason)}; all other images are done; "
                "run the same command once in one process to bring their rows up to date"
            )


def refuse_defects(writer: Writer, source: Images) -> None:
    """Raise VggfeatError if images of the source met a defect."""
    listed = None if isinstance(source, str | Path) else {item.path for item in source}
    met = [path for path, reason in writer.failures.items() if reason.startswith(DEFECT)]
    met = [path for path in met if listed is None or path in listed]  # a list may be another one than before
    if met:
        example = f"{met[0]}: {writer.failures[met[0]]}"
        raise VggfeatError(
            f"{writer.path}: images that met a defect: {len(met):,}, such as {example}; all others are done"
        )


def finished(writer: Writer, source: Images) -> Store:
    """The store. Raises DataError if it has ended without a row."""
    store = Store(writer.path)
    if writer.settled and not store.parts:
        name, failed = source if isinstance(source, str | Path) else "the list", len(store.failures)
        raise DataError(f"{name}: none of its {failed} files could be read as an image; see {writer.path}/failures.csv")
    return store
