"""`keras.applications.resnet_v2` with the nets of this package: only the import line of a program changes.

Both functions are those of Keras: pixels to -1 ... 1.  They fit the weights "imagenet".
"""
from keras.applications.resnet_v2 import decode_predictions as decode_predictions
from keras.applications.resnet_v2 import preprocess_input as preprocess_input

from .variants import ResNet50V2 as ResNet50V2, ResNet101V2 as ResNet101V2, ResNet152V2 as ResNet152V2
