"""`keras.applications.inception_resnet_v2` with the net of this package: only the import line changes.

Both functions are those of Keras: pixels to -1 ... 1.  They fit the weights "imagenet".
"""
from keras.applications.inception_resnet_v2 import decode_predictions as decode_predictions
from keras.applications.inception_resnet_v2 import preprocess_input as preprocess_input

from .variants import InceptionResNetV2 as InceptionResNetV2
