"""Training on a TPU, in bfloat16.

    # on a TPU VM, with tensorflow-tpu installed
    python examples/tpu.py folder:imagenet/train --validation-data folder:imagenet/val
    # elsewhere, with a name or a grpc:// address
    TPU_NAME=my-tpu python examples/tpu.py ...

A TPU compiles everything with XLA and needs batches of one size.  If no TPU can be reached, the script says
so and stops before it reads any data.
"""
from __future__ import annotations

import argparse
import sys

import reskeras


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder:PATH, tfrecord:GLOB, tfds:NAME ...")
    parser.add_argument("--validation-data")
    parser.add_argument("--model", default="resnet50d")
    parser.add_argument("--recipe", default="bag_of_tricks")
    parser.add_argument("--output", default="runs/tpu")
    parser.add_argument("--overrides", action="append", default=[], metavar="FIELD=VALUE")
    options = parser.parse_args()
    try:
        reskeras.fit(
            options.model, options.data, options.recipe, validation_data=options.validation_data,
            strategy="tpu", dtype="mixed_bfloat16", overrides=options.overrides, output=options.output)
    except RuntimeError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
