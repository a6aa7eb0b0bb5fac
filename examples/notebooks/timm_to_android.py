# %% [markdown]
# # From a timm checkpoint to an Android app
#
# A net of timm, by its own name, with its published weights, becomes a `.tflite` file with labels and
# preprocessing inside, for MediaPipe's or LiteRT's image classifier on Android. If the environment variable
# `RESKERAS_TINY` is set, as in the tests, random weights and made-up photos take their place.

# %% tags=["skip-execution"]
# %pip install -q "reskeras[export]"

# %%
import os

import numpy as np
from PIL import Image

import reskeras

TINY = "RESKERAS_TINY" in os.environ

# %% [markdown]
# ## The net and its weights
# No PyTorch is needed. The hash of the file is checked, and the model knows its license and preprocessing.

# %%
if TINY:
    model = reskeras.create("timm/resnet18", weights=None, input_shape=(64, 64, 3), width=0.25)
    model = reskeras.set_metadata(model, preprocessing="resnet18.a1_in1k")
else:
    model = reskeras.create("timm/resnet18.a1_in1k")
checkpoint = reskeras.get_weights("timm/resnet18.a1_in1k")
print(checkpoint.license, checkpoint.top1, checkpoint.mean, checkpoint.std)

# %% [markdown]
# ## Images to calibrate with
# Some hundred photos of what the app will see. Here they are made up, which is enough to see the steps, not
# to ship a file.

# %%
rng = np.random.default_rng(0)
pixels = [rng.integers(0, 256, 3) + rng.normal(0, 30, (96, 128, 3)) for _ in range(32)]
photos = np.stack([photo.clip(0, 255).astype("uint8") for photo in pixels])

# %% [markdown]
# ## The file
# `io="uint8"` makes it take a camera's bytes, with the normalization inside.

# %%
report = reskeras.export(model, "resnet18.int8.tflite", quantize="int8", io="uint8", calibration_data=photos,
                         strict=False)
print(report.summary())
print("left to the CPU by a GPU delegate or XNNPACK:", report.left_to_cpu)

# %% [markdown]
# ## In the app
# Put the file into `app/src/main/assets`. `examples/android` of the repository has a project that reads the
# labels and the input's scale from the file. Before that, run the file here:

# %%
Image.fromarray(photos[0]).save("photo.jpg")
for prediction in reskeras.predict("resnet18.int8.tflite", "photo.jpg", top=3)[0]["predictions"]:
    print(prediction["label"], f"{prediction['score']:.0%}")
