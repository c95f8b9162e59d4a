"""What is known of published weights: who trained them, which preprocessing that took, checksums, names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypedDict

from vggfeat.nets import Top
from vggfeat.spec import Lineage
from vggfeat.weights.header import OXFORD, TORCHVISION, Preprocessing

Form = Literal["torchvision", "keras", "caffe", "matconvnet"]

# Who trained the published files of a form, and which preprocessing that training used. Only MatConvNet's files contain
# their preprocessing.
LINEAGES: dict[Form, Lineage] = {
    "torchvision": "torchvision",
    "keras": "oxford",
    "caffe": "oxford",
    "matconvnet": "oxford",
}
PREPROCESSING: dict[Lineage, Preprocessing] = {"oxford": OXFORD, "torchvision": TORCHVISION}


class Check(TypedDict, total=False):
    """The checksums of a file, as `fetch.download` takes them: hexadecimal, lower case."""

    sha256: str
    md5: str
    sha256_prefix: str


ASSETS = Path(__file__).parents[1] / "assets"  # the files that are part of the package


@dataclass(frozen=True)
class PublishedFile:
    """A published weights file.

    urls : none for a file that is part of the package.
    top1, top5 : accuracy in per cent on the validation set of ILSVRC-2012, one centre crop per image.
    conv : the smaller file with the convolutional layers alone, if one is published.
    editions : several files were published under this name; `check` is the checksum of one of them.
    golden : layer -> the values of the golden descriptor, see `vggfeat.golden`.
    top : the last layer of the file.
    """

    file: str
    urls: tuple[str, ...]
    form: Form | Literal["native"]
    lineage: str
    licence: str
    check: Check = field(default_factory=Check)
    top1: float | None = None
    top5: float | None = None
    conv: "PublishedFile | None" = None
    editions: bool = False
    golden: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    top: Top = "fc8"


@dataclass(frozen=True)
class Registry:
    """The published files that are known.

    named : (name, net) -> file.
    others : files that are recognised when they are converted, but have no name.
    assets : the folder of the files that are part of the package.
    """

    named: Mapping[tuple[str, str], PublishedFile]
    others: tuple[PublishedFile, ...] = ()
    assets: Path = ASSETS

    @property
    def names(self) -> tuple[str, ...]:
        """Each name once, in order."""
        return tuple(dict.fromkeys(name for name, _ in self.named))

    def files(self) -> list[PublishedFile]:
        """All files, also those that hold the convolutional layers alone."""
        return [one for known in self.named.values() for one in (known, known.conv) if one] + list(self.others)

    def by_file(self, name: str) -> PublishedFile | None:
        """The file that is published under this file name."""
        return next((known for known in self.files() if known.file == name), None)
