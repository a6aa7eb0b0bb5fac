"""The options of every command, and the library call that it makes.  Its imports take no time."""
from __future__ import annotations

import argparse
from typing import Callable

from .. import __version__
from .command_parser import CommandParser
from .completion import SHELLS, PrintCompletion
from .option_values import parse_int, parse_ints, parse_names, parse_number
from .shared_options import SOURCES, add_classifier, add_label_offset, add_metadata, add_size, add_trust
from .train_parser import add_train

Commands = Callable[..., CommandParser]         # adds one, see `make_parser`


def make_parser() -> CommandParser:
    """Makes the parser of all commands."""
    top = CommandParser(prog="reskeras", description="The whole residual-network family for Keras 3.")
    top.add_argument("--version", action="version", version=f"reskeras {__version__}")
    top.add_argument("--print-completion", action=PrintCompletion, choices=SHELLS,
                     default=argparse.SUPPRESS, metavar="SHELL",
                     help=f"print the script with which a shell ({', '.join(SHELLS)}) completes commands")
    commands = top.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, text: str, function: str = "", is_quiet: bool = False) -> CommandParser:
        module = name.replace("-", "_")
        return commands.add_parser(name, help=text, description=text, module=module,
                                   function=function or module, is_quiet=is_quiet)
    for add_commands in (_add_catalog, _add_analysis, _add_demo, _add_use, _add_graph, _add_files, add_train,
                         _add_weights):
        add_commands(add)
    return top


def _add_catalog(add: Commands) -> None:
    sub = add("list", "list the nets, with their parameters and multiply-accumulates", "list_variants")
    sub.add_argument("pattern", nargs="?", help='a shell pattern, such as "resnest*"')
    sub.add_switch("--markdown", "the table of docs/nets.md")
    sub.add_switch("--families", "a line for each family: the table of the README")
    sub.add_switch("--json", "print JSON")

    sub = add("show", "show what a net is made of, or how two nets differ")
    sub.add_argument("name", metavar="NAME")
    sub.add_argument("--diff", metavar="OTHER", help="only the fields in which it differs from another net")
    sub.add_argument("--page", metavar="FILE.html",
                     help="write a page about its family instead: papers, changes, cost, accuracy, weights")


def _add_analysis(add: Commands) -> None:
    sub = add("compare", "compare published accuracy with operations, parameters and time", is_quiet=True)
    sub.add_argument("models", nargs="*", metavar="NAME[.TAG]",
                     help="such as resnet50d.ra2_in1k, or keras/VGG16 of keras.applications")
    sub.add_argument("--family", metavar="FAMILY|all", help="every net of it that has a published accuracy")
    sub.add_argument("--labels", default="imagenet-1k",
                     help="the label set of the validation images (default: %(default)s)")
    sub.add_argument("--literature", action="store_true",
                     help="add a few nets of other families, with the numbers of their papers (imagenet-1k)")
    sub.add_argument("--latency", action="store_true", help="time one image on this machine")
    sub.add_argument("-o", "--output", metavar="FILE.html|FILE.png",
                     help="write chart and table, or the chart alone")
    sub.add_switch("--markdown", "print the table as Markdown")
    sub.add_switch("--csv", "print the table as comma-separated values")

    sub = add("cost", "count parameters, operations, memory and receptive field, by stage or layer",
              is_quiet=True)
    sub.add_argument("model", metavar="NAME[.TAG]|FILE",
                     help="such as resnet50d, keras/VGG16, or a .keras file")
    add_size(sub, "size of the images; by default the net's own")
    sub.add_argument("--batch-size", type=parse_int, default=1, metavar="N",
                     help="images at once, for the memory (default: %(default)s)")
    sub.add_argument("--scaling", type=parse_int, metavar="DEVICES",
                     help="how long so many devices take to add up their gradients")
    sub.add_argument("--bandwidth", type=parse_number, default=10.0, metavar="GB",
                     help="for --scaling: GB that a device sends per second (default: %(default)s)")
    sub.add_switch("--per-layer", "the table of the layers, too")
    sub.add_switch("--json", "print JSON")

    sub = add("page", "write an HTML page about a net: its graph, its layers, what they cost", is_quiet=True)
    sub.add_argument("model", metavar="NAME[.TAG]|FILE", help="such as resnest50, or a .keras file")
    sub.add_argument("-o", "--output", default="net.html", metavar="FILE.html",
                     help="the page (default: %(default)s)")
    add_size(sub, "size of the images; by default the net's own")

    sub = add("tour", "write an HTML page of the papers' claims, measured again at a small size")
    sub.add_argument("-o", "--output", default="tour.html", metavar="FILE.html",
                     help="the page (default: %(default)s)")


