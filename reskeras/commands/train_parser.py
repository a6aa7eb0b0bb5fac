"""The options of the commands that train: recipes, train, cross-validate, sweep."""
from __future__ import annotations

import argparse
from typing import Callable

from ..train.training import training_fields
from .command_parser import CommandParser
from .option_values import parse_calls, parse_class_weight, parse_int, parse_names, parse_number, parse_value
from .shared_options import SOURCES, add_label_offset, add_overrides, to_option


def add_train(add: Callable[..., CommandParser]) -> None:
    """Adds the commands."""
    sub = add("recipes", "list the recipes of the papers, show one, or compare what they cost")
    actions = sub.add_subparsers(metavar="ACTION", required=True)
    text = "list the recipes"
    actions.add_parser("list", help=text, description=text, module="recipes", function="list_all")
    text = "show every value of a recipe, and where its paper says so"
    action = actions.add_parser("show", help=text, description=text, module="recipes", function="show")
    action.add_argument("name", metavar="NAME",
                        help="such as RESNET_RS, or RESNET_RS/152@256 of its scaling table")
    action.add_argument("--diff", metavar="OTHER",
                        help="only the values in which it differs from another recipe")
    add_overrides(action)
    text = "what each recipe computes for a training, beside its published accuracy"
    action = actions.add_parser("compare", help=text, description=text, module="recipes_compare",
                                function="compare_recipes", is_quiet=True)
    action.add_argument("--net", metavar="NAME",
                        help="the cost of training this net by every recipe for its data; by default the "
                             "nets for which a recipe's source gives an accuracy")
    action.add_argument("-o", "--output", metavar="FILE.html|FILE.png",
                        help="write chart and table, or the chart alone")
    action.add_switch("--markdown", "print the table as Markdown")
    action.add_switch("--csv", "print the table as comma-separated values")

    sub = add("train", "train a net by a recipe, or resume a training")
    sub.add_argument("model", nargs="?", metavar="NAME[.TAG]|FILE.keras",
                     help="such as resnet50d; not with --resume")
    _add_fit_options(sub)
    sub.add_argument("--validation-data", metavar="SOURCE", help="images to validate on after each epoch")
    sub.add_argument("--validation-split", type=parse_number, default=0.0, metavar="SHARE",
                     help="validate on this share of each class of the data, in [0, 1)")
    sub.add_argument("--output", metavar="FOLDER", help="a new folder; by default runs/NAME.RECIPE")
    sub.add_argument("--resume", metavar="FOLDER",
                     help="resume the training in this folder, with its own options")

    sub = add("data-service", "run the processes that read and augment the images of trainings")
    actions = sub.add_subparsers(metavar="ACTION", required=True)
    text = "run the dispatcher, of which a service has one: train --data-service HOST:PORT"
    action = actions.add_parser("dispatcher", help=text, description=text, module="data_service",
                                function="run_dispatcher")
    action.add_argument("--port", type=parse_int, default=5000, metavar="PORT",
                        help="to which trainings and workers connect (default: %(default)s)")
    text = "run a worker, of which a service has any number, each on a machine that has the images"
    action = actions.add_parser("worker", help=text, description=text, module="data_service",
                                function="run_worker")
    action.add_argument("--dispatcher", required=True, metavar="HOST:PORT", help="the dispatcher's address")
    action.add_argument("--port", type=parse_int, default=5001, metavar="PORT",
                        help="to which trainings connect (default: %(default)s)")
    action.add_argument("--host", metavar="HOST",
                        help="name or address of this machine for trainings; by default the address with "
                             "which it reaches the dispatcher")

    sub = add("find-learning-rate", "train with a rising learning rate, and suggest one (a range test)",
              "find_learning_rate")
    sub.add_argument("model", metavar="NAME[.TAG]|FILE.keras", help="such as resnet50d")
    _add_fit_options(sub)
    sub.add_argument("--lowest-rate", type=parse_number, default=1e-7, metavar="RATE",
                     help="learning rate of the first update (default: %(default)s)")
    sub.add_argument("--highest-rate", type=parse_number, default=10.0, metavar="RATE",
                     help="that of the last update, if the loss does not explode before (default: "
                          "%(default)s)")
    sub.add_argument("--updates", type=parse_int, default=100, metavar="N",
                     help="how many updates of the weights (default: %(default)s)")
    sub.add_argument("--output", metavar="FILE.png|FILE.csv|FILE.json", help="write the curve")

    sub = add("cross-validate", "train a net for each fold of the data; mean and deviation over the folds",
              "cross_validate_in_folder")
    sub.add_argument("model", metavar="NAME[.TAG]|FILE.keras", help="such as resnet50d")
    _add_fit_options(sub)
    sub.add_argument("--folds", type=parse_int, default=5, metavar="K",
                     help="how many (default: %(default)s)")
    sub.add_argument("--output", metavar="FOLDER",
                     help="the folder of all folds, to begin or to go on; by default runs/NAME.RECIPE.folds")
    sub.add_argument("--metric", metavar="NAME",
                     help="whose mean is the result; by default val_accuracy, if there is one")

    sub = add("sweep", "train the nets of a table by its recipes, with overrides and seeds; compare them")
    sub.add_argument("table", metavar="TABLE.toml",
                     help="a file with nets, recipes, overrides, seeds, data and other arguments of fit")
    sub.add_argument("--output", metavar="FOLDER",
                     help="the folder of all runs, to begin or to go on; by default runs/TABLE")
    sub.add_argument("--metric", metavar="NAME",
                     help="what is compared; by default val_accuracy, if there is one")
    sub.add_argument("--verbose", type=parse_int, choices=(0, 1, 2), default=1,
                     help="0: nothing, 1: a line for each run, 2: also for each epoch (default: %(default)s)")


