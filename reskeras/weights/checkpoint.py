"""`Checkpoint`: what is known about published weights, one line of the table; imports no framework."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping

HUB = "https://huggingface.co"
_NO_CROP = "its source gives no crop or interpolation: those given here are usual for such nets"
_CONVERTED = "by Kaiming He's release (MIT), converted"
_KERASHUB = ("KerasHub resizes to the input size without antialiasing; the accuracy is that of the weights "
             "before their conversion")
_OTHER_POOL = "the net differs from its variant only in the stem's pool, which no parameter count shows"
# What users should know about a checkpoint, by source, by the source's net, or by id
NOTES = {
    **dict.fromkeys(("keras", "tf_keras", "google", "akamaster", "chenyaofo"), _NO_CROP),
    **dict.fromkeys(("keras/ResNet50", "keras/ResNet101", "keras/ResNet152"), _CONVERTED),
    **dict.fromkeys(("timm/legacy_senet154", "timm/legacy_seresnext50_32x4d",
                     "timm/legacy_seresnext101_32x4d"), _OTHER_POOL),
    "kerashub": _KERASHUB,
    "torchvision": "the license is of torchvision's code; the weights carry none of their own",
    "timm/resnet50.bamboo":
        "trained on Bamboo's classes, but the file has no classifier: the head starts at random",
}


@dataclass(frozen=True)
class Checkpoint:
    """Published weights: their file, the net that they fit, how images are prepared, the published accuracy.

    Args:
        variant: the net, as in `reskeras.list_models()`.
        tag: its name among the checkpoints of the variant.
        id: its name at its source, such as "timm/resnet50.a1_in1k".

        format: the file's format: "safetensors", "h5", "pth", "npz" or "keras".
        url: the file's URL, "" for a file that comes with the package.
        repo: the repository on the Hugging Face hub, "" for files of other hosts.
        file: the file's name in the repository or in the package.
        revision: the commit of the repository, "" if none is known.
        sha256: the file's sha256, "" if it is not known.
        sha256_prefix: the first 8 or 9 digits of the sha256, which are in the file's name; timm's old files
            differ from those on its hub.
        md5: the file's md5, if the source publishes it.
        include_top: whether the file has a classifier.
        spec_fields: Spec fields in which the source's net differs from the variant.
        is_default: whether weights="imagenet" means this one.

        input_size: height and width of an image, in pixels.
        test_input_size: height and width in the published test; `input_size` by default.
        channels: number of channels of an image.
        pixels: how pixels are scaled: "torch" is (x / 255 - mean) / std, "tf" the same with halves, "caffe"
            is BGR and x - mean.
        mean: the mean of each channel.
        std: the deviation of each channel.
        interpolation: "bilinear" or "bicubic".
        crop_pct: the part of the resized image that the crop keeps, in (0, 1].
        test_crop_pct: `crop_pct` in the published test; the same by default.
        crop_mode: "center", "squash" or "border".

        labels: the label set, "" without a classifier.
        classes: the number of classes, 0 without a classifier.
        label_offset: how many classes the file has before the first of the label set ("background").
        dataset: what it was trained on, such as "in21k->in1k": trained on the first, fine-tuned on the
            second.

        license: the SPDX identifier in small letters, "" if no license was published.
        recipe: how it was trained, if that is known.
        top1: accuracy at `top1_size` in percent, on the validation images of the label set.
        top5: likewise, among the five likeliest classes.
        top1_size: height and width of these images, in pixels.
        test_top1: accuracy at `test_input_size`, if that size is different.
        test_top5: likewise.

    Example:
        >>> checkpoint = reskeras.get_weights("resnet50v1_5.a1_in1k")
        >>> checkpoint.license, checkpoint.test_top1
        ('apache-2.0', 81.24)
    """

    variant: str
    tag: str
    id: str
    # the file
    format: str
    url: str = ""
    repo: str = ""
    file: str = ""
    revision: str = ""
    sha256: str = ""
    sha256_prefix: str = ""
    md5: str = ""
    include_top: bool = True
    spec_fields: Mapping[str, Any] = field(default_factory=dict, hash=False)
    is_default: bool = False
    # the image
    input_size: int = 224
    test_input_size: int = 0
    channels: int = 3
    pixels: str = "torch"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bicubic"
    crop_pct: float = 0.875
    test_crop_pct: float = 0.0
    crop_mode: str = "center"
    # the classes
    labels: str = "imagenet-1k"
    classes: int = 1000
    label_offset: int = 0
    dataset: str = "in1k"
    # the publication
    license: str = "apache-2.0"
    recipe: str = ""
    top1: float | None = None
    top5: float | None = None
    top1_size: int = 0
    test_top1: float | None = None
    test_top5: float | None = None

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "test_input_size", self.test_input_size or self.input_size)
        object.__setattr__(self, "test_crop_pct", self.test_crop_pct or self.crop_pct)
        if self.repo and not self.url:
            url = f"{HUB}/{self.repo}/resolve/{self.revision or 'main'}/{self.file}"
            object.__setattr__(self, "url", url)

    @property
    def name(self) -> str:
        """What `create` and `get_weights` take: "resnet50v1_5.a1_in1k"."""
        return f"{self.variant}.{self.tag}"

    @property
    def source(self) -> str:
        """Who published it: "timm", "torchvision", "keras", "google" ..."""
        return self.id.partition("/")[0]

    @property
    def source_net(self) -> str:
        """The source's name of the net: "timm/resnet50"."""
        return self.id.removesuffix(f".{self.tag}")

    @property
    def note(self) -> str:
        """What users should know besides the fields, "" for nothing."""
        return "; ".join(NOTES[key] for key in (self.source, self.source_net, self.id) if key in NOTES)

    @property
    def allows_commercial_use(self) -> bool:
        """Whether its license allows commercial use; False if no license was published."""
        return bool(self.license) and "-nc" not in self.license
