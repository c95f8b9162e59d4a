"""The settings of an extraction, besides those of its descriptors. Imports neither torch nor numpy."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vggfeat._util.options import check_choice
from vggfeat.errors import UsageError
from vggfeat.spec import MAX_BYTES, MAX_PIXELS

OnError = Literal["skip", "fail"]
Dtype = Literal["float32", "float16"]
EngineName = Literal["local", "ray"]

MOST_SECONDS = 86_400


@dataclass(frozen=True)
class ExtractionSettings:
    """Settings of an extraction.

    Parameters
    ----------
    on_error : {"skip", "fail"}
        What to do with an image that cannot be read: list it in failures.csv, or end the run.
    part_size : int
        Images in a Parquet part, and in the range that a process takes at a time.
    dtype : {"float32", "float16"}
        Type of the stored vectors.
    max_pixels : int
        Largest number of pixels of an image. A larger image is not read.
    max_bytes : int
        Largest size of an image file, in bytes. A larger file is not read.
    image_seconds : float
        Time limit for reading and decoding an image, in seconds. An image that takes longer is not described.
    workers : int or None
        Processes that decode images while the net runs. Default: one for each processor, shared among the processes on
        this machine. With engine ray: the CPUs of a worker.
    deterministic : bool
        Produce the same bits in each run on the same machine with the same number of threads, also after an interrupt.
        A GPU whose memory is too small for a whole batch is then an error.
    engine : {"local", "ray"}
        local describes in this process. ray uses the Ray cluster of $RAY_ADDRESS, or this machine: one worker for each
        GPU, or for a few CPUs. Source, store and weights must then be on storage that all nodes share.
    moved : bool
        The images of the store were moved to this source. Rows are kept if their files have not changed.
    decisions : Path or None
        A table `path,decision,label,reason`, as explore writes it: images to remove are left out, and images to relabel
        get their new labels.

    Raises
    ------
    UsageError
        If a value is invalid.

    Notes
    -----
    `deterministic` uses only algorithms that promise the same bits, and keeps nothing of an interrupted group of
    images. Without it, a CPU gives the same bits after a kill and with several processes too. Only rows described after
    an interrupt (Ctrl-C) may differ by rounding: less than 1e-6 in a float32 descriptor of norm 1.
    """

    on_error: OnError = "skip"
    part_size: int = 1000
    dtype: Dtype = "float32"
    max_pixels: int = MAX_PIXELS
    max_bytes: int = MAX_BYTES
    image_seconds: float = 60.0
    workers: int | None = None
    deterministic: bool = False
    engine: EngineName = "local"
    moved: bool = False
    decisions: Path | None = None

    def __post_init__(self) -> None:
        check_choice("on_error", self.on_error, OnError)
        check_choice("dtype", self.dtype, Dtype)
        check_choice("engine", self.engine, EngineName)
        if self.part_size < 1:
            raise UsageError(f"part_size must be at least 1, not {self.part_size}")
        if not 1 <= self.max_pixels <= 2 * MAX_PIXELS:
            raise UsageError(f"max_pixels must be from 1 to {2 * MAX_PIXELS:,}, not {self.max_pixels:,}")
        if not 1 <= self.max_bytes <= MAX_BYTES:
            raise UsageError(f"max_bytes must be from 1 to {MAX_BYTES:,}, not {self.max_bytes:,}")
        if not 0 < self.image_seconds <= MOST_SECONDS:
            raise UsageError(f"image_seconds must be above 0 and at most {MOST_SECONDS:,}, not {self.image_seconds:g}")
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"workers must be at least 1, not {self.workers}")