def _add_demo(add: Commands) -> None:
    sub = add("doctor", "show versions, devices, and what each missing extra would give", is_quiet=True)
    sub.add_switch("--json", "print JSON")

    sub = add("demo", "train, optimize, export and use a net on real images, in two minutes", is_quiet=True)
    sub.add_argument("--fast", action="store_true",
                     help="seconds instead of minutes: a smaller net, few epochs")
    sub.add_argument("--output", default="saved_models/demo", metavar="FOLDER",
                     help="folder of the files (default: %(default)s)")
    sub.add_argument("--seed", type=parse_int, default=0, metavar="N",
                     help="seed of the weights, the order and the augmentation (default: %(default)s)")
    sub.add_argument("--quiet", action="store_true", help="print nothing")
    sub.add_argument("--keep", action="store_true",
                     help="make it the net that comes with the package (in a checkout)")


def _add_use(add: Commands) -> None:
    sub = add("predict", "classify images", "predict_existing", is_quiet=True)
    sub.add_argument("images", nargs="+", metavar="IMAGE|FOLDER")
    add_classifier(sub, top=5)
    add_trust(sub)
    sub.add_argument("--threshold", type=parse_number, default=0.5, metavar="SCORE",
                     help="of a net for several labels: the score above which an image has a label (default: "
                     "%(default)s)")
    sub.add_switch("--json", "print JSON")

    sub = add("evaluate", "measure a net on labelled images, beside its published accuracy",
              "evaluate_for_shell", is_quiet=True)
    sub.add_argument("model", metavar="NAME[.TAG]|FILE", help="such as cifar_resnet20.digits")
    sub.add_argument("--data", required=True, metavar="SOURCE", help=SOURCES)
    sub.add_argument("--split", choices=("test", "train", "validation"), default="test",
                     help="which images, if the data have both (default: %(default)s)")
    sub.add_argument("--crops", type=parse_int, choices=(1, 10), default=1,
                     help="crops of each image (default: %(default)s)")
    sub.add_argument("--scales", type=parse_int, nargs="+", default=(), metavar="PIXELS",
                     help="instead of crops: shorter sides of each image")
    sub.add_argument("--batch-size", type=parse_int, default=32, metavar="N",
                     help="images at once (default: %(default)s)")
    add_metadata(sub)
    add_trust(sub)
    sub.add_argument("--max-unreadable", type=parse_int, default=100, metavar="N",
                     help="how many unreadable images may be left out (default: %(default)s)")
    add_label_offset(sub)
    sub.add_argument("--threshold", type=parse_number, default=0.5, metavar="SCORE",
                     help="score above which an image has a label, or the second of two classes (default: "
                     "%(default)s)")
    sub.add_argument("--worst", type=parse_int, default=10, metavar="N",
                     help="how many of the images with the largest loss are named (default: %(default)s)")
    sub.add_argument("--json", nargs="?", const="-", metavar="FILE.json",
                     help="write all results as JSON; without a file, print it")
    sub.add_argument("--csv", metavar="FILE.csv",
                     help="write a line about each image: its label, what the net says, the loss")

    sub = add("explain", "write an HTML page: where a net looks in an image, its maps and first filters",
              is_quiet=True)
    sub.add_argument("image", metavar="IMAGE")
    sub.add_argument("-o", "--output", default="explain.html", metavar="FILE.html",
                     help="the page (default: %(default)s)")
    add_classifier(sub, top=3)


