"""What the training of a net with box heads results in."""

from dataclasses import dataclass

from vggfeat._util.printable import printable


@dataclass(frozen=True)
class FittedBoxes:
    """The outcome of `vggfeat.localization.fit`; measured on the validation photos by protocol 1.

    Protocol 1 takes the box of the true class from the centre crop.

    Parameters
    ----------
    out : str
        Folder of the run.
    finished : str
        Why the run ended.
    epochs : int
        Epochs that were trained.
    best_epoch : int
        Epoch with the lowest error, counted from 0; its weights are best.safetensors.
    error : float
        Photos, in per cent, whose box has an IoU below 0.5 with each true box.
    iou : float
        Mean IoU, in 0..1.
    outside : float
        Photos whose centre crop holds less than half of their largest box.
    seconds : float
        Time spent in training steps.
    unreadable : int
        Photos in failures.csv.
    sha256 : str
        Checksum of best.safetensors, hexadecimal.

    References
    ----------
    Appendix A.
    """

    out: str
    finished: str
    epochs: int
    best_epoch: int
    error: float
    iou: float
    outside: float
    seconds: float
    unreadable: int
    sha256: str = ""

    def __str__(self) -> str:
        lines = [
            f"{self.out}: {self.finished}; epoch {self.best_epoch} is the best: validation error at IoU 0.5 "
            f"{self.error:.2f} %, mean IoU {self.iou:.3f} (centre crop, true class); its weights are best.safetensors"
        ]
        if self.outside:
            lines.append(f"{self.outside:.0f} validation photos have less than half of their box in the centre crop")
        if self.unreadable:
            lines.append(f"{self.unreadable} photos were left out (failures.csv)")
        return "\n".join(map(printable, lines))