def _add_fit_options(sub: CommandParser) -> None:
    """Adds what `train` and `cross-validate` have in common."""
    sub.add_argument("--recipe", metavar="NAME",
                     help="a recipe; `reskeras recipes list` names all (default: finetune; int8 with "
                          "--quantize)")
    sub.add_argument("--data", metavar="SOURCE", help=SOURCES)
    sub.add_argument("--strategy", default="auto",
                     help="distribution: auto, none, mirrored, multi_worker or tpu, which is untested "
                          "(default: %(default)s)")
    sub.add_argument("--data-service", metavar="HOST:PORT",
                     help="dispatcher of a tf.data service, whose workers read and augment the images; start "
                          "it with `reskeras data-service`")
    sub.add_argument("--dtype", metavar="POLICY", help="dtype policy of the layers, such as mixed_bfloat16")
    sub.add_argument("--jit-compile", action="store_true", help="compile with XLA")
    sub.add_argument("--micro-batches", type=parse_int, default=1, metavar="N",
                     help="divide each batch into so many parts, to save memory (default: %(default)s)")
    sub.add_argument("--classes", type=parse_int, metavar="N",
                     help="number of classes, if the data do not say it")
    sub.add_argument("--preprocessing", metavar="NAME.TAG",
                     help="how images are prepared, for a file that does not know it: as for this checkpoint")
    sub.add_argument("--weights", default="auto", metavar="auto|none",
                     help="none: random weights instead of a checkpoint (default: %(default)s)")
    sub.add_argument("--quantize", metavar="int8",
                     help="int8: train with fake quantization, for an int8 .tflite of the same ranges")
    sub.add_argument("--teacher", metavar="NAME[.TAG]|FILE.keras",
                     help="learn the scores of this trained net; see --distillation, --temperature, --alpha")
    add_overrides(sub)
    sub.add_argument("--class-weight", type=parse_class_weight, metavar="balanced|CLASS=WEIGHT,...",
                     help="how much an image of each class counts in the training loss: balanced, or weights "
                          "such as cat=2,dog=0.5; others count 1")
    sub.add_argument("--metrics", type=parse_calls, default=(), metavar="METRIC,METRIC",
                     help='metrics of Keras to measure beside, such as "AUC,Precision(0.3)"')
    sub.add_argument("--seed", type=parse_int, default=0, metavar="N",
                     help="seed of the weights, the order and the augmentation (default: %(default)s)")
    sub.add_argument("--deterministic", action="store_true",
                     help="get the same weights to the bit each time; slower")
    sub.add_argument("--save-every", type=parse_int, default=1000, metavar="N",
                     help="batches between checkpoints (default: %(default)s)")
    sub.add_argument("--max-unreadable", type=parse_int, default=100, metavar="N",
                     help="how many unreadable images may be left out (default: %(default)s)")
    add_label_offset(sub)
    sub.add_argument("--verbose", type=parse_int, choices=(0, 1, 2), default=1,
                     help="0: nothing, 1: a progress bar, 2: a line for each epoch (default: %(default)s)")
    sub.add_argument("--loggers", type=parse_names, default=(), metavar="NAME,NAME",
                     help="record the results of each epoch in tensorboard, wandb, mlflow")
    group = sub.add_argument_group("fields of the recipe's training", "by default the recipe's own values")
    for field in training_fields():
        metavar = "|".join(field.choices) if field.choices else "VALUE"
        group.add_argument(to_option(field.name), type=parse_value, default=argparse.SUPPRESS,
                           metavar=metavar,
                           help=field.help.replace("%", "%%"))
