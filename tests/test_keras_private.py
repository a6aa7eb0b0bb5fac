"""Private names of Keras and TensorFlow: a missing one is one clear line; a look for one changes nothing."""
import keras
import pytest

from reskeras import _keras_private


@pytest.mark.parametrize("owner", ["keras.not_a_module", "keras.utils", keras.layers.Dense(1)])
def test_a_missing_name_is_one_clear_line(owner):
    message = r"^keras \d\S+ has no \S+\._gone, which reskeras needs to test; "
    with pytest.raises(RuntimeError, match=message) as error:
        _keras_private._get(owner, "_gone", "keras", "test")
    assert "constraints.txt" in str(error.value) and "\n" not in str(error.value)


def test_the_module_of_functional_models():
    """Found without a change of the names that Keras gives to the caller's next layers."""
    keras.utils.clear_session()
    module = _keras_private.get_functional_module()
    model = keras.Model(image := keras.Input((1,)), keras.layers.Dense(1)(image))
    assert type(model).__module__ == module and model.name == "functional" and model.layers[1].name == "dense"


def test_layers_inside_of_a_layer():
    layer = keras.layers.TimeDistributed(keras.layers.Dense(2))
    names = [type(inner).__name__ for inner in _keras_private.flatten_layers(layer)]
    assert names == ["TimeDistributed", "Dense"]
    function = keras.layers.Lambda(lambda x: x, output_shape=(3,))
    assert _keras_private.get_lambda_output_shape(function) == (3,)
    assert _keras_private.get_lambda_output_shape(keras.layers.Dense(1)) is None


def test_moments_of_an_optimizer():
    variables = [keras.Variable([1.0, 2.0]), keras.Variable([[3.0]])]
    optimizer = keras.optimizers.Lamb()
    optimizer.build(variables)
    assert _keras_private.get_variable_index(optimizer, variables[1]) == 1
    first, second = _keras_private.get_moments(optimizer, variables[1])
    assert first.shape == second.shape == (1, 1)
