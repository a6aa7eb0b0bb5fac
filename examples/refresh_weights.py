"""Brings reskeras/weights/table.json up to date with timm's metadata:

    python examples/refresh_weights.py              # needs timm: sizes, crops, licenses, new checkpoints
    python examples/refresh_weights.py --hub        # and the hub: sha256 and commit of every file there

It prints what changed.  It changes no default and no published accuracy, and removes no checkpoint: that is
done by hand.
"""
from __future__ import annotations

import argparse
import json

from reskeras.catalog import find_variant, list_source_names
from reskeras.files import write_text
from reskeras.variants import VARIANTS
from reskeras.weights.table import TABLE_FILE, make_table_entry

# The first word of a timm tag -> where its recipe is described.
STRIKES_BACK = "ResNet strikes back, arXiv:2110.00476, "
RECIPES = {
    **{name: STRIKES_BACK + name.upper()
       for name in ("a1", "a1h", "a2", "a3", "ah", "b1k", "b2k", "c1", "c2", "c3", "d")},
    "ra": "RandAugment, RMSProp", "ra2": "RandAugment, RMSProp, 2nd",
    "ra4": "MobileNetV4's, arXiv:2404.10518",
    "racm": "RandAugment, CutMix, Mixup", "ram": "RandAugment, AugMix", "am": "AugMix, arXiv:1912.02781",
    "bt": "Bag of tricks, arXiv:1812.01187", "gluon": "Gluon's bag of tricks, arXiv:1812.01187",
    "tv": "torchvision, the first", "tv2": "torchvision, the second",
    "fb_wsl": "Instagram hashtags, arXiv:1805.00932", "fb_ssl": "semi-supervised, arXiv:1905.00546",
    "fb_swsl": "semi-weakly supervised, arXiv:1905.00546", "miil": "Alibaba MIIL, arXiv:2104.10972",
    "tf": "the authors', TensorFlow", "tf_ens_adv": "ensemble adversarial training, arXiv:1705.07204",
    "goog": "Big Transfer, arXiv:1912.11370", "goog_distilled": "distilled, arXiv:2106.05237",
    "goog_teacher": "the teacher of arXiv:2106.05237", "sw": "Swin's, arXiv:2103.14030",
    "bamboo": "Bamboo, arXiv:2203.07845"}
LABELS = {1000: "imagenet-1k", 11821: "imagenet-12k", 21843: "imagenet-21k"}


def get_recipe(tag: str) -> str:
    """The recipe of a timm tag: that of its longest known beginning."""
    known = [(len(name), recipe) for name, recipe in RECIPES.items() if f"{tag}_".startswith(f"{name}_")]
    return max(known, default=(0, ""))[1]


def write_table(entries: list[dict]) -> None:
    """Writes the table, a line for each checkpoint."""
    lines = ",\n".join(json.dumps(make_table_entry(entry), ensure_ascii=False) for entry in entries)
    write_text(TABLE_FILE, f"[\n{lines}\n]\n")


def make_entry(architecture: str, tag: str, config) -> dict:
    """A line of the table from timm's pretrained configuration."""
    variant, _, spec_fields = find_variant(f"timm/{architecture}")
    pixels = "tf" if tuple(config.mean) == (0.5, 0.5, 0.5) else "torch"
    if pixels != variant.spec.pixels:
        spec_fields = {**spec_fields, "pixels": pixels}
    classes = config.num_classes or 0
    hub = {"repo": f"timm/{architecture}.{tag}", "file": "model.safetensors", "format": "safetensors"}

    return {
        "variant": variant.name, "tag": tag, "id": f"timm/{architecture}.{tag}",
        "spec_fields": spec_fields, "pixels": pixels,
        **(hub if config.hf_hub_id else {"url": config.url, "format": "pth"}),
        "include_top": classes > 0, "classes": classes, "labels": LABELS.get(classes, ""),
        "label_offset": config.label_offset or 0, "license": config.license or "",
        "input_size": config.input_size[1],
        "test_input_size": (config.test_input_size or config.input_size)[1],
        "mean": config.mean, "std": config.std, "interpolation": config.interpolation,
        "crop_pct": config.crop_pct, "test_crop_pct": config.test_crop_pct, "crop_mode": config.crop_mode,
        "recipe": get_recipe(tag),
    }


def read_timm_entries() -> dict[str, dict]:
    """timm's checkpoints of every net that is one of ours, by id."""
    try:
        from timm.models import get_pretrained_cfg, is_model, list_pretrained
    except ImportError as error:
        raise SystemExit(f"timm's table is read from timm ({error}): pip install timm") from None

    architectures = {name.partition("/")[2] for name in list_source_names() if name.startswith("timm/")}
    entries = {}
    for name in list_pretrained():
        architecture, _, tag = name.partition(".")
        if architecture in architectures and is_model(architecture):
            entries[f"timm/{name}"] = make_entry(architecture, tag, get_pretrained_cfg(name))
    return entries


def read_hub_fields(entry: dict) -> dict:
    """The sha256 and the commit of a file of the hub."""
    from huggingface_hub import HfApi
    info = HfApi().model_info(entry["repo"], files_metadata=True)
    lfs = next(f.lfs for f in info.siblings or () if f.rfilename == entry["file"])
    return {"sha256": lfs.sha256, "revision": info.sha}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hub", action="store_true", help="ask the hub for checksums")
    options = parser.parse_args()

    entries = {entry["id"]: entry for entry in json.loads(TABLE_FILE.read_text(encoding="utf-8"))}
    for name, new in read_timm_entries().items():
        old = entries.get(name)
        entries[name] = {**(old or {"dataset": new["tag"].rpartition("_")[2]}), **new}
        if old is None or make_table_entry(old) != make_table_entry(entries[name]):
            print("new" if old is None else "changed", name)

    if options.hub:
        for entry in entries.values():
            if entry.get("repo"):
                entry.update(read_hub_fields(entry))

    order = list(VARIANTS)
    write_table(sorted(entries.values(), key=lambda entry: order.index(entry["variant"])))


if __name__ == "__main__":
    main()