def _add_graph(add: Commands) -> None:
    sub = add("optimize", "make a net that does less work in inference, and check that it is the same",
              "optimize_and_save", is_quiet=True)
    sub.add_argument("model", metavar="NAME[.TAG]|FILE")
    sub.add_argument("-o", "--output", metavar="FILE.keras", help="write the optimized net")
    sub.add_argument("--report", metavar="FILE.json",
                     help="write what each pass rewrote and what not, and the check")
    sub.add_argument("--fusions", action="store_true",
                     help="print which fusion happens where: here, in TensorFlow, TFLite, OpenVINO")
    sub.add_argument("--target", choices=("saved_model", "tflite", "openvino"), help="what will run it")
    sub.add_argument("--passes", type=parse_names, metavar="PASS,PASS",
                     help="instead of the target's: fold_bn,fuse_activation")
    add_size(sub, "size of the images, if the net takes any size")
    sub.add_argument("--no-check", dest="check", action="store_false",
                     help="do not compare the two in float64")
    sub.add_argument("--latency", action="store_true", help="time one image before and after")


def _add_files(add: Commands) -> None:
    sub = add("pack", "write the pixels of images into one file, which trainings read faster than photos")
    sub.add_argument("--data", required=True, metavar="SOURCE", help=SOURCES)
    sub.add_argument("-o", "--output", required=True, metavar="FOLDER",
                     help="a new folder, or a packed store to replace")
    sub.add_argument("--size", type=parse_int, metavar="PIXELS",
                     help="of the shorter side; smaller images stay as they are (default: all do)")
    sub.add_argument("--split", choices=("test", "train", "validation"), default="train",
                     help="which images, if the data have several (default: %(default)s)")

    sub = add("export", "write a net to a file for another runtime, and check it there", "export_and_index",
              is_quiet=True)
    sub.add_argument("model", metavar="NAME[.TAG]|FILE.keras")
    sub.add_argument("path", nargs="?", metavar="OUT",
                     help=".tflite, .onnx, .xml (OpenVINO), .keras, or the name of a new "
                     "folder for a SavedModel; by default saved_models/NAME.tflite")
    sub.add_argument("--quantize", choices=("float16", "dynamic", "int8", "int16x8"),
                     help="the weights of 16 or 8 bits (float16, dynamic), or everything (int8, int16x8): of "
                     "a .tflite; of an .onnx or .xml all but int16x8; of a SavedModel dynamic and int8")
    sub.add_argument("--target", metavar="TARGET",
                     help="what runs the file: of a .tflite phone, micro, nnapi or ethos-u55-128, of an "
                     ".onnx onnxruntime or tensorrt, of a SavedModel tensorflow or gpu; the first is "
                     "the default")
    sub.add_argument("--calibration-data", metavar="FOLDER",
                     help="images for int8 and int16x8, some hundred of them")
    sub.add_argument("--validation-data", metavar="FOLDER", help="other images to compare on")
    add_size(sub, "size of the images, if the net takes any size")
    sub.add_argument("--batch-size", type=parse_int, metavar="N",
                     help="images per call; by default 1 in a .tflite, otherwise any number")
    sub.add_argument("--io", choices=("int8", "uint8", "float32"), default="int8",
                     help="what an int8 file takes: quantized prepared values (int8), a camera's bytes, "
                     "normalized inside (uint8), prepared values (float32) (default: %(default)s)")
    add_metadata(sub)
    sub.add_argument("--calibration-method", choices=("minmax", "percentile", "mse"), default="minmax",
                     help="the range of a tensor in int8: all values, 99.99 %% of them, or that of the "
                     "least error (default: %(default)s)")
    sub.add_argument("--float-layers", type=parse_names, default=(), metavar="LAYER,LAYER",
                     help="layers that stay in floating point in int8")
    sub.add_argument("--no-optimize", dest="optimize", action="store_false",
                     help="do not fold batch normalization first")
    sub.add_argument("--signatures", type=parse_names, default=(), metavar="NAME,NAME",
                     help="functions of a SavedModel: serving_default, serving_uint8, serving_bytes "
                     "(default: all; serving_default alone is for coremltools)")
    sub.add_argument("--batch-sizes", type=parse_ints, default=(), metavar="N,N",
                     help="of a SavedModel with --target gpu: images at once (default: 1,8,32)")
    sub.add_argument("--dtype", choices=("float16", "bfloat16"), help="half precision of a SavedModel")
    sub.add_argument("--layout", choices=("tf-serving", "triton"),
                     help="folders of a SavedModel with --target gpu, as a server reads them")
    sub.add_argument("--debug-quantization", action="store_true", help="print what int8 does to each layer")
    sub.add_argument("--c-array", action="store_true",
                     help="write the .tflite as C++ source too, for microcontrollers")
    sub.add_argument("--threads", type=parse_int, default=1, metavar="N",
                     help="threads of the runtimes when they are timed (default: %(default)s)")
    sub.add_argument("--no-strict", dest="strict", action="store_false",
                     help="keep a file that does not pass; its report says passed: false")

    sub = add("verify", "check exported files on this machine, with their own runtime alone", "verify_all",
              is_quiet=True)
    sub.add_argument("files", nargs="+", metavar="FILE")
    sub.add_argument("--sha256", metavar="HASH", help="the hash that the file must have, as in its report")
    add_trust(sub)
    sub.add_argument("--threads", type=parse_int, default=1, metavar="N",
                     help="threads of the runtime (default: %(default)s)")
    sub.add_switch("--json", "print JSON")

    sub = add("benchmark", "compare exported files: latency, bytes, agreement", is_quiet=True)
    sub.add_argument("files", nargs="+", metavar="FILE|NAME",
                     help="exported files; the name of a net, such as keras/VGG16, is the net in Keras")
    sub.add_argument("--threads", type=parse_int, default=1, metavar="N",
                     help="threads of each runtime (default: %(default)s)")
    add_size(sub, "size of the images, if the files take any size")
    add_trust(sub)
    sub.add_switch("--json", "print JSON")


