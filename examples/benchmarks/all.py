"""The short form of every benchmark, one after the other; a long form is the same script with its own
arguments.

    python examples/benchmarks/all.py --output figures --timm ../timm-env/bin/python
"""
import argparse
import pathlib
import subprocess
import sys

SHORT = {
    "build": ["--nets", "ResNet50"],
    "train_step": ["--nets", "ResNet50", "ResNeXt50_32x4d", "--policies", "float32"],
    "inference": ["--nets", "ResNet50", "--batches", "1", "--runtimes", "graph"],
    "inference_timm": ["--nets", "ResNet50", "--batches", "1"],
    "export": ["--targets", "TF graph", "TFLite float32"], "input": [],
    "scaling": ["--depths", "20", "56", "--batches", "64", "128"], "replicas": ["--runs", "1"],
    "stochastic_depth": ["--rates", "0.9"], "subsampling": ["--channels", "64"]}
TIMM = ("build", "train_step", "inference_timm", "input")


def main() -> int:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--output", default=".", help="a folder for the figures")
    arguments.add_argument("--timm", help="a Python that has torch and timm")
    arguments.add_argument("--only", nargs="+", choices=SHORT, default=list(SHORT))
    options = arguments.parse_args()
    pathlib.Path(options.output).mkdir(parents=True, exist_ok=True)
    failed = []
    for name in options.only:
        script, figures = (
            pathlib.Path(__file__).with_name(f"{name}.py"), pathlib.Path(options.output, f"{name}.json"))
        extra = ["--timm", options.timm] if options.timm and name in TIMM else []
        print(f"== {name}", flush=True)
        if subprocess.run(
            [sys.executable, str(script), *SHORT[name], *extra, "--json", str(figures)]).returncode:
            failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else "all have run")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
