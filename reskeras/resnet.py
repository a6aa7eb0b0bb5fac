"""`keras.applications.resnet` with the nets of this package: only the import line of a program changes.

Both functions are those of Keras: pixels to BGR, minus ImageNet's mean.  They fit the weights "imagenet".
"""
from keras.applications.resnet import decode_predictions as decode_predictions
from keras.applications.resnet import preprocess_input as preprocess_input

from .variants import ResNet50 as ResNet50, ResNet101 as ResNet101, ResNet152 as ResNet152
