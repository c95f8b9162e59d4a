"""Narrow VGGs as Caffe writes them, through protobuf's library and the messages of caffe.proto."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

from tests.kit.foreign_files import Layers


def caffe_messages() -> Callable[[str], Any]:
    """The classes of caffe.proto's messages, as far as weights need them."""
    proto = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    one, many = Field.LABEL_OPTIONAL, Field.LABEL_REPEATED
    text, whole, real, double, inner = (
        Field.TYPE_STRING, Field.TYPE_INT32, Field.TYPE_FLOAT, Field.TYPE_DOUBLE, Field.TYPE_MESSAGE,
    )  # fmt: skip
    messages: dict[str, list[tuple[Any, ...]]] = {
        "BlobShape": [("dim", 1, many, Field.TYPE_INT64)],
        "BlobProto": [
            ("num", 1, one, whole), ("channels", 2, one, whole), ("height", 3, one, whole), ("width", 4, one, whole),
            ("data", 5, many, real), ("diff", 6, many, real), ("shape", 7, one, inner, "BlobShape"),
            ("double_data", 8, many, double),
        ],
        "LayerParameter": [
            ("name", 1, one, text), ("type", 2, one, text), ("bottom", 3, many, text), ("top", 4, many, text),
            ("blobs", 7, many, inner, "BlobProto"), ("phase", 10, one, whole),
        ],
        "V1LayerParameter": [
            ("bottom", 2, many, text), ("top", 3, many, text), ("name", 4, one, text), ("type", 5, one, whole),
            ("blobs", 6, many, inner, "BlobProto"), ("blobs_lr", 7, many, real),
        ],
        "NetParameter": [
            ("name", 1, one, text), ("layers", 2, many, inner, "V1LayerParameter"), ("input", 3, many, text),
            ("input_dim", 4, many, whole), ("layer", 100, many, inner, "LayerParameter"),
        ],
    }  # fmt: skip
    for name, fields in messages.items():
        message = proto.message_type.add(name=name)
        for field, number, label, kind, *of in fields:
            added = message.field.add(name=field, number=number, label=label, type=kind)
            if of:
                added.type_name = f".caffe.{of[0]}"
            elif label == many and kind in (real, double, Field.TYPE_INT64):
                added.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(proto.SerializeToString())
    return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}"))


CAFFE_STYLES = ("V1", "V2")
_V1_TYPES = {"Convolution": 4, "InnerProduct": 14, "ReLU": 18}  # of its enumeration


def caffe_net(layers: Layers, style: str = "V1") -> Any:
    """A NetParameter as Caffe writes it: V1 with shapes of four numbers, V2 with BlobShapes."""
    net = caffe_messages()("NetParameter")(name="VGG_ILSVRC_16_layers", input=["data"], input_dim=[10, 3, 224, 224])
    for name, arrays in layers.items():
        kind = "Convolution" if name.startswith("conv") else "InnerProduct"
        for title, type_ in ((name, kind), (f"relu{name[-3:]}", "ReLU")):
            if style == "V1":
                layer = net.layers.add(name=title, type=_V1_TYPES[type_], blobs_lr=[1, 2])
            else:
                layer = net.layer.add(name=title, type=type_, bottom=["x"], phase=1)
            for array in arrays if type_ != "ReLU" else ():
                blob = layer.blobs.add(data=array.ravel())
                if style == "V2":
                    blob.shape.dim.extend(array.shape)
                else:
                    blob.num, blob.channels, blob.height, blob.width = (1,) * (4 - array.ndim) + array.shape
    return net


def write_caffe(path: Path, layers: Layers, style: str = "V1") -> Path:
    path.write_bytes(caffe_net(layers, style).SerializeToString())
    return path
