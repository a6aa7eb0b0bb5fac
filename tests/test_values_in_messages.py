"""What an error says of the value that was given: one line, with the name of the argument."""
import numpy as np
import pytest

import reskeras
from reskeras.errors import short_repr

PIXELS = np.zeros((2, 16, 16, 3), "uint8")


@pytest.mark.parametrize("value, text", [
    (PIXELS, "<ndarray of shape (2, 16, 16, 3), uint8>"),
    ([PIXELS, "a"], "[<ndarray of shape (2, 16, 16, 3), uint8>, 'a']"),
    ({"x": (PIXELS[0],)}, "{'x': (<ndarray of shape (16, 16, 3), uint8>,)}"),
    ([np.float32(0.5)], "[np.float32(0.5)]")])
def test_arrays_in_containers(value, text):
    assert short_repr(value) == text


def test_one_line_with_the_value_as_it_was_given():
    with pytest.raises(ValueError, match=r"^images=\[<ndarray of .*>, <ndarray .*>\]: expected") as caught:
        reskeras.predict("cifar_resnet20.digits", list(PIXELS))
    assert "\n" not in str(caught.value)
    for value, text in ((None, "None"), (["net.tflite"], r"\['net.tflite'\]")):
        with pytest.raises(ValueError, match=f"^path={text}: expected the path of an exported file"):
            reskeras.verify(value)
