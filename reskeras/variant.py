"""A row of the table: a name, a Spec, and a builder with the signature of keras.applications."""
from __future__ import annotations

import inspect
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .spec import InceptionSpec, Spec, override
from .weights.table import default_tag

if TYPE_CHECKING:
    import keras

OWN = "the row's own"


@dataclass(frozen=True)
class Variant:
    """One net.  Calling it builds the model; `sources` are the names other packages have for the same structure."""
    name: str
    spec: Spec | InceptionSpec
    family: str
    sources: tuple[str, ...] = ()
    builder: str = field(default="", compare=False)     # the name it is assigned to

    def __call__(self, include_top: bool = True, weights: str | os.PathLike[str] | None = OWN, input_tensor: Any = None,
                 input_shape: tuple[int | None, ...] | None = None, pooling: str | None = None, classes: int | None = None,
                 classifier_activation: Any = "softmax", include_preprocessing: bool = False, name: str | None = None,
                 **overrides: Any) -> keras.Model:
        """Builds the net as a functional keras.Model on float images (N, H, W, C).

        Arguments:
            include_top: whether to end in average pool, dropout and classifier.
            weights: None (random), a tag such as "imagenet", or the path of a .safetensors, .h5, .weights.h5 or .keras file.
                The row's default weights where it has any, else None.
            input_tensor: a Keras tensor to build on, instead of a new input.
            input_shape: (height, width, channels); height and width may be None.  The row's own size by default.
            pooling: without the top: None (a feature map), "avg" or "max".
            classes: size of the classifier; the row's own by default.
            classifier_activation: of the classifier; None gives logits.
            include_preprocessing: whether the model takes RGB pixels in 0..255.
            name: of the model; changes no layer's name.
            **overrides: any field of `reskeras.spec.Spec`, such as drop_path_rate=0.1 or output_stride=16.
        Raises: ValueError for a bad value, TypeError for an unknown argument (it names the nearest).
        """
        from .build import build
        spec = override(self.spec, overrides)
        chosen = default_tag(self.name) if weights is OWN else weights
        return build(spec, include_top=include_top, weights=chosen, input_tensor=input_tensor, input_shape=input_shape,
                     pooling=pooling, classes=classes, classifier_activation=classifier_activation,
                     include_preprocessing=include_preprocessing, name=name or self.name, row=self.name)

    @property
    def __name__(self) -> str:
        return self.builder or self.name

    @property
    def __signature__(self) -> inspect.Signature:
        own = {"weights": default_tag(self.name), "classes": self.spec.classes, "name": self.name}
        known = inspect.signature(type(self).__call__)
        parameters = [p.replace(default=own.get(p.name, p.default)) for p in list(known.parameters.values())[1:]]
        return known.replace(parameters=parameters)

    def __repr__(self) -> str:
        return f"<reskeras.{self.builder or self.name}: {self.family}>"


def variant(name: str, spec: Spec | InceptionSpec, family: str, sources: str | None = None) -> Variant:
    """A row.  `sources`: "timm/x torchvision/x"; by default timm's net of the same name."""
    return Variant(name, spec, family, tuple((f"timm/{name}" if sources is None else sources).split()))
