"""A row of the table: a name, a Spec, and a builder with the signature of keras.applications."""
from __future__ import annotations

import inspect
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .spec import InceptionSpec, Spec, override
from .weights.table import Checkpoint, get_default_weights, find_checkpoint

if TYPE_CHECKING:
    import keras

DEFAULT_WEIGHTS = "the row's own"


@dataclass(frozen=True)
class Variant:
    """One net.  Calling it builds the model; `sources` are the names other packages have for the same structure."""
    name: str
    spec: Spec | InceptionSpec
    family: str
    sources: tuple[str, ...] = ()
    builder: str = field(default="", compare=False)     # the name it is assigned to

    def __call__(self, include_top: bool = True, weights: str | os.PathLike[str] | Checkpoint | None = DEFAULT_WEIGHTS,
                 input_tensor: Any = None, input_shape: tuple[int | None, ...] | None = None,
                 pooling: str | None = None, classes: int | None = None,
                 classifier_activation: Any = "softmax", include_preprocessing: bool = False, name: str | None = None,
                 **overrides: Any) -> keras.Model:
        """Builds the net as a functional keras.Model on float images (N, H, W, C).

        Arguments:
            include_top: whether to end in average pool, dropout and classifier.
            weights: None (random), "imagenet" (the row's default), another tag of the row's published checkpoints
                (`reskeras.list_weights`), or the path of a .safetensors, .h5, .weights.h5, .keras, .npz or .pth file.
                "imagenet" where the row has that, else None.
            input_tensor: a Keras tensor to build on, instead of a new input.
            input_shape: (height, width, channels); height and width may be None.  The checkpoint's or the row's own size by
                default.  For other channels than its own the checkpoint's first convolution is adapted.
            pooling: without the top: None (a feature map), "avg" or "max".
            classes: size of the classifier; the checkpoint's or the row's own by default.  With another one than the
                checkpoint's the classifier starts at random.
            classifier_activation: of the classifier; None gives logits.
            include_preprocessing: whether the model takes RGB pixels in 0..255.
            name: of the model; changes no layer's name.
            **overrides: any field of `reskeras.spec.Spec`, such as drop_path_rate=0.1 or output_stride=16.
        Raises: ValueError for a bad value, TypeError for an unknown argument (it names the nearest); for published weights
            OSError where they cannot be had, ImportError where only PyTorch could read them.
        """
        from .build import build
        chosen = find_checkpoint(self.name, get_default_weights(self.name) if weights is DEFAULT_WEIGHTS else weights)
        if isinstance(chosen, Checkpoint):     # the checkpoint's own net, head and image, unless something else is asked for
            overrides = {**chosen.spec_fields, **overrides}
            classes = (chosen.classes or None) if classes is None else classes
            if input_tensor is None and input_shape is None:
                input_shape = (chosen.input_size, chosen.input_size, chosen.channels)
        spec = override(self.spec, overrides, inspect.signature(type(self).__call__).parameters)
        return build(spec, include_top=include_top, weights=chosen, input_tensor=input_tensor, input_shape=input_shape,
                     pooling=pooling, classes=classes, classifier_activation=classifier_activation,
                     include_preprocessing=include_preprocessing, name=name or self.name)

    def publish(self, builder: str, title: str) -> None:
        """Gives the row the name it is assigned to, so that help() and tools take it for the function that it serves as."""
        text = f"{builder}: row {self.name!r}; {title}.\n\n{inspect.getdoc(type(self).__call__)}"
        for attribute, value in (("builder", builder), ("__name__", builder), ("__qualname__", builder),
                                 ("__module__", f"{__package__}.variants"), ("__doc__", text)):
            object.__setattr__(self, attribute, value)

    def __reduce__(self):
        return self.builder or super().__reduce__()     # a global's name: a copy or a pickle is the one row again

    @property
    def __signature__(self) -> inspect.Signature:
        own = {"weights": get_default_weights(self.name), "classes": self.spec.classes, "name": self.name}
        known = inspect.signature(type(self).__call__)
        parameters = [p.replace(default=own.get(p.name, p.default)) for p in list(known.parameters.values())[1:]]
        return known.replace(parameters=parameters)

    def __repr__(self) -> str:
        return f"<reskeras.{self.builder or self.name}: {self.family}>"


def variant(name: str, spec: Spec | InceptionSpec, family: str, sources: str | None = None) -> Variant:
    """A row.  `sources`: "timm/x torchvision/x"; by default timm's net of the same name."""
    return Variant(name, spec, family, tuple((f"timm/{name}" if sources is None else sources).split()))
