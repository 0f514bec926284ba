"""MoCo v2's step and a network's convolutions in PyTorch: the peer of `inscon-train bench`.

    torch_step.py step --arch resnet18 --size 64 --batch 32 --steps 5 --warmup 2 --layout contiguous
    torch_step.py convs --repeat 7 < convolutions.jsonl

`step` does the work of `inscon-train bench step`: the key encoder follows (EMA), keys without
gradients, queries, InfoNCE over a queue of 4096, backward, SGD with momentum and weight decay,
enqueue; random pixels, no data loading. `convs` reads the lines of `inscon-train bench convs` and
measures the same convolutions in both memory layouts. JSON on stdout.
"""

import argparse
import copy
import json
import os
import resource
import statistics
import sys
import time

import torch

TEMPERATURE = 0.2
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def step(arguments):
    import torchvision

    base = peak_mib()
    layout = LAYOUTS[arguments.layout]
    query = getattr(torchvision.models, arguments.arch)(weights=None)
    width = query.fc.in_features
    query.fc = torch.nn.Sequential(
        torch.nn.Linear(width, width), torch.nn.ReLU(inplace=True), torch.nn.Linear(width, 128)
    )
    query = query.to(memory_format=layout)
    key = copy.deepcopy(query).requires_grad_(False)
    optimizer = torch.optim.SGD(query.parameters(), lr=0.03, momentum=0.9, weight_decay=1e-4)
    queue = torch.nn.functional.normalize(torch.randn(4096, 128), dim=1)
    labels = torch.zeros(arguments.batch, dtype=torch.long)
    shape = (arguments.batch, 3, arguments.size, arguments.size)
    pointer, seconds, phases = 0, [], {}
    for number in range(arguments.warmup + arguments.steps):
        query_images, key_images = (
            torch.randn(shape).to(memory_format=layout) for _ in range(2)
        )
        marks = [("", time.perf_counter())]

        def done(phase):
            marks.append((phase, time.perf_counter()))

        with torch.no_grad():
            torch._foreach_lerp_(list(key.parameters()), list(query.parameters()), 0.001)
            done("ema")
            keys = torch.nn.functional.normalize(key(key_images), dim=1)
            done("key_forward")
        queries = torch.nn.functional.normalize(query(query_images), dim=1)
        done("query_forward")
        positive = (queries * keys).sum(1, keepdim=True)
        logits = torch.cat([positive, queries @ queue.T], 1) / TEMPERATURE
        loss = torch.nn.functional.cross_entropy(logits, labels)
        loss.item()
        done("loss")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        done("backward")
        optimizer.step()
        done("sgd")
        rows = (pointer + torch.arange(arguments.batch)) % len(queue)
        queue[rows] = keys
        pointer = (pointer + arguments.batch) % len(queue)
        done("enqueue")
        if number >= arguments.warmup:
            seconds.append(marks[-1][1] - marks[0][1])
            for (_, began), (phase, ended) in zip(marks, marks[1:]):
                phases.setdefault(phase, []).append((ended - began) * 1e3)
    print_line(
        arch=arguments.arch,
        size=arguments.size,
        batch=arguments.batch,
        threads=torch.get_num_threads(),
        layout=arguments.layout,
        version=torch.__version__,
        steps=seconds,
        images_per_s=arguments.batch / statistics.median(seconds),
        phases_ms={phase: statistics.median(ms) for phase, ms in phases.items()},
        peak_mib=peak_mib(),
        base_mib=base,
    )


def peak_mib():
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def convs(arguments):
    for line in sys.stdin:
        conv = json.loads(line)
        if "kernel" not in conv:
            continue
        times = {name: conv_times(conv, layout, arguments.repeat) for name, layout in LAYOUTS.items()}
        print_line(**times)
    a, b = torch.randn(2, 1536, 1536)
    best = min(measured(lambda: a @ b, 7))
    print_line(peak_gflops=2e-6 * 1536**3 / best, version=torch.__version__)


def conv_times(conv, layout, repeat):
    stride, padding = [conv["stride"]] * 2, [conv["padding"]] * 2
    x = torch.randn(conv["batch"], conv["input"], conv["side"], conv["side"])
    weight = torch.randn(conv["output"], conv["input"], conv["kernel"], conv["kernel"])
    x, weight = x.to(memory_format=layout), weight.to(memory_format=layout)

    def forward():
        return torch.nn.functional.conv2d(x, weight, None, stride, padding)

    def backward(mask):
        return torch.ops.aten.convolution_backward(
            gradient, x, weight, None, stride, padding, [1, 1], False, [0, 0], 1, mask
        )

    with torch.no_grad():
        gradient = torch.ones_like(forward())
        work = {
            "forward_ms": forward,
            "input_gradient_ms": lambda: backward([True, False, False]),
            "weight_gradient_ms": lambda: backward([False, True, False]),
        }
        return {way: statistics.median(measured(run, repeat)) for way, run in work.items()}


def measured(run, repeat):
    """Milliseconds of each of `repeat` runs, after one for warmth."""
    times = []
    for number in range(repeat + 1):
        began = time.perf_counter()
        result = run()
        ended = time.perf_counter()
        del result
        if number > 0:
            times.append((ended - began) * 1e3)
    return times


def print_line(**values):
    print(json.dumps(values), flush=True)


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("step")
    command.add_argument("--arch", required=True)
    command.add_argument("--size", type=int, required=True)
    command.add_argument("--batch", type=int, required=True)
    command.add_argument("--steps", type=int, default=5)
    command.add_argument("--warmup", type=int, default=2)
    command.add_argument("--layout", choices=LAYOUTS, default="contiguous")
    command.set_defaults(run=step)
    command = commands.add_parser("convs")
    command.add_argument("--repeat", type=int, default=7)
    command.set_defaults(run=convs)
    arguments = parser.parse_args()
    torch.set_num_threads(cores())
    torch.manual_seed(0)
    arguments.run(arguments)


def cores():
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


main()
