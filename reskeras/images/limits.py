"""Limits of images: how many pixels one may have, and how many are decoded at the same time."""
from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass
from typing import Iterator

from ..errors import check_whole_number

# option -> (its environment variable, its default)
_OPTIONS = {"max_pixels": ("RESKERAS_MAX_PIXELS", 256_000_000),
            "max_pixels_in_flight": ("RESKERAS_MAX_PIXELS_IN_FLIGHT", 100_000_000)}
_PARALLEL_IMAGES = 16           # at most this many images of one source are read at the same time


@dataclass(frozen=True)
class ImageLimits:
    """How many pixels images may have, see `set_image_limits`."""

    max_pixels: int
    max_pixels_in_flight: int

    @property
    def max_small_pixels(self) -> int:
        """An image of at most this many pixels never waits: 16 of them are within `max_pixels_in_flight`."""
        return min(self.max_pixels, self.max_pixels_in_flight // _PARALLEL_IMAGES)


_chosen: dict[str, int] = {}
_queue = threading.Lock()       # the image that holds it is the next to be decoded; the others wait in order
_changed = threading.Condition()
_in_flight = 0
_this_thread = threading.local()


def set_image_limits(max_pixels: int | None = None, max_pixels_in_flight: int | None = None) -> None:
    """Sets the limits of the images that this process reads.

    A small file may hold a picture that takes all memory.  The command line reads both limits from the
    environment variables RESKERAS_MAX_PIXELS and RESKERAS_MAX_PIXELS_IN_FLIGHT.

    Args:
        max_pixels: how many pixels (height x width) an image may have; by default 256 million.  A larger JPEG
            is read at a half, a quarter or an eighth of its sides if that is within the limit; any other
            larger image counts as unreadable.
        max_pixels_in_flight: how many pixels all threads together decode and resize at the same time; by
            default 100 million.  An image waits until there is room for it; an image with more pixels than
            this waits until no other image is decoded.  A pixel takes 4 to 16 bytes, depending on the format.

    Raises:
        ArgumentError: for anything but whole numbers of at least 1.

    Example:
        >>> reskeras.set_image_limits(max_pixels=25_000_000)
    """
    given = {"max_pixels": max_pixels, "max_pixels_in_flight": max_pixels_in_flight}
    checked = {name: check_whole_number(name, value) for name, value in given.items() if value is not None}
    _chosen.clear()
    _chosen.update(checked)


def get_image_limits() -> ImageLimits:
    """The limits that `set_image_limits`, the environment or the defaults give.

    Raises:
        ArgumentError: for an environment variable that is not a whole number of at least 1.
    """
    values = {name: _chosen[name] if name in _chosen else _read_option(name) for name in _OPTIONS}
    return ImageLimits(**values)


def _read_option(name: str) -> int:
    variable, default = _OPTIONS[name]
    text = os.environ.get(variable, "")
    return check_whole_number(variable, int(text) if text.isdecimal() else text) if text else default


@contextlib.contextmanager
def count_in_flight(pixels: int) -> Iterator[None]:
    """Inside the block `pixels` count as in flight; the block begins when there is room for them.

    First come, first served: small images do not overtake a large image that waits.  A block inside another
    block of the same thread does not wait, because the thread would wait for itself.
    """
    global _in_flight
    limit = get_image_limits().max_pixels_in_flight
    is_nested = getattr(_this_thread, "is_counting", False)
    with contextlib.nullcontext() if is_nested else _queue, _changed:
        if not is_nested:
            _changed.wait_for(lambda: not _in_flight or _in_flight + pixels <= limit)
        _in_flight += pixels
    _this_thread.is_counting = True
    try:
        yield
    finally:
        _this_thread.is_counting = is_nested
        with _changed:
            _in_flight -= pixels
            _changed.notify_all()
