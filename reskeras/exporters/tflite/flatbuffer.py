"""Reads and changes a .tflite file as the flat buffer that it is: operators, tensors, metadata."""
from __future__ import annotations

import json
import pathlib
from collections import Counter
from typing import Any, Iterator

from ..._keras_private import get_tflite_schema
from ...errors import name_damaged_file
from ...file_reading import read_bytes
from ...json_reader import check_json_type, parse_json
from .tensor_names import shorten_name

METADATA_NAME = b"RESKERAS_METADATA"    # of the buffer with our JSON in UTF-8
STANDARD_NAME = b"TFLITE_METADATA"      # of the buffer with TFLite's standard metadata
IDENTIFIER = b"TFL3"

# Operators that phones do not run well, and why.
FORBIDDEN = {"SPLIT": "GPU delegates refuse it", "SPLIT_V": "GPU delegates refuse it",
             "SUM": "it overflows in half precision"}
MAX_RANK = 4


def read_model(path: pathlib.Path) -> Any:
    """The file by the schema's own classes.  Raises: ValueError for another kind of file."""
    data = read_bytes(path)
    if data[4:8] != IDENTIFIER:
        raise ValueError(f"{path} is not a TFLite file")
    return get_tflite_schema().Model.GetRootAs(data)


def iterate_operator_names(model: Any) -> Iterator[str]:
    """The name of every operator in all subgraphs; of a custom operator "CUSTOM" and its own name."""
    members = vars(get_tflite_schema().BuiltinOperator).items()
    builtins = {number: name for name, number in members if isinstance(number, int)}
    for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for operator in map(graph.Operators, range(graph.OperatorsLength())):
            code = model.OperatorCodes(operator.OpcodeIndex())
            custom = (code.CustomCode() or b"").decode()
            builtin = builtins[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            yield builtin + (f" {custom}" if custom else "")


def list_operator_names(model: Any) -> list[str]:
    """The names of the builtin operators of the main subgraph of what `unpack` gave."""
    members = vars(get_tflite_schema().BuiltinOperator).items()
    builtins = {number: name for name, number in members if isinstance(number, int)}
    codes = [model.operatorCodes[operator.opcodeIndex] for operator in model.subgraphs[0].operators]
    return [builtins[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in codes]


def count_operators(path: pathlib.Path) -> dict[str, int]:
    """Counts each operator of the file, the most frequent first."""
    return dict(Counter(iterate_operator_names(read_model(path))).most_common())


def find_faults(path: pathlib.Path, is_integer: bool = False, max_rank: int = MAX_RANK) -> list[str]:
    """Says why phones or microcontrollers would not run the file as it is.

    Args:
        path: path of the file.
        is_integer: whether the file should have no tensor in floating point.
        max_rank: the most axes that a tensor may have.
    Returns:
        A phrase for each fault; [] if there is none.
    """
    model = read_model(path)
    return [*_find_operator_faults(model), *_find_tensor_faults(model, is_integer, max_rank),
            *_find_dead_layers(model)]


def _find_operator_faults(model: Any) -> Iterator[str]:
    """Operators that are not builtin, or that delegates refuse."""
    for name, count in Counter(iterate_operator_names(model)).items():
        if name.startswith(("CUSTOM", "STABLEHLO")):
            yield f"{count} x {name}: not a builtin operator"
        elif name in FORBIDDEN:
            yield f"{count} x {name}: {FORBIDDEN[name]}"


def _find_tensor_faults(model: Any, is_integer: bool, max_rank: int) -> Iterator[str]:
    """Tensors of an open shape, of too many dimensions, or of the wrong type."""
    float32 = get_tflite_schema().TensorType.FLOAT32
    for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for tensor in map(graph.Tensors, range(graph.TensorsLength())):
            name = tensor.Name().decode()
            shape = [tensor.Shape(i) for i in range(tensor.ShapeLength())]
            signature = [tensor.ShapeSignature(i) for i in range(tensor.ShapeSignatureLength())]
            if min([0, *shape, *signature]) < 0:
                yield f"{name} has the shape {signature or shape}: delegates need static shapes"
            if len(shape) > max_rank:
                yield f"{name} has the shape {shape}: delegates take at most {max_rank} dimensions"
            if is_integer and tensor.Type() == float32:
                yield f"{name} is in floating point, in a file of integers"


def _find_dead_layers(model: Any) -> Iterator[str]:
    """Finds integer layers whose output was always zero: their scale is next to nothing, and XNNPACK refuses
    it.

    Its limit: input scale times weight scale over output scale is less than 256 (xnn_define_convolution_2d).
    """
    graph = model.Subgraphs(0)
    for operator in map(graph.Operators, range(graph.OperatorsLength())):
        has_bias = operator.InputsLength() == 3 and operator.Inputs(2) >= 0
        if not has_bias:        # neither a convolution nor a dense layer
            continue
        tensors = (*operator.InputsAsNumpy()[:2], operator.Outputs(0))
        inputs, weights, outputs = (read_scales(graph.Tensors(i)) for i in tensors)
        if len(inputs) and len(weights) and len(outputs) and max(weights) * inputs[0] >= 256 * outputs[0]:
            name = graph.Tensors(operator.Outputs(0)).Name().decode()
            is_int8 = graph.Tensors(operator.Outputs(0)).Type() == get_tflite_schema().TensorType.INT8
            yield (f"{name} is zero on every calibration image, and its range is empty; calibrate on other "
                   "images" + ("" if is_int8 else ", or with quantize='int8', which widens such ranges"))


def find_dense_scales(path: pathlib.Path, target: str) -> list[str]:
    """Dense layers whose weights have several scales, which a target does not take.

    Args:
        path: path of the file.
        target: its name.
    """
    model = read_model(path)
    graph, names = model.Subgraphs(0), iterate_operator_names(model)
    weights = [graph.Tensors(graph.Operators(i).Inputs(1)) for i, name
               in zip(range(graph.OperatorsLength()), names) if name == "FULLY_CONNECTED"]
    return [f"{tensor.Name().decode()} has a scale for each class, and {target!r} takes one"
            for tensor in weights if len(read_scales(tensor)) > 1]


def read_scales(tensor: Any) -> Any:
    """Returns the scales of a quantized tensor, one or one for each channel; () of another."""
    quantization = tensor.Quantization()
    return quantization.ScaleAsNumpy() if quantization and quantization.ScaleLength() else ()


def has_tensor_type(path: pathlib.Path, name: str) -> bool:
    """Whether any tensor is of a type, such as "FLOAT16"."""
    model, number = read_model(path), getattr(get_tflite_schema().TensorType, name)
    graphs = map(model.Subgraphs, range(model.SubgraphsLength()))
    return any(graph.Tensors(i).Type() == number for graph in graphs for i in range(graph.TensorsLength()))


def read_metadata(path: pathlib.Path) -> dict[str, Any]:
    """What `add_metadata` put into the file; {} if nothing was.  Raises: ValueError for a damaged file."""
    with name_damaged_file(path, "a TFLite file"):
        model = read_model(path)
        for entry in map(model.Metadata, range(model.MetadataLength())):
            if entry.Name() == METADATA_NAME:
                text = model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
                metadata: dict[str, Any] = check_json_type(parse_json(text, "its metadata"), dict,
                                                           "its metadata", "")
                return metadata
    return {}


def unpack(data: bytes) -> Any:
    """The content of a file as objects that can be changed."""
    return get_tflite_schema().ModelT.InitFromPackedBuf(data, 0)


def pack(model: Any) -> bytes:
    """What `unpack` gave as the content of a file again.

    Its buffers are aligned to 16 bytes, as the schema requires: the generated Python code aligns none.
    """
    import flatbuffers

    class Builder(flatbuffers.Builder):
        def StartVector(self, size, count, alignment):
            return super().StartVector(size, count, 16 if size == 1 else alignment)

    builder = Builder()
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def read_floats(model: Any, tensor: int) -> Any:
    """The values of a constant of the main subgraph of what `unpack` gave; None if it is none of float32.

    Args:
        model: what `unpack` gave.
        tensor: the number of the tensor.
    """
    import numpy as np
    found = model.subgraphs[0].tensors[tensor]
    data = model.buffers[found.buffer].data
    if data is None or not len(data) or found.type != get_tflite_schema().TensorType.FLOAT32:
        return None
    return np.asarray(data, "uint8").view("float32").reshape(found.shape)


def add_metadata(data: bytes, metadata: dict[str, Any], standard_metadata: bytes) -> bytes:
    """The content of a file with metadata inside, and with tensors that are named after one layer each.

    Args:
        data: the content of a .tflite file.
        metadata: what becomes JSON inside of it.
        standard_metadata: what `standard_metadata.build_metadata` gave; none is added if it is empty.
    """
    import numpy as np
    schema, model = get_tflite_schema(), unpack(data)
    names: set[bytes] = set()
    for tensor in (tensor for graph in model.subgraphs for tensor in graph.tensors):
        tensor.name = shorten_name(tensor.name)
        while tensor.name in names:     # tools such as ai-edge-quantizer find tensors by their name
            tensor.name += b"_"
        names.add(tensor.name)

    text = json.dumps(metadata, separators=(",", ":"), ensure_ascii=False)
    model.metadata = [*(model.metadata or [])]
    contents = [(METADATA_NAME, text.encode()), (STANDARD_NAME, standard_metadata)]
    for name, content in contents if standard_metadata else contents[:1]:
        buffer, entry = schema.BufferT(), schema.MetadataT()
        buffer.data = np.frombuffer(content, "uint8")
        entry.name, entry.buffer = name, len(model.buffers)
        model.buffers.append(buffer)
        model.metadata.append(entry)
    return pack(model)
