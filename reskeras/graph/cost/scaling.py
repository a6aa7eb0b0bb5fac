"""The time in which many devices add up their gradients: a model on paper, of bytes and bandwidth alone."""
from __future__ import annotations

from dataclasses import dataclass

from ...errors import check_number, check_whole_number

_GRADIENT_BYTES = 4             # gradients are float32, also under a mixed policy
_MAX_DEVICES = 2 ** 20


@dataclass(frozen=True)
class ExchangeCost:
    """What the exchange of the gradients costs in each training step.

    Attributes:
        devices: how many there are.
        sent_bytes: how much each one sends, and receives: 2 (n - 1) / n times the gradients, as in a ring
            (Patarasuk & Yuan 2009).
        milliseconds: how long that takes at the bandwidth; a real network is slower.
        balanced_rate: images per second of one device at which computing a step takes as long as the
            exchange.  A slower device can hide the exchange behind its backward pass; one that is much faster
            waits for the network.
    """

    devices: int
    sent_bytes: int
    milliseconds: float
    balanced_rate: float


def predict_scaling(params: int, batch_size: int, devices: int, bandwidth: float) -> tuple[ExchangeCost, ...]:
    """Predicts the exchange of the gradients for 2, 4, 8 ... and `devices` devices.

    Args:
        params: trainable numbers of the net.
        batch_size: images of one device in a step.
        devices: the most devices, at least 2.
        bandwidth: GB that one device sends per second, while it receives as many.

    Raises:
        ArgumentError: for an invalid number of devices or bandwidth.
    """
    devices = check_whole_number("scaling", devices, minimum=2, maximum=_MAX_DEVICES)
    bandwidth = check_number("bandwidth", bandwidth, minimum=1e-6, expected="GB per second, above 0")
    powers = [2 ** i for i in range(1, devices.bit_length()) if 2 ** i < devices]
    costs = []
    for count in (*powers, devices):
        sent = round(2 * (count - 1) / count * params * _GRADIENT_BYTES)
        seconds = sent / (bandwidth * 1e9)
        costs.append(ExchangeCost(count, sent, 1000 * seconds, batch_size / seconds if seconds else 0.0))
    return tuple(costs)
