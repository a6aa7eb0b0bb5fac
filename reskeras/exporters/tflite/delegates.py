"""Which operators of a .tflite file the accelerators of a phone leave to the plain CPU kernels."""
from __future__ import annotations

import pathlib
from collections import Counter
from typing import Any, Callable

from ..._keras_private import get_interpreter_operations, get_tflite_schema
from . import flatbuffer
from .tflite import get_interpreter_class

# What the GPU delegate parses: `NewOperationParser` of LiteRT's tflite/delegates/gpu/common/model_builder.cc (2025).  LiteRT's
# own analyzer was no help: as it comes from PyPI, it calls every file compatible.
GPU_OPERATORS = set("""ABS ADD ADD_N AVERAGE_POOL_2D BATCH_MATMUL CAST CONCATENATION CONV_2D COS CUMSUM DENSIFY DEPTHWISE_CONV_2D
    DEPTH_TO_SPACE DEQUANTIZE DIV EQUAL ELU EXP FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER GELU GREATER GREATER_EQUAL
    HARD_SWISH LESS LESS_EQUAL LOGISTIC LOG LOGICAL_AND LSTM MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL
    ONE_HOT PACK PAD PADV2 POW REDUCE_MAX REDUCE_MIN REDUCE_PROD QUANTIZE RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1 LEAKY_RELU PRELU
    RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT SELECT SELECT_V2 SIGN SIN SLICE SOFTMAX SPACE_TO_DEPTH SPLIT SPLIT_V
    SQRT SQUARE SQUARED_DIFFERENCE STRIDED_SLICE SUB SUM TANH TILE TRANSPOSE TRANSPOSE_CONV UNPACK""".split())


def find_cpu_operators(path: pathlib.Path) -> dict[str, dict[str, int]]:
    """Delegate -> operators that it does not take: of the GPU by its rules, of XNNPACK by asking this machine's runtime."""
    return {name: dict(sorted(report(path).items())) for name, report in _DELEGATES.items()}


def _find_gpu_rejections(path: pathlib.Path) -> Counter[str]:
    model = flatbuffer.read_model(path)
    graph = model.Subgraphs(0)
    found: Counter[str] = Counter()
    for i, name in enumerate(flatbuffer.iterate_operator_names(model)):
        operator = graph.Operators(i) if i < graph.OperatorsLength() else None      # other subgraphs are not looked at
        if operator and not (name in GPU_OPERATORS and _GPU_RULES.get(name, _has_allowed_tensors)(operator, graph)):
            found[name] += 1
    return found


def _has_allowed_tensors(operator: Any, graph: Any, ranks: tuple[int, ...] = (0, 1, 2, 3, 4)) -> bool:
    """`IsAllAllowedTensors` of the same file: at most four dimensions."""
    used = [operator.Inputs(i) for i in range(operator.InputsLength())] + [
        operator.Outputs(i) for i in range(operator.OutputsLength())]
    return all(graph.Tensors(i).ShapeLength() < 5 for i in used if i >= 0) and (
        graph.Tensors(operator.Inputs(0)).ShapeLength() in ranks)


def _is_allowed_slice(operator: Any, graph: Any) -> bool:
    options = _read_options(operator, "StridedSliceOptions")
    return _has_allowed_tensors(operator, graph, (3, 4)) and not (options.EllipsisMask() or options.NewAxisMask() or options.ShrinkAxisMask())


def _is_allowed_mirror_pad(operator: Any, graph: Any) -> bool:
    return _has_allowed_tensors(operator, graph) and _read_options(operator, "MirrorPadOptions").Mode() == get_tflite_schema().MirrorPadMode.REFLECT


# Of LiteRT's tflite/tools/versioning/gpu_compatibility.cc, those that our nets can meet.
_GPU_RULES: dict[str, Callable[[Any, Any], bool]] = {"STRIDED_SLICE": _is_allowed_slice, "MIRROR_PAD": _is_allowed_mirror_pad}


def _read_options(operator: Any, kind: str) -> Any:
    table = operator.BuiltinOptions()
    found = getattr(get_tflite_schema(), kind)()
    found.Init(table.Bytes, table.Pos)
    return found


def _find_xnnpack_rejections(path: pathlib.Path) -> Counter[str]:
    """The interpreter plans the file with XNNPACK; a part of the plan says what goes in and what comes out of it."""
    interpreter = get_interpreter_class()(model_path=str(path))
    interpreter.allocate_tensors()
    nodes: list[dict[str, Any]] = get_interpreter_operations(interpreter)
    own = [node for node in nodes if node["op_name"] != "DELEGATE"]
    maker = {tensor: node["index"] for node in own for tensor in node["outputs"]}
    reads = {node["index"]: list(node["inputs"]) for node in own}
    taken: set[int] = set()
    for part in nodes:
        if part["op_name"] == "DELEGATE":       # all that lies between its inputs and its outputs is its own
            waiting, given = list(part["outputs"]), set(part["inputs"])
            while waiting:
                tensor = waiting.pop()
                if tensor not in given and (index := maker.get(tensor)) is not None and index not in taken:
                    taken.add(index)
                    waiting += reads[index]
    return Counter(node["op_name"] for node in own if node["index"] not in taken)


_DELEGATES: dict[str, Callable[[pathlib.Path], Counter[str]]] = {"GPU": _find_gpu_rejections, "XNNPACK": _find_xnnpack_rejections}
