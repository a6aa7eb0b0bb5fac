# %% [markdown]
# # Some photos to a phone
# A folder of photos, one sub-folder for each class, becomes a classifier that a phone runs:
#
#     python examples/photos_to_phone.py photos --model resnet50v1_5.a1_in1k
#
# This file is a script. An editor that knows `# %%` shows it as a notebook.

# %%
import argparse
import pathlib

import reskeras

parser = argparse.ArgumentParser()
parser.add_argument("photos", help="a folder: photos/CLASS/IMAGE.jpg")
parser.add_argument("--model", default="resnet18.a1_in1k", help="a net that was trained on other images")
parser.add_argument("--output", default="runs/photos")
parser.add_argument("--overrides", action="append", default=[], metavar="FIELD=VALUE",
                    help="of the recipe's training part, such as epochs=3")
options = parser.parse_args()
data, output = f"folder:{options.photos}", pathlib.Path(options.output)

# %% [markdown]
# ## Train
# The recipe "finetune" first trains a new classifier on the frozen net, then all layers; the statistics of
# batch normalization stay frozen. A fifth of each class is kept for validation. `reskeras train --resume`
# resumes an interrupted training run.

# %%
history = reskeras.fit(options.model, data, "finetune", validation_split=0.2, output=output,
                       overrides=options.overrides)
print(f"validation accuracy {max(history.history['val_accuracy']):.1%}, curves in {output / 'report.html'}")

# %% [markdown]
# ## Evaluate
# On all photos. The file knows how the net wants its images, and the names of its classes.

# %%
print(reskeras.evaluate(output / "best.keras", data))

# %% [markdown]
# ## Export
# As 8-bit integers, calibrated on the photos. The file is run and compared with the net before the call
# returns.

# %%
report = reskeras.export(output / "best.keras", output / "photos.int8.tflite", quantize="int8",
                         calibration_data=options.photos, strict=False)
print(report.summary())

# %% [markdown]
# ## Use
# As the phone does: from the file alone. `examples/export_edge.py` does it without TensorFlow.

# %%
files = sorted(pathlib.Path(options.photos).rglob("*"))
photo = next(file for file in files if file.suffix.lower() in (".jpg", ".jpeg", ".png"))
for prediction in reskeras.predict(output / "photos.int8.tflite", photo, top=2)[0]["predictions"]:
    print(f"{photo.name}: {prediction['label']} {prediction['score']:.0%}")
