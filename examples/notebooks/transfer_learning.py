# %% [markdown]
# # Transfer learning: flowers in a few minutes
#
# A net that was trained on ImageNet learns five kinds of flowers from 3,670 photos. With a GPU this takes a
# few minutes. If the environment variable `RESKERAS_TINY` is set, as in the tests, made-up photos and a
# small net with random weights take their place.

# %% tags=["skip-execution"]
# %pip install -q "reskeras[demo]"

# %%
import os
import pathlib

import keras
import numpy as np
from PIL import Image

import reskeras

TINY = "RESKERAS_TINY" in os.environ

# %% [markdown]
# ## The photos
# A folder with one sub-folder for each class. Yours may look the same.

# %%
if TINY:
    photos, rng = pathlib.Path("photos"), np.random.default_rng(0)
    for name, brightness in (("day", 200), ("night", 40)):
        (photos / name).mkdir(parents=True, exist_ok=True)
        for i in range(8):
            pixels = rng.normal(brightness, 20, (48, 64, 3)).clip(0, 255).astype("uint8")
            Image.fromarray(pixels).save(photos / name / f"{i}.jpg")
else:
    archive = keras.utils.get_file(
        "flower_photos.tgz", extract=True,
        origin="https://storage.googleapis.com/download.tensorflow.org/example_images/flower_photos.tgz")
    photos = next(pathlib.Path(archive).parent.rglob("roses")).parent
print(sorted(folder.name for folder in photos.iterdir() if folder.is_dir()))

# %% [markdown]
# ## Train
# The recipe "finetune" trains the new classifier first, then all layers with a small learning rate. A fifth
# of each class is kept for validation.

# %%
model, fields = "resnet50v1_5.a1_in1k", {"epochs": 4}
if TINY:
    model = "resnet18"
    fields = {"epochs": 2, "batch_size": 4, "size": 32, "test_size": 32, "weights": "none",
              "model_overrides": {"depths": (1, 1, 1, 1), "width": 0.25}}
history = reskeras.fit(model, f"folder:{photos}", validation_split=0.2, output="runs/flowers", verbose=2,
                       **fields)
print(f"validation accuracy {max(history.history['val_accuracy']):.1%}")

# %% [markdown]
# ## Look at it
# `runs/flowers/report.html` has the curves, the confusion matrix and the wrong photos. `best.keras` is a
# plain Keras file that knows its classes and how its images are prepared.

# %%
photo = sorted(photos.rglob("*.jpg"))[0]
for prediction in reskeras.predict("runs/flowers/best.keras", photo, top=2)[0]["predictions"]:
    print(f"{photo.parent.name}: {prediction['label']} {prediction['score']:.0%}")

# %% [markdown]
# ## Which part of the photo decided?
# Grad-CAM, the maps and the first filters, on a page.

# %%
print(reskeras.explain("runs/flowers/best.keras", photo, "explain.html"))
