"""MoCo v2 views by the Python peers of `inscon-aug`: what `cargo xtask bench aug` runs.

    peers.py list
    peers.py run --peer torchvision-pil --seconds 1.5 --modes a,b,c,decode \
        --workload 474:224:DIR --workload 128:64:DIR

`list` prints a line of JSON for each peer: its versions, or what is missing. `run` prints a line
for each workload (NAME:SIZE:FOLDER of JPEGs) and mode:

    a       a decoding for every view
    b       a decoding for two views of an image (MoCo's TwoCropsTransform)
    c       views of pictures that were decoded before
    decode  decoding alone

Every peer draws by MoCo v2's policy: RandomResizedCrop(size, (.2, 1)), ColorJitter(.4, .4, .4, .1)
with p .8, RandomGrayscale .2, GaussianBlur of sigma U(.1, 2) with p .5, RandomHorizontalFlip; from
bytes in memory to bytes of a view. One thread.
"""

import argparse
import gc
import io
import json
import os
import random
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# Before any library counts the cores.
for variable in ("OMP", "OPENBLAS", "MKL", "RAYON"):
    os.environ[f"{variable}_NUM_THREADS"] = "1"

SCALE, RATIO = (0.2, 1.0), (3 / 4, 4 / 3)
SIGMA = (0.1, 2.0)
# Wide enough for three standard deviations of 2 px, where a peer wants a fixed kernel.
KERNEL = 13


def torchvision_pil(size):
    """As MoCo does: torchvision's transforms on PIL pictures, PIL's own blur."""
    import torch
    import torchvision.transforms as T
    from PIL import Image, ImageFilter

    torch.set_num_threads(1)

    class Blur:
        def __call__(self, image):
            return image.filter(ImageFilter.GaussianBlur(radius=random.uniform(*SIGMA)))

    views = T.Compose(
        [
            T.RandomResizedCrop(size, scale=SCALE, ratio=RATIO),
            T.RandomApply([T.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            T.RandomGrayscale(p=0.2),
            T.RandomApply([Blur()], p=0.5),
            T.RandomHorizontalFlip(),
            T.PILToTensor(),
        ]
    )
    return bytes, lambda data: Image.open(io.BytesIO(data)).convert("RGB"), views


def torchvision_v2(size):
    """torchvision's v2 transforms on uint8 tensors, decoded by torchvision.io."""
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg
    from torchvision.transforms import v2

    torch.set_num_threads(1)
    views = v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=SCALE, ratio=RATIO, antialias=True),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            v2.RandomGrayscale(p=0.2),
            v2.RandomApply([v2.GaussianBlur(KERNEL, SIGMA)], p=0.5),
            v2.RandomHorizontalFlip(),
        ]
    )
    prepare = lambda data: torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return prepare, lambda data: decode_jpeg(data, mode=ImageReadMode.RGB), views


def albumentations(size, interpolation=1):
    """albumentations on OpenCV, its bilinear resize (1, the default): it aliases."""
    import albumentations as A
    import cv2
    import numpy as np

    cv2.setNumThreads(0)
    views = A.Compose(
        [
            A.RandomResizedCrop(
                (size, size), scale=SCALE, ratio=RATIO, interpolation=interpolation
            ),
            A.ColorJitter((0.6, 1.4), (0.6, 1.4), (0.6, 1.4), (-0.1, 0.1), p=0.8),
            A.ToGray(p=0.2),
            A.GaussianBlur(blur_limit=0, sigma_limit=SIGMA, p=0.5),
            A.HorizontalFlip(p=0.5),
        ]
    )
    prepare = lambda data: np.frombuffer(data, dtype=np.uint8)
    decode = lambda data: cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
    return prepare, decode, lambda image: views(image=image)["image"]


def albumentations_area(size):
    """As `albumentations`, with OpenCV's area resize: the one that does not alias."""
    import cv2

    return albumentations(size, cv2.INTER_AREA)


def augrs(size):
    """augrs, decoded by OpenCV; its resize aliases."""
    import augrs as A
    import cv2
    import numpy as np

    cv2.setNumThreads(0)
    views = A.Compose(
        [
            A.RandomResizedCrop(size=(size, size), scale=SCALE, ratio=RATIO),
            A.ColorJitter((0.6, 1.4), (0.6, 1.4), (0.6, 1.4), (-0.1, 0.1), p=0.8),
            A.ToGray(p=0.2),
            A.GaussianBlur(blur_limit=0, sigma_limit=SIGMA, p=0.5),
            A.HorizontalFlip(p=0.5),
        ]
    )
    prepare = lambda data: np.frombuffer(data, dtype=np.uint8)
    decode = lambda data: cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
    return prepare, decode, lambda image: views(image=image)["image"]


