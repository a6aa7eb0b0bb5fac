"""A net is found in the spelling of its builder too, which is that of the documentation."""
import pytest

import reskeras
from reskeras import catalog, cli


def test_show(capsys):
    printed = []
    for name in ("ResNet50", "resnet50"):
        assert cli.main(["show", name]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] and printed[0].startswith("ResNet50: resnet50, ")
    assert cli.main(["show", "ResNet50D", "--diff", "ResNet50V1_5"]) == 0
    assert "stem" in capsys.readouterr().out


def test_every_builder():
    for builder, name in catalog.list_builders().items():
        assert catalog.find_variant(builder) == (getattr(reskeras, builder), "", {})
        assert getattr(reskeras, builder).name == name


def test_with_a_checkpoint():
    assert catalog.find_variant("ResNet50V1_5.a1_in1k") == (reskeras.ResNet50V1_5, "a1_in1k", {})
    with pytest.raises(ValueError, match="unknown net 'ResNet5O'; did you mean 'resnet50'"):
        catalog.find_variant("ResNet5O")
