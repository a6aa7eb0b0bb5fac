"""The nets of keras.applications in compare, cost, page and benchmark: all of them, counted, as published."""
import json

import keras
import pytest
from keras import layers

import reskeras
from reskeras import cli
from reskeras.catalog import list_source_names
from reskeras.commands import comparison
from reskeras.commands.keras_nets import KERAS_NETS
from reskeras.commands.published_costs import PUBLISHED_NETS

# All parameters, as keras.io lists them (an earlier version of the page gives every digit)
TOTALS = {
    "Xception": 22_910_480, "VGG16": 138_357_544, "VGG19": 143_667_240, "InceptionV3": 23_851_784,
    "MobileNet": 4_253_864, "MobileNetV2": 3_538_984, "DenseNet121": 8_062_504, "DenseNet169": 14_307_880,
    "DenseNet201": 20_242_984, "NASNetMobile": 5_326_716, "NASNetLarge": 88_949_818,
    "EfficientNetB0": 5_330_571, "EfficientNetB1": 7_856_239, "EfficientNetB2": 9_177_569,
    "EfficientNetB3": 12_320_535, "EfficientNetB4": 19_466_823, "EfficientNetB5": 30_562_527,
    "EfficientNetB6": 43_265_143, "EfficientNetB7": 66_658_687}
MILLIONS = {
    "EfficientNetV2B0": 7.2, "EfficientNetV2B1": 8.2, "EfficientNetV2B2": 10.2, "EfficientNetV2B3": 14.5,
    "EfficientNetV2S": 21.6, "EfficientNetV2M": 54.4, "EfficientNetV2L": 119.0, "ConvNeXtTiny": 28.6,
    "ConvNeXtSmall": 50.2, "ConvNeXtBase": 88.5, "ConvNeXtLarge": 197.7, "ConvNeXtXLarge": 350.1,
    "MobileNetV3Large": 5.4, "MobileNetV3Small": 2.5}
# Multiply-accumulates in millions, as the papers have them, which round
MACS = {
    "MobileNet": 569, "MobileNetV2": 300, "MobileNetV3Large": 219, "MobileNetV3Small": 56,
    "NASNetMobile": 564, "NASNetLarge": 23_800, "EfficientNetB0": 390, "EfficientNetB1": 700,
    "EfficientNetB2": 1000, "EfficientNetB3": 1800, "EfficientNetB4": 4200, "EfficientNetB5": 9900,
    "EfficientNetB6": 19_000, "EfficientNetB7": 37_000, "ConvNeXtTiny": 4500, "ConvNeXtSmall": 8700,
    "ConvNeXtBase": 15_400, "ConvNeXtLarge": 34_400, "ConvNeXtXLarge": 60_900}


def test_all_of_keras_applications():
    functions = {f"keras/{name}" for name in dir(keras.applications) if name[0].isupper()}
    ours = {name for name in list_source_names() if name.startswith("keras/")}
    assert functions <= ours | set(KERAS_NETS) and not ours & set(KERAS_NETS)


# in the quick run one of each family
QUICK = ("VGG16", "InceptionV3", "Xception", "MobileNetV2", "MobileNetV3Small", "DenseNet121", "NASNetMobile",
         "EfficientNetB0", "EfficientNetV2B0", "ConvNeXtTiny")


@pytest.mark.parametrize("net", [
    pytest.param(net, marks=[] if net.function in QUICK else pytest.mark.slow, id=net.function)
    for net in KERAS_NETS.values()])
def test_costs(net):
    cost = reskeras.cost(net.name)
    assert (cost.params, cost.macs) == (net.params, net.macs) and not cost.uncounted
    assert cost.layers[0].output == (net.size, net.size, 3)
    total = cost.params + cost.non_trainable_params
    if net.function in TOTALS:
        assert total == TOTALS[net.function]
    else:
        assert total == pytest.approx(1e6 * MILLIONS[net.function], rel=0.025)
    if net.function in MACS:
        assert cost.macs == pytest.approx(1e6 * MACS[net.function], rel=0.05)
    keras.utils.clear_session(free_memory=False)


def test_literature_agrees_with_the_nets_that_run():
    """The papers round, to two digits or one."""
    pairs = {f"EfficientNet-B{i}": f"keras/EfficientNetB{i}" for i in range(8)}
    pairs |= {"NASNet-A (mobile)": "keras/NASNetMobile", "NASNet-A (large)": "keras/NASNetLarge"}
    published = {net.name: net for net in PUBLISHED_NETS}
    for name, other in pairs.items():
        runs = KERAS_NETS[other]
        assert published[name].size == runs.size
        assert published[name].params == pytest.approx(runs.params, rel=0.03)
        assert published[name].macs == pytest.approx(runs.macs, rel=0.05)
        assert published[name].top1 == pytest.approx(runs.top1, abs=0.5)


