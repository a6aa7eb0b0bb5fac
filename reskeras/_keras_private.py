"""All private names of Keras and TensorFlow that this package uses, each with the reason.

They have no public counterpart, and a later version may move or rename them.  So each is looked up in one
function here, and only when it is needed.  The function falls back to something public, or raises an error
that says which name is missing in which version.

No framework is imported before a function here is called.
"""
from __future__ import annotations

import contextlib
import importlib
from typing import Any, Callable, Iterator


def _get(owner: Any, name: str, package: str, purpose: str) -> Any:
    """Returns a private attribute of an object or a module.

    Raises:
        RuntimeError: if this version of the package does not have it.
    """
    try:
        return getattr(importlib.import_module(owner) if isinstance(owner, str) else owner, name)
    except (ImportError, AttributeError) as error:
        place = owner if isinstance(owner, str) else getattr(owner, "__name__", type(owner).__name__)
        version = f"{package} {getattr(importlib.import_module(package), '__version__', '')}".strip()
        raise RuntimeError(f"{version} has no {place}.{name}, which reskeras needs to {purpose}; use a "
                           "version that constraints.txt of reskeras names") from error


# Keras: models and layers

def call_while_cloning(model_class: type[Any], function: Callable[[Any, list[Any]], None]) -> None:
    """Makes `keras.models.clone_model` call a function before it makes the clone of a model of a class.

    `clone_model` gives the clone inputs, outputs and name only, whatever else the model has, and calls no
    public method of it.  It makes the outputs by a private method, which runs the layers on symbolic tensors.
    In a version of Keras without that method, the function is not called.

    Args:
        model_class: a class of functional models.
        function: is called with the model and the outputs of its clone, symbolic tensors.
    """
    import keras

    def _run_through_graph(self: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = super(model_class, self)._run_through_graph(*args, **kwargs)
        symbolic = [x for x in keras.tree.flatten(outputs) if isinstance(x, keras.KerasTensor)]
        if symbolic:        # else the model is being called on values
            function(self, symbolic)
        return outputs

    model_class._run_through_graph = _run_through_graph


def get_functional_module() -> str:
    """The module of Keras' functional models.

    A saved `ModelWithMetadata` names it, so that Keras loads the file without this package.  Keras has read
    files with this name since version 3.0.  It is not looked up in a model: making one while this package is
    imported fails in some versions, and counts in the names that Keras gives to the caller's layers.
    """
    return "keras.src.models.functional"


def flatten_layers(layer: Any) -> list[Any]:
    """Lists a layer and all layers inside it, such as those of a Bidirectional or a TimeDistributed.

    Only a model's `layers` are public; other layers keep inner layers in a different attribute in each class.
    """
    return list(_get(layer, "_flatten_layers", "keras", "read a layer that has others inside")())


def find_call(tensor: Any) -> tuple[Any, list[Any]] | None:
    """The layer that returned a symbolic tensor, and the tensors that it was called on.

    Only a whole model's graph is public.  Falls back to None, as for a tensor that is part of no graph.
    """
    layer, index, _ = getattr(tensor, "_keras_history", (None, 0, 0))
    nodes = getattr(layer, "_inbound_nodes", None)
    return (layer, list(nodes[index].input_tensors)) if nodes else None


def get_wrapped_arguments(value: Any) -> dict[str, Any]:
    """The arguments that a Loss or Metric of Keras passes to its function, such as `delta` of Huber.

    The `get_config` of some of these classes leaves them out.  Falls back to none, as of other objects.
    """
    return dict(getattr(value, "_fn_kwargs", {}))


def get_lambda_output_shape(layer: Any) -> Any:
    """The `output_shape` argument of a Lambda layer.

    `get_config` has only its bytecode, from which Graph cannot rebuild a function that uses other functions.
    Falls back to None, as if the argument had not been given.
    """
    return getattr(layer, "_output_shape", None)


@contextlib.contextmanager
def build_without_values() -> Iterator[list[Any]]:
    """Inside the block new variables have shapes and no values, so that a net of any size takes no memory.

    After the block the list that it gives has the new variables, even if the block failed.

    Keras lists such variables, and would give them values at the end of the next `StatelessScope` of anyone.
    They are taken off this list, which is private.
    """
    import keras
    module, purpose = "keras.src.backend.common.global_state", "build a net without values"
    get_state = _get(module, "get_global_attribute", "keras", purpose)
    set_state = _get(module, "set_global_attribute", "keras", purpose)
    before = list(get_state("uninitialized_variables", None) or ())
    made: list[Any] = []
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield made
    finally:
        made += (get_state("uninitialized_variables", None) or [])[len(before):]
        set_state("uninitialized_variables", before)


@contextlib.contextmanager
def compute_in_float64() -> Iterator[None]:
    """Inside the block layers of dtype float64 compute in float64, whatever the backend.

    Under JAX and PyTorch, Keras takes float32 wherever two dtypes meet, as JAX does by default.  The table
    that says so is private.  JAX and Keras' own constants (an epsilon) need a switch each, which are public.

    Raises:
        RuntimeError: if Keras no longer has this table.
    """
    import keras
    if keras.config.backend() == "tensorflow":
        yield
        return
    table = _get("keras.src.backend.common.dtypes", "BIT64_TO_BIT32_DTYPE", "keras",
                 "compare two models in float64")
    before, floatx = table["float64"], keras.config.floatx()
    with contextlib.ExitStack() as stack:
        if keras.config.backend() == "jax":
            import jax
            stack.enter_context(jax.enable_x64(True))
        stack.callback(keras.config.set_floatx, floatx)
        stack.callback(table.__setitem__, "float64", before)
        keras.config.set_floatx("float64")
        table["float64"] = "float64"
        yield


# Keras: training

def skip_symbolic_build(model_class: Any) -> Any:
    """Class decorator: `fit` does not build metrics and loss from a batch that is reduced over replicas.

    That reduction fails under MultiWorkerMirroredStrategy.  The class calls `build_symbolically` instead, on
    one replica's part of the batch.
    """
    _get(model_class, "_maybe_symbolic_build", "keras", "train under tf.distribute")

    def do_nothing(self: Any, iterator: Any = None, data_batch: Any = None) -> None:
        """Replaces Keras' method of this name."""
    model_class._maybe_symbolic_build = do_nothing
    return model_class


def build_symbolically(model: Any, batch: Any) -> None:
    """Builds the metrics and the loss of a compiled model from the shapes of a batch, unless they are built.

    Otherwise Keras builds them inside the first training step, where a strategy allows no new variables.
    """
    _get(model, "_symbolic_build", "keras", "train under tf.distribute")(data_batch=batch)


def get_output_loss_metrics(model: Any) -> list[Any]:
    """The metrics in which a compiled model counts the loss of each output; [] if it has one output.

    `metrics` lists them among others, from which nothing public tells them apart.
    """
    loss = _get(model, "_compile_loss", "keras", "report the loss of each output")
    return [] if loss is None else list(loss.metrics)


def get_variable_index(optimizer: Any, variable: Any) -> int:
    """The index of a variable among those of its optimizer; `update_step` gets only the variable.
    """
    return int(_get(optimizer, "_get_variable_index", "keras", "decay some of the weights")(variable))


def get_moments(optimizer: Any, variable: Any) -> tuple[Any, Any]:
    """The first and second moment of a variable's gradient in Keras' LAMB, for the `update_step` of ours."""
    index = get_variable_index(optimizer, variable)
    return (_get(optimizer, "_momentums", "keras", "train with LAMB")[index],
            _get(optimizer, "_velocities", "keras", "train with LAMB")[index])


# TensorFlow: graphs

def freeze_function(function: Any) -> Any:
    """Makes a concrete function's variables constants, so that runtimes can fold them."""
    return _get("tensorflow.python.framework.convert_to_constants", "convert_variables_to_constants_v2",
                "tensorflow", "read which kernels run")(function)


@contextlib.contextmanager
def collect_graphs() -> Iterator[Callable[[], Any]]:
    """Inside the block TensorFlow keeps the graphs that run.

    It yields a function that returns the graphs since its last call, each with its partitions after all
    optimizations.  The public profiler names the kernels, but not the graph that they are in.
    """
    def context(name: str) -> Any:
        return _get("tensorflow.python.eager.context", name, "tensorflow", "read which kernels run")
    context("enable_graph_collection")()
    try:
        yield lambda: context("export_run_metadata")().function_graphs
    finally:
        context("disable_graph_collection")()


def parse_saved_model(data: bytes) -> Any:
    """The protocol buffer of a `saved_model.pb`, without the variables that `tf.saved_model.load` loads."""
    return _get("tensorflow.core.protobuf.saved_model_pb2", "SavedModel", "tensorflow",
                "check a SavedModel").FromString(data)


XLA_ATTRIBUTE = "_XlaMustCompile"   # marks a node or function of a graph that needs XLA's compiler


# TensorFlow: tf.data service

def get_cancellable_execution() -> tuple[Any, Any, Any]:
    """CancellationManager, context and execute_with_cancellation: they let another thread end a call."""
    return tuple(_get(f"tensorflow.python.eager.{name}", attribute, "tensorflow", "read from a data service")
                 for name, attribute in (("cancellation", "CancellationManager"), ("context", "context"),
                                         ("execute", "execute_with_cancellation")))


def register_python_function(token: str, function: Callable[..., Any]) -> None:
    """Lets graphs of other processes call a function by a token; `tf.numpy_function` chooses its own."""
    registry = _get("tensorflow.python.ops.script_ops", "_py_funcs", "tensorflow", "answer a tf.data service")
    registry._funcs[token] = function


# TensorFlow Lite

def get_tflite_schema() -> Any:
    """The module that reads and writes .tflite files: LiteRT's, or else TensorFlow's private one."""
    try:
        return importlib.import_module("ai_edge_litert.schema_py_generated")
    except ImportError:
        return get_tensorflow_tflite_schema()


def get_tensorflow_tflite_schema() -> Any:
    """TensorFlow's module that reads and writes the flat buffer of a .tflite file."""
    _get("tensorflow.lite.python.schema_py_generated", "Model", "tensorflow", "read a .tflite file")
    return importlib.import_module("tensorflow.lite.python.schema_py_generated")


def set_one_scale_for_dense(converter: Any, has_one_scale: bool) -> None:
    """Gives dense layers one scale for their weights, or one for each output.

    Only this attribute of the converter says so; without it old microcontrollers compute nonsense.
    """
    converter._experimental_disable_per_channel_quantization_for_dense_layers = has_one_scale


def calibrate_only(converter: Any) -> None:
    """Makes `converter.convert()` return the calibrated float file, which is not quantized yet.

    Ranges can be changed, and layers left in float, only between the two steps.  The converter reads this
    attribute itself; a version that does not know it quantizes at once, and then `quantize_calibrated` fails.
    """
    converter._experimental_calibrate_only = True


def quantize_calibrated(model: bytes, **options: Any) -> bytes:
    """The second step of int8 conversion, on the file that `calibrate_only` gives.

    The public QuantizationDebugger calls it too, but cannot choose the type of input and output.
    """
    quantize = _get("tensorflow.lite.python.convert", "mlir_quantize", "tensorflow", "quantize to int8")
    return bytes(quantize(model, **options))


def get_tflite_calibrator(model: bytes) -> Any:
    """What quantizes to int16x8: the public converter takes no .tflite file, which we change first."""
    make = _get("tensorflow.lite.python.optimize.calibrator", "Calibrator", "tensorflow",
                "quantize to int16x8")
    return make(model)


def get_interpreter_operations(interpreter: Any) -> list[dict[str, Any]]:
    """The operators of a TFLite interpreter's plan: name, inputs, outputs; those of a delegate too."""
    return list(_get(interpreter, "_get_ops_details", "tensorflow",
                     "read the operators that a .tflite file runs")())
