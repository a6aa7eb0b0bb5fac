"""timm's side of a benchmark, for a Python that has torch and timm: reads a line of JSON, answers with one.

    {"do": "make", "net": "resnet50", "mode": "channels_last", "train": false, "batch": 1, "size": 224}
        ->  {"key": 0}
    {"do": "run", "key": 0}
        ->  {"ms": 41.2}

Modes: eager, channels_last, compile (channels_last under torch.compile), bf16 (channels_last under autocast),
and bf16_compile. A training step is a batch's forward, cross-entropy, backward and SGD with momentum.
"""
import contextlib
import json
import os
import sys
import time

import timm
import torch


def step(net, mode, train, batch, size, device="cpu"):
    """A function of one call."""
    torch.manual_seed(0)
    model = timm.create_model(net).train(train).to(device)
    images, labels = (
        torch.randn(batch, 3, size, size, device=device), torch.arange(batch, device=device) % 1000)
    if mode != "eager":
        model, images = (
            model.to(memory_format=torch.channels_last), images.contiguous(memory_format=torch.channels_last))
    half = torch.autocast(device, torch.bfloat16) if mode.startswith("bf16") else contextlib.nullcontext()
    call = torch.compile(model) if mode.endswith("compile") else model
    if not train:
        def infer():
            with torch.inference_mode(), half:
                return call(images).float().cpu().numpy()
        return infer
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)

    def learn():
        optimizer.zero_grad(set_to_none=True)
        with half:
            loss = torch.nn.functional.cross_entropy(call(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()
    return learn


def images(folder, size, randaugment):
    """A function that reads the folder once, as torchvision's recipes do, on one core."""
    from torchvision import datasets, transforms
    steps = [transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip()]
    steps += [transforms.RandAugment(2, 9)] * randaugment
    data = datasets.ImageFolder(folder, transforms.Compose([*steps, transforms.PILToTensor()]))
    return lambda: [data[i][0].shape for i in range(len(data))]


MAKERS = {"make": step, "images": images}


def main():
    torch.set_num_threads(os.cpu_count())
    sides = []
    for line in sys.stdin:
        what = json.loads(line)
        do = what.pop("do")
        answer = {}
        if do == "versions":
            answer = {"torch": torch.__version__, "timm": timm.__version__}
        elif do in MAKERS:
            sides.append(MAKERS[do](**what))
            answer = {"key": len(sides) - 1}
        elif do == "run":
            start, processor = time.perf_counter(), time.process_time()
            sides[what["key"]]()
            answer = {"ms": 1000 * (time.perf_counter() - start),
                      "processor_ms": 1000 * (time.process_time() - processor)}
        elif do == "drop":
            sides.clear()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
