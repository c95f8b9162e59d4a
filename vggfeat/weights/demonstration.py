"""The net inside the package: it shows that everything works, and is no measure of what VGG can do."""

from functools import cache

from vggfeat.weights.native import digest
from vggfeat.weights.published import REGISTRY

DEMONSTRATION = "slim (demonstration)"


@cache
def demonstration_sha256() -> str:
    """The checksum by which stores and results name it."""
    return digest(REGISTRY.assets / REGISTRY.named["slim", "A"].file)
