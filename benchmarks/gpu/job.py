"""What the steps share: their arguments, and figures that are written as they are found."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch


class Job:
    """One step: `DATA SCRATCH JSON` on its command line; in miniature if run.py says so."""

    def __init__(self) -> None:
        self.data, self.scratch, self._json = map(Path, sys.argv[1:4])
        self.rehearse = "VGGFEAT_REHEARSE" in os.environ
        self.device = "cpu" if self.rehearse else "cuda"
        self._figures: dict[str, Any] = {}
        name = "CPU" if self.rehearse else torch.cuda.get_device_name()
        self.note(machine={"device": name, "cores": len(os.sched_getaffinity(0)), "torch": torch.__version__})

    def note(self, **figures: Any) -> None:
        """Add figures to those that are written."""
        self._figures |= figures
        temporary = self._json.with_suffix(".tmp")
        temporary.write_text(json.dumps(self._figures, indent=1))
        temporary.replace(self._json)

    def weights(self, net: str) -> Path:
        """The whole net that step_weights made."""
        return self.scratch / f"{net}.safetensors"

    def photos(self, most: int) -> list[Path]:
        """Some of the photos, at equal distances; 4 in a rehearsal."""
        files = sorted(self.data.rglob("*.jpg"))
        if not files:
            raise SystemExit(f"{self.data}: has no photos (*.jpg); make the folder with benchmarks/gpu/data.py")
        number = min(4 if self.rehearse else most, len(files))
        return [files[i * len(files) // number] for i in range(number)]
