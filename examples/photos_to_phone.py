# %% [markdown]
# # Some photos to a phone
# A folder of photos, one sub-folder for each class, becomes a classifier that a phone runs:
#
#     python examples/photos_to_phone.py photos --net resnet50v1_5.a1_in1k
#
# It is a script, and a notebook where an editor knows `# %%`.

# %%
import argparse
import pathlib

import reskeras
from reskeras.commands.evaluate import evaluate
from reskeras.commands.predict import predict

arguments = argparse.ArgumentParser()
arguments.add_argument("photos", help="photos/CLASS/IMAGE.jpg")
arguments.add_argument("--net", default="resnet18.a1_in1k", help="that was trained on others")
arguments.add_argument("--output", default="runs/photos")
arguments.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="of the recipe, such as epochs=3")
given = arguments.parse_args()
data, output = f"folder:{given.photos}", pathlib.Path(given.output)

# %% [markdown]
# ## Train
# The recipe "finetune" trains a new classifier on the frozen net, then everything but the statistics of batch normalization.
# A fifth of each class is held back.  What was interrupted goes on with `reskeras train --resume`.

# %%
history = reskeras.fit(given.net, data, "finetune", validation_split=0.2, output=output, set=given.set)
net = history.model
print(f"validation accuracy {max(history.history['val_accuracy']):.1%}, curves in {output / 'report.html'}")

# %% [markdown]
# ## Evaluate
# On all of the photos, prepared as the net expects them: the file knows how, and what its classes are called.

# %%
print(evaluate(output / "best.keras", data))

# %% [markdown]
# ## Export
# Eight-bit numbers, calibrated on the photos; the file is run and compared with the net before the call returns.

# %%
best = reskeras.load(output / "best.keras")
certificate = reskeras.export(best, output / "photos.int8.tflite", quantize="int8", calibration=given.photos, strict=False)
print(certificate.summary())

# %% [markdown]
# ## Use
# As the phone would: the file alone.  `examples/export_edge.py` does it without TensorFlow.

# %%
shot = next(f for f in sorted(pathlib.Path(given.photos).rglob("*")) if f.suffix.lower() in (".jpg", ".jpeg", ".png"))
for found in predict(shot, output / "photos.int8.tflite", top=2)[0]["predictions"]:
    print(f"{shot.name}: {found['label']} {found['score']:.0%}")
