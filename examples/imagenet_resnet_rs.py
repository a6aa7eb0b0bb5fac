"""ImageNet with ResNet-RS on all GPUs of a machine: `MirroredStrategy`, bfloat16, averaged weights.

    python examples/imagenet_resnet_rs.py "tfrecord:imagenet/train-*" "tfrecord:imagenet/validation-*"
    python examples/imagenet_resnet_rs.py folder:imagenet/train folder:imagenet/val --model 152@224

The models are those of the paper's scaling table (arXiv:2103.07579, `reskeras recipes show
RESNET_RS/152@224`): depth, resolution and regularization grow together.  The recipe's batch size of 4,096
counts all GPUs together. Where the memory is too small for it, `--micro-batches 4` computes it in four parts,
and `--overrides batch_size=1024` trains with smaller batches, for which the learning rate is scaled and
logged. `reskeras train --resume runs/resnetrs50` resumes an interrupted training run.
"""
from __future__ import annotations

import argparse

import reskeras
from reskeras.train.resnet_rs import RESNET_RS_SCALING


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="a source of images, see `reskeras train --help`")
    parser.add_argument("validation_data")
    parser.add_argument(
        "--model", default="50@160", choices=RESNET_RS_SCALING, help="depth@resolution (%(default)s)")
    parser.add_argument("--strategy", default="mirrored")
    parser.add_argument("--dtype", default="mixed_bfloat16")
    parser.add_argument("--jit-compile", action="store_true", help="compile each replica with XLA")
    parser.add_argument("--micro-batches", type=int, default=1)
    parser.add_argument("--overrides", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--model-overrides", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--classes", type=int, help="the number of classes, if the data do not name them")
    parser.add_argument("--output")
    options = parser.parse_args()

    name = f"resnetrs{options.model.partition('@')[0]}"
    history = reskeras.fit(
        name, options.data, f"RESNET_RS/{options.model}", validation_data=options.validation_data,
        strategy=options.strategy, dtype=options.dtype, jit_compile=options.jit_compile,
        micro_batches=options.micro_batches, overrides=options.overrides,
        model_overrides=options.model_overrides, classes=options.classes,
        output=options.output or f"runs/{name}")
    print(f"{name}: top-1 {max(history.history['val_accuracy']):.2%} of the averaged weights")


if __name__ == "__main__":
    main()
