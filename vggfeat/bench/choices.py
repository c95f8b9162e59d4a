"""What a benchmark makes of its settings: each that is None becomes the benchmark's own value, or the paper's."""

from dataclasses import fields

from vggfeat.bench.benchmark import Benchmark, PaperSettings
from vggfeat.bench.settings import BenchmarkSettings
from vggfeat.data import ImageSet
from vggfeat.errors import UsageError
from vggfeat.spec import DescriptorSpec


def check_use(benchmark: Benchmark, settings: BenchmarkSettings) -> None:
    """Raise UsageError for a setting that the benchmark has no use for."""
    if settings.recipe is not None and benchmark.paper_settings is None:
        raise UsageError(f"{benchmark.name} is not in the paper, so there is no recipe for it; leave it out")
    if not settings.background and benchmark.background is None:
        raise UsageError(f"{benchmark.name} has no background class to leave out")
    if not settings.box and not benchmark.boxes:
        raise UsageError(f"{benchmark.name} has no boxes to leave out")
    if benchmark.submission is not None:
        benchmark.submission.number(settings.comp)
    elif settings.submission is not None:
        raise UsageError(f"{benchmark.name} has no server to submit to; leave out the submission")


def descriptor_spec(benchmark: Benchmark, settings: BenchmarkSettings) -> DescriptorSpec:
    """Raises UsageError if a value is invalid, or a scale too small for the layer."""
    own = PaperSettings(benchmark.scales, benchmark.agg)
    if settings.recipe is not None and benchmark.paper_settings is not None:
        own = benchmark.paper_settings
    shared = {field.name: getattr(settings, field.name) for field in fields(DescriptorSpec)}
    chosen = {
        "net": settings.net or (own.net if settings.weights is None else None),
        "scales": settings.scales or own.scales,
        "agg": settings.agg or own.agg,
        "layer": settings.layer or benchmark.layer,
        "weights": settings.weights or benchmark.weights,
        "exif": benchmark.exif if settings.exif is None else settings.exif,
    }
    return DescriptorSpec(**shared | chosen)


def read_images(benchmark: Benchmark, settings: BenchmarkSettings) -> ImageSet:
    """Raises DataError if the data set is missing or damaged."""
    options = {} if benchmark.background is None else {"background": settings.background}
    return benchmark.read(settings.root, **options)
