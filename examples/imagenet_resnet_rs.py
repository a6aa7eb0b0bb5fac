"""ImageNet with ResNet-RS on all GPUs of a machine: `MirroredStrategy`, bfloat16, averaged weights.

    python examples/imagenet_resnet_rs.py "tfrecord:/data/imagenet/train-*" "tfrecord:/data/imagenet/validation-*"
    python examples/imagenet_resnet_rs.py folder:/data/imagenet/train folder:/data/imagenet/val --model 152@224

The models are those of the paper's scaling table (arXiv:2103.07579, `reskeras recipes show RESNET_RS/152@224`): depth,
resolution and regularization grow together.  The recipe's batch of 4,096 is of all GPUs together; where memory does not
suffice, `--accumulate 4` makes it of four batches, and `--set batch=1024` trains with a smaller one, whose learning rate
is scaled and logged.  Interrupted, it goes on with `reskeras train --resume runs/resnetrs50`.
"""
from __future__ import annotations

import argparse

import reskeras
from reskeras.train.recipes import RESNET_RS_SCALING


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("train", help="a source of images, see `reskeras train --help`")
    arguments.add_argument("validation")
    arguments.add_argument("--model", default="50@160", choices=RESNET_RS_SCALING, help="depth@resolution (%(default)s)")
    arguments.add_argument("--strategy", default="mirrored")
    arguments.add_argument("--policy", default="mixed_bfloat16")
    arguments.add_argument("--jit", action="store_true", help="compile each replica with XLA")
    arguments.add_argument("--accumulate", type=int, default=1)
    arguments.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    arguments.add_argument("--model-set", action="append", default=[], metavar="FIELD=VALUE")
    arguments.add_argument("--classes", type=int, help="where the data do not name them")
    arguments.add_argument("--output")
    given = arguments.parse_args()

    net = f"resnetrs{given.model.partition('@')[0]}"
    history = reskeras.fit(
        net, given.train, f"RESNET_RS/{given.model}", validation=given.validation, strategy=given.strategy, policy=given.policy,
        jit=given.jit, accumulate=given.accumulate, set=given.set, model_set=given.model_set, classes=given.classes,
        output=given.output or f"runs/{net}")
    print(f"{net}: top-1 {max(history.history['val_accuracy']):.2%} of the averaged weights")


if __name__ == "__main__":
    main()
