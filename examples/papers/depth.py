"""From 20 to 1202 layers: what reaches the far end before any training (He et al. 2015 and 2016,
arXiv:1512.03385, 1603.05027).

Full run: 2026-11-24, 1.5 minutes of CPU on 2 cores of an AVX-512 EPYC, seed 0, TensorFlow 2.21.0, Keras
3.15.1.

Before training, 8 images: last block's output over the first's, gradient at the first over the last's.

| layers | net | signal | gradient |
| --- | --- | --- | --- |
| 20 | plain, BN | 5.2e-01 | 1.4e+01 |
| 20 | plain | 1.5e-01 | 5.3e-01 |
| 20 | residual, BN | 9.2e-01 | 3.5e+00 |
| 20 | residual | 7.9e+00 | 8.9e+00 |
| 56 | plain, BN | 5.0e-01 | 3.7e+03 |
| 56 | plain | 3.9e-03 | 3.3e-02 |
| 56 | residual, BN | 1.7e+00 | 1.1e+01 |
| 56 | residual | 3.3e+03 | 3.1e+03 |
| 110 | plain, BN | 5.1e-01 | 2.3e+07 |
| 110 | plain | 7.6e-05 | 1.2e-03 |
| 110 | residual, BN | 2.4e+00 | 2.6e+01 |
| 110 | residual | 4.8e+07 | 3.4e+07 |
| 1202 | residual, BN | 8.6e+00 | 3.1e+02 |

x_L - (x_l + sum of the residuals), over x_L, in float32; 110 layers, first stage.

| net | here | paper |
| --- | --- | --- |
| pre-activation | 1e-07 | 0 (equation 4) |
| post-activation | 0.97 | a ReLU after each addition |

Test error: arXiv:1512.03385, Table 6; time of inference here, 8 images, operation by operation.

| net | parameters | inference (ms) | paper's error (%) |
| --- | --- | --- | --- |
| CifarResNet110 | 1,736,058 | 552 | 6.43 |
| CifarResNet1202 | 19,510,906 | 7925 | 7.93 |

Without normalization the residual net's signal grows by a factor with each block and the plain net's
shrinks. With it no signal vanishes and no gradient, as the paper says; but the plain net's gradient is not
healthy: in 110 layers it is 2.3e+07 times as large at the first block as at the last, the residual net's
2.6e+01 times. So it explodes, as normalization without shortcuts must (Yang et al. 2019, "A Mean Field
Theory of Batch Normalization"), and one learning rate does not suit all blocks. That is of the start alone,
not of what happens once the net trains. That 1202 layers overfit cannot be shown in minutes.
"""
from __future__ import annotations

import argparse

import keras
import numpy as np
import tensorflow as tf
from common import images, in_turns, main, net
from reskeras.graph.remove_blocks import list_blocks
from reskeras.commands.study import Chart, Study, Table

KINDS = {"plain, BN": ("Plain", "batch"), "plain": ("Plain", "none"), "residual, BN": ("ResNet", "batch"),
         "residual": ("ResNet", "none")}
ERRORS = {20: "8.75", 56: "6.97", 110: "6.43", 1202: "7.93"}     # Table 6 of arXiv:1512.03385: test error (%)


def deep(options: argparse.Namespace, kind: str, depth: int, **fields: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    blocks = 2 if options.tiny else (depth - 2) // 6
    return net(argparse.Namespace(tiny=False, size=options.size), f"Cifar{kind}20", depths=(blocks,) * 3,
               **fields)


def ends(model: keras.Model) -> list[str]:
    """The layers that end the blocks."""
    return [layer.name for layer in model.layers
            if layer.name.endswith("_out")] or [f"{b}_add" for b in list_blocks(model)]


# %% The norms, of every block's output and of the loss's gradient there
def norms(model: keras.Model, x: np.ndarray, y: np.ndarray) -> tuple[list[float], list[float]]:
    probe = keras.Model(model.input, [[model.get_layer(name).output for name in ends(model)], model.output])
    with tf.GradientTape() as tape:
        maps, scores = probe(x, training=True)
        loss = keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, scores))
    found = tape.gradient(loss, maps)
    return tuple([float(tf.norm(t)) for t in tensors] for tensors in (maps, found))