def _add_weights(add: Commands) -> None:
    sub = add("weights", "list, show, download or check published checkpoints; convert weights for timm")
    actions = sub.add_subparsers(metavar="ACTION", required=True)
    text = "list the checkpoints, with license and published accuracy"
    action = actions.add_parser("list", help=text, description=text, module="weights", function="list_all")
    action.add_argument("pattern", nargs="?", help='a shell pattern, such as "resnet50*"')
    action.add_argument("--dataset", help="only those trained on it, such as in1k")
    action.add_argument("--license", help="only those with this license, such as apache-2.0")
    action.add_switch("--markdown", "the table of docs/weights.md")
    for name, text in (("show", "show all that is known of some checkpoints"),
                       ("fetch", "download and check, print where the files are")):
        action = actions.add_parser(name, help=text, description=text, module="weights", function=name)
        action.add_argument("names", nargs="+", metavar="NAME.TAG")
    text = "read the files in the cache again, print their SHA-256; or ask the servers for theirs"
    action = actions.add_parser("verify", help=text, description=text, module="weights", function="verify")
    action.add_argument("names", nargs="*", metavar="NAME.TAG", help="with --remote, by default all")
    action.add_argument("--remote", action="store_true", help="ask the servers for the hashes of their "
                        "files, without a download; say what has changed, and keep the hashes for later ones")
    action.add_argument("--hashes", metavar="FILE", help="the file of these hashes (default: hashes.json in "
                        "the cache, with which downloads are compared)")
    text = "write the weights of a net as timm, torchvision or KerasHub name them"
    action = actions.add_parser("convert", help=text, description=text, module="weights", function="convert")
    action.add_argument("source", metavar="SOURCE",
                        help="a .keras file, hf://USER/NAME, the name of a checkpoint, or a file of weights "
                        "(needs --net)")
    action.add_argument("destination", metavar="DESTINATION",
                        help="the .safetensors file to write; for timm also a config.json beside it; for "
                        "KerasHub the folder of a preset")
    action.add_argument("--naming", default="timm", metavar="timm|torchvision|kerashub",
                        help="whose names the tensors get (default: %(default)s)")
    action.add_argument("--net", help="the name of the net, for a file of weights or a model of another name")
