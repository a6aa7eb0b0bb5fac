"""The classifiers of keras.applications that no net of the table is: other families, to compare with.

`compare`, `cost`, `page` and `benchmark` take them by the name "keras/VGG16".  Keras builds them, with random
weights; nothing is downloaded.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import catalog
from .._keras_private import build_without_values
from ..errors import nearest

if TYPE_CHECKING:
    import keras

PREFIX = "keras/"
_PAGE, _V3 = "keras.io/api/applications", "docstring of keras.applications.MobileNetV3Large"


@dataclass(frozen=True)
class KerasNet:
    """A net of keras.applications, its cost for one image of its size, and its published accuracy.

    Args:
        function: the name of the function that builds it.
        size: pixels on a side.
        params: trainable parameters, as `reskeras.cost` counts them.
        macs: multiply-accumulates, likewise.
        top1: percent of the validation images of ImageNet-1k.
        data: what its weights were trained on.
        source: where the accuracy is published.
    """

    function: str
    size: int
    params: int
    macs: int
    top1: float
    data: str = "in1k"
    source: str = _PAGE

    @property
    def name(self) -> str:
        return PREFIX + self.function

    def build(self, size: tuple[int, int] | None = None, has_values: bool = True) -> keras.Model:
        """Builds the net with random weights.

        Args:
            size: (height, width) of the images; by default the net's own.
            has_values: whether the weights have values; without values the net takes no memory.

        Raises:
            ValueError: if Keras says that the images are too small.
        """
        import keras
        build = getattr(keras.applications, self.function)
        shape = (*(size or (self.size, self.size)), 3)
        if has_values:
            return build(weights=None, input_shape=shape)
        with build_without_values():
            return build(weights=None, input_shape=shape)


KERAS_NETS = {net.name: net for net in (
    KerasNet("VGG16", 224, 138_357_544, 15_470_264_320, 71.3),
    KerasNet("VGG19", 224, 143_667_240, 19_632_062_464, 71.3),
    KerasNet("InceptionV3", 299, 23_817_352, 5_713_216_096, 77.9),
    KerasNet("Xception", 299, 22_855_952, 8_357_403_496, 79.0),
    KerasNet("MobileNet", 224, 4_231_976, 568_740_352, 70.4),
    KerasNet("MobileNetV2", 224, 3_504_872, 300_774_272, 71.3),
    KerasNet("MobileNetV3Small", 224, 2_542_856, 56_510_400, 68.1, source=_V3),
    KerasNet("MobileNetV3Large", 224, 5_483_032, 216_589_760, 75.6, source=_V3),
    KerasNet("DenseNet121", 224, 7_978_856, 2_834_161_664, 75.0),
    KerasNet("DenseNet169", 224, 14_149_480, 3_359_843_328, 76.2),
    KerasNet("DenseNet201", 224, 20_013_928, 4_291_365_888, 77.3),
    KerasNet("NASNetMobile", 224, 5_289_978, 563_638_816, 74.4),
    KerasNet("NASNetLarge", 331, 88_753_150, 23_783_414_658, 82.5),
    KerasNet("EfficientNetB0", 224, 5_288_548, 385_814_752, 77.1),
    KerasNet("EfficientNetB1", 240, 7_794_184, 686_802_832, 79.1),
    KerasNet("EfficientNetB2", 260, 9_109_994, 993_561_872, 80.1),
    KerasNet("EfficientNetB3", 300, 12_233_232, 1_827_141_392, 81.6),
    KerasNet("EfficientNetB4", 380, 19_341_616, 4_393_771_024, 82.9),
    KerasNet("EfficientNetB5", 456, 30_389_784, 10_266_384_752, 83.6),
    KerasNet("EfficientNetB6", 528, 43_040_704, 19_067_593_536, 84.0),
    KerasNet("EfficientNetB7", 600, 66_347_960, 37_745_884_192, 84.3),
    KerasNet("EfficientNetV2B0", 224, 7_139_704, 718_086_176, 78.7),
    KerasNet("EfficientNetV2B1", 240, 8_141_052, 1_196_819_360, 79.8),
    KerasNet("EfficientNetV2B2", 260, 10_096_086, 1_697_542_832, 80.5),
    KerasNet("EfficientNetV2B3", 300, 14_358_406, 3_011_458_816, 82.0),
    KerasNet("EfficientNetV2S", 384, 21_458_488, 8_365_617_152, 83.9),
    KerasNet("EfficientNetV2M", 480, 54_139_356, 24_582_460_384, 85.3),
    KerasNet("EfficientNetV2L", 480, 118_515_272, 56_079_699_008, 85.7),
    KerasNet("ConvNeXtTiny", 224, 28_589_128, 4_455_531_264, 81.3),
    KerasNet("ConvNeXtSmall", 224, 50_223_688, 8_683_712_256, 82.3),
    KerasNet("ConvNeXtBase", 224, 88_591_464, 15_354_729_472, 85.3, "in21k->in1k"),
    KerasNet("ConvNeXtLarge", 224, 197_767_336, 34_361_433_600, 86.3, "in21k->in1k"),
    KerasNet("ConvNeXtXLarge", 224, 350_196_968, 60_921_030_656, 86.7, "in21k->in1k"),
)}


def find_keras_net(name: str) -> KerasNet | None:
    """The net of keras.applications that a name means.

    Args:
        name: such as "keras/VGG16".

    Returns:
        None for every name that means a net of the table, or nothing.

    Raises:
        ValueError: for "keras/VGG61" and "VGG16"; the message has the nearest name.
    """
    if name in KERAS_NETS:
        return KERAS_NETS[name]
    functions = {net.function.lower(): net.name for net in KERAS_NETS.values()}
    suggestion = functions.get(name.lower().removeprefix(PREFIX))
    if suggestion:
        raise ValueError(f"unknown net {name!r}; did you mean {suggestion!r}?")

    if name.partition(".")[0] in KERAS_NETS:
        raise ValueError(f"unknown net {name!r}; its published weights are not loaded: expected "
                         f"{name.partition('.')[0]!r} alone")
    known = [*KERAS_NETS, *(source for source in catalog.list_source_names() if source.startswith(PREFIX))]
    if name.startswith(PREFIX) and name.partition(".")[0] not in known:
        raise ValueError(f"unknown net {name!r}{nearest(name, known)}; keras.applications has "
                         + ", ".join(known))
    return None
