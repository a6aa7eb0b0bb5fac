"""What normalizes by an image's own statistics in an OpenVINO model: found, and kept in floating point.

Layers have no names there.  Group normalization is (x - mean) * rsqrt(variance + epsilon) * gamma + beta, so
each one has a Power node.  From there the nodes are found that make the variance, and those that use its
root.  What is normalized is rounded, as in files of other formats.  Otherwise OpenVINO's CPU plugin would
move the scales of a convolution's channels behind the means over groups of them: the answers of a tiny
ResNet50GN differed by 0.7 from those of the same file with LP_TRANSFORMS_MODE=NO.
"""
from __future__ import annotations

from typing import Any, Collection

import numpy as np

LEVELS = 256        # of a tensor
_ROOTS = ("Power", "Sqrt")
# where the way back from a root ends, if it is another one
_WEIGHTED = ("Convolution", "GroupConvolution", "MatMul")


def find_normalization_nodes(model: Any) -> list[str]:
    """The names of the nodes that compute statistics of an image, or use them.

    Args:
        model: OpenVINO's model, in float32.
    """
    found: dict[str, Any] = {}
    for node in model.get_ops():
        if node.get_type_name() in _ROOTS and _list_sources(node):
            found |= {each.get_friendly_name(): each for each in _find_parts(node)}
    return list(found)


def round_inputs(model: Any, names: Collection[str]) -> None:
    """Puts a rounding, whose range is not set yet, on each tensor that nodes take from other nodes.

    Args:
        model: OpenVINO's model, quantized.
        names: of the nodes that compute in floating point.
    """
    import openvino     # already imported, without its telemetry
    ops = openvino.opset13
    inputs: dict[str, list[Any]] = {}
    sources: dict[str, Any] = {}
    for node in model.get_ops():
        if node.get_friendly_name() in names:
            for each in node.inputs():
                source = each.get_source_output().get_node()
                name = source.get_friendly_name()
                is_rounded = source.get_type_name() == "FakeQuantize"
                if name not in names and not is_rounded and not _is_constant(source):
                    inputs.setdefault(name, []).append(each)
                    sources[name] = each.get_source_output()
    for name, source in sources.items():
        ends = [ops.constant(np.full([1] * len(source.get_partial_shape()), end, "float32"))
                for end in (0, 1, 0, 1)]
        rounded = ops.fake_quantize(source, *ends, levels=LEVELS)
        for each in inputs[name]:
            each.replace_source_output(rounded.output(0))


def _find_parts(root: Any) -> list[Any]:
    """The nodes around the square root of a variance: that make it from x, and that multiply with it."""
    after, ends, ahead = [], [], [root]
    while ahead:
        node = ahead.pop()
        after.append(node)
        sources = _list_sources(node)
        if len(sources) < 2:
            ahead += [each.get_node() for output in node.outputs() for each in output.get_target_inputs()]
        else:
            ends += sources         # one of them is what is normalized: x, or x - mean
    used = {node.get_friendly_name() for node in after}
    stops = {node.get_friendly_name() for node in ends} - used

    before, behind = [], _list_sources(root)
    while behind:
        node = behind.pop()
        if node.get_type_name() in _WEIGHTED:
            continue
        if node.get_friendly_name() not in stops:
            before.append(node)
            behind += _list_sources(node)
        elif node.get_type_name() == "Subtract":        # x - mean: the mean is made of x too
            before.append(node)
            x, *mean = _list_sources(node)
            stops.add(x.get_friendly_name())
            behind += mean
    return after + before


def _list_sources(node: Any) -> list[Any]:
    """The nodes that make the inputs of a node, each once, without constants."""
    sources = {source.get_friendly_name(): source
               for source in (each.get_source_output().get_node() for each in node.inputs())}
    return [source for source in sources.values() if not _is_constant(source)]


def _is_constant(node: Any) -> bool:
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() == "Constant")
