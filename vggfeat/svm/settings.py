"""How SVMs are trained. Free of torch and numpy."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from vggfeat.errors import UsageError

SolverName = Literal["newton", "liblinear"]
Progress = Callable[[int, int], None]

# Steps of 4 around the best C of L2-normalised descriptors, which is 1 to 16 for tens of samples per class and less for
# more samples. At a larger C all samples are separated, and the scores hardly change. If the best lies at an end, more
# steps are tried, within the bounds.
STEP = 4.0
CS = (1 / 16, 1 / 4, 1.0, 4.0, 16.0, 64.0, 256.0)
BOUNDS = (2.0**-20, 2.0**20)


@dataclass(frozen=True)
class SolverSettings:
    """Settings of a solver. They change the result by rounding only.

    Parameters
    ----------
    jobs : int
        CPU cores to use; -1 for all.
    seed : int
        Seed of the order in which liblinear visits the samples.
    device : str
        Device of newton: cpu, cuda, cuda:1, ...; auto is the first GPU with enough memory, or else the CPU.
    progress : callable or None
        Called in this process as progress(fits done, fits in total).

    Raises
    ------
    UsageError
        If `jobs` is 0.
    """

    jobs: int = -1
    seed: int = 0
    device: str = "auto"
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if self.jobs == 0:
            raise UsageError("jobs must be a number of cores, or -1 for all, not 0")


@dataclass(frozen=True)
class NewtonTuning:
    """What `newton` uses of time and memory. The minimum that it finds does not depend on it.

    Parameters
    ----------
    precisions : sequence of (str, int)
        Floating point types in turn, each with its largest number of Newton steps. The next type solves the classes
        that did not converge.
    batch_values : int
        Values of a matrix (classes, N). If there are more classes than that, they are solved in groups.
    batch_classes : int
        Classes that are solved together, at most.
    exact_support : int
        A class's own matrix is factorised if its support has at most so many samples (4 MB per class in float32).
    max_products : int
        Products with the kernel matrix in one Newton step, at most.
    rank : int
        Rank of the part of the kernel matrix that preconditions larger systems.
    rows : int
        Rows of the kernel matrix that are computed at once.
    columns : int
        Columns of X that are converted or copied to the device at once.
    free_memory : int or None
        Bytes that may be used. Default: what is free on the device.
    """

    precisions: tuple[tuple[str, int], ...] = (("float32", 20), ("float64", 100))
    batch_values: int = 2**24
    batch_classes: int = 512
    exact_support: int = 1024
    max_products: int = 100
    rank: int = 100
    rows: int = 2048
    columns: int = 4096
    free_memory: int | None = None
