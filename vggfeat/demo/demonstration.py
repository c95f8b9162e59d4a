"""demonstrate: photos -> store -> benchmark, neighbours, twins, doubtful labels -> text and page."""

from dataclasses import dataclass
from pathlib import Path

from vggfeat._util.files import check_folder
from vggfeat._util.printable import printable
from vggfeat.bench import BENCHMARKS, BenchmarkResult, BenchmarkSettings, check_target, run
from vggfeat.bench.choices import descriptor_spec
from vggfeat.bench.result import in_short
from vggfeat.data.sample import SAMPLE
from vggfeat.demo.findings import Findings, doubts, near, twins
from vggfeat.demo.page import DOUBTS, page
from vggfeat.extraction.run import extract
from vggfeat.formats import STORE
from vggfeat.index import Index

ASKED = ("flamingo/image_0010.jpg", "llama/image_0006.jpg", "lotus/image_0012.jpg")  # whose neighbours are shown
NEIGHBOURS = 4
COMMANDS = (
    "vggfeat fit my_photos/ --scales 256 --out my_photos.vggmodel",  # describes them into my_photos.vggfeat
    "vggfeat predict my_photos.vggmodel new_photos/",
    "vggfeat index search my_photos.vggfeat a_photo.jpg",
    "vggfeat index duplicates my_photos.vggfeat",
    "vggfeat explore my_photos.vggmodel",
    "vggfeat bench folder --root my_photos/ --store my_photos.vggfeat --report my_photos.html",
    "vggfeat doctor",
)


@dataclass(frozen=True)
class Demonstration:
    """What `demonstrate` made.

    Parameters
    ----------
    result : BenchmarkResult
        The result of the benchmark sample.
    found : Findings
        Neighbours, twins, labels that may be wrong, and files left out.
    store, page : Path
        The descriptors and the HTML page.
    """

    result: BenchmarkResult
    found: Findings
    store: Path
    page: Path

    def text(self) -> str:
        """Say what was found, and which commands to type next.

        Returns
        -------
        str
            Several lines.
        """
        result, found = self.result, self.found
        spread = "" if result.std is None else f" ± {result.std:.2f}"
        lines = [f"{found.described} photos described by {in_short(result.config)}"]
        lines += [f"{result.metric}: {result.value:.2f}{spread} per cent over {len(result.splits)} splits"]
        lines += ["", "files left out:", *(f"  {name}: {reason}" for name, reason in found.failures.items())]
        lines += ["", "nearest photos, with their cosines:"]
        for one in found.near:
            lines += [f"  {one.name}", *(f"    {cosine:.3f}  {name}" for name, cosine in one.others)]
        lines += ["", f"near twins ({found.twins.threshold}):"]
        lines += [f"    {pair.cosine:.3f}  {pair.first}  {pair.second}" for pair in found.twins.pairs]
        lines += ["", f"labels that may be wrong, {min(DOUBTS, len(found.doubts))} of {len(found.doubts)}:"]
        lines += [f"  {one.name}: fits {one.fits} better than {one.label}" for one in found.doubts[:DOUBTS]]
        lines += ["", f"page: {self.page}", "", "next, with your own photos in my_photos/<class>/*.jpg:"]
        return "\n".join(map(printable, [*lines, *(f"  {command}" for command in COMMANDS)]))


def demonstrate(
    out: str | Path = "vggfeat-demo", *, scales: tuple[int, ...] | None = None, weights: str | None = None
) -> Demonstration:
    """Describe the photos inside the package with the net inside the package, and show what the descriptors tell.

    No network is needed. The descriptors are stored, and a second run uses them again.

    Parameters
    ----------
    out : str or path
        Folder for the store sample.vggfeat and the page demo.html. It is made if it does not exist.
    scales : tuple of int, optional
        Smallest image sides Q in pixels. Default: that of the benchmark sample, 128.
    weights : str, optional
        Name or file of the weights. Default: those of the benchmark sample, oxford-int8.

    Returns
    -------
    Demonstration

    Raises
    ------
    UsageError
        If the folder cannot be written, or a scale is too small.
    StoreError
        If the store in the folder was made with other settings, is in use, or is damaged.
    WeightsError
        If the weights are missing or damaged.
    OSError
        If the disk fails.
    """
    out = Path(out)
    check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    file = out / "demo.html"
    check_target(file)
    benchmark = BENCHMARKS["sample"]
    spec = descriptor_spec(benchmark, BenchmarkSettings(scales=scales, weights=weights))
    store = extract(SAMPLE, out / f"sample{STORE}", spec=spec, moved=True)  # another installation has other places
    result = run(benchmark, store=store.path, jobs=1)  # for SVMs as small as these more threads cost more than they win
    assert result.evidence is not None
    graph = Index(store.path).neighbours
    found = Findings(
        described=len(store),
        failures=store.failures,
        near=near(store.paths, graph, ASKED, NEIGHBOURS),
        twins=twins(store.paths, graph),
        doubts=doubts(result.evidence),
    )
    page(result, found, COMMANDS).write(file)
    return Demonstration(result, found, store.path, file)
