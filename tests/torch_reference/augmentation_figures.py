"""What the reference scripts of augmentation share: the image, the figures of a distribution, the file."""
import json
import pathlib

import numpy as np

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "training"
DRAWS = 10_000
QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
FILL = (124, 116, 104)


def make_image():
    """A small smooth picture with noise and a dark and a bright corner, uint8 (28, 24, 3)."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:28, 0:24] / 28
    waves = [np.sin(7 * rows + 3 * c) + np.cos(9 * columns - c) for c in range(3)]
    x = 128 + 50 * np.stack(waves, -1) + rng.normal(size=(28, 24, 3)) * 12
    x[:6, :5] *= 0.2
    x[-5:, -6:] += 90
    return x.clip(10, 250).astype("uint8")


def quantiles(values):
    return [round(float(q), 5) for q in np.quantile(np.asarray(values, "float64"), QUANTILES)]


def crop_figures(boxes, height, width):
    """Of crops (top, left, height, width): area, proportions, and place as a part of what is possible."""
    top, left, h, w = np.asarray(boxes, "float64").T
    area = h * w / (height * width)
    return {"mean_area": round(float(area.mean()), 5), "below_a_fifth": round(float((area < 0.2).mean()), 5),
            "area": quantiles(area), "log_ratio": quantiles(np.log(w / h)),
            "top": quantiles(top / np.maximum(height - h, 1)),
            "left": quantiles(left / np.maximum(width - w, 1))}


def operation_figures(drawn):
    """Of pairs (name, argument): how often each operation was drawn, and figures of its arguments."""
    figures = {}
    for name in sorted({name for name, _ in drawn}):
        values = [value for other, value in drawn if other == name]
        figures[name] = {"count": len(values), "mean": round(float(np.mean(values)), 5),
                         "quantiles": quantiles(values)}
    return figures


def write_figures(name, figures, pixels):
    """Writes tests/golden/training/NAME.json and NAME.npz."""
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in figures.items())
    (GOLDEN / f"{name}.json").write_text("{\n" + lines + "\n}\n")
    np.savez_compressed(GOLDEN / f"{name}.npz", image=make_image(),
                        **{key: np.asarray(value, "uint8") for key, value in pixels.items()})
