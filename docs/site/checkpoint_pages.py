"""The page of a net's published weights: a card for each checkpoint."""
from __future__ import annotations

import json
import pathlib

from page_pieces import make_code, make_table

from reskeras import catalog
from reskeras.builder import Variant
from reskeras.variants import VARIANTS
from reskeras.weights.checkpoint import Checkpoint
from reskeras.weights.table import get_checkpoints

GOLDEN = pathlib.Path(__file__).parents[2] / "tests" / "golden"
NAMES = json.loads((GOLDEN / "pytorch_names.json").read_text())     # nets of which all tensors are compared


def make_checkpoint_page(net: Variant) -> str:
    """The cards of a net's checkpoints as Markdown."""
    cost = catalog.read_costs()[net.name]
    lines = [f"# Weights of {net.builder}", "",
             f"{cost.params / 1e6:.2f} million parameters, {cost.macs / 1e9:.3f} G multiply-accumulates at "
             f"{net.spec.input_size} pixels. [The family and its other nets](../nets/{net.family}.md), "
             "[all checkpoints](../checkpoints.md).", ""]
    for checkpoint in get_checkpoints(net.name).values():
        lines += [make_card(checkpoint), ""]
    return "\n".join(lines)


def make_index() -> str:
    """The table of all checkpoints as Markdown."""
    rows = [(f"[`{c.name}`](checkpoints/{net.name}.md#{_make_anchor(c)})", c.source, c.dataset,
             c.license or "not given", c.input_size, c.top1 or "")
            for net in VARIANTS.values() for c in get_checkpoints(net.name).values()]
    header = ("checkpoint", "published by", "trained on", "license", "pixels", "top-1 (%)")
    return f"# All {len(rows)} checkpoints\n\n{make_table(header, rows)}\n"


def make_snippet(checkpoint: Checkpoint) -> str:
    """Code that loads a checkpoint and classifies an image."""
    top = "" if checkpoint.include_top else ", include_top=False"
    use = 'reskeras.predict(model, ["image.jpg"])' if checkpoint.include_top else "model.output_shape"
    return f'import reskeras\n\nmodel = reskeras.create("{checkpoint.name}"{top})\nprint({use})'


def make_card(checkpoint: Checkpoint) -> str:
    """The card of a checkpoint as Markdown."""
    facts = {
        "published by": f"{checkpoint.source}, as `{checkpoint.id}`",
        "file": f"<{checkpoint.url}>" if checkpoint.url else "comes with the package",
        "hash": _describe_hash(checkpoint),
        "license": f"`{checkpoint.license}`" if checkpoint.license else "not given",
        "commercial use": "allowed" if checkpoint.allows_commercial_use else "**not allowed, or not known**",
        "trained on": checkpoint.dataset + (f", recipe: {checkpoint.recipe}" if checkpoint.recipe else ""),
        "accuracy as published": _describe_accuracy(checkpoint),
        "image": f"{checkpoint.input_size} x {checkpoint.input_size} pixels, {checkpoint.channels} channels; "
                 f"tested at {checkpoint.test_input_size}",
        "resize and crop": f"{checkpoint.interpolation}, {checkpoint.crop_mode} crop, keeps "
                           f"{checkpoint.crop_pct:g} of the side",
        "pixels": f"mode `{checkpoint.pixels}`, mean {_list_numbers(checkpoint.mean)}, "
                  f"std {_list_numbers(checkpoint.std)}",
        "classes": f"{checkpoint.classes:,} of `{checkpoint.labels}`" if checkpoint.include_top
                   else "none: a feature extractor",
        "checked against": describe_check(checkpoint),
    }
    if checkpoint.note:
        facts["note"] = checkpoint.note
    default = " (default)" if checkpoint.is_default else ""
    return "\n".join([f"## {checkpoint.tag}{default} {{#{_make_anchor(checkpoint)}}}", "",
                      make_table(("", f"`{checkpoint.name}`"), facts.items()), "",
                      make_code(make_snippet(checkpoint))])


def describe_check(checkpoint: Checkpoint) -> str:
    """What the tests of the package compared this checkpoint's net and file with."""
    source_net = checkpoint.source_net.partition("/")[2]
    checks = []
    if any((folder / f"{source_net}.npz").exists() for folder in (GOLDEN, GOLDEN / "more")):
        checks.append(f"outputs of timm's `{source_net}` with given weights, at two sizes")
    if checkpoint.source_net in NAMES:
        checks.append(f"names and shapes of all tensors of `{checkpoint.source_net}`")
    if checkpoint.source == "keras":
        checks.append("outputs of keras.applications in one process with random weights")
    if checkpoint.source == "tf_keras":
        checks.append("tf_keras' ResNetRS in small form, with given weights")
    checks.append("structure, parameters and MACs against other sources; the published file itself is "
                  "compared with its hash when it is loaded" if _has_hash(checkpoint) else
                  "structure, parameters and MACs against other sources; the file has no published hash")
    return "; ".join(checks)


def _has_hash(checkpoint: Checkpoint) -> bool:
    return bool(checkpoint.sha256 or checkpoint.sha256_prefix or checkpoint.md5)


def _describe_hash(checkpoint: Checkpoint) -> str:
    if checkpoint.sha256:
        return f"sha256 `{checkpoint.sha256}`"
    if checkpoint.sha256_prefix:
        return f"sha256 begins with `{checkpoint.sha256_prefix}`"
    return f"md5 `{checkpoint.md5}`" if checkpoint.md5 else "none published"


def _describe_accuracy(checkpoint: Checkpoint) -> str:
    if not checkpoint.top1:
        return "not given"
    top5 = f", top-5 {checkpoint.top5} %" if checkpoint.top5 else ""
    size = f" at {checkpoint.top1_size} pixels" if checkpoint.top1_size else ""
    larger = (f"; top-1 {checkpoint.test_top1} % at {checkpoint.test_input_size} pixels"
              if checkpoint.test_top1 else "")
    return f"top-1 {checkpoint.top1} %{top5}{size}{larger}"


def _list_numbers(numbers: tuple[float, ...]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


def _make_anchor(checkpoint: Checkpoint) -> str:
    return checkpoint.tag.lower().replace(".", "_")
