"""How PyTorch, timm and torchvision's training script train a small net, for
tests/golden/training/trajectories.npz.

Run by `tox -e torch-reference`, the only place that has them.  A convolution with a bias, batch
normalization, ReLU, mean and a dense layer, in float64, for 20 updates.  What is stored has Keras' layout;
the moving variances are PyTorch's, with its factor n / (n - 1).  They begin with 0, so that all of them have
this factor.
"""
import math
import pathlib

import numpy as np
import timm
import timm.optim
import timm.scheduler
import timm.utils
import torch

FILE = pathlib.Path(__file__).parents[1] / "golden" / "training" / "trajectories.npz"
UPDATES, EPOCH, BATCH, SIZE, CLASSES = 20, 4, 8, 6, 5
KEPT = (1, 2, 5, 10, 20)        # after which updates the variables are stored
DECAY = 0.05
rng = np.random.default_rng(0)
IMAGES = rng.integers(0, 256, (2 * UPDATES, BATCH, SIZE, SIZE, 3), "uint8")
LABELS = rng.integers(0, CLASSES, (2 * UPDATES, BATCH))
START = {"kernel": rng.normal(size=(3, 3, 3, 4)) * 0.3, "bias": rng.normal(size=4) * 0.1, "gamma": np.ones(4),
         "beta": np.zeros(4), "dense": rng.normal(size=(4, CLASSES)) * 0.5, "dense_bias": np.zeros(CLASSES)}


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.bn = torch.nn.BatchNorm2d(4, momentum=0.1)
        self.fc = torch.nn.Linear(4, CLASSES)
        self.double()
        values = {self.conv.weight: START["kernel"].transpose(3, 2, 0, 1), self.conv.bias: START["bias"],
                  self.bn.weight: START["gamma"], self.bn.bias: START["beta"],
                  self.fc.weight: START["dense"].T, self.fc.bias: START["dense_bias"]}
        with torch.no_grad():
            for parameter, value in values.items():
                parameter.copy_(torch.tensor(np.ascontiguousarray(value)))
            self.bn.running_var.zero_()

    def forward(self, x):
        return self.fc(torch.relu(self.bn(self.conv(x))).mean((2, 3)))

    def in_keras_layout(self):
        tensors = [self.conv.weight.permute(2, 3, 1, 0), self.conv.bias, self.bn.weight, self.bn.bias,
                   self.fc.weight.T, self.fc.bias, self.bn.running_mean, self.bn.running_var]
        return np.concatenate([t.detach().numpy().ravel() for t in tensors])


def add_gradients(net, index, parts=1):
    x = torch.tensor(IMAGES[index].astype("float64") / 64 - 2).permute(0, 3, 1, 2)
    (torch.nn.functional.cross_entropy(net(x), torch.tensor(LABELS[index])) / parts).backward()


def run(make_optimizer, make_scheduler=None, make_average=None, parts=1):
    """The variables after the updates in `KEPT`, or their averages.

    Args:
        make_scheduler: from the optimizer to a function that is called before each update with its number.
        make_average: from the net to (a function that is called after each update, the averaged net).
    """
    net, states = Net(), []
    optimizer = make_optimizer(net)
    schedule = make_scheduler(optimizer) if make_scheduler else lambda update: None
    follow, result = make_average(net) if make_average else (lambda update: None, net)
    for update in range(UPDATES):
        schedule(update)
        optimizer.zero_grad()
        for part in range(parts):
            add_gradients(net, update * parts + part, parts)
        optimizer.step()
        follow(update + 1)
        if update + 1 in KEPT:
            states.append(result.in_keras_layout())
    return np.array(states)


def sgd(net, **options):
    return torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=DECAY, **options)


