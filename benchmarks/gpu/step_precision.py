"""What each precision costs: cosine to float64, and the share of photos with values that are not finite."""

import numpy as np
import torch
from job import Job
from precision import cosine_gap, reference

from vggfeat import weights
from vggfeat.descriptors import Describer
from vggfeat.engine.layers.fused import ConvReLU
from vggfeat.engine.net import DTYPES


def hides_nan(dtype: torch.dtype) -> bool | str:
    """Whether cuDNN's convolution with ReLU makes numbers of NaN: then float16 goes the plain way, which is slower.

    An error of cuDNN, as text, if it has no such convolution.
    """
    conv = torch.nn.Conv2d(64, 64, 3, padding=1, device="cuda", dtype=dtype).to(memory_format=torch.channels_last)
    x = torch.full((1, 64, 32, 32), torch.nan, device="cuda", dtype=dtype)
    try:
        with torch.inference_mode():
            return not bool(ConvReLU(conv)(x.contiguous(memory_format=torch.channels_last)).isnan().all())
    except RuntimeError as error:
        return str(error)[:200]


def main() -> None:
    job = Job()
    q = 224 if job.rehearse else 256
    photos = job.photos(200)
    few = photos[:: max(1, len(photos) // 8)][:8]
    if not job.rehearse:
        job.note(fused_convolution_hides_nan={name: hides_nan(dtype) for name, dtype in DTYPES.items()})
    cases = [("oxford-int8", "oxford-int8", "pool5")] if not job.rehearse else []
    cases += [(f"{name} to fc7", str(job.weights(name)), "fc7") for name in ("E", "torchvision")]
    for name, file, layer in cases:
        found, exact, rows = weights.resolve(file, None, layer), None, {}
        for precision in DTYPES:
            if job.rehearse and precision == "tf32":
                continue
            describer = Describer(weights=file, layer=layer, scales=(q,), device=job.device, precision=precision,
                                  normalize="none")  # fmt: skip
            exact = reference(found, describer, few, q) if exact is None else exact
            values = describer.describe(photos)
            finite = np.isfinite(values).all(axis=1)
            rows[precision] = {"not finite, of 1": round(float((~finite).mean()), 4)}
            at = [photos.index(one) for one in few]
            if (kept := finite[at]).any():
                gap = cosine_gap(values[at][kept], exact[kept])
                rows[precision]["1 - cosine, largest"] = float(f"{gap:.1e}")
            job.note(**{name: rows})


if __name__ == "__main__":
    main()
