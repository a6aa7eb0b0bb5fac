"""`keras.applications.resnet50` with the net of this package, see `reskeras.resnet`."""
from .resnet import ResNet50 as ResNet50
from .resnet import decode_predictions as decode_predictions, preprocess_input as preprocess_input
