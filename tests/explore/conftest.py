"""A desk whose map is made, and its server."""

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
