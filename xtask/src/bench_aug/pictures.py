"""The JPEGs of `cargo xtask bench aug`: photographs of 474 x 392 px at quality 90, 4:2:0.

    pictures.py --shared ../shared/data --out target/bench-aug/images [--count 200]

OUT/474x392 has `count` pictures of facade320 (320 px), enlarged by Lanczos, evenly spread over the
folder in the order of names; OUT/128 has as many of imagenette128, byte for byte. Prints a line of
JSON for each folder: pictures and mean bytes.
"""

import argparse
import json
import shutil
from pathlib import Path

from PIL import Image


def spread(files, count):
    files = sorted(files)
    count = min(count, len(files))
    return [files[i * len(files) // count] for i in range(count)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=200)
    args = parser.parse_args()
    large, small = args.out / "474x392", args.out / "128"
    for folder in (large, small):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    for index, file in enumerate(spread((args.shared / "facade320/images").glob("*.jpg"), args.count)):
        picture = Image.open(file).convert("RGB").resize((474, 392), Image.Resampling.LANCZOS)
        picture.save(large / f"{index:04}.jpg", quality=90, subsampling="4:2:0")
    for index, file in enumerate(spread((args.shared / "imagenette128").rglob("*.jpg"), args.count)):
        shutil.copyfile(file, small / f"{index:04}.jpg")
    for folder in (large, small):
        sizes = [file.stat().st_size for file in folder.iterdir()]
        print(json.dumps(dict(folder=folder.name, pictures=len(sizes), mean_bytes=sum(sizes) / len(sizes))))


if __name__ == "__main__":
    main()