# %% x_L = x_l + the residuals between: exact where shortcuts are identities and nothing follows the addition
def additive(model: keras.Model, x: np.ndarray) -> float:
    """Over the identity blocks of the first stage, the largest departure from it over the largest value."""
    own = [name for name in ends(model) if name.startswith("conv2_")]
    conv, end = model.get_layer(f"{own[0][:-4]}_2_conv"), model.get_layer(own[0])
    last = "_conv" if conv.output is end.input[1] else "_bn"
    tensors = [model.get_layer(name).output for name in (own[0], own[-1])]
    tensors += [model.get_layer(f"{name[:-4]}_2{last}").output for name in own[1:]]
    first, end, *residuals = keras.Model(model.input, tensors)(x, training=True)
    return float(np.abs(end - first - sum(residuals)).max() / np.abs(end).max())


def study(options: argparse.Namespace) -> Study:
    options.seeds = 1
    x, y = (part[:8] for part in images(options))
    rows, lines, depths = [], {}, (20,) if options.tiny else (20, 56, 110)
    for depth in depths:
        for name, (kind, norm) in KINDS.items():
            forward, backward = norms(deep(options, kind, depth, norm=norm), x, y)
            rows.append((str(depth), name, f"{forward[-1] / forward[0]:.1e}",
                         f"{backward[0] / backward[-1]:.1e}"))
            lines[name] = (np.linspace(0, 1, len(backward)).round(3).tolist(),
                           [g / backward[-1] for g in backward])
    nets = {depth: deep(options, "ResNet", depth) for depth in (110, 1202)}
    forward, backward = norms(nets[1202], x, y)
    rows.append(("1202", "residual, BN", f"{forward[-1] / forward[0]:.1e}",
                 f"{backward[0] / backward[-1]:.1e}"))
    last = {row[1]: row[3] for row in rows if row[0] == str(depths[-1])}
    gap = {kind: additive(deep(options, kind, 110), x) for kind in ("PreResNet", "ResNet")}
    times = in_turns({depth: lambda m=m: m(x, training=False) for depth, m in nets.items()}, 0)
    return Study(
        "From 20 to 1202 layers",
        """With batch normalization the gradients of plain nets are healthy too, so that their difficulty is
        not that of vanishing gradients (2015, section 4.1). An identity shortcut carries any block's signal
        and gradient to any other (2016, equations 4 and 5). 1202 layers train, to less than 0.1 % training
        error, but generalize worse than 110 (2015, section 4.2).""",
        [Table("Before training, 8 images: last block's output over the first's, gradient at the first over "
               "the last's.",
               ("layers", "net", "signal", "gradient"), rows),
         Table("x_L - (x_l + sum of the residuals), over x_L, in float32; 110 layers, first stage.",
               ("net", "here", "paper"),
               [("pre-activation", f"{gap['PreResNet']:.0e}", "0 (equation 4)"),
                ("post-activation", f"{gap['ResNet']:.2f}", "a ReLU after each addition")]),
         Table("Test error: arXiv:1512.03385, Table 6; time of inference here, 8 images, operation by "
               "operation.",
               ("net", "parameters", "inference (ms)", "paper's error (%)"),
               [(f"CifarResNet{d}", f"{m.count_params():,}", f"{times[d].ms:.0f}", ERRORS[d])
                for d, m in nets.items()])],
        [Chart("place in the net (0 first block, 1 last)",
               f"gradient, {depths[-1]} layers, over the last block's", lines, "y")],
        f"""Without normalization the residual net's signal grows by a factor with each block and the plain
        net's shrinks. With it no signal vanishes and no gradient, as the paper says; but the plain net's
        gradient is not healthy: in {depths[-1]} layers it is {last["plain, BN"]} times as large at the first
        block as at the last, the residual net's {last["residual, BN"]} times. So it explodes, as
        normalization without shortcuts must (Yang et al. 2019, "A Mean Field Theory of Batch Normalization"),
        and one learning rate does not suit all blocks. That is of the start alone, not of what happens once
        the net trains. That 1202 layers overfit cannot be shown in minutes.""",
        sources=["1512.03385", "1603.05027"])


if __name__ == "__main__":
    main(study, __file__, None)
