# %% [markdown]
# # Grad-CAM: where a net looks
#
# The map of the last block, weighted by the gradient of a class' score, says which part of the image raised
# that score (Selvaraju et al. 2017, arXiv:1610.02391). `reskeras explain` draws it on a page; here we
# compute it in ten lines, and the digits net that comes with the package needs no download.

# %% tags=["skip-execution"]
# %pip install -q "reskeras[demo]"

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

import reskeras
from reskeras.commands.digits import load_digits

model = reskeras.create("cifar_resnet20.digits")
test = load_digits()[2]
images, labels = np.array(test.images[:5]), test.labels[:5]

# %% [markdown]
# ## The map of the last block, and the scores

# %%
last = model.get_layer("conv4_block3_out").output
both = keras.Model(model.inputs[0], [last, model.outputs[0]])
with tf.GradientTape() as tape:
    maps, scores = both(images)
    best = tf.reduce_sum(tf.math.log(tf.reduce_max(scores, axis=1)))
gradient = tape.gradient(best, maps)
print("predicted:", np.argmax(scores, axis=1), "true:", labels)

# %% [markdown]
# ## The weighted mean of the channels

# %%
weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
cam = tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1, keepdims=True))
cam = tf.image.resize(cam / (tf.reduce_max(cam, axis=(1, 2), keepdims=True) + 1e-12), images.shape[1:3])

figure, axes = plt.subplots(1, 5, figsize=(8, 1.8))
for axis, image, heat in zip(axes, images, cam):
    axis.imshow(image[..., 0], cmap="gray")
    axis.imshow(heat[..., 0], cmap="inferno", alpha=0.5)
    axis.axis("off")
plt.show()

# %% [markdown]
# ## On a page, for any net and any photo
# The page also has the feature maps and the first filters.

# %%
from PIL import Image  # noqa: E402

Image.fromarray(test.pixels[0, ..., 0]).save("digit.png")
print(reskeras.explain(model, "digit.png", "explain.html"))
