"""Who fuses what: first what nobody may fuse, then what the runtimes do on small nets, then the table of
docs/optimize.md.
"""
import pathlib
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from tiny import tiny

import reskeras
from reskeras.commands.fusion_report import (FUSIONS, FusionCount, count_fusion, count_fusions,
                                             describe_who_fuses,
                                              format_markdown, format_report, make_caption)
from reskeras.commands.runtime_kernels import COUNTED, make_kernel, read_kernels, read_tflite_operators

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "optimize.md"
BEGIN = "<!-- pytest -m slow tests/commands/test_fusion_report.py --accept -->\n"
END = "\n<!-- end of fusions -->"
BY_NAME = {fusion.name: fusion for fusion in FUSIONS}


def chain(*parts):
    x = image = keras.Input((12, 12, 3))
    for part in parts:
        x = part(x)
    return keras.Model(image, x)


def counts(model, name):
    """How often each runtime does a fusion; those that are not installed left out."""
    return {by: sum(map(BY_NAME[name].counts, ran)) for by, ran in read_kernels(model).items()
            if not missing(by, ran)}


def missing(by, ran):
    if isinstance(ran, str):
        assert (by, ran) == ("OpenVINO", "openvino is not installed")
    return isinstance(ran, str)


def test_a_convolution_with_two_readers_keeps_its_own_output():
    image = keras.Input((12, 12, 3))
    x = layers.Conv2D(4, 3, padding="same")(image)
    both = keras.Model(image, [layers.ReLU()(x), layers.Conv2D(2, 1)(x)])
    assert set(counts(both, "conv + ReLU").values()) == {0}


def test_an_activation_before_the_convolution_is_not_fused():
    assert set(counts(chain(layers.ReLU(), layers.Conv2D(4, 3)), "conv + ReLU").values()) == {0}


def test_the_model_stays_as_it_is():
    model = chain(layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU())
    before = [w.copy() for w in model.get_weights()]
    read_kernels(model)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("use_bias, left", [(True, 1), (False, 0)])
def test_tensorflow_folds_only_where_there_is_no_bias(use_bias, left):
    result = counts(chain(layers.Conv2D(4, 3, use_bias=use_bias), layers.BatchNormalization(), layers.ReLU()),
                   "BN folding")
    others = {by: 0 for by in result if by in ("TFLite", "OpenVINO")}
    assert result == {"Keras graph": 1, "TF graph": 1, "TF frozen": left} | others


def test_a_bias_of_zeros_does_not_hide_a_fusion():
    result = counts(chain(layers.Conv2D(4, 3), layers.ReLU()), "conv + ReLU")
    assert result.pop("Keras graph") == 0 and set(result.values()) == {1}


def test_a_pool_is_a_kernel_of_its_own():
    model = chain(layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D())
    for by, ran in read_kernels(model).items():
        if not missing(by, ran):
            assert [k.does for k in ran if "pool" in k.does] == [{"pool"}], by


@pytest.mark.parametrize("size, strides", [(12, 2), (12, 1), (3, 2)])
def test_a_stride_is_seen_in_every_runtime(size, strides):
    """Of a valid convolution too, and where its output is one cell, which would be the same without a stride.
    """
    image = keras.Input((size, size, 3))
    model = keras.Model(image, layers.Conv2D(4, 3, strides=strides)(image))
    assert set(counts(model, "topology compression").values()) == {int(strides > 1)}


@pytest.fixture(scope="module")
def resnet50():
    model = tiny("resnet50")
    optimized, report = reskeras.optimize(model, check=False)
    return model, optimized, report, count_fusions(model, optimized, report)


def test_resnet50(resnet50):
    """Five blocks: one stride meets an identity shortcut, which gets a pool; the others a projection, which
    takes the stride.
    """
    model, optimized, report, result = resnet50
    onednn = any("_Mkl" in k.name for k in read_kernels(optimized)["TF graph"])
    add, pad = (5, 1) if onednn else (0, 5)
    expected = {        # Keras, TF graph, TF frozen, TFLite
        "BN folding": [(20, 0), (20, 0), (20, 0), (0, 0)],
        "conv + ReLU": [(0, 11), (0, 11), (0, 11), (11, 11)],
        "conv + ReLU + pool": [(0, 0)] * 4,
        "conv + add + ReLU": [(0, 0), (0, add), (0, add), (0, 0)],
        "multi-branch (siblings)": [(20, 20)] * 4,
        "topology compression": [(7, 6)] * 4,
        "kernel-1 pooling": [(0, 1)] * 4,
        "padding": [(2, 5), (pad if onednn else 2, pad), (pad if onednn else 2, pad), (2, 5)]}
    for name, pairs in expected.items():
        own = {r.runtime: r for r in result if r.fusion.name == name}
        assert [(r.before, r.after) for by, r in own.items() if by != "OpenVINO"] == pairs, name
        assert list(own) == list(COUNTED)


