"""Tar archives of images, including WebDataset's shards."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from vggfeat._util.files import Signature, signature, size_and_change
from vggfeat._util.left_out import LeftOut
from vggfeat._util.printable import reason_of
from vggfeat._util.regular_files import open_regular
from vggfeat.errors import ImageError
from vggfeat.formats import has_image_suffix, is_hidden, is_tar, other_kind, suffix_of
from vggfeat.sources import labels, tar
from vggfeat.sources.item import Fetched, Item, utf8
from vggfeat.sources.left_out import add_file, is_left_out
from vggfeat.sources.unpacking import COMPRESSED, HEAD
from vggfeat.store.names import Names

MAX_SAMPLE = 32  # files of one sample
MAX_HELD = 2**28  # bytes of the files of one sample of a compressed archive
NOT_JOINED = "labels in .cls files with no image of their name beside them (sort the archive by name)"
FROM_NAME = "images whose label is the name of their archive, a WordNet id"


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive that is not compressed; its bytes are read from their place."""

    archive: Path
    signature: Signature | None
    offset: int
    size: int

    def fetch(self) -> bytes:
        """Raises ImageError, also if the archive has changed since it was listed."""
        return tar.read_at(self.archive, self.offset, self.size, self.signature)

    def stamp(self) -> tuple[int | None, int | None]:
        """Size, and the time of the last change of the archive, since that in a header need not be true."""
        return self.size, size_and_change(self.archive)[1]


class _Found(NamedTuple):
    path: PurePosixPath
    content: bytes | Fetched | ImageError

    @property
    def label(self) -> str | None:
        """The label in the file; None if it holds none."""
        content = self.content
        if suffix_of(self.path.name) not in labels.FILES:
            return None
        try:
            if isinstance(content, Member) and content.size <= labels.MAX_BYTES:
                content = content.fetch()
        except ImageError:
            return None
        return labels.of_file(content) if isinstance(content, bytes) else None


def _key(path: PurePosixPath) -> str:
    """As in WebDataset: members with the same name up to the first dot are one sample."""
    folder, slash, file = path.as_posix().rpartition("/")
    return folder + slash + file.split(".")[0]


def members(archive: Path, name: str, left_out: LeftOut, label: str | None = None) -> Iterator[Item]:
    """The images of a tar as name/member.

    An image's label is the line in the .cls or .txt of its name; else `label`; else its first folder; else the name of
    the archive, if that is a WordNet id such as n01440764. A tar that cannot be read to its end gives an Item of its
    own, with the reason.
    """
    try:
        with open_regular(archive) as file:
            start = file.read(HEAD)
            file.seek(0)
            if start.startswith(COMPRESSED):
                yield from stream(file, name, left_out, label)
            else:
                yield from _Samples(name, left_out, label, archive).items(_read(file, archive))
    except OSError as error:
        yield Item(name, ImageError(reason_of(error)))


def stream(file: IO[bytes], name: str, left_out: LeftOut, label: str | None = None) -> Iterator[Item]:
    """The images of a tar that is compressed or remote, so that it is read from front to back."""
    yield from _Samples(name, left_out, label, None).items(_read(file, None))


def _read(file: IO[bytes], archive: Path | None) -> Iterator[_Found]:
    """The members that are not hidden. archive : where members can be read later; None if they are read now."""
    state = signature(file) if archive else None
    for entry in tar.entries(file, stream=archive is None):
        path = PurePosixPath(utf8(entry.name))
        if any(is_hidden(part) and part != ".." for part in path.parts):
            continue
        content: bytes | Fetched | ImageError
        if entry.problem:
            content = ImageError(entry.problem)
        elif is_tar(path.name) or other_kind(path.name) == "archive":
            content = ImageError("is an archive in an archive, which is not read; unpack the outer one")
        elif archive and entry.offset is not None:
            content = Member(archive, state, entry.offset, entry.size)
        else:
            content = entry.read()
        yield _Found(path, content)


