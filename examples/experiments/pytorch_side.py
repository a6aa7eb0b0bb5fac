"""The same trainings in plain PyTorch: `PYTHON pytorch_side.py JOB.npz`.  Imports neither Keras nor reskeras.

JOB.npz, which `run.py` writes, has the images, the initial weights in the order of the layers, scores to
compare with, and the settings.  The last line of the output is the result as JSON.
"""
from __future__ import annotations

import json
import math
import sys
import time
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


# %% ResNet-20 of He et al. 2015, section 4.2, with shortcuts of option A
class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        new = outputs - inputs
        self.stride, self.new = stride, (new // 2, new - new // 2)      # channels of zeros on both sides

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, *self.new)))


def make_net(classes: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    inputs = 16
    for outputs in (16, 32, 64):
        for i in range(3):
            layers.append(Block(inputs, outputs, 2 if i == 0 and outputs > 16 else 1))
            inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


def load(net: nn.Module, arrays: list[np.ndarray]) -> None:
    """Assigns the arrays of the Keras model, in the order of its layers."""
    values = [torch.tensor(array) for array in arrays]
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = values.pop(0).permute(3, 2, 0, 1).contiguous()
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.data, module.bias.data, module.running_mean, module.running_var = (
                values.pop(0) for _ in range(4))
        elif isinstance(module, nn.Linear):
            module.weight.data, module.bias.data = values.pop(0).T.contiguous(), values.pop(0)
    assert not values


# %% Data
def scale(x: torch.Tensor) -> torch.Tensor:
    """(N, H, W, 3) in 0..255 to what the net takes."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    scaled = (x.float() / 255 - mean) / std
    return scaled.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def augment(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """pad_crop(32, 4)|flip: a window of the image with a black border, mirrored half of the time."""
    padded = F.pad(x, (0, 0, 4, 4, 4, 4))
    tops, lefts = torch.randint(0, 9, (2, len(x)), generator=generator).tolist()
    flips = (torch.rand(len(x), generator=generator) < 0.5).tolist()
    windows = [image[top:top + 32, left:left + 32] for image, top, left in zip(padded, tops, lefts)]
    return torch.stack([w.flip(1) if flip else w for w, flip in zip(windows, flips)])


def error(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """In percent."""
    net.eval()
    with torch.no_grad():
        wrong = [(net(scale(x[i:i + 250])).argmax(1) != y[i:i + 250]).sum() for i in range(0, len(x), 250)]
    return 100 * float(sum(wrong)) / len(x)


# %% Training
def train(net: nn.Module, job: dict[str, Any], epochs: int, optimizer: torch.optim.Optimizer, schedule: Any,
          generator: torch.Generator, statistics: bool = True) -> list[float]:
    """Returns: the training error (%) while it trains, of each epoch."""
    x, y, batch = job["x"], job["y"], job["batch_size"]
    curve, step = [], 0
    net.train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train(statistics)
    for _ in range(epochs):
        order, wrong, seen = torch.randperm(len(x), generator=generator), 0, 0
        for i in range(0, len(x) - batch + 1, batch):       # whole batches only, as `reskeras.fit`
            chosen = order[i:i + batch]
            for group in optimizer.param_groups:
                group["lr"] = schedule(step)
            scores = net(scale(augment(x[chosen], generator)))
            optimizer.zero_grad()
            F.cross_entropy(scores, y[chosen]).backward()
            optimizer.step()
            wrong, seen, step = wrong + int((scores.argmax(1) != y[chosen]).sum()), seen + batch, step + 1
        curve.append(round(100 * wrong / seen, 3))
    return curve


def train_net(net: nn.Sequential, job: dict[str, Any], generator: torch.Generator) -> list[float]:
    """The recipe cifar_he with PyTorch's velocity."""
    rate, steps = 0.1 * job["batch_size"] / 128, len(job["x"]) // job["batch_size"]
    milestones = [round(m * steps) for m in job["milestones"]]
    optimizer = torch.optim.SGD(net.parameters(), rate, momentum=0.9, weight_decay=1e-4)
    return train(net, job, job["epochs"], optimizer,
                 lambda step: rate * 0.1 ** sum(step >= m for m in milestones), generator)


def finetune(net: nn.Sequential, job: dict[str, Any], generator: torch.Generator) -> list[float]:
    """The recipe finetune: the classifier first, then all layers, with the statistics of the body."""
    head = net[-1] = nn.Linear(64, job["classes"])
    nn.init.xavier_uniform_(head.weight, generator=generator)
    nn.init.zeros_(head.bias)
    curve = train(net, job, job["head_epochs"], torch.optim.Adam(head.parameters(), eps=1e-7),
                  lambda step: 1e-3, generator, statistics=False)
    total = job["epochs"] * (len(job["x"]) // job["batch_size"])
    return curve + train(net, job, job["epochs"], torch.optim.Adam(net.parameters(), eps=1e-7),
                         lambda step: 1e-4 * 0.5 * (1 + math.cos(math.pi * step / total)), generator,
                         statistics=False)


def main(path: str) -> None:
    with np.load(path) as file:
        arrays = dict(file)
    job = json.loads(str(arrays["settings"]))
    torch.set_num_threads(job["threads"])
    torch.manual_seed(job["seed"])
    generator = torch.Generator().manual_seed(job["seed"])
    job |= {name: torch.tensor(arrays[name]) for name in ("x", "y", "test_x", "test_y")}
    initial = [arrays[f"w{i}"] for i in range(sum(name[1:].isdigit() for name in arrays))]
    net = make_net(initial[-1].shape[0]).to(memory_format=torch.channels_last)
    load(net, initial)
    net.to(memory_format=torch.channels_last).eval()
    with torch.no_grad():       # the same net: the scores of the Keras model on the first images
        scores = F.softmax(net(scale(job["x"][:8])), 1).numpy()
    np.testing.assert_allclose(scores, arrays["scores"], atol=1e-4)

    seconds = time.perf_counter()
    curve = (finetune if job["kind"] == "pytorch_finetune" else train_net)(net, job, generator)
    seconds = time.perf_counter() - seconds
    print(json.dumps({"train_error": error(net, job["x"], job["y"]), "curve": curve, "seconds": seconds,
                      "test_error": error(net, job["test_x"], job["test_y"]),
                      "cpu_seconds": time.process_time(), "versions": f"PyTorch {torch.__version__}"}))


if __name__ == "__main__":
    main(sys.argv[1])
