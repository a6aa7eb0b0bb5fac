"""Small nets of KerasHub, one of each kind of block and stem, and the values of their variables.

The values follow from the names, by the rule of golden_rule.py, so that files of tests need no weights.
"""
import numpy as np
from golden_rule import tensor

# variant -> arguments of KerasHub's ResNetBackbone; its first stage always has 64 planes
SIZES = {"stackwise_num_filters": [64, 16, 24], "stackwise_num_blocks": [2, 1, 2],
         "stackwise_num_strides": [1, 2, 2]}
CONV7 = {"input_conv_filters": [64], "input_conv_kernel_sizes": [7]}
DEEP = {"input_conv_filters": [32, 32, 64], "input_conv_kernel_sizes": [3, 3, 3]}
NETS = {
    "resnet18": {**CONV7, "block_type": "basic_block"},
    "resnet50v1_5": {**CONV7, "block_type": "bottleneck_block"},
    "resnetv2_18": {**CONV7, "block_type": "basic_block", "use_pre_activation": True},
    "resnetv2_50": {**CONV7, "block_type": "bottleneck_block", "use_pre_activation": True},
    "resnet18_vd": {**DEEP, "block_type": "basic_block_vd"},
    "resnet50d": {**DEEP, "block_type": "bottleneck_block_vd"},
}
# the same sizes as fields of a Spec
FIELDS = {"widths": (64, 16, 24), "depths": (2, 1, 2), "strides": (1, 2, 2)}
CLASSES, PIXELS = 5, (48, 61)       # sides of the images; an odd one shows where zeros are added
_LEAVES = {"kernel": "weight", "gamma": "weight", "beta": "bias", "bias": "bias",
           "moving_mean": "running_mean", "moving_variance": "running_var"}


def make_value(layer, variable, shape):
    """The value of a variable, by KerasHub's name of its layer."""
    name = f"{layer}.{variable}.{_LEAVES[variable]}"
    if len(shape) < 2:
        return tensor(name, tuple(shape))
    return np.moveaxis(tensor(name, (shape[-1], *shape[:-1])), 0, -1)


def list_variables(layer, shapes):
    """The names of a layer's variables in the order in which Keras writes them."""
    if layer.endswith("_bn"):
        return ["gamma", "beta", "moving_mean", "moving_variance"]
    return ["kernel", "bias"][:len(shapes)]
