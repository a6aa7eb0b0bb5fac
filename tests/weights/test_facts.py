"""The table against the collected facts, where these are available: what each source published."""
import json

import pytest

from reskeras.weights.table import list_checkpoints


@pytest.fixture(scope="module")
def facts(external_file):
    """What is published of a checkpoint, by its URL."""
    return {fact["url"]: fact for fact in json.loads(external_file("weights.json").read_text())["weights"]}


def test_every_row_is_as_published(facts):
    """Fact by fact; what a source does not say is null there, and the table's own convention."""
    known, checked = facts, 0
    for w in list_checkpoints():
        if w.source in ("reskeras", "kerashub"):      # KerasHub publishes no crop and no accuracy
            continue
        fact = known[w.url.replace(f"/resolve/{w.revision}/", "/resolve/main/") if w.revision else w.url]
        found = {
            "row": w.variant,
            "dataset": w.dataset,
            "num_classes": w.classes,
            "include_top": w.include_top,
            "mean": list(w.mean),
            "std": list(w.std),
            "interpolation": w.interpolation,
            "crop_pct": w.crop_pct,
            "test_crop_pct": w.test_crop_pct,
            "crop_mode": w.crop_mode,
            "label_offset": w.label_offset or None,
            "input_size": [w.channels, w.input_size, w.input_size],
            "test_input_size": [w.channels, w.test_input_size, w.test_input_size],
        }
        for field, value in found.items():
            if fact[field] is not None:
                assert value == fact[field], (w.id, field)
                checked += 1
        measured = [fact["top1"], *(e["top1"] for e in fact["eval"])]
        assert {w.top1, w.test_top1} <= {*measured, None}, w.id
        assert (fact["license"] or "").lower().startswith(w.license) and bool(w.license) == bool(
            fact["license"]
        ), w.id
        full = fact["sha256_full"]
        assert not (full and w.sha256) or full == w.sha256, w.id
    assert checked > 2500


def test_what_is_left_out_is_said(facts):
    """Google's .h5 twins, files that the same source replaced, and nets that are no variant of ours."""
    urls = {w.url for w in list_checkpoints()}
    sources = {
        "timm-hub",
        "timm-url",
        "torchvision-url",
        "keras-applications",
        "keras-applications (tf_keras only)",
        "resnest-release",
        "akamaster-cifar",
        "chenyaofo-cifar",
        "google-bit",
    }
    left = [f for f in facts.values() if f["url"] not in urls and f["source_kind"] in sources]
    unknown = [
        f["id"] for f in left if f["row"] and not (f["source_kind"] == "google-bit" and f["format"] == "h5")
    ]
    assert unknown == []
    assert len([f for f in left if f["format"] == "h5"]) == 18