def test_nin_is_counted():
    """Lin's nin_imagenet: three 1x1 after each convolution make two, its pools round up as Caffe's."""
    x = image = keras.Input((224, 224, 3))
    for filters, kernel, stride, padding, last in (
            (96, 11, 4, "valid", 96), (256, 5, 1, "same", 256), (384, 3, 1, "same", 384),
            (1024, 3, 1, "same", 1000)):
        x = layers.Conv2D(filters, kernel, stride, padding)(x)
        x = layers.Conv2D(last, 1)(layers.Conv2D(filters, 1)(x))
        if filters < 1024:
            x = layers.MaxPooling2D(3, 2, padding="same" if filters == 96 else "valid")(x)
    cost = reskeras.cost(keras.Model(image, layers.GlobalAveragePooling2D()(x)))
    (nin,) = (net for net in PUBLISHED_NETS if net.name == "NiN")
    assert nin.params == cost.params and nin.macs == pytest.approx(cost.macs, abs=5e5)


def test_compare(monkeypatch):
    monkeypatch.setattr(comparison, "time_one_image", lambda point: 7.0)
    points = reskeras.compare(["resnet18", "keras/VGG16"], latency=True).points
    assert [(p.name, p.family) for p in points] == [
        ("ResNet18", "resnet"), ("keras/VGG16", "keras.applications")]
    assert points[1].tag == ""
    net = KERAS_NETS["keras/VGG16"]
    vgg = points[1]
    assert (vgg.size, vgg.top1, vgg.params, vgg.macs) == (224, 71.3, net.params, net.macs)
    assert vgg.source == "keras.io/api/applications" and vgg.latency_ms == 7.0


def test_latency_is_of_the_net():
    (point,) = reskeras.compare(["keras/MobileNetV3Small"], latency=True).points
    assert 0 < point.latency_ms < 10_000


def test_the_commands(capsys, tmp_path):
    assert cli.main(["cost", "keras/MobileNetV2", "--size", "96x64", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["params"] == KERAS_NETS["keras/MobileNetV2"].params
    assert cli.main(["compare", "keras/MobileNetV2", "keras/ResNet50", "--csv"]) == 0
    assert "keras/MobileNetV2,,224,in1k,71.30,3.50,0.301" in capsys.readouterr().out
    assert cli.main(["benchmark", "keras/MobileNetV3Small", "cifar_resnet20", "--size", "64", "--json"]) == 0
    keras_net, ours = json.loads(capsys.readouterr().out)
    assert keras_net["file"] == "keras/MobileNetV3Small"
    assert keras_net["runtime"] == ours["runtime"] == "Keras"
    assert keras_net["bytes"] == 4 * 2_554_968 and ours["bytes"] == 4 * (269_722 + 1376)
    assert keras_net["agreement"] is keras_net["difference"] is ours["difference"] is None
    assert keras_net["ratio"] == 1 and ours["median_ms"] > 0


def test_a_file_and_a_net(capsys, tmp_path):
    """The net's weights are random, so only its time is compared with the file."""
    model = reskeras.create("cifar_resnet20", weights=None)
    reskeras.save(model, tmp_path / "net.keras")
    file, net = reskeras.benchmark([tmp_path / "net.keras", "cifar_resnet20"])
    assert (file.agreement, file.difference) == (1, 0) and (net.agreement, net.difference) == (None, None)


@pytest.mark.parametrize("name, suggestion", [
    ("keras/VGG166", "keras/VGG16"), ("VGG16", "keras/VGG16"), ("mobilenetv2", "keras/MobileNetV2"),
    ("keras/efficientnetb0", "keras/EfficientNetB0"), ("keras/ResNet5", "keras/ResNet50")])
@pytest.mark.parametrize("call", ["compare", "cost"])
def test_nearest_spelling(name, suggestion, call, capsys):
    assert cli.main([call, name]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert repr(name) in line and repr(suggestion) in line
    if name.startswith("keras/"):
        assert cli.main(["benchmark", name]) == 2
        assert repr(suggestion) in capsys.readouterr().err


def test_only_imagenet():
    with pytest.raises(ValueError, match="keras/VGG16: no accuracy on cifar10 is published"):
        reskeras.compare(["keras/VGG16"], labels="cifar10")


@pytest.mark.parametrize("call", [["predict", "x.png", "--model"], ["explain", "x.png", "--model"]],
                         ids=["predict", "explain"])
def test_other_commands_say_what_they_take(call, capsys):
    assert cli.main([*call, "keras/VGG16"]) == 2
    assert "keras.applications.VGG16()" in capsys.readouterr().err
