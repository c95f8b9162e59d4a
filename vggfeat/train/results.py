"""What a run results in."""

from dataclasses import dataclass

from vggfeat._util.printable import printable


@dataclass(frozen=True)
class TrainingResult:
    """The outcome of a run; errors are in per cent, on the validation set.

    Parameters
    ----------
    out : str
        Folder of the run.
    finished : str
        Why the run ended.
    epochs : int
        Epochs that were trained.
    best_epoch : int
        Epoch with the lowest top-1 error, counted from 0; its weights are best.safetensors.
    top1, top5 : float
        Errors after that epoch, of one centre crop per image.
    seconds : float
        Time spent in training steps.
    unreadable : int
        Images in failures.csv: unreadable, or, with `dense`, too long for the net as a whole.
    dense : dict or None
        With `dense=True` top1 and top5 of the net applied densely, and the number of `images`.
    sha256 : str
        Checksum of best.safetensors, hexadecimal; empty if an earlier version wrote that file.
    """

    out: str
    finished: str
    epochs: int
    best_epoch: int
    top1: float
    top5: float
    seconds: float
    unreadable: int
    dense: dict[str, float] | None = None
    sha256: str = ""

    def __str__(self) -> str:
        lines = [
            f"{self.out}: {self.finished}; epoch {self.best_epoch} is the best: validation error "
            f"top-1 {self.top1:.2f} %, top-5 {self.top5:.2f} % (centre crop); its weights are best.safetensors"
        ]
        if self.dense:
            of = f" (of {self.dense['images']:.0f} images)" if "images" in self.dense else ""
            lines.append(f"applied densely: top-1 {self.dense['top1']:.2f} %, top-5 {self.dense['top5']:.2f} %{of}")
        if self.unreadable:
            lines.append(f"{self.unreadable} images were left out (failures.csv)")
        return "\n".join(map(printable, lines))
