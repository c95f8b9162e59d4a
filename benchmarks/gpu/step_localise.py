"""All layers of net E fine-tuned to predict boxes (Appendix A.1): crops a second, from files to the end of an epoch.

The boxes are made up, one in each photo: what is measured is time, and that the loss falls.
"""

import csv
from pathlib import Path

import numpy as np
from job import Job
from PIL import Image

from vggfeat.localization import fit


def boxes_of(photos: list[Path], folder: Path, out: Path) -> Path:
    """A CSV file with a box in each photo, of half to all of each side, and one of two classes."""
    draw, file = np.random.default_rng(0), out / "boxes.csv"
    with file.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["path", "label", "x0", "y0", "x1", "y1", "subset"])
        for number, photo in enumerate(photos):
            with Image.open(photo) as image:
                sides = np.array(image.size)
            extent = draw.uniform(0.5, 1, 2) * sides
            corner = draw.uniform(0, 1, 2) * (sides - extent)
            box = [*corner, *(corner + extent)]
            rows.writerow(
                [photo.relative_to(folder), f"class {number % 2}", *box, "val" if number % 10 == 0 else "train"]
            )
    return file


def main() -> None:
    job = Job()
    photos = job.photos(1200)
    file = boxes_of(photos, job.data, job.scratch)
    size = {"batch": 2, "epochs": 1} if job.rehearse else {"batch": 64, "epochs": 2}
    run = job.scratch / "boxes"
    init = f"from:{job.weights('E') if job.rehearse else 'oxford-int8'}"
    found = fit(
        file, run, images=job.data, init=init, finetune="all", regression="pcr", draws=0, device=job.device, **size
    )
    with (run / "log.csv").open(newline="") as stream:
        log = list(csv.DictReader(stream))
    seconds = [round(float(row["seconds"]), 2) for row in log]
    job.note(seconds_of_epochs=seconds, train_loss=[float(row["train_loss"]) for row in log], error=found.error)
    steps = (len(photos) - len(photos[::10])) // size["batch"]  # every tenth photo is val
    job.note(crops_per_s=round(steps * size["batch"] / seconds[-1], 1))


if __name__ == "__main__":
    main()
