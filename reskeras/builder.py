"""A variant: one net of the table.  It has a name and a Spec, and it is a function that builds the model.

`reskeras.ResNet50D` is the `Variant` with the name "resnet50d".  `ResNet50D(weights=..., drop_path_rate=0.1)`

1. finds the checkpoint that `weights` selects (`weights/table.py`),
2. replaces fields of the variant's Spec (`spec.py`): first those in which the checkpoint's net differs,
   then those that the caller gives,
3. calls `build` (`build.py`), which makes the layers and loads the checkpoint into them.
"""
from __future__ import annotations

import inspect
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .spec import InceptionSpec, Spec, override
from .weights.checkpoint import Checkpoint
from .weights.table import get_default_weights, find_checkpoint

if TYPE_CHECKING:
    import keras

DEFAULT_WEIGHTS = "the variant's default"    # "imagenet" if that is published, otherwise None


@dataclass(frozen=True)
class Variant:
    """One net of the table; calling it builds the model.

    Args:
        name: the net's name, such as "resnet50d".
        spec: what the net is made of.
        family: a key of `variants.FAMILIES`.
        sources: the names that other packages have for the same structure, such as "timm/resnet50d".
        builder: the name of the public function, such as "ResNet50D"; `set_builder_name` fills it in.
    """

    name: str
    spec: Spec | InceptionSpec
    family: str
    sources: tuple[str, ...] = ()
    builder: str = field(default="", compare=False)

    def __call__(self, include_top: bool = True,
                 weights: str | os.PathLike[str] | Checkpoint | None = DEFAULT_WEIGHTS,
                 input_tensor: Any = None, input_shape: tuple[int | None, ...] | None = None,
                 pooling: str | None = None, classes: int | None = None,
                 classifier_activation: Any = "softmax", include_preprocessing: bool = False,
                 name: str | None = None, dtype: str | keras.DTypePolicy | None = None,
                 **overrides: Any) -> keras.Model:
        """Builds the net as a functional `keras.Model`.

        The arguments are those of `keras.applications`, then `dtype`, then every field of the net's Spec.

        Args:
            include_top: whether the model ends in average pool, dropout and classifier.
            weights: None for random values; "imagenet" for the default checkpoint; the name of another
                published checkpoint of this net, see `reskeras.list_weights`; or the path of a file, see
                `reskeras.load_weights`.  By default "imagenet" if this net has such
                weights, otherwise None.
            input_tensor: a Keras tensor (N, H, W, C) to build on, instead of a new input.
            input_shape: (height, width, channels) in pixels; a height or width of None takes images of any
                size.  By default the checkpoint's size, or else the net's.  If the number of channels is not
                that of the weights, the first convolution is adapted.
            pooling: what follows the last feature map if `include_top` is False: None for nothing (the
                output is (N, h, w, c)), "avg" or "max" (the output is (N, c)).
            classes: the number of classes; by default that of the checkpoint or file, or else of the net.
                If it is not the checkpoint's, the classifier starts at random.
            classifier_activation: the activation of the classifier; None gives logits.
            include_preprocessing: whether the model scales its images itself.  If True it takes RGB pixels
                from 0 to 255, otherwise the result of `reskeras.get_preprocessing`.
            name: the model's name; layer names do not depend on it.
            dtype: a Keras dtype policy for the layers of this model, such as "mixed_bfloat16"; by default the
                global policy, which this argument does not change.  With a half type the head computes in
                float32.
            **overrides: fields of `reskeras.Spec` to replace, such as `drop_path_rate=0.1` or
                `output_stride=16`; those of `reskeras.InceptionSpec` for the Inception nets.

        Returns:
            The model.  It takes float images (N, H, W, C), channels last.  Its output is (N, classes); for
            include_top=False see `pooling`.  With published weights it knows its preprocessing and the names
            of its classes, see `reskeras.get_metadata`.

        Raises:
            ValueError: for an invalid value of an argument; the message says what was expected.
            TypeError: for an unknown argument; the message suggests the nearest name.
            OSError: if published weights cannot be downloaded or read.

        Example:
            >>> model = reskeras.ResNet50D()                       # with the default weights
            >>> model = reskeras.ResNet50D(weights=None, classes=10, input_shape=(64, 64, 3))
            >>> model = reskeras.ResNet50D(drop_path_rate=0.1, dtype="mixed_bfloat16")
        """
        from .build import build    # imported late: the table of the variants is read without Keras
        default = get_default_weights(self.name)
        checkpoint = find_checkpoint(self.name, default if weights is DEFAULT_WEIGHTS else weights)

        # the checkpoint's net, classes and image size, unless the caller gives others
        if isinstance(checkpoint, Checkpoint):
            overrides = {**checkpoint.spec_fields, **overrides}
            classes = (checkpoint.classes or None) if classes is None else classes
            if input_tensor is None and input_shape is None:
                input_shape = (checkpoint.input_size, checkpoint.input_size, checkpoint.channels)
        elif checkpoint is not None and classes is None and include_top:
            from .weights.load import find_classes      # imported late: the table is read without Keras
            classes = find_classes(checkpoint, self.spec.classes)

        spec = override(self.spec, overrides, inspect.signature(type(self).__call__).parameters)
        return build(spec, include_top=include_top, weights=checkpoint, input_tensor=input_tensor,
                     input_shape=input_shape, pooling=pooling, classes=classes,
                     classifier_activation=classifier_activation, include_preprocessing=include_preprocessing,
                     name=name or self.name, dtype=dtype)

    def set_builder_name(self, builder: str, title: str) -> None:
        """Makes the variant look like a function of that name: to `help`, to IDEs, to `copy` and `pickle`.

        Args:
            builder: the global of `variants.py` that the variant is assigned to, such as "ResNet50D".
            title: what the family is called, in Markdown.
        """
        general = inspect.getdoc(type(self).__call__) or ""
        family = re.sub(r"\[(.+?)\]\(.+?\)", r"arXiv:\1", title)
        text = f"Builds the net {self.name!r}, of the family {family}.\n\n{general}"
        for attribute, value in (("builder", builder), ("__name__", builder), ("__qualname__", builder),
                                 ("__module__", f"{__package__}.variants"), ("__doc__", text)):
            object.__setattr__(self, attribute, value)

    def __reduce__(self) -> Any:
        return self.builder or super().__reduce__()     # the name of a global: a copy is the same object

    @property
    def __signature__(self) -> inspect.Signature:
        """The signature of a call, with the defaults of this net."""
        weights = get_default_weights(self.name)
        defaults = {"weights": weights, "classes": self.spec.classes, "name": self.name}
        general = inspect.signature(type(self).__call__)
        without_self = list(general.parameters.values())[1:]
        return general.replace(parameters=[p.replace(default=defaults.get(p.name, p.default))
                                           for p in without_self])

    def __repr__(self) -> str:
        return f"<reskeras.{self.builder or self.name}: {self.family}>"


def variant(name: str, spec: Spec | InceptionSpec, family: str, sources: str | None = None) -> Variant:
    """Makes a builder for a new net, like those of the table.

    Args:
        name: its name, in small letters.
        spec: what it is made of.
        family: any word for the kind of net; in the table a key of `variants.FAMILIES`.
        sources: the names that other packages have for the same structure, separated by spaces, such as
            "timm/x torchvision/x"; by default timm's net of the same name.

    Returns:
        A function with the arguments of every builder.

    Example:
        >>> spec = reskeras.Spec(depths=(1, 2, 2, 1), attention="se")
        >>> MyNet = reskeras.variant("my_net", spec, "senet", sources="")
        >>> model = MyNet(classes=10)
    """
    return Variant(name, spec, family, tuple((f"timm/{name}" if sources is None else sources).split()))
