"""int8: images to calibrate on, ranges of tensors, and models that are trained with fake quantization."""
