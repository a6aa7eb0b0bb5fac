"""Training on a TPU, in bfloat16.

    python examples/tpu.py folder:imagenet/train --val folder:imagenet/val      # on a TPU VM, with tensorflow-tpu installed
    TPU_NAME=my-tpu python examples/tpu.py ...                                  # elsewhere, with a name or grpc:// address

A TPU compiles everything with XLA and wants batches of one size.  Where none is reached it says so and stops before it reads
anything.
"""
from __future__ import annotations

import argparse
import sys

import reskeras


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder:PATH, tfrecord:GLOB, tfds:NAME ...")
    parser.add_argument("--val", help="images to validate on")
    parser.add_argument("--net", default="resnet50d")
    parser.add_argument("--recipe", default="bag_of_tricks")
    parser.add_argument("--output", default="runs/tpu")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    given = parser.parse_args()
    try:
        reskeras.fit(given.net, given.data, given.recipe, validation=given.val, strategy="tpu", policy="mixed_bfloat16",
                     set=given.set, output=given.output)
    except RuntimeError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
