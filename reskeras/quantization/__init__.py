"""int8: images to calibrate on, ranges of tensors, and models that are trained with fake quantization."""
import keras  # noqa: F401  Keras first: importing it registers our layers, which imports from this package