def only_kernels(net):
    kernels = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    return [{"params": kernels, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]


def without_normalization(net):
    norm = list(net.bn.parameters())
    others = [p for p in net.parameters() if not any(p is n for n in norm)]
    return [{"params": norm, "weight_decay": 0.0}, {"params": others, "weight_decay": DECAY}]


def by_update(scheduler_class, **options):
    def make(optimizer):
        scheduler = scheduler_class(optimizer, **options)
        return lambda update: scheduler.step() if update else None
    return make


def linear_then_cosine(optimizer):
    """torchvision's references/classification/train.py: stepped once in an epoch."""
    lr = torch.optim.lr_scheduler
    warm = lr.LinearLR(optimizer, start_factor=0.01, total_iters=2)
    cosine = lr.CosineAnnealingLR(optimizer, T_max=UPDATES // EPOCH - 2)
    both = lr.SequentialLR(optimizer, [warm, cosine], milestones=[2])
    return lambda update: both.step() if update and update % EPOCH == 0 else None


def timm_cosine(optimizer):
    """timm's train.py: stepped once in an epoch, the warm-up is within the cosine."""
    scheduler = timm.scheduler.CosineLRScheduler(
        optimizer, t_initial=UPDATES // EPOCH, lr_min=1e-3, warmup_t=2, warmup_lr_init=1e-2)
    return lambda update: scheduler.step(update // EPOCH) if update % EPOCH == 0 else None


def ema_v2(net):
    ema = timm.utils.ModelEmaV2(net, decay=0.9)
    # it begins with the first weights; ours with those after the first update, as ModelEmaV3
    return lambda update: ema.set(net) if update == 1 else ema.update(net), ema.module


def ema_v3(net):
    ema = timm.utils.ModelEmaV3(net, decay=0.8, use_warmup=True)
    return lambda update: ema.update(net, step=update), ema.module


def torchvision_ema(net, decay=0.99, steps=3, warmup_epochs=2):
    """ExponentialMovingAverage of its references/classification/utils.py, used as train.py does."""
    alpha = min(1.0, (1 - decay) * BATCH * steps / (UPDATES // EPOCH))
    ema = torch.optim.swa_utils.AveragedModel(
        net, avg_fn=lambda old, new, count: (1 - alpha) * old + alpha * new, use_buffers=True)

    def follow(update):
        epoch, i = divmod(update - 1, EPOCH)
        if i % steps == 0:
            ema.update_parameters(net)
            if epoch < warmup_epochs:
                ema.n_averaged.fill_(0)
    return follow, ema.module


def main():
    drop = by_update(torch.optim.lr_scheduler.MultiStepLR, milestones=[7, 14], gamma=0.1)
    half = by_update(
        torch.optim.lr_scheduler.LambdaLR, lr_lambda=lambda update: (update + 1) / 6 if update < 6 else
        0.5 * (1 + math.cos(math.pi * (update - 6) / (UPDATES - 6))))
    lamb = lambda net: timm.optim.Lamb(          # noqa: E731
        only_kernels(net), 0.01, weight_decay=DECAY, max_grad_norm=0.1)
    cases = {
        "sgd": run(sgd),
        "sgd_drop": run(sgd, drop),
        "nesterov_drop": run(lambda net: sgd(net, nesterov=True), drop),
        "cosine_with_warmup": run(sgd, half),
        "torchvision_schedule": run(sgd, linear_then_cosine),
        "timm_schedule": run(sgd, timm_cosine),
        "decay_of_kernels": run(lambda net: torch.optim.SGD(only_kernels(net), 0.1, momentum=0.9)),
        "decay_of_all_but_normalization": run(
            lambda net: torch.optim.SGD(without_normalization(net), 0.1, momentum=0.9)),
        "adam": run(lambda net: torch.optim.Adam(net.parameters(), 0.01, weight_decay=DECAY)),
        "adam_accumulation": run(
            lambda net: torch.optim.Adam(net.parameters(), 0.01, weight_decay=DECAY), parts=2),
        "adamw": run(lambda net: torch.optim.AdamW(net.parameters(), 0.01, weight_decay=DECAY)),
        "lamb": run(lamb),
        "accumulation": run(sgd, parts=2),
        "ema_timm_v2": run(sgd, make_average=ema_v2),
        "ema_timm_v3": run(sgd, make_average=ema_v3),
        "ema_torchvision": run(sgd, make_average=torchvision_ema),
        "ema_accumulation": run(sgd, make_average=torchvision_ema, parts=2)}
    np.savez_compressed(
        FILE, images=IMAGES, labels=LABELS.astype("int8"),
        start=np.concatenate([v.ravel() for v in START.values()]),
        kept=KEPT, versions=f"torch {torch.__version__}, timm {timm.__version__}", **cases)


if __name__ == "__main__":
    main()
