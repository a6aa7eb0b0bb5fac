"""Finding nets: other packages' names, filters, right spellings, the command line."""
import csv
import json
import pathlib
import subprocess
import sys

import pytest

import reskeras
from reskeras import catalog, cli, variants
from reskeras.blocks.ops import make_divisible
from reskeras.spec import Spec, find_differences, override

FACTS = pathlib.Path(__file__).parent / "facts" / "variants.csv"


def test_other_packages_names_are_those_of_the_facts():
    for line in csv.DictReader(FACTS.open(newline="")):
        if line["row"]:
            for name in filter(None, (n.strip() for n in line["timm_name"].split(";"))):
                assert catalog.find_variant(f"timm/{name}")[0].name == line["row"]
            if line["torchvision_name"]:
                assert catalog.find_variant(f"torchvision/{line['torchvision_name']}")[0].name == line["row"]
            if line["count_source"].startswith("keras"):
                assert catalog.find_variant(f"keras/{line['keras_name']}")[0].name == line["row"]


@pytest.mark.parametrize("name, variant", [("timm/resnet50", "resnet50v1_5"),
                                           ("torchvision/resnet50", "resnet50v1_5"),
                                       ("keras/ResNet50", "resnet50"),
                                       ("akamaster/resnet20", "cifar_resnet20"),
                                       ("timm/resnest50d", "resnest50"), ("resnet50", "resnet50")])
def test_find(name, variant):
    assert catalog.find_variant(name) == (variants.VARIANTS[variant], "", {})
    assert catalog.find_variant(f"{name}.a1_in1k")[1] == "a1_in1k"


def test_legacy_pool_differs():
    """The SENet release's nets differ from timm's resnet.py in the pool, which no file of weights shows."""
    assert catalog.find_variant("timm/legacy_seresnext50_32x4d")[2] == {"pool": "max_ceil"}
    assert catalog.find_variant("timm/seresnext50_32x4d")[2] == {}


@pytest.mark.parametrize("wrong, right", [("ResNeXt50", "resnext50_32x4d"), ("ResNet50V15", "resnet50v1_5"),
                                          ("resnest50d", "resnest50"), ("timm/resnet5", "resnet50v1_5"),
                                          ("resnet_50d", "resnet50d"), ("wide_resnet50", "wide_resnet50_2"),
                                          ("torchvision/resnet50d", "resnet50d")])
def test_right_spelling(wrong, right):
    with pytest.raises(ValueError, match=f"did you mean '{right}'"):
        reskeras.create(wrong)
    with pytest.raises(AttributeError, match=f"did you mean '{variants.VARIANTS[right].builder}'"):
        getattr(reskeras, wrong)


def test_list_models():
    assert reskeras.list_models() == list(variants.VARIANTS)
    assert reskeras.list_models("ResNeSt50*")[0] == "resnest50"
    small = reskeras.list_models(family="resnext", max_params=26e6, max_macs=4.3e9)
    assert "resnext50_32x4d" in small and "resnext101_32x4d" not in small
    assert all(catalog.read_costs()[name].params <= 1e6 for name in reskeras.list_models(max_params=1e6))
    with pytest.raises(ValueError, match="'resnext'"):
        reskeras.list_models(family="resnexts")


def test_differences_and_overrides():
    assert find_differences(variants.ResNet50D.spec, variants.ResNet50C.spec) == {"shortcut": ("avg", "conv")}
    assert override(Spec(), {"attention": "se"}).attention == variants.SEResNet50.spec.attention
    with pytest.raises(TypeError, match="did you mean 'drop_path_rate'"):
        override(Spec(), {"drop_path": 0.1})
    with pytest.raises(ValueError, match="did you mean 'bottleneck'"):
        Spec(block="bottlenek")
    for bad in ({"depths": (0, 1, 1, 1)}, {"width": 0}, {"drop_path_rate": 1.0}, {"depths": (1, 1)},
                {"attention": "sse"}, {"form": "sum", "order": "pre"}, {"bn_epsilon": -1}, {"bn_momentum": 5},
                {"activation": None},
                {"stem_norm": "no"}, {"width": float("inf")}, {"output_stride": True}, {"shortcut_kernel": 2},
                {"groups": 64, "reduce_first": 3}, {"zero_init_residual": True, "order": "relu_before_add"},
                {"block": "basic", "groups": 2}, {"mixer": "split", "block": "basic"}):
        with pytest.raises(ValueError):
            Spec(**bad)


@pytest.mark.parametrize("value, divisor, limit, expected",
                         [(64 / 16, 8, 0, 8), (64 / 16, 1, 0, 4), (100, 8, 0.9, 104), (12, 8, 0, 16),
                          (11.9, 8, 0, 8), (11.9, 8, 0.9, 16)])
def test_make_divisible(value, divisor, limit, expected):
    assert make_divisible(value, divisor, round_limit=limit) == expected


def test_command_line(capsys):
    assert cli.main(["list", "resnest1*"]) == 0
    assert capsys.readouterr().out.startswith("resnest14 ")
    assert cli.main(["show", "resnet50d", "--diff", "resnet50c"]) == 0
    assert capsys.readouterr().out.split() == ["shortcut", "avg", "conv"]
    assert cli.main(["show", "timm/resnet50"]) == 0
    assert "25,557,032 parameters" in capsys.readouterr().out
    for wrong in (["show", "resnet_50d"], ["list", "nothing*"]):
        assert cli.main(wrong) == 2
        out, err = capsys.readouterr()
        assert out == "" and len(err.splitlines()) == 1 and err.startswith(f"reskeras {wrong[0]}: ")


def test_no_traceback_from_the_shell():
    done = subprocess.run([sys.executable, "-m", "reskeras.cli", "predict", "x.png", "--model", "resnet5"],
                          capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr and "did you mean" in done.stderr


def test_json_list_of_costs_is_complete():
    assert list(catalog.read_costs()) == list(variants.VARIANTS)
    assert json.dumps([vars(s) for s in catalog.read_costs().values()])


def test_nets_of_keras_that_are_no_residual_nets():
    with pytest.raises(ValueError, match="unknown net 'keras/VGG16'; reskeras builds the residual nets"):
        reskeras.create("keras/VGG16")
