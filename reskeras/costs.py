"""The cost of every net of the table, read from costs.csv: parameters and multiply-accumulates."""
from __future__ import annotations

import csv
import functools
import pathlib
from dataclasses import dataclass

COSTS_FILE = pathlib.Path(__file__).with_name("costs.csv")


@dataclass(frozen=True)
class VariantCost:
    """The cost of a variant at its default image size and number of classes.

    Args:
        params: trainable parameters.
        macs: multiply-accumulates for one image.
    """

    params: int
    macs: int


@functools.cache
def read_costs() -> dict[str, VariantCost]:
    """Reads costs.csv: a dict from the variant's name to its cost.  A test computes the values again."""
    with COSTS_FILE.open(newline="") as file:
        return {line["row"]: VariantCost(int(line["params"]), int(line["macs"]))
                for line in csv.DictReader(file)}
