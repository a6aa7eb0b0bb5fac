"""The table of published weights: every checkpoint is of a variant, every name finds it."""
import json
import pathlib
import re
from urllib.parse import urlsplit

import pytest

import reskeras
from reskeras import catalog
from reskeras.spec import override
from reskeras.variants import VARIANTS
from reskeras.weights import fetch
from reskeras.weights.checkpoint import Checkpoint
from reskeras.weights.table import (
    FILE_SUFFIXES,
    TABLE_FILE,
    make_table_entry,
    get_default_checkpoint,
    get_default_weights,
    find_checkpoint,
    get_weights,
    list_checkpoints,
)

DEFAULTS = pathlib.Path(__file__).parents[1] / "golden" / "default_weights.json"
KINDS = {
    "timm": 196,
    "torchvision": 19,
    "keras": 18,
    "tf_keras": 22,
    "resnest": 11,
    "akamaster": 6,
    "chenyaofo": 8,
    "google": 22,
    "kerashub": 32,
    "reskeras": 1,
}


@pytest.mark.parametrize("weights", list_checkpoints(), ids=lambda w: w.id)
def test_row(weights):
    variant = VARIANTS[weights.variant]
    spec = override(variant.spec, weights.spec_fields)
    assert getattr(reskeras, variant.builder) is variant
    of_net = catalog.find_variant(weights.source_net)
    assert catalog.find_variant(weights.id) == of_net[:1] + (weights.tag,) + of_net[2:]
    assert (
        get_weights(weights.id)
        is get_weights(weights.name)
        is find_checkpoint(weights.variant, weights.tag)
        is weights
    )
    assert spec.pixels == weights.pixels or weights.source == "reskeras"
    assert (
        f".{weights.format}" in FILE_SUFFIXES
        and weights.classes != 1
        and bool(weights.classes) == weights.include_top
    )
    assert re.fullmatch("([0-9a-f]{64})?", weights.sha256) and re.fullmatch(
        "([0-9a-f]{8,9})?", weights.sha256_prefix
    )
    assert re.fullmatch("([0-9a-f]{32})?", weights.md5)
    assert not weights.sha256 or weights.sha256.startswith(weights.sha256_prefix)
    assert weights.sha256_prefix in weights.url
    assert 0 < weights.crop_pct <= 1 and 0 < weights.test_crop_pct <= 1
    assert 16 <= weights.input_size <= weights.test_input_size
    assert all(len(v) == weights.channels for v in (weights.mean, weights.std))
    assert weights.source == "reskeras" or urlsplit(weights.url).scheme == "https"
    assert all(value is None or 40 < value < 100
               for value in (weights.top1, weights.top5, weights.test_top1, weights.test_top5))


def test_the_table_is_whole_and_in_its_smallest_form():
    count = {
        source: sum(w.source == source for w in list_checkpoints())
        for source in {w.source for w in list_checkpoints()}
    }
    assert count == KINDS
    lines = json.loads(TABLE_FILE.read_text())
    assert [make_table_entry(vars(w)) | {"url": ""} for w in list_checkpoints()] == [
        line | {"url": ""} for line in lines
    ]
    assert (
        len({w.name.lower() for w in list_checkpoints()})
        == len({w.id.lower() for w in list_checkpoints()})
        == len(list_checkpoints())
    )
    assert len({fetch.get_cache_path(w) for w in list_checkpoints() if w.url}) == len(list_checkpoints()) - 1


def test_defaults_are_fixed(accept):
    """What weights="imagenet" means changes in a major version only."""
    found = {
        variant: get_default_checkpoint(variant).id for variant in VARIANTS if get_default_checkpoint(variant)
    }
    if accept:
        DEFAULTS.write_text(json.dumps(found, indent=0) + "\n")
    assert found == json.loads(DEFAULTS.read_text())
    assert sum(w.is_default for w in list_checkpoints()) == len(found)


@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if get_default_checkpoint(variant)])
def test_default(variant):
    weights = get_default_checkpoint(variant)
    assert weights.labels == "imagenet-1k" and weights.include_top and weights.allows_commercial_use
    keras = any(source.startswith("keras/") for source in VARIANTS[variant].sources)
    assert (weights.source == "keras") == keras
    if weights.format == "pth":  # only where nobody has the net in another format
        assert not any(
            w.format == "safetensors" and w.allows_commercial_use and w.classes == 1000
            for w in list_checkpoints()
            if w.variant == variant
        )
    assert get_default_weights(variant) == "imagenet" and find_checkpoint(
        variant, "imagenet"
    ) is weights is get_weights(variant)


