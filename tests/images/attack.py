"""Reads hostile images in a process that may take little memory; prints what came of each as JSON.

Called with a folder of images: evaluation and training read it as well.
"""
import concurrent.futures
import json
import os
import resource
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from hostile_files import make_files, make_gif, make_png  # noqa: E402

from reskeras.exporters.signatures import _decode_image  # noqa: E402
from reskeras.images.limits import set_image_limits  # noqa: E402
from reskeras.images.preprocessing import Preprocessing  # noqa: E402
from reskeras.train.data import ImageDataset  # noqa: E402

GIGABYTE = 2 ** 30


def limit_memory(extra):
    """Allows `extra` bytes beyond what the process has now."""
    pages = int(open("/proc/self/statm").read().split()[0])
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + extra, hard))


def attempt(function, *args):
    """None, or the error."""
    try:
        function(*args)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def main():
    prepare = Preprocessing((224, 224))
    served = tf.function(_decode_image, input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
    in_graph = tf.function(prepare, input_signature=[tf.TensorSpec((), tf.string)])
    files = make_files()
    for function in (prepare, served, in_graph):        # compiled, threads started
        function(tf.constant(make_png(9, 9)))

    limit_memory(GIGABYTE)
    results = {name: attempt(prepare, data) for name, data in files.items()}
    graph = {name: attempt(in_graph, tf.constant(files[name])) for name in (
        "thinner.png", "flatter.png", "many.png", "too_many.png")}
    others = {mode: attempt(lambda: [Preprocessing((224, 224), crop_mode=mode)(files[name]) for name in (
        "thin.png", "flat.png", "thinner.png", "flatter.png")]) for mode in ("squash", "border")}
    large = ("too_many.png", "more.png", "progressive.jpg", "canvas.gif", "exif.webp")
    serving = {name: attempt(served, tf.constant(files[name])) for name in large}
    serving["bomb.gif"] = attempt(served, tf.constant(make_gif(2000, 1000)))

    set_image_limits(max_pixels_in_flight=20_000_000)
    large = make_png(3000, 3000, 2)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        parallel = list(pool.map(lambda _: attempt(prepare, large), range(16)))

    limit_memory(2 * GIGABYTE)      # tf.data has many threads, each with a stack
    folder = sys.argv[1]
    data = ImageDataset(f"folder:{folder}", 8, "inception_crop(32)|flip")
    count = sum(len(x) for x, _ in data.iterate_batches())
    evaluation = ImageDataset(f"folder:{folder}", 8, prepare=Preprocessing((32, 32)))
    seen = sum(len(x) for x, _ in evaluation.iterate_batches())
    scaled = ImageDataset(f"folder:{folder}", 8, "scale(40, 50)|crop(32)")
    np.testing.assert_equal(sum(len(x) for x, _ in scaled.iterate_batches()), count)
    print(json.dumps({
        "prepare": results, "graph": graph, "modes": others, "serving": serving, "parallel": parallel,
        "training": [count, data.unreadable_names], "evaluation": [seen, evaluation.unreadable_names]}))


if __name__ == "__main__":
    main()