def _label_files(archive: Path) -> Iterator[tuple[str, str]]:
    """(key and suffix, label) of the files that hold a label, up to the end or to the first damage."""
    with suppress(Exception), open_regular(archive) as file:  # damage is reported when the images are read
        for entry in tar.entries(file, stream=False):
            suffix = suffix_of(entry.name)
            if suffix not in labels.FILES or entry.problem or entry.size > labels.MAX_BYTES:
                continue
            if label := labels.of_file(entry.read()):
                yield _key(PurePosixPath(utf8(entry.name))) + suffix, label


class _Samples:
    """The images of one archive. archive : where it can be read twice; None if it is read as a stream."""

    def __init__(self, name: str, left_out: LeftOut, label: str | None, archive: Path | None) -> None:
        self._name, self._left_out, self._default = name, left_out, label
        self._seen = Names()
        self._apart = labels.Apart(partial(_label_files, archive) if archive else None)
        stem = PurePosixPath(name).name.partition(".")[0]
        self._wordnet = stem if re.fullmatch(r"n\d{8}", stem) else None

    def items(self, found: Iterator[_Found]) -> Iterator[Item]:
        try:
            for sample in _samples(found, damage := list[Exception]()):
                yield from self._images(sample)
            self._report()
        except Exception as error:
            damage.append(error)
        if damage:
            said = f"cannot be read to its end ({tar.reason(damage[0])}); the images before the damage are described"
            yield Item(self._name, ImageError(said))

    def _images(self, sample: list[_Found]) -> Iterator[Item]:
        """The images of a sample; if no name is that of an image, every file whose content alone can tell is tried."""
        images = [one for one in sample if has_image_suffix(one.path.name)]
        images = images or [one for one in sample if not is_left_out(one.path.name)]
        label = self._label([one for one in sample if one not in images], bool(images))
        if images and label is None:
            label = self._apart.join(_key(images[0].path))
        for one in images:
            yield self._item(one, label)

    def _label(self, others: list[_Found], wanted: bool) -> str | None:
        """The label in the files of a sample that are not images; the files that have none are counted."""
        found: dict[str, str] = {}
        for one in others:
            suffix = suffix_of(one.path.name)
            if not (label := one.label):
                add_file(self._left_out, f"{self._name}/{one.path}")
            elif wanted:
                found.setdefault(suffix, label)
            else:
                self._apart.meet(_key(one.path) + suffix, label)
        return next((found[suffix] for suffix in labels.FILES if suffix in found), None)

    def _item(self, one: _Found, label: str | None) -> Item:
        member, image = one.path.as_posix().lstrip("/"), one.content
        label = label or self._default or labels.of_folder(member)
        if label is None and self._wordnet:
            label = self._wordnet
            self._left_out.add(FROM_NAME, f"{self._name}/{member}")
        path = f"{self._name}/{member}"
        if not self._seen.add(path):  # tar would overwrite the first
            path, image = f"{path}#{len(self._seen)}", ImageError("the archive has an earlier member of the same name")
            self._seen.add(path)
        return Item(path, image, label)

    def _report(self) -> None:
        """Count the labels that belong to no image."""
        for name in self._apart.not_joined():
            if name.endswith(".cls"):
                self._left_out.add(NOT_JOINED, f"{self._name}/{name}")
            else:
                add_file(self._left_out, f"{self._name}/{name}")
        if self._apart.beyond:
            self._left_out.add(NOT_JOINED, self._name, count=self._apart.beyond)


def _samples(found: Iterator[_Found], damage: list[Exception]) -> Iterator[list[_Found]]:
    """Groups of successive members with the same key. An error that ends the members too soon is added to `damage`."""
    sample = list[_Found]()
    while True:
        try:
            one = next(found, None)
        except Exception as error:  # hostile bytes make tarfile raise errors of many types
            one = None
            damage.append(error)
        if sample and (one is None or _key(one.path) != _key(sample[0].path) or _is_full(sample)):
            yield sample
            sample = []
        if one is None:
            return
        sample.append(one)


def _is_full(sample: list[_Found]) -> bool:
    held = sum(len(one.content) for one in sample if isinstance(one.content, bytes))
    return len(sample) == MAX_SAMPLE or held > MAX_HELD