def test_no_default_where_there_is_none():
    assert (
        get_default_weights("cifar_resnet20")
        is get_default_weights("plainnet18")
        is get_default_weights("resnext101_32x16d")
        is None
    )
    with pytest.raises(ValueError, match="its default; its tags: fb_wsl_ig1b_ft_in1k, fb_ssl"):
        reskeras.ResNeXt101_32x16d(weights="imagenet")


def test_list_weights():
    assert len(reskeras.list_weights()) == len(list_checkpoints())
    names = reskeras.list_weights("resnet50*", dataset="in1k", license="apache-2.0")
    assert (
        "resnet50v1_5.a1_in1k" in names
        and "resnet50.keras_in1k" in names
        and "resnet50v1_5.tv_in1k" not in names
    )
    assert reskeras.list_weights("timm/resnet50.*") == [
        w.name for w in list_checkpoints() if w.source_net == "timm/resnet50"
    ]
    assert reskeras.list_weights(commercial=False, license="cc-by-nc-*") == [
        w.name for w in list_checkpoints() if "-nc-" in w.license
    ]
    assert (
        reskeras.list_weights("cifar_*", dataset="cifar100", source="chenyaofo")[0]
        == "cifar_resnet20b.cifar100"
    )
    assert reskeras.list_weights("nothing*") == []
    for wrong, near in (
        ({"license": "apache2"}, "apache-2.0"),
        ({"dataset": "imagenet"}, ""),
        ({"source": "tim"}, "timm"),
    ):
        with pytest.raises(ValueError, match=f"expected one of .*{near}"):
            reskeras.list_weights(**wrong)


def test_get_weights():
    weights = reskeras.get_weights("timm/resnet50.a1_in1k")
    assert (
        isinstance(weights, Checkpoint)
        and weights.name == "resnet50v1_5.a1_in1k"
        and weights.source_net == "timm/resnet50"
    )
    assert (weights.mean, weights.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (weights.input_size, weights.test_input_size, weights.crop_pct, weights.test_crop_pct) == (
        224,
        288,
        0.95,
        1.0,
    )
    assert (weights.interpolation, weights.license) == ("bicubic", "apache-2.0")
    assert (weights.top1, weights.test_top1) == (80.382, 81.24)
    assert reskeras.get_weights("torchvision/resnet50.IMAGENET1K_V2").top1 == 80.858
    assert reskeras.get_weights("timm/legacy_senet154").spec_fields == {"pool": "max_ceil"}


def test_notes():
    from reskeras.weights.checkpoint import NOTES
    keys = {key for w in list_checkpoints() for key in (w.source, w.source_net, w.id)}
    assert set(NOTES) <= keys
    assert get_weights("timm/resnet50.a1_in1k").note == ""
    assert "no classifier" in get_weights("timm/resnet50.bamboo").note
    assert all("pool" in w.note for w in list_checkpoints() if "pool" in w.spec_fields)


@pytest.mark.parametrize(
    "name, says",
    [
        ("resnet50v1_5.racm_in1k", "that tag is of seresnext50_32x4d, wide_resnet50_2"),
        ("resnet50v1_5.a1_in1q", "did you mean 'resnet50v1_5.a1_in1k'"),
        ("timm/resnet50.a1_in2k", "did you mean 'resnet50v1_5.a1_in1k'"),
        ("resnet50v15.a1_in1k", "did you mean 'resnet50v1_5.a1_in1k'"),
        ("timm/resnet50v.a1_in1k", "did you mean 'timm/resnet50"),
        ("xyzzy", "list_weights"),
        (50, "expected a string"),
    ],
)
def test_unknown_names(name, says):
    with pytest.raises(ValueError, match=says):
        reskeras.get_weights(name)


def test_a_tag_of_another_net():
    with pytest.raises(ValueError, match="that tag is of seresnext50_32x4d, wide_resnet50_2"):
        reskeras.create("resnet50d", weights="racm_in1k")
    with pytest.raises(
        ValueError,
        match="'resnet18.a1_in1k': expected weights of resnet50v1_5; these are weights of resnet18",
    ):
        reskeras.ResNet50V1_5(weights="timm/resnet18.a1_in1k")
    with pytest.raises(ValueError, match="pool.*senet154.gluon_in1k belongs to .timm/senet154."):
        reskeras.create("timm/legacy_senet154", weights="gluon_in1k")
    with pytest.raises(ValueError, match="expected None, a tag"):
        reskeras.ResNet50D(weights=3)
