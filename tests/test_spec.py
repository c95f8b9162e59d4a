"""The settings of descriptors and posteriors: the defaults that the README and the paper promise."""

import inspect
from dataclasses import asdict

from vggfeat.spec import DescriptorSpec, NetSpec, PosteriorSpec

NET = {
    "net": None,
    "scales": (256, 384, 512),
    "weights": "auto",
    "lineage": None,
    "mirror": True,
    "device": "auto",
    "precision": "auto",
    "ceil": False,
    "exif": True,
    "allow_truncated": False,
}


def test_the_defaults_are_those_that_were_promised():
    assert asdict(DescriptorSpec()) == {**NET, "agg": "mean", "layer": "fc7", "normalize": "l2"}
    assert asdict(PosteriorSpec()) == NET


def test_the_layer_that_is_wanted():
    assert DescriptorSpec(layer="pool5").top == "pool5"
    assert PosteriorSpec().top == "fc8"
    assert inspect.isabstract(NetSpec)
