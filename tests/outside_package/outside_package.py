"""A package of somebody else: an attention, a mixer, a normalization, an activation and an augmentation.

Each is registered with Keras; nothing of reskeras is imported.
"""
import keras
import tensorflow as tf
from keras import layers, ops

register = keras.saving.register_keras_serializable("outside_package")


@register
class ChannelScale(layers.Layer):
    """Multiplies each channel by a weight."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")

    def call(self, x):
        return x * self.scale

    def compute_output_shape(self, shape):
        return shape


@register
class Centering(layers.Layer):
    """Subtracts the mean of the channels at each position, and multiplies by gamma."""

    def __init__(self, gamma_initializer="ones", **kwargs):
        super().__init__(**kwargs)
        self.gamma_initializer = gamma_initializer

    def build(self, shape):
        self.gamma = self.add_weight(shape=(shape[-1],), initializer=self.gamma_initializer, name="gamma")

    def call(self, x):
        return (x - ops.mean(x, axis=-1, keepdims=True)) * self.gamma

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "gamma_initializer": self.gamma_initializer}


def scale_channels(x, spec, name):
    """An attention."""
    return ChannelScale(name=f"{name}_scale")(x)


def depthwise(x, spec, plan, stride):
    """A mixer: a depthwise and a 1x1 convolution."""
    x = layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False,
                               name=f"{plan.name}_depth")(x)
    x = layers.Conv2D(plan.filters, 1, name=f"{plan.name}_point")(x)
    return layers.ReLU(name=f"{plan.name}_relu")(x)


@register
def gated_relu(x):
    """An activation."""
    return ops.relu(x) * ops.sigmoid(x)


@register
def invert(x, seed, probability=0.5):
    """An augmentation: the negative of an image."""
    return tf.where(tf.random.stateless_uniform([], seed) < probability, 255.0 - tf.cast(x, tf.float32),
                    tf.cast(x, tf.float32))
