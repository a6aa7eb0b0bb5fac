"""The model in Keras, which an exported file is compared with, and which of its values are compared."""
from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np

from ..graph.equivalence import remove_final_activation
from ..graph.graph import Graph
from .float32_error import measure_float32_error
from .formats import BatchRunner
from .keras_file import make_array_function
from .prepare import PreparedModel

MAX_LOGIT_IMAGES = 32       # whose logits are compared: the kernels that show those of an int8 file are slow


@dataclass(frozen=True)
class KerasReference:
    """The functions of the model in Keras."""

    model: keras.Model              # the prepared model
    outputs: BatchRunner
    logits: BatchRunner | None      # the outputs before the last softmax; None if there is none
    logits_graph: Graph | None      # of the same
    compared_values: str            # a key of comparison.COMPARED_VALUES

    def measure_float32_error(self, images: np.ndarray) -> float:
        """The error of float32 itself on these images: of the logits, if the model has some."""
        if self.logits is None or self.logits_graph is None:
            return measure_float32_error(Graph.of(self.model), images)
        return measure_float32_error(self.logits_graph, images, self.logits(images))


def make_reference(prepared: PreparedModel, has_integer_scores: bool) -> KerasReference:
    """Chooses what is compared: the outputs; of a softmax its logarithm, or the logits of a file of integers.

    Args:
        prepared: the model.
        has_integer_scores: whether the file's softmax computes in integers.
    """
    shape = tuple(prepared.model.input_shape)
    outputs = BatchRunner(make_array_function(prepared.reference), shape)
    if not _ends_in_softmax(prepared.model):
        return KerasReference(prepared.model, outputs, None, None, "outputs")
    graph = remove_final_activation(Graph.of(prepared.model))
    logits = BatchRunner(make_array_function(graph.build()), shape)
    compared_values = "logits" if has_integer_scores else "log-probabilities"
    return KerasReference(prepared.model, outputs, logits, graph, compared_values)


def _ends_in_softmax(model: keras.Model) -> bool:
    last = model.layers[-1]
    activation = getattr(last, "activation", None)
    return isinstance(last, keras.layers.Softmax) or activation is keras.activations.softmax
