"""What the scripts of this folder share: images, a short training run, times measured alternately, and how a
study is printed, drawn and kept.

The full runs take the first 2,000 or 4,000 of CIFAR-10's images, halved to 16 x 16 pixels, and few epochs, so
that each is done in minutes on two cores.  `--images 50000 --size 32 --epochs 164 --data cifar10` is nearer
to the papers.
"""
from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import sys
import time
from typing import Any, Callable, Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

sys.path.append(str(pathlib.Path(__file__).parents[1] / "benchmarks"))
import timing  # noqa: E402
from timing import Timed  # noqa: E402

import reskeras  # noqa: E402
from reskeras.commands.study import Study, draw_charts  # noqa: E402
from reskeras.train.sources import open_source  # noqa: E402

TOUR = pathlib.Path(__file__).parents[2] / "reskeras" / "commands" / "tour.json"


# %% Command line
def main(study: Callable[[argparse.Namespace], Study], file: str, argv: Sequence[str] | None, epochs: int = 5,
         images: int = 2000) -> None:
    """Runs a study; prints it, draws it, and where asked writes it down."""
    name, document = pathlib.Path(file).stem, pathlib.Path(file).read_text(encoding="utf-8").split('"""')[1]
    parser = argparse.ArgumentParser(description=document.splitlines()[0])
    parser.add_argument("--tiny", action="store_true",
                        help="seconds: noise for images, few layers; the figures mean nothing")
    parser.add_argument("--data", default="cifar10", help="cifar10, cifar10:FILE or npz:FILE (%(default)s)")
    parser.add_argument("--images", type=int, default=images,
                        help="to train on (%(default)s); a quarter as many to test")
    parser.add_argument("--size", type=int, default=16,
                        help="pixels on a side: 32, or 16 by averaging (%(default)s)")
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=8, help="of each timing")
    parser.add_argument("--output", default=f"{name}.png", help="the plot (%(default)s)")
    parser.add_argument("--json", help="a file for the figures")
    parser.add_argument("--keep", action="store_true",
                        help="into the docstring and `reskeras tour`, in a checkout")
    options = parser.parse_args(argv)
    if options.tiny:
        options.images, options.size, options.epochs, options.seeds, options.seconds = 8, 8, 1, 1, 0.01
    result = study(options)
    minutes = time.process_time() / 60      # of all cores together, whoever else was at work
    about = (f"{datetime.date.today()}, {minutes:.1f} minutes of CPU on {os.cpu_count()} cores of an AVX-512 "
             "EPYC, "
             f"{options.images:,} images of {options.size} x {options.size} pixels to train on, seeds "
             f"{' '.join(map(str, range(options.seeds)))}, "
             f"TensorFlow {tf.__version__}, Keras {keras.__version__}.")
    command = f"python examples/papers/{name}.py"
    result = dataclasses.replace(result, claim=" ".join(result.claim.split()),
                                 finding=" ".join(result.finding.split()), run=about, command=command)
    print(result.text())
    if result.charts:
        draw_charts(result.charts, "#333333").savefig(options.output, dpi=120)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(dataclasses.asdict(result)), encoding="utf-8")
    if options.keep:
        keep(pathlib.Path(file), result)


