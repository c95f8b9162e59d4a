"""The page of the demonstration: that of its benchmark, with neighbours, twins, and doubtful labels."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from vggfeat.bench.page import page as page_of_result
from vggfeat.bench.result import BenchmarkResult
from vggfeat.data.sample import SAMPLE
from vggfeat.demo.findings import Findings
from vggfeat.errors import ImageError
from vggfeat.images import read
from vggfeat.report import Block, Gallery, Notes, Page, Picture, Section, Text, thumbnail

DOUBTS = 5  # that are shown, at most


def page(result: BenchmarkResult, found: Findings, commands: Sequence[str]) -> Page:
    """The page of the demonstration. commands : to type next."""
    shown = page_of_result(result)
    described = f"{found.described} photos of ten classes are described by the net inside the package."
    return replace(
        shown,
        title="A look at the sample photos",
        kicker="vggfeat demo",
        lead=[Text(f"{described} Next, with your own photos in my_photos/<class>/*.jpg:"), Notes(commands)],
        notes=(),  # a section names the files left out
        # the settings stay last
        sections=[*shown.sections[:-1], *_sections(found), shown.sections[-1]],
    )


def _sections(found: Findings) -> Iterable[Section]:
    yield Section("Nearest photos", list(_near(found)))
    yield Section("Near twins", list(_twins(found)))
    yield Section("Labels that may be wrong", list(_doubts(found)))
    yield Section("Files left out", [Notes([f"{name}: {reason}" for name, reason in found.failures.items()])])


def _near(found: Findings) -> Iterable[Block]:
    yield Text("A photo, and the photos whose descriptors have the highest cosine with its own.")
    for one in found.near:
        asked = _picture(one.name, "this photo")
        yield Gallery([asked, *(_picture(name, f"cosine {cosine:.3f}") for name, cosine in one.others)])


def _twins(found: Findings) -> Iterable[Block]:
    yield Text(f"Photos that are almost the same: {found.twins.threshold}. Twins make a score look better than it is.")
    for pair in found.twins.pairs:
        yield Gallery([_picture(name, f"cosine {pair.cosine:.3f}") for name in (pair.first, pair.second)])


def _doubts(found: Findings) -> Iterable[Block]:
    yield Text(
        f"{len(found.doubts)} photos were given another class by all SVMs that had not learnt from them. Look at the "
        "first: a label may be wrong, or the photo is difficult."
    )
    yield Gallery(
        [_picture(one.name, f"fits {one.fits}", f"labelled {one.label}") for one in found.doubts[:DOUBTS]], "wrong"
    )


def _picture(name: str, title: str, *lines: str) -> Picture:
    try:
        uri = thumbnail(read(SAMPLE / name))
    except ImageError:
        uri = None
    return Picture(uri, f"Photo {name}", title, lines, name)
