"""Which operators of a .tflite file the accelerators of a phone leave to the plain CPU kernels."""
from __future__ import annotations

import pathlib
from collections import Counter
from typing import Any, Callable

from ..._keras_private import get_interpreter_operations, get_tflite_schema
from . import flatbuffer
from .runtime import get_interpreter_class

# What the GPU delegate parses: `NewOperationParser` of tflite/delegates/gpu/common/model_builder.cc, at
# revision 34ec5ba of LiteRT. The accelerator of `CompiledModel` in LiteRT 2.3.0 takes all operators of our
# nets, and more than these (tests/exporters/test_compiled_model.py). LiteRT's own analyzer, as it comes from
# PyPI, calls every file compatible.
GPU_OPERATORS = set("""
    ABS ADD ADD_N AVERAGE_POOL_2D BATCH_MATMUL CAST CONCATENATION CONV_2D COS CUMSUM DENSIFY
    DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE DIV EQUAL ELU EXP FLOOR FLOOR_DIV FLOOR_MOD
    FULLY_CONNECTED GATHER GELU GREATER GREATER_EQUAL HARD_SWISH LESS LESS_EQUAL LOGISTIC LOG LOGICAL_AND
    LSTM MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL ONE_HOT PACK PAD PADV2 POW
    REDUCE_MAX REDUCE_MIN REDUCE_PROD QUANTIZE RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1 LEAKY_RELU PRELU
    RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT SELECT SELECT_V2 SIGN SIN SLICE SOFTMAX
    SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE STRIDED_SLICE SUB SUM TANH TILE TRANSPOSE
    TRANSPOSE_CONV UNPACK
    """.split())


def count_cpu_operators(path: pathlib.Path) -> dict[str, dict[str, int]]:
    """Counts for each delegate the operators that it leaves to the CPU.

    The GPU delegate's are found by its rules, those of XNNPACK by the plan that this machine's runtime makes.
    """
    return {name: dict(sorted(count(path).items())) for name, count in _DELEGATES.items()}


def _count_gpu_rejections(path: pathlib.Path) -> Counter[str]:
    """Operators of the main subgraph that the GPU delegate would not take."""
    model = flatbuffer.read_model(path)
    graph = model.Subgraphs(0)
    rejected: Counter[str] = Counter()
    for i, name in enumerate(flatbuffer.iterate_operator_names(model)):
        if i >= graph.OperatorsLength():
            break                           # the other subgraphs are not looked at
        is_allowed = _GPU_RULES.get(name, _has_allowed_tensors)
        if not (name in GPU_OPERATORS and is_allowed(graph.Operators(i), graph)):
            rejected[name] += 1
    return rejected


def _has_allowed_tensors(operator: Any, graph: Any, ranks: tuple[int, ...] = (0, 1, 2, 3, 4)) -> bool:
    """Computes `IsAllAllowedTensors` of the same file: at most four dimensions."""
    tensors = [operator.Inputs(i) for i in range(operator.InputsLength())]
    tensors += [operator.Outputs(i) for i in range(operator.OutputsLength())]
    return (all(graph.Tensors(i).ShapeLength() < 5 for i in tensors if i >= 0)
            and graph.Tensors(operator.Inputs(0)).ShapeLength() in ranks)


def _is_allowed_slice(operator: Any, graph: Any) -> bool:
    options = _read_options(operator, "StridedSliceOptions")
    has_masks = options.EllipsisMask() or options.NewAxisMask() or options.ShrinkAxisMask()
    return _has_allowed_tensors(operator, graph, (3, 4)) and not has_masks


def _is_allowed_mirror_pad(operator: Any, graph: Any) -> bool:
    reflect = get_tflite_schema().MirrorPadMode.REFLECT
    if not _has_allowed_tensors(operator, graph):
        return False
    return _read_options(operator, "MirrorPadOptions").Mode() == reflect


# Of LiteRT's tflite/tools/versioning/gpu_compatibility.cc, those that our models can meet.
_GPU_RULES: dict[str, Callable[[Any, Any], bool]] = {
    "STRIDED_SLICE": _is_allowed_slice, "MIRROR_PAD": _is_allowed_mirror_pad}


def _read_options(operator: Any, class_name: str) -> Any:
    """The options of an operator by a class of the schema."""
    table = operator.BuiltinOptions()
    options = getattr(get_tflite_schema(), class_name)()
    options.Init(table.Bytes, table.Pos)
    return options


def _count_xnnpack_rejections(path: pathlib.Path) -> Counter[str]:
    """Operators that XNNPACK leaves to the CPU on this machine.

    The interpreter plans the file with XNNPACK.  A DELEGATE node of the plan has only inputs and outputs; the
    operators that lie between them are those that it took.
    """
    interpreter = get_interpreter_class()(model_path=str(path))
    interpreter.allocate_tensors()
    nodes: list[dict[str, Any]] = get_interpreter_operations(interpreter)
    operators = [node for node in nodes if node["op_name"] != "DELEGATE"]
    maker = {tensor: node["index"] for node in operators for tensor in node["outputs"]}
    inputs = {node["index"]: list(node["inputs"]) for node in operators}

    delegated: set[int] = set()
    for node in nodes:
        if node["op_name"] != "DELEGATE":
            continue
        tensors, first_tensors = list(node["outputs"]), set(node["inputs"])
        while tensors:                      # from the outputs back to the inputs
            tensor = tensors.pop()
            index = maker.get(tensor)
            if tensor not in first_tensors and index is not None and index not in delegated:
                delegated.add(index)
                tensors += inputs[index]
    return Counter(node["op_name"] for node in operators if node["index"] not in delegated)


_DELEGATES: dict[str, Callable[[pathlib.Path], Counter[str]]] = {
    "GPU": _count_gpu_rejections, "XNNPACK": _count_xnnpack_rejections}
