"""slim, the small net inside the package: for tests, and for trying fc6 to fc8 without a download; not for results."""

from functools import cache

from vggfeat.weights.native import digest
from vggfeat.weights.published import REGISTRY

DEMONSTRATION = "slim (demonstration)"


@cache
def demonstration_sha256() -> str:
    """The checksum by which stores and results name it."""
    return digest(REGISTRY.assets / REGISTRY.named["slim", "A"].file)
