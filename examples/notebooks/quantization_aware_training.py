# %% [markdown]
# # Quantization-aware training
#
# An int8 file rounds weights and activations. A training that rounds in the same way lets the net adapt to
# it (Jacob et al. 2018, arXiv:1712.05877). Here the digits net that comes with the package is trained for a
# few steps with rounding, and exported with the ranges that it was trained with.

# %% tags=["skip-execution"]
# %pip install -q "reskeras[demo,export]"

# %%
import os

import keras
import numpy as np

import reskeras
from reskeras.commands.digits import load_digits

TINY = "RESKERAS_TINY" in os.environ        # the tests: a few images
train, _, test = load_digits()
count = 64 if TINY else len(train)
images = np.array(train.images[:count])

# %% [markdown]
# ## The net with fake quantization
# Batch normalization is folded into the convolutions first. The ranges begin with those of the calibration
# images.

# %%
model = reskeras.create("cifar_resnet20.digits")
aware = reskeras.quantization_aware(model, images[:64])
print(f"{len(model.layers)} layers, {len(aware.layers)} with fake quantization")

# %% [markdown]
# ## Train it as any Keras model
# With a small learning rate, and with Adam: after the folding, the layers' weights differ much in size. It
# learns the scores of the float net, which say more than the labels of a few images.

# %%
scores = model.predict(images, verbose=0)
aware.compile(keras.optimizers.Adam(1e-5), "categorical_crossentropy", metrics=["accuracy"])
aware.fit(images, scores, batch_size=32, epochs=1, verbose=2)

# %% [markdown]
# ## Export
# The file has the trained ranges. The report compares it with the net that was trained.

# %%
report = reskeras.export(aware, "digits.int8.tflite", strict=False)
print(report.summary())

# %% [markdown]
# ## Accuracy of the float net, the trained net and the file

# %%
test_images, test_labels = np.array(test.images), test.labels
for name, net in (("float", model), ("with fake quantization", aware)):
    print(f"{name}: {np.mean(np.argmax(net(test_images), axis=1) == test_labels):.1%}")
