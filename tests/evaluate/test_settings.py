"""The settings of an evaluation: what is refused, what is normalised, and that they are light."""

import subprocess
import sys
from typing import Any

import pytest

from vggfeat.data import imagenet
from vggfeat.errors import UsageError
from vggfeat.evaluate import EvaluationSettings
from vggfeat.evaluate.settings import Subset


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "sparse"}, "no method 'sparse'; take one of dense, multi-crop, both, centre"),
        ({"subset": "valid"}, "no subset 'valid'; take one of train, val, test"),
        ({"grid": 0}, "grid must be at least 1, not 0"),
        ({"scales": (200,)}, "Q=200 is too small for fc8"),
        ({"scales": (256, 256)}, "a scale is given twice"),
        ({"precision": "float64"}, "'float64'"),
        ({"on_error": "ignore"}, "'ignore'"),
        ({"workers": 0}, "workers must be at least 1, not 0"),
        ({"train_scale": (512, 256)}, r"training scale \(512, 256\): give one side, 256, or a range, 256-512"),
        ({"train_scale": 256}, "training scale 256: give one side"),
        ({"train_scale": ()}, r"training scale \(\): give one side"),
    ],
)
def test_invalid_values(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        EvaluationSettings(**options)


def test_pixels_are_taken_as_stored_unless_asked() -> None:
    """As the tools of the paper took them."""
    assert EvaluationSettings().spec.exif is False
    assert EvaluationSettings(exif=True).spec.exif is True


def test_cut_images_are_refused_unless_asked() -> None:
    assert EvaluationSettings().spec.allow_truncated is False
    assert EvaluationSettings(allow_truncated=True).spec.allow_truncated is True


def test_values_are_normalised() -> None:
    settings = EvaluationSettings(scales=[256, 384], train_scale=[256, 512])  # type: ignore[arg-type]
    assert (settings.scales, settings.train_scale) == ((256, 384), (256, 512))
    assert settings.spec.scales == (256, 384)


def test_the_subsets_are_those_of_the_data_set() -> None:
    assert Subset == imagenet.Subset


def test_they_need_neither_torch_nor_numpy() -> None:
    code = "import sys, vggfeat.evaluate.settings; print({'torch', 'numpy', 'pandas', 'pyarrow'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout == "set()\n"
