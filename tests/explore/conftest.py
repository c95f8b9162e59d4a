"""A desk whose map is made, and its server; a model."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    from tests.kit.explorers import photo_store
    from vggfeat.explore.collection import read_collection
    from vggfeat.explore.desk import Desk
    from vggfeat.explore.settings import ExploreSettings

    made = Desk(read_collection(photo_store(tmp_path_factory.mktemp("explore"))), ExploreSettings())
    made.layout.start().join()
    return made


@pytest.fixture(scope="module")
def site(desk):
    from tests.kit.explorers import serving  # needs starlette

    with serving(desk) as running:
        yield running


@pytest.fixture
def trained(tmp_path):
    """A store of two photos of each colour, and a model: it takes one red photo for green, surely, and one for blue."""
    from tests.kit.explorers import photo_store
    from tests.kit.trained import FACTS, NAMES, content
    from vggfeat.store import Store

    store = Store(photo_store(tmp_path, each=2, **FACTS))
    table = store.read(["path", "sha256"]).to_pydict()
    margins = {name: 2 * np.eye(3)[NAMES.index(name.split("/")[0])] - 1 for name in table["path"]}
    margins["red/0.jpg"], margins["red/1.jpg"] = [-1, 2, -2], [0.5, -1, 0]
    return content(store.path, table["path"], [margins[name] for name in table["path"]], sha256=table["sha256"])
