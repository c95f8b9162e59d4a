"""VGG weights: the native file format, published files, and files of other frameworks.

header      what a native file says of itself; no tensors
native      the native format: read, load, save; tensorfile: the tensors of safetensors files
rounding    weights as 8-bit integers with scales
names       the names of a net's classes
registry    what is known of a published file, and Registry, a table of them
published   REGISTRY: the published files that are known by name; demonstration: the net inside the package
copies      published files on this machine
resolve     from a name, a file or a folder to a native file on this machine
content     the bytes of a file of another framework, and their checksums
foreign     files of other frameworks; Keras' files
pytorch     PyTorch's files and checkpoints; torchfile: reads those of torch.save without torch.load
caffe       Caffe's files
matconvnet  MatConvNet's files
lineage     who trained the weights, and so their preprocessing
convert     from another framework's file to a native file
verify      what a file is, whether it is whole, what it can be used for
publish     from a training run to a native file with a model card; run_files: the files of the run
"""

from vggfeat.weights.convert import convert
from vggfeat.weights.header import OXFORD, TORCHVISION, Preprocessing, Weights
from vggfeat.weights.names import class_names
from vggfeat.weights.native import load, read, save
from vggfeat.weights.resolve import Available, available, resolve
from vggfeat.weights.verify import VerifiedFile, verify

__all__ = [
    "OXFORD",
    "TORCHVISION",
    "Available",
    "Preprocessing",
    "VerifiedFile",
    "Weights",
    "available",
    "class_names",
    "convert",
    "load",
    "read",
    "resolve",
    "save",
    "verify",
]