def test_openvino_moves_the_strides_itself(resnet50):
    pytest.importorskip("openvino")
    result = {r.fusion.name: (r.before, r.after) for r in resnet50[3] if r.runtime == "OpenVINO"}
    assert result == {"BN folding": (0, 0), "conv + ReLU": (11, 11), "conv + ReLU + pool": (0, 0),
                     "conv + add + ReLU": (5, 5),
                     "multi-branch (siblings)": (20, 20), "topology compression": (5, 6),
                     "kernel-1 pooling": (1, 1),
                     "padding": (1, 1)}


def test_the_file_that_export_writes_has_the_same_operators(tmp_path):
    model = tiny("resnet50")
    reskeras.export(model, tmp_path / "net.tflite", optimize=False)
    assert sorted(k.name for k in read_tflite_operators((tmp_path / "net.tflite").read_bytes())) == \
        sorted(k.name for k in read_kernels(model)["TFLite"])


def test_passes_are_counted_from_the_report(resnet50):
    model, optimized, report, result = resnet50
    lines = {line.split(" | ")[0].strip("| "): line
             for line in format_markdown(result, model, report).splitlines()}
    assert "fold_bn (20 layers)" in lines["BN folding"]
    assert "fuse_activation (11 layers)" in lines["conv + ReLU"]
    assert "after optimize: TF graph, TF frozen" in lines["conv + ReLU"]
    assert "push_stride (6 layers)" in lines["topology compression"]
    siblings = lines["multi-branch (siblings)"]
    assert "merge_branches, which is not a default pass, would merge 8 convolutions" in siblings
    assert "not done by any of these runtimes" in lines["conv + ReLU + pool"]


def test_without_openvino(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    model = chain(layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU())
    optimized, report = reskeras.optimize(model, check=False)
    text = format_report(model, optimized, report)
    assert "openvino is not installed" in text and "–" in text and "fold_bn (1 layers)" in text


def test_another_models_report():
    model = chain(layers.Conv2D(4, 3, name="a"), layers.BatchNormalization())
    optimized, report = reskeras.optimize(model, check=False)
    with pytest.raises(ValueError, match="the report is of 'other'"):
        format_report(model, optimized, replace(report, model="other"))


def test_the_verdict_follows_the_counts():
    model = chain(layers.Conv2D(4, 3), layers.ReLU())
    _, report = reskeras.optimize(model, passes=[], check=False)
    both, alone = make_kernel("c", "conv", "act"), make_kernel("c", "conv")

    def verdict(tf, file):
        own = {by: count_fusion(BY_NAME["conv + ReLU"], by, *ran) for by, ran in {
            "Keras graph": ([alone], [alone]), "TF graph": tf, "TFLite": file}.items()}
        return describe_who_fuses(own, model, report)
    assert verdict(([alone], [alone]), ([alone], [alone])).startswith("not done")
    assert verdict(([alone], [both]),
                   ([both], [both])) == "without optimize: TFLite; after optimize: TF graph"
    assert verdict(("not installed", "not installed"), ([alone], [alone])).startswith("not done")


def test_an_absent_runtime_is_no_zero():
    assert count_fusion(FUSIONS[0], "OpenVINO", "openvino is not installed", []) == FusionCount(
        FUSIONS[0], "OpenVINO", None, None, "openvino is not installed")


def readme_table():
    return PAGE.read_text().split(BEGIN)[1].split(END)[0]


def test_readme_names_every_fusion_and_runtime():
    head, _, *lines = readme_table().split("\n\n")[0].splitlines()
    assert head == "| fusion | counted | " + " | ".join(COUNTED) + " | done by |"
    assert [line.split(" | ")[:2] for line in lines] == [[f"| {fusion.name}", fusion.counted]
                                                         for fusion in FUSIONS]


@pytest.mark.slow
def test_readme_has_the_table(accept):
    """All of it where OpenVINO is installed, else without its column and the verdict, which depends on it."""
    model = reskeras.ResNet50(weights=None, input_shape=(64, 64, 3))
    optimized, report = reskeras.optimize(model, check=False)
    table = format_markdown(count_fusions(model, optimized, report), model, report)
    if accept:
        before, after = PAGE.read_text().split(BEGIN)[0], PAGE.read_text().split(END)[1]
        PAGE.write_text(before + BEGIN + table + END + after)
    assert make_caption(model) in table
    if "openvino not installed" in table:
        result, reference = ([line.split(" | ")[:-2] for line in text.split("\n\n")[0].splitlines()]
                        for text in (table, readme_table()))
        assert result == reference
    else:
        assert readme_table() == table