def kornia_rs(size):
    """kornia-rs; the random crop, the order and the probabilities are drawn here.

    Its resize is without antialiasing; its jitter does the four operations in one pass, in an
    order of its own.
    """
    import math

    from kornia_rs.augmentations import ColorJitter
    from kornia_rs.image import Image

    jitter = ColorJitter(0.4, 0.4, 0.4, 0.1)

    def crop(width, height):
        area, ratio = width * height, [math.log(bound) for bound in RATIO]
        for _ in range(10):
            target = area * random.uniform(*SCALE)
            aspect = math.exp(random.uniform(*ratio))
            w, h = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
            if 0 < w <= width and 0 < h <= height:
                return random.randint(0, width - w), random.randint(0, height - h), w, h
        return 0, 0, width, height

    def view(image):
        image = image.crop(*crop(image.width, image.height)).resize(size, size, "bilinear")
        if random.random() < 0.8:
            image = jitter(image)
        if random.random() < 0.2:
            image = image.to_grayscale().to_rgb()
        if random.random() < 0.5:
            image = image.gaussian_blur(KERNEL, random.uniform(*SIGMA))
        if random.random() < 0.5:
            image = image.flip_horizontal()
        return image.numpy()

    return bytes, lambda data: Image.decode(data), view


PEERS = {
    "torchvision-pil": (torchvision_pil, ("torchvision", "torch", "pillow")),
    "torchvision-v2": (torchvision_v2, ("torchvision", "torch")),
    "albumentations": (albumentations, ("albumentations", "opencv-python-headless")),
    "albumentations-area": (
        albumentations_area,
        ("albumentations", "opencv-python-headless"),
    ),
    "augrs": (augrs, ("augrs-py", "opencv-python-headless")),
    "kornia-rs": (kornia_rs, ("kornia-rs",)),
}


def installed(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def listed():
    fork = installed("pillow-simd")
    for name, (_, packages) in PEERS.items():
        if fork and name != "torchvision-pil":
            continue
        if fork:
            packages = tuple("pillow-simd" if p == "pillow" else p for p in packages)
        versions = {package: installed(package) for package in packages}
        missing = [package for package, found in versions.items() if found is None]
        print_line(
            peer=name,
            name=f"{name}-simd" if fork else name,
            versions=", ".join(f"{p} {v}" for p, v in versions.items() if v),
            missing=missing,
        )


def folder_of(path):
    """The JPEGs of a folder, in the order of their names, in memory."""
    return [file.read_bytes() for file in sorted(Path(path).rglob("*.jpg"))]


def measured(mode, files, decode, view, seconds):
    """Whole passes over the pictures until `seconds` have passed.

    Results a second of processor time (what a core does, whoever else computes here), and a second
    of the clock, and how many.
    """
    if mode == "c":
        files = [decode(data) for data in files]
        for image in files:
            # PIL reads lazily; `convert` has read it.
            assert image is not None

    def once(data):
        if mode == "c":
            view(data)
            return 1
        image = decode(data)
        if mode == "decode":
            return 1
        view(image)
        if mode == "b":
            view(image)
            return 2
        return 1

    for data in files[:16]:
        once(data)
    gc.collect()
    made, began, cpu = 0, time.perf_counter(), time.process_time()
    while (spent := time.perf_counter() - began) < seconds or made == 0:
        made += sum(once(data) for data in files)
    return made / (time.process_time() - cpu), made / spent, made


def run(args):
    random.seed(args.seed)
    make, _ = PEERS[args.peer]
    for workload in args.workload:
        name, size, folder = workload.split(":", 2)
        files = folder_of(folder)
        prepare, decode, view = make(int(size))
        files = [prepare(data) for data in files]
        for mode in args.modes.split(","):
            rate, wall_rate, made = measured(mode, files, decode, view, args.seconds)
            print_line(
                workload=name, size=int(size), mode=mode, rate=rate, wall_rate=wall_rate, made=made
            )


def print_line(**values):
    print(json.dumps(values), flush=True)


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list")
    runner = commands.add_parser("run")
    runner.add_argument("--peer", choices=PEERS, required=True)
    runner.add_argument("--workload", action="append", required=True)
    runner.add_argument("--modes", default="a,b,c,decode")
    runner.add_argument("--seconds", type=float, default=1.5)
    runner.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.command == "list":
        listed()
    else:
        run(args)


if __name__ == "__main__":
    sys.exit(main())