def keep(file: pathlib.Path, study: Study) -> None:
    known = json.loads(TOUR.read_text(encoding="utf-8")) if TOUR.exists() else {}
    known[file.stem] = dataclasses.asdict(study)
    TOUR.write_text(json.dumps(known, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    before, document, code = file.read_text(encoding="utf-8").split('"""', 2)
    head = document.partition("\n\nFull run")[0].rstrip("\n")
    file.write_text(f'{before}"""{head}\n\n{study.text()}\n"""{code}', encoding="utf-8")


# %% Images and nets
def images(options: argparse.Namespace, split: str = "train") -> tuple[np.ndarray, np.ndarray]:
    """Pixels, centred and scaled to about one, and labels."""
    count = options.images if split == "train" else options.images // 4
    if options.tiny:
        return np.random.default_rng(0).normal(size=(count, 8, 8, 3)).astype("float32"), np.arange(count) % 10
    found = open_source(options.data, split)
    x = (found.images[:count] / 255 - [0.49, 0.48, 0.45]).astype("float32") * 4
    fold = x.shape[1] // options.size
    return x.reshape(len(x), options.size, fold, options.size, fold, 3).mean((2, 4)), found.labels[:count]


def net(options: argparse.Namespace, row: str, **fields: Any) -> keras.Model:
    """A CIFAR net at the size of the images; a block a stage where the run is tiny."""
    depths = {"depths": (1, 1, 1)} if options.tiny else {}
    return getattr(reskeras, row)(weights=None, input_shape=(options.size, options.size, 3),
                                  **{**fields, **depths})


# %% A short training
@dataclasses.dataclass(frozen=True)
class Result:
    """Of all seeds: training error (%) at each epoch while it trains, and test error at the end."""
    curves: np.ndarray
    tests: np.ndarray

    @property
    def curve(self) -> list[float]:
        return np.round(self.curves.mean(0), 2).tolist()

    def cells(self) -> tuple[str, str]:
        return said(self.curves[:, -1]), said(self.tests)


def said(values: np.ndarray) -> str:
    """The mean, and from where to where the seeds are."""
    spread = f" ({values.min():.1f} to {values.max():.1f})" if len(values) > 1 else ""
    return f"{values.mean():.1f}{spread}"


def train(build: Callable[[], keras.Model], options: argparse.Namespace, rate: float = 0.05,
          decay: float = 1e-4,
          cosine: bool = True, smoothing: float = 0.0, ema: float | None = None, flip: bool = False,
          batch: int = 64,
          epochs: int | None = None) -> Result:
    """SGD with momentum 0.9 and a cosine to zero, by Keras' own `fit`; from each seed again."""
    (x, y), test = images(options), images(options, "test")
    keras.utils.clear_session()
    model, epochs = build(), epochs or options.epochs
    steps = epochs * -(-len(x) // batch)
    schedule = (keras.optimizers.schedules.CosineDecay(rate, steps) if cosine else
                keras.optimizers.schedules.PiecewiseConstantDecay([steps // 2, steps * 3 // 4],
                                                                  [rate, rate / 10, rate / 100]))
    sgd = keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True, weight_decay=decay,
                               use_ema=ema is not None,
                               ema_momentum=ema or 0.99)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)
    model.compile(sgd, loss, metrics=["accuracy"], jit_compile=False, run_eagerly=options.tiny)
    curves, tests = [], []
    for seed in range(options.seeds):
        keras.utils.set_random_seed(seed)
        model.set_weights(build().get_weights())        # one model, compiled once
        for variable in sgd.variables:
            variable.assign(np.zeros(variable.shape, variable.dtype))
        data = tf.data.Dataset.from_tensor_slices((x, keras.utils.to_categorical(y, 10)))
        data = data.shuffle(len(x), seed=seed).batch(batch)
        if flip:
            data = data.map(lambda a, b: (tf.image.random_flip_left_right(a), b))
        history = model.fit(data.prefetch(2), epochs=epochs, verbose=0, shuffle=False).history
        if ema is not None:
            sgd.finalize_variable_values(model.trainable_variables)
        curves.append([100 * (1 - a) for a in history["accuracy"]])
        predicted = model.predict(test[0], verbose=0, batch_size=250).argmax(1)
        tests.append(100 * float((predicted != test[1]).mean()))
        print(f"  {model.name}, seed {seed}: training error {curves[-1][-1]:.1f} %, test {tests[-1]:.1f} %",
              flush=True)
    return Result(np.array(curves), np.array(tests))


# %% Times
def in_turns(sides: dict[Any, Callable[[], Any]], seconds: float) -> dict[Any, Timed]:
    """The benchmarks' timing, of so few calls at least as a net of a thousand layers has patience for."""
    return timing.in_turns({name: timing.clock(run) for name, run in sides.items()}, seconds, least=2)


def ratio(times: dict[Any, Timed], side: Any, base: Any) -> str:
    """How many times as long, or that the machine was too noisy to say."""
    found = timing.ratio(times[side], times[base])
    return "too noisy" if found is None else f"{found:.3f}"


def step(model: keras.Model, batch: int, size: int) -> Callable[[], Any]:
    """A step of training on noise, as a compiled graph."""
    random = np.random.default_rng(0)
    x = random.normal(size=(batch, size, size, 3)).astype("float32")
    y = np.arange(batch) % model.output_shape[-1]
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy",
                  jit_compile=False)
    return lambda: model.train_on_batch(x, y)


def infer(model: keras.Model, batch: int, size: int) -> Callable[[], Any]:
    """A call for a batch of noise, as a compiled graph."""
    x = tf.constant(np.random.default_rng(0).normal(size=(batch, size, size, 3)).astype("float32"))
    call = tf.function(lambda: model(x, training=False), autograph=False)
    return lambda: call().numpy()
