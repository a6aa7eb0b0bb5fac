"""The input pipeline: images a second of one core: decoding, RandAugment and mixup, on JPEGs made here, and
on the same images in a packed store.

    python examples/benchmarks/input.py --images 256 --json input.json

`reskeras.train.data.ImageDataset` against torchvision's transforms on PIL (in another environment with
`--timm`, in one process of one thread) and PIL alone, and against what a net takes in training; all of them
on the same core, if the system can say which, by the processor's time: other programs on that core do not
count. Stops if an operation falls back to a loop over images.
"""
from __future__ import annotations

import os
import pathlib
import tempfile
import time
import warnings
from typing import Any

from timing import Peer, Side, clock, figures, in_turns, parser, ratio, shown, write

import numpy as np
import PIL.Image

PIPELINES = {"decode, crop": "inception_crop({size})|flip",
             "+ RandAugment": "inception_crop({size})|flip|randaugment(2, 9)",
             "+ mixup": "inception_crop({size})|flip|randaugment(2, 9)|mixup(0.2)",
             "packed, crop": "inception_crop({size})|flip"}
AGAINST = {"decode, crop": "torchvision", "+ RandAugment": "torchvision, RandAugment",
           "packed, crop": "torchvision"}
PACKED_SIDE = 8 / 7     # of the shorter side of packed images, times the size: 256 for 224


def make(folder: pathlib.Path, images: int, side: int = 400) -> None:
    """Smooth random pictures as JPEG, about as large as ImageNet's, in two classes."""
    rng = np.random.default_rng(0)
    for i in range(images):
        small = PIL.Image.fromarray(rng.integers(0, 256, (25, 31, 3), "uint8"))
        path = folder / str(i % 2) / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        small.resize((side * 5 // 4, side), PIL.Image.Resampling.BICUBIC).save(path, quality=90)


class Ours:
    """The processor's time of an epoch of all images, less that of an epoch of half of them.

    Each epoch has its own augmentation.  So neither what it takes to begin an epoch counts, nor are images
    made ahead while nobody looks.
    """

    def __init__(self, data: str, pipeline: str, images: int, batch: int):
        from reskeras.train.data import ImageDataset
        self.epochs = [ImageDataset(data, batch, pipeline, excluded=range(left_out))
                       for left_out in (0, images // 2)]
        self.number, self.first_ms = 0, 0.0

    def __call__(self) -> float:
        self.number += 1
        whole, half = (self.take_epoch(data) for data in self.epochs)
        return max(whole - half, 1e-3)      # of a few images the difference is noise

    def take_epoch(self, data: Any) -> float:
        """Milliseconds of the processor."""
        start = time.process_time()
        batches = iter(data.make_epoch(self.number))
        next(batches)
        self.first_ms = 1000 * (time.process_time() - start)
        for images, _ in batches:
            assert images.shape[0]
        return 1000 * (time.process_time() - start)


def pil(folder: pathlib.Path, size: int) -> Any:
    """Only decoded, cropped in the middle, resized: PIL's own speed, on one core."""
    files = sorted(folder.glob("*/*.jpg"))

    def epoch() -> None:
        for file in files:
            image = PIL.Image.open(file).convert("RGB")
            image.resize(
                (size, size), PIL.Image.Resampling.BILINEAR, box=(50, 0, image.height + 50, image.height))
    return epoch


def training_rate(net: str, size: int, batch: int) -> Any:
    import keras
    import tensorflow as tf

    import reskeras
    model = getattr(reskeras, net)(weights=None, input_shape=(size, size, 3))
    model.compile(keras.optimizers.SGD(1e-3, momentum=0.9), "sparse_categorical_crossentropy")
    images, labels = tf.random.stateless_normal((batch, size, size, 3), (0, 0)), tf.range(batch)
    return lambda: model.train_on_batch(images, labels)


def pinned() -> int:
    """This process, its threads and its children from now on to one core; how many cores they have."""
    if not hasattr(os, "sched_setaffinity"):
        return os.cpu_count() or 1
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return 1


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument(
        "--images", type=int, default=512, help="a multiple of twice the batch")
    arguments.add_argument("--batch", type=int, default=32)
    arguments.add_argument("--calls", type=int, default=2, help="of each half, at least")
    arguments.add_argument("--net", default="ResNet50", help="whose training rate it has to keep up with")
    arguments.add_argument("--timm", help="a Python that has torchvision")
    options = arguments.parse_args()
    warnings.filterwarnings("error", message=".*(while_loop|pfor).*")
    cores = pinned()
    peer = Peer(options.timm) if options.timm else None
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name, "photos")
        make(folder, options.images)
        from reskeras.commands.pack import pack
        photos, packed = f"folder:{folder}", pathlib.Path(name, "packed")
        pack(photos, packed, size=round(PACKED_SIDE * options.size))
        pipelines = {
            kind: Ours(f"packed:{packed}" if kind.startswith("packed") else photos,
                       text.format(size=options.size), options.images, options.batch)
            for kind, text in PIPELINES.items()}
        sides: dict[str, Side] = {**pipelines}
        sides["PIL, decode alone"] = clock(pil(folder, options.size), time.process_time)
        if peer:
            for randaugment in (False, True):
                sides["torchvision" + ", RandAugment" * randaugment] = peer.images(
                    folder=str(folder), size=options.size, randaugment=randaugment)
        sides["training"] = clock(
            training_rate(options.net, options.size, 8), time.process_time)
        times = in_turns(sides, options.seconds, warm=1, least=options.calls)
    ratios = {} if peer is None else {
        kind: ratio(times[theirs], times[kind]) for kind, theirs in AGAINST.items()}
    whole = (options.images // options.batch - options.images // 2 // options.batch) * options.batch
    rows = []
    for side in sides:
        count = {**dict.fromkeys(PIPELINES, whole), "training": 8}.get(side, options.images)
        rate = 1000 * count / times[side].ms
        rows.append({"side": side, "cores": cores, "images_per_second": rate, "quiet": times[side].quiet})
        print(f"{side:26} {rate:8.1f} images/s" + f", {options.net}" * (side == "training")
              + ("" if times[side].quiet else ", noisy"), flush=True)
    for kind, value in ratios.items():      # per image: of ours half of an epoch is timed
        ratios[kind] = None if value is None else value * whole / options.images
        print(f"{kind}: {shown(ratios[kind], 2)} times as fast as {AGAINST[kind]}")
    share = ratio(times["training"], times["+ mixup"])
    keeps = None if share is None else share * whole / 8
    print(
        f"the pipeline makes {shown(keeps, 1)} times the images that the net takes; "
        "first batches of an epoch after "
        + ", ".join(f"{side.first_ms:.0f}" for side in pipelines.values())
        + " ms"
    )
    if peer:
        peer.close()
    write(
        options.json, rows, **figures(times), ratio=ratios, times_the_training_rate=keeps,
        first_batch_ms={kind: round(side.first_ms) for kind, side in pipelines.items()},
        versions=peer.versions if peer else {})


if __name__ == "__main__":
    main()
