"""The exchange of gradients between devices, against the sums of a ring by hand."""
import json

import pytest

import reskeras
from reskeras.cli import main


def test_a_ring_by_hand(capsys):
    """ResNet-20 has 272,474 trainable numbers of four bytes."""
    cost = reskeras.cost("cifar_resnet20", batch_size=128, scaling=6, bandwidth=2.0)
    assert [exchange.devices for exchange in cost.scaling] == [2, 4, 6]
    bytes_ = 4 * cost.params
    assert [exchange.sent_bytes for exchange in cost.scaling] == [
        bytes_, round(bytes_ * 3 / 2), round(bytes_ * 5 / 3)]
    for exchange in cost.scaling:
        assert exchange.milliseconds == pytest.approx(exchange.sent_bytes / 2e6)
        assert exchange.balanced_rate == pytest.approx(128 / (exchange.milliseconds / 1000))
    assert cost.as_dict()["scaling"][1]["devices"] == 4
    assert reskeras.cost("cifar_resnet20").scaling == ()

    command = ["cost", "cifar_resnet20", "--batch-size", "128", "--scaling", "6", "--bandwidth", "2"]
    assert main(command) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("4 "))
    assert "1.6 MB" in line and "0.8" in line and "images/s" in line
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scaling"] == cost.as_dict()["scaling"]


@pytest.mark.parametrize("arguments, message", [
    ({"scaling": 0}, "scaling"), ({"scaling": 1.5}, "scaling"), ({"scaling": 10 ** 9}, "scaling"),
    ({"scaling": 2, "bandwidth": 0}, "bandwidth"), ({"bandwidth": float("nan")}, "bandwidth")])
def test_invalid_arguments(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}="):
        reskeras.cost("cifar_resnet20", **arguments)
