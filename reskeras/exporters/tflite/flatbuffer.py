"""A .tflite file as what it is, a flat buffer: its operators and tensors read, a net's metadata put inside."""
from __future__ import annotations

import importlib
import json
import pathlib
from collections import Counter
from typing import Any, Iterator

METADATA = b"RESKERAS_METADATA"     # the name of our buffer: JSON in UTF-8
IDENTIFIER = b"TFL3"
# A GPU delegate rejects the net for the first; half precision overflows in the second.
FORBIDDEN = {"SPLIT": "GPU delegates refuse it", "SPLIT_V": "GPU delegates refuse it", "SUM": "it overflows in half precision"}
RANK = 4


def schema() -> Any:
    """The schema of the file, that LiteRT and TensorFlow ship."""
    try:
        return importlib.import_module("ai_edge_litert.schema_py_generated")
    except ImportError:
        return importlib.import_module("tensorflow.lite.python.schema_py_generated")


def opened(path: pathlib.Path) -> Any:
    """Raises: ValueError for another kind of file."""
    data = path.read_bytes()
    if data[4:8] != IDENTIFIER:
        raise ValueError(f"{path} is no TFLite file")
    return schema().Model.GetRootAs(data)


def names(model: Any) -> Iterator[str]:
    """Of every operator call, in all subgraphs; a custom one has its own name behind CUSTOM."""
    known = {number: name for name, number in vars(schema().BuiltinOperator).items() if isinstance(number, int)}
    for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for operator in map(graph.Operators, range(graph.OperatorsLength())):
            code = model.OperatorCodes(operator.OpcodeIndex())
            own = (code.CustomCode() or b"").decode()
            yield known[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())] + (f" {own}" if own else "")


def operators(path: pathlib.Path) -> dict[str, int]:
    return dict(Counter(names(opened(path))).most_common())


def faults(path: pathlib.Path, integers: bool = False) -> list[str]:
    """Why phones or microcontrollers would not run the file as it is; `integers`: whether floats are a fault too."""
    model = opened(path)
    found = []
    for name, count in Counter(names(model)).items():
        if name.startswith(("CUSTOM", "STABLEHLO")):
            found.append(f"{count} x {name}: not a builtin operator")
        elif name in FORBIDDEN:
            found.append(f"{count} x {name}: {FORBIDDEN[name]}")
    floats = schema().TensorType.FLOAT32
    for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for tensor in map(graph.Tensors, range(graph.TensorsLength())):
            shape = [tensor.Shape(i) for i in range(tensor.ShapeLength())]
            open_ = [tensor.ShapeSignature(i) for i in range(tensor.ShapeSignatureLength())]
            if min([0, *shape, *open_]) < 0:
                found.append(f"{tensor.Name().decode()} has the shape {open_ or shape}: delegates need static ones")
            if len(shape) > RANK:
                found.append(f"{tensor.Name().decode()} has the shape {shape}: rank {RANK} is the most that delegates take")
            if integers and tensor.Type() == floats:
                found.append(f"{tensor.Name().decode()} is in floating point, in a file of integers")
    return found + _dead(model)


def _dead(model: Any) -> list[str]:
    """Integer layers whose output was always zero: their scale is next to nothing, and XNNPACK would not load the file.

    Its limit: input scale times weight scale over output scale is less than 256 (xnn_define_convolution_2d).
    """
    graph, found = model.Subgraphs(0), []
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        if operator.InputsLength() == 3 and operator.Inputs(2) >= 0:       # convolutions and dense layers
            before, weights, after = (_scales(graph.Tensors(n)) for n in (*operator.InputsAsNumpy()[:2], operator.Outputs(0)))
            if len(before) and len(weights) and len(after) and max(weights) * before[0] >= 256 * after[0]:
                name = graph.Tensors(operator.Outputs(0)).Name().decode()
                found.append(f"{name} is zero on every image of the calibration, and has no scale; calibrate on other images")
    return found


def _scales(tensor: Any) -> Any:
    """Of a quantized tensor, one or one for each channel; () of another."""
    quantization = tensor.Quantization()
    return quantization.ScaleAsNumpy() if quantization and quantization.ScaleLength() else ()


def has_type(path: pathlib.Path, name: str) -> bool:
    """Whether any tensor is of that type, such as "FLOAT16"."""
    model, wanted = opened(path), getattr(schema().TensorType, name)
    graphs = map(model.Subgraphs, range(model.SubgraphsLength()))
    return any(graph.Tensors(i).Type() == wanted for graph in graphs for i in range(graph.TensorsLength()))


def metadata(path: pathlib.Path) -> dict[str, Any]:
    """What `with_metadata` put inside; {} where nothing was."""
    model = opened(path)
    for entry in map(model.Metadata, range(model.MetadataLength())):
        if entry.Name() == METADATA:
            return json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
    return {}


def unpacked(data: bytes) -> Any:
    """The file as objects that can be changed."""
    return schema().ModelT.InitFromPackedBuf(data, 0)


def packed(model: Any) -> bytes:
    """What `unpacked` gave as a file again.

    Its buffers are aligned to 16 bytes, as the schema wants it: the generated Python code aligns none.
    """
    import flatbuffers

    class Builder(flatbuffers.Builder):
        def StartVector(self, size, count, alignment):
            return super().StartVector(size, count, 16 if size == 1 else alignment)

    builder = Builder()
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def with_metadata(data: bytes, about: dict[str, Any]) -> bytes:
    """The file with `about` inside, and with tensor names of one layer each."""
    import numpy as np
    own, model = schema(), unpacked(data)
    taken: set[bytes] = set()
    for tensor in (tensor for graph in model.subgraphs for tensor in graph.tensors):
        tensor.name = short(tensor.name)
        while tensor.name in taken:     # tools such as ai-edge-quantizer go by the name
            tensor.name += b"_"
        taken.add(tensor.name)
    buffer, entry = own.BufferT(), own.MetadataT()
    buffer.data = np.frombuffer(json.dumps(about, separators=(",", ":"), ensure_ascii=False).encode(), "uint8")
    entry.name, entry.buffer = METADATA, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    return packed(model)


def short(name: bytes) -> bytes:
    """The converter joins the names of all that it fused, each with the net's own before it: b"net/a/Relu;net/a/BiasAdd"."""
    first = name.partition(b";")[0]
    return first.partition(b"/")[2] if first.count(b"/") > 1 else first
