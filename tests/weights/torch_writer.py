"""Writes files as torch.save does, without PyTorch: NumPy arrays in a content become tensors."""
import contextlib
import io
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict

import numpy as np

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
STORAGES = {"float64": "Double", "float32": "Float", "float16": "Half", "bfloat16": "BFloat16",
            "int64": "Long", "int32": "Int", "int8": "Char", "uint8": "Byte", "bool": "Bool",
            "complex64": "ComplexFloat"}


class Module:
    """Stands for a net that is saved as an object; it is pickled under the name of a class of torchvision."""

    def __init__(self, state):
        self.state = state


Module.__module__, Module.__qualname__ = "torchvision.models.resnet", "ResNet"


class _Storage:
    def __init__(self, array):
        self.array = array


class _Pickler(pickle.Pickler):
    def __init__(self, stream, names):
        super().__init__(stream, protocol=2)
        self.names, self.storages = names, []

    def persistent_id(self, item):
        if isinstance(item, _Storage):
            self.storages.append(item.array)
            kind = self.names[f"{STORAGES[item.array.dtype.name]}Storage"]
            return "storage", kind, str(len(self.storages) - 1), "cpu", item.array.size
        return None

    def reducer_override(self, item):
        if isinstance(item, np.ndarray):
            data = np.asarray(item, order="C")       # keeps an array without axes
            strides = tuple(s // data.itemsize for s in data.strides)
            return self.names["_rebuild_tensor_v2"], (
                _Storage(data.reshape(-1)), 0, item.shape, strides, False, OrderedDict())
        return NotImplemented


@contextlib.contextmanager
def torch_names():
    """Names of PyTorch that pickle can find: functions and classes that do nothing."""
    modules = {name: types.ModuleType(name) for name in (
        "torch", "torch._utils", "torchvision", "torchvision.models", "torchvision.models.resnet")}
    names = {}
    for module, wanted in (("torch", [f"{kind}Storage" for kind in STORAGES.values()]),
                           ("torch._utils", ["_rebuild_tensor_v2"])):
        for name in wanted:
            names[name] = type(name, (), {"__module__": module, "__qualname__": name})
            setattr(modules[module], name, names[name])
    modules["torchvision.models.resnet"].ResNet = Module
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield names
    finally:
        for name, module in before.items():
            sys.modules.pop(name) if module is None else sys.modules.update({name: module})


def save_torch(content, legacy=False):
    """The bytes that torch.save writes for a content; `legacy`: in the format from before version 1.6."""
    stream = io.BytesIO()
    with torch_names() as names:
        pickler = _Pickler(stream, names)
        pickler.dump(content)
    storages = pickler.storages
    result = io.BytesIO()
    if legacy:
        for part in (MAGIC, VERSION, {"protocol_version": VERSION, "little_endian": True}):
            pickle.dump(part, result, 2)
        result.write(stream.getvalue())
        pickle.dump([str(i) for i in range(len(storages))], result, 2)
        for array in storages:
            result.write(struct.pack("<q", array.size) + array.tobytes())
        return result.getvalue()
    with zipfile.ZipFile(result, "w") as archive:
        archive.writestr("net/data.pkl", stream.getvalue())
        archive.writestr("net/byteorder", "little")
        for i, array in enumerate(storages):
            archive.writestr(f"net/data/{i}", array.tobytes())
        archive.writestr("net/version", "3\n")
    return result.getvalue()
