"""torchvision's RoIAlign and NMS: the peer of `inscon-train bench ops`.

    torch_ops.py --input input.json --repeat 7

Reads the boxes that ours reads and prints the same lines of JSON: medians of the times, and sums
of the results to hold both against each other.
"""

import argparse
import json
import os
import statistics
import time

import torch
import torchvision


def roi_align(given, output, repeat):
    count = torch.Size(given["features"]).numel()
    x = torch.sin(torch.arange(count, dtype=torch.float64) * 0.37)
    x = x.float().reshape(given["features"]).requires_grad_()
    rois = torch.tensor(given["rois"])

    def run(x):
        scale = given["spatial_scale"]
        return torchvision.ops.roi_align(x, rois, output, scale, 0, aligned=True)

    with torch.no_grad():
        forward = measured(repeat, lambda: (), lambda: run(x))
    gradient = torch.ones_like(run(x))

    def prepare():
        x.grad = None
        return (run(x),)

    backward = measured(repeat, prepare, lambda y: y.backward(gradient))
    (y,) = prepare()
    y.backward(gradient)
    print_line(
        op="roi_align",
        output=output,
        forward_ms=forward,
        backward_ms=backward,
        output_sum=y.detach().double().abs().sum().item(),
        gradient_sum=x.grad.double().square().sum().item(),
    )


def nms(given, repeat):
    boxes, scores = torch.tensor(given["boxes"]), torch.tensor(given["scores"])

    def run():
        return torchvision.ops.nms(boxes, scores, given["threshold"])

    ms = measured(repeat, lambda: (), run)
    kept = run().tolist()
    checksum = sum((rank + 1) * index for rank, index in enumerate(kept)) % 2**53
    print_line(op="nms", ms=ms, kept=len(kept), checksum=checksum)


def measured(repeat, prepare, run):
    """Median milliseconds of `repeat` runs, after one for warmth."""
    times = []
    for number in range(repeat + 1):
        arguments = prepare()
        began = time.perf_counter()
        result = run(*arguments)
        ended = time.perf_counter()
        del result, arguments
        if number > 0:
            times.append((ended - began) * 1e3)
    return statistics.median(times)


def print_line(**values):
    print(json.dumps(values), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--input", required=True)
    parser.add_argument("--repeat", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(cores())
    with open(arguments.input) as file:
        given = json.load(file)
    for output in given["outputs"]:
        roi_align(given, output, arguments.repeat)
    nms(given, arguments.repeat)


def cores():
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


main()
