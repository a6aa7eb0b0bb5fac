"""The card of a model on the hub (README.md): what the model and its training run know, in Markdown."""
from __future__ import annotations

from typing import Mapping

import keras

from ..errors import make_printable
from ..json_writer import to_json
from ..model_metadata import ModelMetadata, get_class_names
from ..weights.checkpoint import Checkpoint

_MAX_LISTED_CLASSES = 50


def make_model_card(model: keras.Model, repo: str, variant: str, metadata: ModelMetadata,
                    checkpoint: Checkpoint | None, license: str | None,
                    run: Mapping[str, str]) -> str:
    """The text of a card.

    Args:
        model: the model.
        repo: "user/name".
        variant: the net of the table that it is, "" if it is none.
        metadata: the model's.
        checkpoint: the published weights that the model began with, if it did.
        license: the license of the model, None if none is given.
        run: what is known of the training: title -> text.
    """
    front = {"library_name": "keras", "pipeline_tag": "image-classification",
             "tags": ["reskeras", "image-classification"], **({"license": license} if license else {})}
    facts = {"Net": f"`{variant}`" if variant else "not one of reskeras' table",
             "Parameters": f"{model.count_params():,}",
             "Images": " x ".join("any" if side is None else str(side) for side in model.input_shape[1:]),
             **_describe_weights(checkpoint), **_describe_preprocessing(metadata),
             "License": license or "not given", **run}
    lines = ["---", *(f"{key}: {to_json(value, indent=None)}" for key, value in front.items()), "---", "",
             f"# {repo}", "", *(f"* **{title}**: {_flatten(text)}" for title, text in facts.items()), "",
             "## Use", "", "```python", "import reskeras", "",
             f'model = reskeras.from_pretrained("hf://{repo}")',
             *_make_example(metadata), "```", "",
             "`model.keras` is the model, which Keras opens too; `model.safetensors` are its weights."]
    names = get_class_names(model)
    if names and len(names) <= _MAX_LISTED_CLASSES:
        lines += ["", "## Classes", "", *(f"{i}. {_flatten(name)}" for i, name in enumerate(names))]
    return "\n".join(lines) + "\n"


def _make_example(metadata: ModelMetadata) -> list[str]:
    """Lines of Python that use the model."""
    if metadata.preprocessing is None:
        return ["scores = model.predict(images)      # prepared as in the model's training"]
    return ['print(reskeras.predict(model, ["image.jpg"]))']


def _describe_weights(checkpoint: Checkpoint | None) -> dict[str, str]:
    if checkpoint is None:
        return {}
    accuracy = f", {checkpoint.top1} % top-1 as published" if checkpoint.top1 else ""
    return {"Began with the weights": f"`{checkpoint.name}` ({checkpoint.id}, "
            f"license: {checkpoint.license or 'not given'}{accuracy})"}


def _describe_preprocessing(metadata: ModelMetadata) -> dict[str, str]:
    if metadata.preprocessing is None:
        return {"Preprocessing": "not known"}
    inside = "; the model scales its pixels itself" if metadata.includes_preprocessing else ""
    return {"Preprocessing": f"`{metadata.preprocessing}`{inside}"}


def _flatten(text: str) -> str:
    """One line without characters that end or control a line of the card."""
    return make_printable(" ".join(text.split()))
