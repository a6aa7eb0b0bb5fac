# %% [markdown]
# # From photos to a phone
#
# Photos of digits become an int8 file for a phone: train, evaluate, export, check, and use the file as the
# phone does. Replace the folder by yours. It runs on a CPU in a few minutes.

# %% tags=["skip-execution"]
# %pip install -q "reskeras[demo,export]"

# %%
import os
import pathlib

from PIL import Image
from sklearn.datasets import load_digits

import reskeras

TINY = "RESKERAS_TINY" in os.environ        # the tests: fewer photos, two epochs

# %% [markdown]
# ## The photos

# %%
digits, photos = load_digits(), pathlib.Path("photos")
for i, (pixels, label) in enumerate(zip(digits.images[:200 if TINY else None], digits.target)):
    (photos / str(label)).mkdir(parents=True, exist_ok=True)
    Image.fromarray((pixels * 15.9).astype("uint8")).save(photos / str(label) / f"{i}.png")

# %% [markdown]
# ## Train
# A small net from random weights, with the recipe for these digits.

# %%
history = reskeras.fit("cifar_resnet20", f"folder:{photos}", "digits", validation_split=0.2,
                       output="runs/phone", verbose=2, epochs=2 if TINY else 10, warmup=1,
                       augmentation="resize(16)|affine(0.26, 0.1, 0.1)",
                       model_overrides={"depths": (1, 1, 1)} if TINY else {})
print(reskeras.evaluate("runs/phone/best.keras", f"folder:{photos}"))

# %% [markdown]
# ## Export
# As 8-bit integers, calibrated on some of the photos. With `io="uint8"` the file takes a camera's bytes. It
# is run and compared with the net before the call returns.

# %%
report = reskeras.export("runs/phone/best.keras", "digits.int8.tflite", quantize="int8", io="uint8",
                         calibration_data=str(photos), strict=False)
print(report.summary())

# %% [markdown]
# ## Use it as the phone does
# From the file alone, which contains the class names and how images are prepared.

# %%
photo = sorted(photos.rglob("*.png"))[0]
for prediction in reskeras.predict("digits.int8.tflite", photo, top=2)[0]["predictions"]:
    print(f"{photo.parent.name}: {prediction['label']} {prediction['score']:.0%}")
