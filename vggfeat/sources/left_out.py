"""What a source holds and does not give as images, so that nothing is left out in silence."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from vggfeat.errors import ImageError
from vggfeat.formats import other_kind, suffix_of
from vggfeat.images import Source
from vggfeat.sources import labels
from vggfeat.sources.item import Fetched, Item

NOT_IMAGES = "files that are not images, by their suffix"
VIDEOS = "videos, which are not read"
SHOWN = 8  # suffixes
MOST = 1000  # suffixes that are counted

_REMEDIES = {
    "table": "convert it to .csv with the columns path and label",
    "archive": "unpack it and name its folder, or pack its images into a .tar",
}


class LeftOut:
    """How many files, labels and links a source leaves out, with one example of each reason."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        self._suffixes: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def add(self, reason: str, example: str, count: int = 1) -> None:
        """Count something under a reason: the plural of what it is, and why it is left out."""
        self._counts[reason] += count
        self._examples.setdefault(reason, " ".join(example.splitlines()))

    def add_file(self, name: str) -> None:
        """Count a file that is not an image, under its kind."""
        reason = VIDEOS if other_kind(name) == "video" else NOT_IMAGES
        self.add(reason, name)
        suffixes, suffix = self._suffixes[reason], suffix_of(name)
        if suffix in suffixes or len(suffixes) < MOST:
            suffixes[suffix] += 1

    def lines(self) -> list[str]:
        """One line for each reason.

        >>> left_out = LeftOut()
        >>> for name in ("a/1.txt", "a/2.txt", "a/1.json"):
        ...     left_out.add_file(name)
        >>> left_out.lines()
        ['files that are not images, by their suffix: 3 (.txt, .json), such as a/1.txt']
        """
        return [
            f"{reason}: {count:,}{self._kinds(reason)}, such as {self._examples[reason]}"
            for reason, count in self._counts.items()
        ]

    def _kinds(self, reason: str) -> str:
        suffixes = [suffix for suffix, _ in self._suffixes[reason].most_common() if suffix]
        more = ", ..." if len(suffixes) > SHOWN else ""
        return f" ({', '.join(suffixes[:SHOWN])}{more})" if suffixes else ""


def is_left_out(name: str) -> bool:
    """Whether a file of a folder is no image by its suffix. An archive is an Item: it may hold images."""
    return other_kind(name) not in (None, "archive")


def file_items(name: str, image: Source | Fetched | ImageError, left_out: LeftOut) -> Iterator[Item]:
    """The item of a file that was found in a folder or by a pattern, if it may be an image; its label is its folder."""
    if is_left_out(name):
        left_out.add_file(name)
        return
    if other_kind(name) == "archive":
        image = ImageError("is an archive that cannot be read; unpack it, or pack its images into a .tar")
    yield Item(name, image, labels.of_folder(name))


def refusal(name: str) -> str | None:
    """Why a file cannot be a source, by its suffix, and what to do; None if it can."""
    if (kind := other_kind(name)) is None:
        return None
    remedy = _REMEDIES.get(kind, "name an image, a folder, a list (.txt, .csv, .parquet) or a .tar")
    return f"{suffix_of(name)} cannot be read as a source of images; {remedy}"
