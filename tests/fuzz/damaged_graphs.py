"""Damages .tflite and .onnx files: graphs that are well formed and wrong."""
from __future__ import annotations

import random


def mutate_tflite(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """A file whose flat buffer is right, and whose tensors, buffers or operators are not."""
    from reskeras.exporters.tflite import flatbuffer
    model = flatbuffer.unpack(data)
    graph = model.subgraphs[0]
    done = []
    for _ in range(rng.choice((1, 1, 1, 3))):
        tensor, operator = rng.choice(graph.tensors), rng.choice(graph.operators)
        count = len(graph.tensors)
        wrong = rng.choice((-1, 0, 1, count, 2 ** 31 - 1, -2 ** 31, rng.randrange(count)))
        kind = rng.choice(("shape", "buffer", "type", "input", "output", "code", "options", "data", "inputs",
                           "graph", "scale"))
        if kind == "shape" and tensor.shape is not None and len(tensor.shape):
            tensor.shape[rng.randrange(len(tensor.shape))] = rng.choice((wrong, 3, 65536))
        elif kind == "buffer":
            tensor.buffer = rng.choice((0, 1, rng.randrange(len(model.buffers)), len(model.buffers), 2 ** 31))
        elif kind == "type":
            tensor.type = rng.choice((0, 1, 2, 3, 4, 5, 6, 9, 15, 17, 100))
        elif kind == "input" and len(operator.inputs):
            operator.inputs[rng.randrange(len(operator.inputs))] = wrong
        elif kind == "output" and len(operator.outputs):
            operator.outputs[rng.randrange(len(operator.outputs))] = wrong
        elif kind == "code":
            code = rng.choice(model.operatorCodes)
            code.builtinCode = code.deprecatedBuiltinCode = rng.randrange(127)
        elif kind == "options" and operator.builtinOptions is not None:
            fields = [n for n, v in vars(operator.builtinOptions).items() if isinstance(v, int)]
            if fields:
                setattr(operator.builtinOptions, rng.choice(fields), rng.choice((0, 1, 2, 100, 127)))
        elif kind == "data":
            buffer = rng.choice(model.buffers)
            if buffer.data is not None:
                buffer.data = buffer.data[:rng.randrange(len(buffer.data))]
        elif kind == "inputs":
            operator.inputs = operator.inputs[:rng.randrange(len(operator.inputs) + 1)]
        elif kind == "graph":
            rng.choice((graph.inputs, graph.outputs))[0] = wrong
        elif kind == "scale" and tensor.quantization is not None and tensor.quantization.scale is not None:
            tensor.quantization.scale = tensor.quantization.scale[:rng.choice((0, 1))]
        done.append(kind)
    return f"graph, {', '.join(done)}", flatbuffer.pack(model)


def mutate_onnx(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """A graph with other names, shapes, attributes or data."""
    import onnx
    model = onnx.load_from_string(data)
    graph = model.graph
    node, tensor = rng.choice(graph.node), rng.choice(graph.initializer)
    kind = rng.choice(("input", "operator", "attribute", "dims", "data", "external", "opset", "shape",
                       "drop"))
    extremes = (0, -1, 2, 1000, 2 ** 31 - 1, 2 ** 62, -2 ** 63)
    if kind == "input" and node.input:
        node.input[0] = rng.choice([*(n.output[0] for n in graph.node), "nothing", ""])
    elif kind == "operator":
        others = ("Loop", "If", "Reshape", "Resize", "Nothing")
        node.op_type = rng.choice([*(n.op_type for n in graph.node), *others])
    elif kind == "attribute":
        numbers = [a for n in graph.node for a in n.attribute if a.ints]
        if numbers:
            ints = rng.choice(numbers).ints
            ints[rng.randrange(len(ints))] = rng.choice(extremes)
    elif kind == "dims" and tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(extremes)
    elif kind == "data":
        tensor.data_type = rng.randrange(24)
    elif kind == "external":
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", rng.choice(("/etc/passwd", "../net.onnx", "net.onnx", "/dev/zero"))),
                           ("offset", "0"), ("length", rng.choice(("64", "99999999999")))):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
    elif kind == "opset":
        model.opset_import[0].version = rng.choice((0, 1, 99, 2 ** 62))
    elif kind == "shape":
        dim = graph.input[0].type.tensor_type.shape.dim[rng.randrange(4)]
        dim.dim_value = rng.choice(extremes)
    elif kind == "drop":
        graph.node.remove(node)
    return f"graph, {kind}", model.SerializeToString()
