"""TensorFlow's SavedModel: a folder that any TensorFlow program or server runs, without Keras."""
from __future__ import annotations

import importlib.metadata
import pathlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Iterator

import numpy as np

from .._keras_private import XLA_ATTRIBUTE, parse_saved_model
from .report import ArrayFunction, max_relative_difference
from .signatures import make_signatures

if TYPE_CHECKING:
    import keras

    from .formats import Shape
    from .options import ExportOptions

RUNTIMES: dict[str, dict[str, str]] = {"TensorFlow": {}}
DEFAULT = "serving_default"
SAME = 1e-2         # of two graphs that round apart; a wrong preprocessing is far off


def write(model: keras.Model, path: pathlib.Path, job: ExportOptions) -> None:
    """Writes `model` with every signature that can be had of it, see `signatures`."""
    _save(model, path, make_signatures(model, job))


def write_for_converter(model: keras.Model, path: pathlib.Path, shape: Shape) -> None:
    """Writes `model` as one function of float images, for a converter to read."""
    import tensorflow as tf
    given = tf.TensorSpec(shape, model.inputs[0].dtype, name="images")
    _save(model, path, {DEFAULT: tf.function(lambda images: {"scores": model(images, training=False)}, [given],
                                            autograph=False)})


def _save(model: keras.Model, path: pathlib.Path, functions: dict[str, Any]) -> None:
    import tensorflow as tf
    # not keras.export.ExportArchive, which stores every variable twice (Keras 3.15)
    module = tf.Module()
    module.variables_ = [v.value for v in model.variables]
    module.functions_ = list(functions.values())
    tf.saved_model.save(module, str(path), signatures=functions)


def load(path: pathlib.Path, threads: int = 1) -> tuple[ArrayFunction, Shape]:
    """The folder's function on a batch of float images, and the shape that it takes."""
    import tensorflow as tf
    found = tf.saved_model.load(str(path)).signatures
    serve = found[DEFAULT] if DEFAULT in found else found["serve"]      # as this package wrote them at first
    (name, spec), = serve.structured_input_signature[1].items()

    def run(images: np.ndarray) -> np.ndarray:
        answer = serve(**{name: tf.constant(images, spec.dtype)})
        return answer.get("scores", next(iter(answer.values()))).numpy()
    return run, tuple(spec.shape)


def find_faults(path: pathlib.Path, job: ExportOptions) -> list[str]:
    """XLA in the graph, without whose compiler a server could not run it; signatures that do not agree."""
    definition = _read_graph(path)
    bad = [node.op for node in _iterate_nodes(definition) if node.op.startswith("Xla") or node.attr[XLA_ATTRIBUTE].b]
    bad += [f.signature.name for f in definition.library.function if f.attr[XLA_ATTRIBUTE].b]
    found = [f"{', '.join(sorted(set(bad)))} must be compiled by XLA, which servers refuse"] if bad else []
    return found or _disagreements(path, job)


def _disagreements(path: pathlib.Path, job: ExportOptions) -> list[str]:
    """Signatures that answer otherwise on pixels and on files than the default one does on the prepared images."""
    import tensorflow as tf
    if job.preprocessing is None:
        return []
    height, width = job.preprocessing.size
    pixels = np.random.RandomState(0).randint(0, 256, (job.shape[0] or 2, height + 3, width + 9, job.shape[3] or 3), "uint8")
    served = tf.saved_model.load(str(path)).signatures
    (images, spec), = served[DEFAULT].structured_input_signature[1].items()
    expected = served[DEFAULT](**{images: tf.cast(job.preprocessing.transform(pixels), spec.dtype)})["scores"]
    files = tf.stack([tf.io.encode_png(image) for image in pixels])
    answers = {"serving_uint8": served["serving_uint8"](pixels=tf.constant(pixels)),
               "serving_bytes": served["serving_bytes"](image_bytes=files)}
    return [f"{name} disagrees with {DEFAULT}" for name, answer in answers.items()
            if not max_relative_difference(np.asarray(answer["scores"], "float32"), np.asarray(expected, "float32")) <= SAME]


def count_operators(path: pathlib.Path) -> dict[str, int]:
    """Nodes of the graph of all signatures, by operation."""
    dull = ("Const", "Identity", "NoOp", "Placeholder")
    return dict(Counter(node.op for node in _iterate_nodes(_read_graph(path)) if node.op not in dull).most_common())


def _read_graph(path: pathlib.Path) -> Any:
    return parse_saved_model((path / "saved_model.pb").read_bytes()).meta_graphs[0].graph_def


def _iterate_nodes(definition: Any) -> Iterator[Any]:
    yield from definition.node
    for function in definition.library.function:
        yield from function.node_def


def get_versions() -> dict[str, str]:
    return {"tensorflow": importlib.metadata.version("tensorflow")}
