"""A model of three colours, fitted once."""

import pytest

import vggfeat
from tests.kit.training_photos import COLOURS, photo


@pytest.fixture(scope="session")
def colours(tmp_path_factory):
    """A folder of six photos of each of three colours."""
    root = tmp_path_factory.mktemp("fit") / "colours"
    for number, (name, colour) in enumerate(COLOURS.items()):
        for i in range(6):
            photo(root / name / f"{i}.png", colour, seed=10 * number + i, size=(48, 40 + i))
    return root


@pytest.fixture(scope="session")
def pool5(tiny_weights):
    """A file of weights up to pool5."""
    return str(tiny_weights("A", width=1 / 16, top="pool5"))


@pytest.fixture(scope="session")
def fitted(colours, pool5):
    """The model, whose store lies beside the folder."""
    return vggfeat.fit(
        colours, store=colours.parent / "colours.vggfeat", weights=pool5, scales=(32, 40), minutes=0, jobs=1
    )


@pytest.fixture(scope="session")
def model_file(fitted, colours):
    """Its file."""
    return fitted.save(colours.parent / "colours.vggmodel")
