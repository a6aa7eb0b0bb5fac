"""`reskeras`: one sub-command is one library call.  Imports stay inside functions: `reskeras list` never loads Keras."""
from __future__ import annotations

import argparse
import os
import re
import sys
from typing import Any, NoReturn, Sequence

from .errors import nearest


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; errors are one line on stderr and exit code 2."""
    options = parser().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        return options.run(options)
    except (ValueError, TypeError, OSError, ImportError) as error:
        print(f"reskeras: {as_options(' '.join(str(error).split()))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


# Arguments of the functions, as their errors name them -> options of the commands.
OPTIONS = {"preprocessing": "--preprocessing", "labels": "--labels", "quantize": "--quantize", "calibration": "--calibrate",
           "validation": "--validate", "calibration_method": "--calibration-method", "float_layers": "--float-layers",
           "threads": "--threads", "top": "--top", "cc": "--cc", "size": "--size", "batch": "--batch", "io": "--io",
           "family": "--family", "passes": "--passes"}


def as_options(message: str) -> str:
    """An error of a function in the words of the command line: "preprocessing='x'" is "--preprocessing x"."""
    message = re.sub(r"[;,] (or )?give weights=None( for a net that was meant to differ)?", "", message)
    spelled = re.compile(rf"(?<![\w.{{-])({'|'.join(OPTIONS)})=(?:'([^']*)'|True\b)?(?=([^\s,;.:)]?))")

    def option(found: re.Match[str]) -> str:
        value = f" {found[2]}" if found[2] else " " if found[3] and not found[0].endswith("True") else ""
        return OPTIONS[found[1]] + value
    return spelled.sub(option, message)


class Parser(argparse.ArgumentParser):
    """An error is one line, with the nearest command."""

    def error(self, message: str) -> NoReturn:
        if found := re.match(r"argument COMMAND: invalid choice: '(.*?)' \(choose from (.*)\)", message):
            known = re.findall(r"[\w-]+", found[2])
            message = f"unknown command {found[1]!r}{nearest(found[1], known)}; the commands are {', '.join(known)}"
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    top = Parser(prog="reskeras", description="The whole residual-network family for Keras 3.")
    top.add_argument("--version", action="version", version=version())
    commands = top.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    sub = command("list", _run_list, "the nets, with parameters and multiply-accumulates")
    sub.add_argument("pattern", nargs="?", help='a shell pattern, such as "resnest*"')
    sub.add_argument("--markdown", action="store_true", help="the table of docs/nets.md")
    sub.add_argument("--families", action="store_true", help="a line for each family, the table of the README")
    sub = command("show", _run_show, "one row of the table: what the net is made of")
    sub.add_argument("name")
    sub.add_argument("--diff", metavar="OTHER", help="only the fields in which it differs from another net")
    sub.add_argument("--page", metavar="FILE.html", help="its family as a page: papers, what it changes, cost, accuracy, weights")
    sub = command("compare", _run_compare, "published accuracy against operations, parameters and time")
    sub.add_argument("nets", nargs="*", metavar="NAME[.TAG]")
    sub.add_argument("--family", metavar="FAMILY|all", help="every net of it that has a published accuracy")
    sub.add_argument("--labels", default="imagenet-1k", help="whose validation images (%(default)s)")
    sub.add_argument("--latency", action="store_true", help="time one image here")
    sub.add_argument("-o", "--output", metavar="FILE.html|FILE.png", help="chart and table, or the chart")
    sub.add_argument("--markdown", action="store_true")
    sub.add_argument("--csv", action="store_true")
    sub = command("cost", _run_cost, "parameters, operations, memory and receptive field, by stage or layer")
    sub.add_argument("net", metavar="NAME[.TAG]|FILE", help="such as resnet50d, or a .keras file")
    sub.add_argument("--size", type=int, help="pixels on a side; the net's own by default")
    sub.add_argument("--batch", type=int, default=1, help="images, for the memory")
    sub.add_argument("--per-layer", action="store_true")
    sub.add_argument("--json", action="store_true", help="for programs")
    sub = command("demo", _run_demo, "train, optimize, export and use a net on real images, in two minutes")
    sub.add_argument("--fast", action="store_true", help="seconds instead of minutes: a smaller net, few epochs")
    sub.add_argument("--output", default="saved_models/demo", help="folder of the artefacts (%(default)s)")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--quiet", action="store_true", help="print nothing")
    sub.add_argument("--keep", action="store_true", help="make it the net that comes with the package (in a checkout)")
    sub = command("optimize", _run_optimize, "the same net with less work, for inference, and the proof")
    sub.add_argument("model", metavar="NAME[.TAG]|FILE")
    sub.add_argument("-o", "--output", metavar="FILE.keras")
    sub.add_argument("--certificate", metavar="FILE.json", help="per pass what was rewritten and what not, and the proof")
    sub.add_argument("--target", choices=("saved_model", "tflite", "openvino"), help="what will run it")
    sub.add_argument("--passes", help="instead of the target's, such as fold_bn,fuse_activation")
    sub.add_argument("--size", type=int, help="of the images in pixels, where the net leaves it open")
    sub.add_argument("--no-proof", action="store_true", help="do not compare the two in float64")
    sub.add_argument("--latency", action="store_true", help="time one image before and after")
    sub.add_argument("--report", action="store_true", help="which fusion happens where: here, in TensorFlow, TFLite, OpenVINO")
    sub = command("evaluate", _run_evaluate, "accuracy on labelled images, beside the published one")
    sub.add_argument("model", metavar="NAME[.TAG]|FILE", help="such as cifar_resnet20.digits")
    sub.add_argument("--data", required=True, metavar="SOURCE", help="folder:PATH, tfrecord:GLOB, tfds:NAME, npz:FILE, "
                     "cifar10, cifar100 or digits")
    sub.add_argument("--split", choices=("test", "train"), default="test", help="where the data have both (%(default)s)")
    sub.add_argument("--crops", type=int, choices=(1, 10), default=1, help="of each image (%(default)s)")
    sub.add_argument("--scales", type=int, nargs="+", default=(), metavar="PIXELS", help="instead: shorter sides of each image")
    sub.add_argument("--batch", type=int, default=32, help="images at once (%(default)s)")
    sub.add_argument("--preprocessing", metavar="NAME.TAG", help="of a file that does not say: the weights it began with")
    sub.add_argument("--labels", help="of a file that does not say: a label set, or a text file with a name per line")
    sub.add_argument("--limit", type=int, default=100, help="unreadable images that may be left out (%(default)s)")
    sub.add_argument("--json", action="store_true", help="for programs")
    sub = command("explain", _run_explain, "where a net looks in an image, its maps and first filters, as an HTML page")
    sub.add_argument("image", metavar="IMAGE")
    sub.add_argument("--model", required=True, metavar="NAME[.TAG]|FILE", help="such as cifar_resnet20.digits")
    sub.add_argument("-o", "--output", default="explain.html", help="the page (%(default)s)")
    sub.add_argument("--top", type=int, default=3, help="classes (%(default)s)")
    sub.add_argument("--preprocessing", metavar="NAME.TAG", help="of a file that does not say: the weights it began with")
    sub.add_argument("--labels", help="of a file that does not say: a label set, or a text file with a name per line")
    sub = command("page", _run_page, "a net as one HTML page: its graph, its layers, what they cost")
    sub.add_argument("net", metavar="NAME[.TAG]|FILE", help="such as resnest50, or a .keras file")
    sub.add_argument("-o", "--output", default="net.html", help="the page (%(default)s)")
    sub.add_argument("--size", type=int, help="pixels on a side; the net's own by default")
    sub = command("tour", _run_tour, "the papers' claims, rerun small, as one HTML page")
    sub.add_argument("-o", "--output", default="tour.html", help="the page (%(default)s)")
    sub = command("export", _run_export, "a net to a file for another runtime, checked there")
    sub.add_argument("model", metavar="NAME[.TAG]|FILE.keras")
    sub.add_argument("output", nargs="?", metavar="OUT", help=".tflite, .onnx, .xml (OpenVINO), .keras, or a new folder's name "
                     "for a SavedModel; saved_models/NAME.tflite if not given")
    sub.add_argument("--quantize", choices=("float16", "dynamic", "int8"), help="of a .tflite")
    sub.add_argument("--calibrate", dest="calibration", metavar="FOLDER", help="images for int8, some hundred of them")
    sub.add_argument("--validate", dest="validation", metavar="FOLDER", help="other images to compare on")
    sub.add_argument("--size", type=int, help="of the images in pixels, where the net leaves it open")
    sub.add_argument("--batch", type=int, help="images per call; 1 in a .tflite, any number elsewhere, if not given")
    sub.add_argument("--io", choices=("int8", "uint8", "float32"), default="int8", help="input and output of int8 (%(default)s)")
    sub.add_argument("--preprocessing", metavar="NAME.TAG", help="of a net that does not say: the weights it began with")
    sub.add_argument("--labels", help="of a net that does not say: a label set")
    sub.add_argument("--calibration-method", choices=("minmax", "percentile", "mse"), default="minmax", help="a range in "
                     "int8: all that was seen, 99.99 %% of it, or that of least error (%(default)s)")
    sub.add_argument("--float-layers", type=lambda text: text.split(","), default=(), metavar="LAYER,LAYER",
                     help="that stay in floating point in int8")
    sub.add_argument("--debug-quantization", dest="debug", action="store_true", help="print what int8 does to each layer")
    sub.add_argument("--cc", action="store_true", help="write the .tflite as C++ source too, for microcontrollers")
    sub.add_argument("--threads", type=int, default=1, help="of the runtimes, in the timing (%(default)s)")
    sub.add_argument("--keep-failed", dest="strict", action="store_false", help="keep a file that falls short: passed: false")
    for name, run, text in (("verify", _run_verify, "check exported files on this machine, with their own runtime alone"),
                            ("benchmark", _run_benchmark, "exported files side by side: latency, bytes, agreement")):
        sub = command(name, run, text)
        sub.add_argument("files", nargs="+", metavar="FILE")
        sub.add_argument("--threads", type=int, default=1)
        sub.add_argument("--json", action="store_true", help="for programs")
    sub.add_argument("--size", type=int, help="of the images in pixels, where the files leave it open")
    sub = command("predict", _run_predict, "classify images")
    sub.add_argument("images", nargs="+", metavar="IMAGE")
    sub.add_argument("--model", required=True, metavar="NAME[.TAG]|FILE", help="such as cifar_resnet20.digits")
    sub.add_argument("--preprocessing", metavar="NAME.TAG", help="of a file that does not say: the weights it began with")
    sub.add_argument("--labels", help="of a file that does not say: a label set, or a text file with a name per line")
    sub.add_argument("--top", type=int, default=5)
    sub.add_argument("--json", action="store_true", help="for programs")
    sub = command("recipes", _run_recipes_list, "how the papers train: list, show")
    actions = sub.add_subparsers(metavar="ACTION", required=True)
    action = actions.add_parser("list", help="the recipes", description="the recipes")
    action.set_defaults(run=_run_recipes_list)
    action = actions.add_parser("show", help="every value, and where its paper says so",
                                description="every value, and where its paper says so")
    action.set_defaults(run=_run_recipes_show)
    action.add_argument("name", metavar="NAME", help="such as RESNET_RS, or RESNET_RS/152@256 of its scaling table")
    action.add_argument("--diff", metavar="OTHER", help="only the values in which it differs from another recipe")
    action.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="of the training, such as epochs=10")
    action.add_argument("--model-set", action="append", default=[], metavar="FIELD=VALUE",
                        help="of the net, such as drop_path_rate=0.1")
    sub = command("train", _run_train, "train a net by a recipe, or go on with a training")
    sub.add_argument("model", nargs="?", metavar="NAME[.TAG]|FILE.keras", help="such as resnet50d; with --resume not needed")
    sub.add_argument("--recipe", default="finetune", help="reskeras recipes list (%(default)s)")
    sub.add_argument("--data", metavar="SOURCE", help="folder:PATH, tfrecord:GLOB, tfds:NAME, npz:FILE, "
                     "cifar10, cifar100 or digits")
    sub.add_argument("--val", "--validate", dest="validation", metavar="SOURCE", help="images to validate on after each epoch")
    sub.add_argument("--val-split", dest="validation_split", type=float, default=0.0, metavar="SHARE",
                     help="or a share of each class of the data")
    sub.add_argument("--output", metavar="DIR", help="a new folder; runs/NAME.RECIPE if not given")
    sub.add_argument("--resume", metavar="DIR", help="go on there; the rest is then as it was")
    sub.add_argument("--strategy", default="auto", help="auto, none, mirrored, multi_worker or tpu (%(default)s)")
    sub.add_argument("--policy", help="such as mixed_bfloat16")
    sub.add_argument("--jit", action="store_true", help="compile with XLA")
    sub.add_argument("--accumulate", type=int, default=1, metavar="N", help="batches whose gradients make one update")
    sub.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="of the training, such as epochs=10")
    sub.add_argument("--model-set", action="append", default=[], metavar="FIELD=VALUE",
                     help="of the net, such as drop_path_rate=0.1")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--deterministic", action="store_true", help="the same weights to the bit each time; slower")
    sub.add_argument("--save-every", type=int, default=1000, metavar="N", help="batches between checkpoints (%(default)s)")
    sub.add_argument("--limit", type=int, default=100, help="unreadable images that may be left out (%(default)s)")
    sub.add_argument("--quiet", action="store_true", help="a line for each epoch instead of a progress bar")
    sub = command("weights", _run_weights_list, "published checkpoints: list, show, fetch, verify")
    actions = sub.add_subparsers(metavar="ACTION", required=True)
    for name, run, text in (("list", _run_weights_list, "the checkpoints, with license and published accuracy"),
                            ("show", _run_weights_show, "all that is known of one"),
                            ("fetch", _run_weights_fetch, "download and check, print where the files are"),
                            ("verify", _run_weights_verify, "read the files in the cache again, print their sha256")):
        action = actions.add_parser(name, help=text, description=text)
        action.set_defaults(run=run)
        if name == "list":
            action.add_argument("pattern", nargs="?", help='a shell pattern, such as "resnet50*"')
            action.add_argument("--dataset")
            action.add_argument("--license")
            action.add_argument("--markdown", action="store_true", help="the table of docs/weights.md")
        else:
            action.add_argument("names", nargs="+", metavar="NAME.TAG")
    return top


def version() -> str:
    from . import __version__
    return f"reskeras {__version__}"


def _run_list(options: argparse.Namespace) -> int:
    from . import catalog
    from .commands import catalog_tables
    if options.families:
        print(catalog_tables.format_families())
        return 0
    names = catalog.list_models(options.pattern)
    if not names:
        raise ValueError(f"no net is named {options.pattern!r}{nearest(options.pattern, catalog.list_models())}")
    if options.markdown:
        print(catalog_tables.format_variants(names))
        return 0
    for name in names:
        size = catalog.read_costs()[name]
        print(f"{name:28} {size.params / 1e6:8.2f} M parameters {size.macs / 1e9:8.3f} G MACs   "
              f"{catalog.variants.VARIANTS[name].family}")
    return 0


def _run_show(options: argparse.Namespace) -> int:
    from . import catalog
    from .spec import find_differences
    from .weights.table import find_checkpoint
    row, tag, fields = catalog.find_variant(options.name)
    if tag:
        find_checkpoint(row.name, tag)     # an unknown one is an error
    if options.page:
        from .commands.family_page import write_family_page
        print(write_family_page(options.name, options.page))
        return 0
    if options.diff:
        other, _, other_fields = catalog.find_variant(options.diff)
        pairs = find_differences(catalog.apply_fields(row, fields), catalog.apply_fields(other, other_fields))
        for field, (mine, theirs) in pairs.items():
            print(f"{field:24} {mine!s:32} {theirs}")
        return 0
    size = catalog.read_costs()[row.name]
    print(f"{row.builder}: {row.name}, {catalog.variants.FAMILIES[row.family]}")
    side = row.spec.input_size
    print(f"{size.params:,} parameters, {size.macs:,} multiply-accumulates at {side} x {side} pixels")
    known = [source for source, (name, _) in catalog.list_source_names().items() if name == row.name]
    print("also known as: " + (", ".join(known) or "nothing else"))
    for field, value in vars(catalog.apply_fields(row, fields)).items():
        print(f"{field:24} {value}")
    return 0


def _run_compare(options: argparse.Namespace) -> int:
    from .commands.compare import comma_separated, compare, markdown, plain, points
    from .commands.quiet import quiet_tensorflow
    with quiet_tensorflow():
        found = points(options.nets, options.family, options.labels, options.latency)
        written = compare(found, options.output) if options.output else None
    if options.markdown or options.csv or not written:
        print(markdown(found) if options.markdown else comma_separated(found) if options.csv else plain(found))
    if written:
        print(written)
    return 0


def _present(images: Sequence[str]) -> None:
    """Raises: FileNotFoundError where none of the images is there, which is known before Keras starts."""
    if not any(map(os.path.exists, images)):
        raise FileNotFoundError(f"{', '.join(images)}: no such file")


def _run_cost(options: argparse.Namespace) -> int:
    import json

    from .commands.cost import bill, text
    from .commands.quiet import quiet_tensorflow
    with quiet_tensorflow():
        found = bill(options.net, options.size, options.batch)
    print(json.dumps(found.as_dict(options.per_layer), indent=2) if options.json else text(found, options.per_layer))
    return 0


def _run_demo(options: argparse.Namespace) -> int:
    from .commands.quiet import quiet_tensorflow
    with quiet_tensorflow():
        from .commands.demo import demo
    demo(options.output, fast=options.fast, seed=options.seed, quiet=options.quiet, keep=options.keep)
    return 0


def _run_evaluate(options: argparse.Namespace) -> int:
    import json

    from .commands.quiet import quiet_tensorflow
    from .commands.open_model import check_model
    check_model(options.model)
    with quiet_tensorflow():
        from .commands.evaluate import evaluate
        found = evaluate(options.model, options.data, split=options.split, crops=options.crops, scales=options.scales,
                         batch=options.batch, preprocessing=options.preprocessing, labels=options.labels, limit=options.limit)
    print(json.dumps(found.as_dict(), indent=2) if options.json else found)
    return 0


def _run_explain(options: argparse.Namespace) -> int:
    from .commands.quiet import quiet_tensorflow
    from .commands.open_model import check_model
    check_model(options.model)
    _present([options.image])
    with quiet_tensorflow():
        from .commands.explain import explain
        written = explain(options.image, options.model, options.output, top=options.top, preprocessing=options.preprocessing,
                          labels=options.labels)
    print(written)
    return 0


def _run_page(options: argparse.Namespace) -> int:
    from .commands.quiet import quiet_tensorflow
    with quiet_tensorflow():
        from .commands.page import page
        written = page(options.net, options.output, options.size)
    print(written)
    return 0


def _run_tour(options: argparse.Namespace) -> int:
    from .commands.tour import tour
    print(tour(options.output))
    return 0


def _run_recipes_list(options: argparse.Namespace) -> int:
    from .train.recipes import listed
    print(listed())
    return 0


def _run_recipes_show(options: argparse.Namespace) -> int:
    from .train.recipe import scale_learning_rate
    from .train.recipes import get_recipe
    recipe = get_recipe(options.name).override(options.set, options.model_set)
    if options.diff:
        for field, (mine, theirs) in recipe.differences(get_recipe(options.diff)).items():
            print(f"{field:24} {mine!s:56} {theirs}")
        return 0
    print(recipe.text())
    print(scale_learning_rate(recipe.training).reason)
    return 0


def _run_train(options: argparse.Namespace) -> int:
    from .commands.train import train
    given = {name: value for name, value in vars(options).items() if name != "run"}
    print(train(**given))
    return 0


def _run_weights_list(options: argparse.Namespace) -> int:
    from .commands import catalog_tables
    from .weights.table import get_weights, list_weights
    if options.markdown:
        print(catalog_tables.format_checkpoints())
        return 0
    names = list_weights(options.pattern, dataset=options.dataset, license=options.license)
    if not names:
        raise ValueError(f"no checkpoint is named {options.pattern!r}; `reskeras weights list` names all")
    for name in names:
        w = get_weights(name)
        accuracy = f"{w.top1:6.2f} % top-1 at {w.top1_size or w.input_size}" if w.top1 else ""
        print(f"{name:48} {w.dataset:18} {w.license or 'no license given':18} {accuracy}{'  default' * w.is_default}")
    return 0


def _run_weights_show(options: argparse.Namespace) -> int:
    from .weights.table import get_weights
    for row in map(get_weights, options.names):
        for field, value in {**vars(row), "note": row.note}.items():
            print(f"{field:18} {value}")
    return 0


def _run_weights_fetch(options: argparse.Namespace) -> int:
    from .weights.fetch import fetch_checkpoint
    from .weights.table import get_weights
    for row in [get_weights(name) for name in options.names]:
        print(fetch_checkpoint(row))
    return 0


def _run_weights_verify(options: argparse.Namespace) -> int:
    from .weights.fetch import verify_cached_file
    from .weights.table import get_weights
    for row in [get_weights(name) for name in options.names]:
        print(f"{verify_cached_file(row)}  {row.name}")
    return 0


def _run_optimize(options: argparse.Namespace) -> int:
    from . import catalog
    from .build import save
    from .graph.optimize import optimize_model
    from .commands.quiet import quiet_tensorflow
    from .commands.open_model import FILES, load_keras_file
    if options.output and not options.output.endswith(".keras"):
        raise ValueError(f"--output {options.output!r}: expected a name that ends in .keras; "
                         "`reskeras export` writes other forms")
    passes = options.passes.split(",") if options.passes else None
    with quiet_tensorflow():
        model = load_keras_file(options.model) if options.model.endswith(FILES) else catalog.create(options.model)
        shape = (options.size, options.size, model.input_shape[-1]) if options.size else None
        fast, certificate = optimize_model(model, passes=passes, target=options.target, check=not options.no_proof,
                                     latency=options.latency, input_shape=shape)
        print(certificate)
        if options.report:
            from .commands.fusion_report import format_report
            print(format_report(model, fast, certificate))
        if options.output:
            save(fast, options.output)
        if options.certificate:
            certificate.write(options.certificate)
    return int(bool(certificate.refusal))


def _run_export(options: argparse.Namespace) -> int:
    from .commands.export import artefact, command_line
    from .commands.quiet import quiet_tensorflow
    given = {name: value for name, value in vars(options).items() if name not in ("run", "model", "output")}
    with quiet_tensorflow():
        path, found = artefact(options.model, options.output, command=command_line(sys.argv[1:]),
                               progress=sys.stderr.isatty(), **given)
    print(f"{path}: {found.summary()}")
    return int(not found.passed)


def _run_verify(options: argparse.Namespace) -> int:
    from .exporters.verify import verify
    found = [verify(file, options.threads) for file in options.files]
    print("[" + ",\n".join(v.json() for v in found) + "]" if options.json else "\n".join(v.summary() for v in found))
    return int(not all(v.passed for v in found))


def _run_benchmark(options: argparse.Namespace) -> int:
    from .commands.benchmark import as_json, benchmark, table
    from .commands.quiet import quiet_tensorflow
    with quiet_tensorflow():
        lines = benchmark(options.files, options.threads, size=(options.size,) * 2 if options.size else None)
    print(as_json(lines) if options.json else table(lines))
    return 0


def _run_predict(options: argparse.Namespace) -> int:
    import json

    from .commands.quiet import quiet_tensorflow
    from .commands.open_model import check_model
    check_model(options.model)
    _present(options.images)
    with quiet_tensorflow():
        from .commands.predict import predict
        results = predict(options.images, options.model, top=options.top, preprocessing=options.preprocessing,
                          labels=options.labels)
    if options.json:
        print(json.dumps(results, indent=2))
    for result in results:
        if "error" in result:
            print(f"reskeras: {result['image']}: {result['error']}", file=sys.stderr)
        elif not options.json:
            print(f"{result['image']}: " + ", ".join(f"{p['label']} {p['score']:.1%}" for p in result["predictions"]))
    return int(any("error" in result for result in results))


if __name__ == "__main__":
    sys.exit(main())
