"""TensorFlow's SavedModel: a folder that any TensorFlow program or server runs, without Keras."""
from __future__ import annotations

import importlib.metadata
import pathlib
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Iterator

import numpy as np

from .._keras_private import XLA_ATTRIBUTE, parse_saved_model
from .comparison import compute_relative_difference
from .gpu_server import choose_folder, find_folder, find_warmup_faults, make_gpu_function, write_server_files
from .integer_weights import keep_integers
from .measurements import ArrayFunction
from .options import GPU, ExportOptions, Shape
from .signatures import make_signatures, takes_pixels

if TYPE_CHECKING:
    import keras

RUNTIMES: dict[str, dict[str, str]] = {"TensorFlow": {}}
PRECISIONS: dict[str, str] = {}
DEFAULT = "serving_default"
TOLERANCE = 1e-2        # between signatures, whose graphs round differently; a wrong preprocessing is far off

_IGNORED = ("Const", "Identity", "NoOp", "Placeholder")     # operations that compute nothing


def write(model: keras.Model, path: pathlib.Path, options: ExportOptions) -> None:
    """Writes `model` with all signatures that `make_signatures` gives it; for GPU servers with one."""
    if options.target == GPU:
        function = make_gpu_function(model, options)
        _save(_list_variables(model), choose_folder(path, options.layout), {DEFAULT: function})
        write_server_files(model, path, options)
    else:
        # TensorFlow has no kernels of integers: what is rounded is only stored as integers.  A model that was
        # trained for int8 keeps its floats, as a last bit of a kernel can move a value to the next level.
        if options.quantize is not None:
            call, variables = keep_integers(model)
        else:
            call, variables = partial(model, training=False), _list_variables(model)
        _save(variables, path, make_signatures(model, options, call))


def write_for_converter(model: keras.Model, path: pathlib.Path, shape: Shape) -> None:
    """Writes `model` as one function of float images, for another format's converter to read."""
    import tensorflow as tf
    images = tf.TensorSpec(shape, model.inputs[0].dtype, name="images")
    function = tf.function(lambda images: {"scores": model(images, training=False)}, [images],
                           autograph=False)
    _save(_list_variables(model), path, {DEFAULT: function})


def _list_variables(model: keras.Model) -> list[Any]:
    return [variable.value for variable in model.variables]


def _save(variables: list[Any], path: pathlib.Path, functions: dict[str, Any]) -> None:
    import tensorflow as tf
    # not keras.export.ExportArchive, which stores every variable twice (Keras 3.15)
    module = tf.Module()
    module.variables_ = variables
    module.functions_ = list(functions.values())
    tf.saved_model.save(module, str(path), signatures=functions)


def load(path: pathlib.Path, threads: int = 1) -> tuple[ArrayFunction, Shape]:
    """Opens a folder: a function of float images, and their shape.  `threads` are TensorFlow's own."""
    import tensorflow as tf
    signatures = tf.saved_model.load(str(find_folder(path))).signatures
    serve = signatures[DEFAULT] if DEFAULT in signatures else signatures["serve"]   # of the first versions
    (name, spec), = serve.structured_input_signature[1].items()

    def run(images: np.ndarray) -> np.ndarray:
        inputs = np.round(images).astype(np.uint8) if spec.dtype == tf.uint8 else images
        outputs = serve(**{name: tf.constant(inputs, spec.dtype)})
        return outputs.get("scores", next(iter(outputs.values()))).numpy()
    return run, tuple(spec.shape)


def find_faults(path: pathlib.Path, options: ExportOptions) -> list[str]:
    """Finds XLA in the graph, which a server without XLA cannot run, and signatures that disagree.

    For GPU servers it is the other way round: all must be compiled, and answer the requests for warming up.
    """
    graph = _read_graph(path)
    names = [node.op for node in _iterate_nodes(graph)
             if node.op.startswith("Xla") or node.attr[XLA_ATTRIBUTE].b]
    names += [f.signature.name for f in graph.library.function if f.attr[XLA_ATTRIBUTE].b]
    if options.target == GPU:
        if not any(f.attr[XLA_ATTRIBUTE].b for f in graph.library.function):
            return ["nothing in it is compiled by XLA"]
        return find_warmup_faults(find_folder(path), options.batch_sizes)
    if names:
        return [f"{', '.join(sorted(set(names)))} must be compiled by XLA, which servers refuse"]
    return _find_disagreements(path, options)


def _find_disagreements(path: pathlib.Path, options: ExportOptions) -> list[str]:
    """Signatures for pixels or files that answer otherwise than the default one on the prepared images."""
    import tensorflow as tf
    preprocessing = options.preprocessing
    if preprocessing is None or not takes_pixels(options):
        return []
    height, width = preprocessing.size
    shape = (options.shape[0] or 2, height + 3, width + 9, options.shape[3] or 3)
    pixels = np.random.RandomState(0).randint(0, 256, shape, "uint8")
    files = tf.stack([tf.io.encode_png(image) for image in pixels])

    signatures = tf.saved_model.load(str(path)).signatures
    (name, spec), = signatures[DEFAULT].structured_input_signature[1].items()
    expected = signatures[DEFAULT](**{name: tf.cast(preprocessing.transform(pixels), spec.dtype)})
    arguments = {"serving_uint8": {"pixels": tf.constant(pixels)}, "serving_bytes": {"image_bytes": files}}
    outputs = {name: signatures[name](**values) for name, values in arguments.items() if name in signatures}

    def compute_difference(output: Any) -> float:
        scores, expected_scores = (np.asarray(o["scores"], "float32") for o in (output, expected))
        return compute_relative_difference(scores, expected_scores)
    return [f"{name} disagrees with {DEFAULT}" for name, output in outputs.items()
            if not compute_difference(output) <= TOLERANCE]


def count_operators(path: pathlib.Path) -> dict[str, int]:
    """Counts the nodes of each operation in the graph of all signatures, the most frequent first."""
    operations = [node.op for node in _iterate_nodes(_read_graph(path))]
    return dict(Counter(name for name in operations if name not in _IGNORED).most_common())


def count_cpu_operators(path: pathlib.Path) -> dict[str, dict[str, int]]:
    """Counts nothing: SavedModels have no delegates."""
    return {}


def _read_graph(path: pathlib.Path) -> Any:
    return parse_saved_model((find_folder(path) / "saved_model.pb").read_bytes()).meta_graphs[0].graph_def


def _iterate_nodes(graph: Any) -> Iterator[Any]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def get_versions() -> dict[str, str]:
    """Returns the version of the package that writes and runs the folder."""
    return {"tensorflow": importlib.metadata.version("tensorflow")}
