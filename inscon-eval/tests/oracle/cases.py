"""Random cases as files, judged by pycocotools through COCO(file), loadRes(file), COCOeval.

    python3 -m venv V && V/bin/pip install pycocotools==2.0.11 numpy
    V/bin/python tests/oracle/cases.py /tmp/cases --kinds bbox,segm,keypoints --cases 2500 --seed 1
    INSCON_EVAL_CASES=/tmp/cases cargo test --release -p inscon-eval --test oracle -- --ignored --nocapture
    V/bin/python tests/oracle/cases.py --golden tests/fixtures/oracle.json      # the committed file

`fixtures/generate.py` hands in-memory objects to pycocotools; here both files are text, exactly as a user
would have them, so that the loaders are compared as well. A folder holds `KIND-NN.jsonl`, a case a line:

    {"name", "kind", "traits", "truth": TEXT, "found": TEXT, "params": as CocoParams reads it,
     "sigmas": null or a list, "expected": {"shape": [T, R, K, A, M], "precision", "recall", "scores", "stats"}}

An array is [value, count, value, count, ..] in the order K, A, M, T, R, or in the golden `digest`'s hash in C
order. NaN and infinities are texts. `stats` is null where summarize() raises, and `expected` is
{"error": TEXT} where anything before it does.
"""

import argparse
import contextlib
import io
import json
import math
import os
import random
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
from pycocotools import mask as masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "fixtures"))
from generate import as_text, digest, random_box, random_mask  # noqa: E402

KINDS = ("bbox", "segm", "keypoints")
# Every case draws each of these by itself; of the rare ones it is given one in turn, and few others.
COMMON = ("score_ties", "iou_ties", "crowds", "odd_areas", "ignore", "fields", "layout", "empty_classes")
RARE = {
    "any": (
        None, "nan_scores", "infinite_scores", "duplicate_ids", "id_zero", "negative_zero", "unknown_category",
        "image_ids", "category_ids", "max_detections", "no_categories", "iou_thresholds", "recall_thresholds",
        "area_ranges", "unknown_ids", "empty_lists", "many", "duplicate_images", "duplicate_categories",
        "stray_truth", "unknown_image", "no_results", "nan_areas", "no_truth", "almost_equal",
        "three_sixteenths", "repeated_no_categories", "all_params",
    ),
    "bbox": ("nan_boxes", "masks_for_boxes", "degenerate", "box_missing_later", "far_away"),
    "segm": (
        "no_box", "box_first_only", "box_later_only", "empty_box", "boxes_only", "result_polygons",
        "result_lists", "other_sizes", "degenerate", "two_sizes", "four_coordinates", "holes", "truth_without_box",
    ),
    "keypoints": (
        "box_first_only", "box_later_only", "with_box", "sigmas", "few_points", "invisible", "miscounted", "hits_or_misses",
        "wrong_length", "zero_sigma", "one_point",
    ),
}


# ---------------------------------------------------------------- pycocotools


def listed(value):
    """NaN and infinities as texts."""
    if isinstance(value, float):
        return value if math.isfinite(value) else "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity"
    return value


def runs(array):
    """[T, (R,) K, A, M] as value, count, .. in the order K, A, M, T, R."""
    if array.ndim == 4:
        array = array[:, None]
    flat = np.ascontiguousarray(array.transpose(2, 3, 4, 0, 1)).reshape(-1)
    if not flat.size:
        return []
    starts = np.concatenate(([0], np.flatnonzero(flat.view(np.uint64)[1:] != flat.view(np.uint64)[:-1]) + 1))
    counts = np.diff(np.concatenate((starts, [flat.size])))
    return [v for start, count in zip(starts, counts) for v in (listed(float(flat[start])), int(count))]


def judge(case, digests):
    kind, params = case["kind"], case["params"]
    quiet = contextlib.redirect_stdout(io.StringIO())
    with quiet, warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        files = [os.path.join(folder, name) for name in ("truth.json", "found.json")]
        for file, text in zip(files, (case["truth"], case["found"])):
            Path(file).write_text(text, encoding="utf-8")
        try:
            truth = COCO(files[0])
            e = COCOeval(truth, truth.loadRes(files[1]), kind)
            p = e.params
            p.maxDets = list(params.get("max_detections", p.maxDets))
            p.useCats = int(params.get("use_categories", True))
            p.imgIds = list(params.get("image_ids", p.imgIds))
            p.catIds = list(params.get("category_ids", p.catIds))
            p.iouThrs = np.array(params.get("iou_thresholds", p.iouThrs), dtype=float)
            p.recThrs = np.array(params.get("recall_thresholds", p.recThrs), dtype=float)
            if "area_ranges" in params:
                p.areaRng = [[a["min"], a["max"]] for a in params["area_ranges"]]
                p.areaRngLbl = [a["label"] for a in params["area_ranges"]]
            if case["sigmas"] is not None:
                p.kpt_oks_sigmas = np.array(case["sigmas"], dtype=float)
            e.evaluate()
            e.accumulate()
        except Exception as error:  # noqa: BLE001
            return {"error": f"{type(error).__name__}: {error}"[:200]}
        try:
            e.summarize()
            stats = [listed(float(v)) for v in e.stats]
        except Exception:  # noqa: BLE001: limits other than three, labels other than COCO's
            stats = None
    write = digest if digests else runs
    arrays = {name: write(e.eval[name]) for name in ("precision", "recall", "scores")}
    return {"shape": list(e.eval["precision"].shape), **arrays, "stats": stats}


# ---------------------------------------------------------------- geometry


def tied(r, box):
    """A box inside `box` whose overlap is a multiple of 1/20 or so."""
    x, y, w, h = box
    n = r.choice([10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20])
    kind = r.random()
    if kind < 0.4:
        return [x, y, w, h * n / 20]
    if kind < 0.8:
        return [x + w * (20 - n) / 20, y, w * n / 20, h]
    step = w / 3  # shifted sideways: 1/2
    return [x + step * r.choice([1, -1]), y, w, h]


def moved(r, traits, box, side):
    if "iou_ties" in traits and r.random() < 0.5:
        return tied(r, box)
    if "almost_equal" in traits:
        return [v * (1 + r.choice([0, 1, 3, -4]) * 2e-12) for v in box]
    if r.random() < 0.2:
        return random_box(r, side)
    if r.random() < 0.7:
        return [v + r.choice([0, 0, 1, -2, 0.25]) * side / 40 for v in box]
    scale = r.choice([0.02, 0.1])
    return [box[0] + r.gauss(0, scale) * box[2], box[1] + r.gauss(0, scale) * box[3]] + [
        abs(v) * math.exp(r.gauss(0, scale)) for v in box[2:]
    ]


def a_box(r, traits, side):
    if "three_sixteenths" in traits or "iou_ties" in traits and r.random() < 0.6:
        w, h = r.choice([20, 40, 60]), r.choice([20, 40])
        return [r.randrange(0, max(1, side - w)), r.randrange(0, max(1, side - h)), w, h]
    box = random_box(r, side)
    if "far_away" in traits:
        box = [v * r.choice([1, 1e4, 1e-7, 123456.789]) for v in box]
    return box


def degenerate(r, box):
    x, y, w, h = box
    return r.choice([
        [[x, y, x, y, x, y]],
        [[x, y, x + w, y, x, y, x + w, y]],
        [[x, y, x + w, y + h, x, y + h], []] if r.random() < 0.1 else [[x, y, x + w, y + h, x + w, y]],
        [[x + 0.5, y + 0.5, x + 0.5, y + h, x + 0.5, y + 0.5]],
        [[x - 900, y - 900, x - 800, y - 900, x - 800, y - 800]],
        [[x - 50, y - 50, x + 500, y - 50, x + 500, y + 500, x - 50, y + 500]],
        [[x, y, x + w, y, x + w, y + h], [x, y, x + w / 2, y + h]],
        [[x, y, x + w, y, x + w]],
    ])


def truth_mask(r, traits, box, image):
    height, width = image["height"], image["width"]
    if "four_coordinates" in traits and r.random() < 0.3:
        return [[box[0], box[1], abs(box[2]), abs(box[3])]] + [[1, 2, 3, 4]] * (r.random() < 0.3)
    if "degenerate" in traits and r.random() < 0.5:
        return degenerate(r, box)
    if "other_sizes" in traits and r.random() < 0.3:
        return random_mask(r, box, height + r.choice([3, -2]), width, text_only=True)
    if "iou_ties" in traits and r.random() < 0.7:
        x, y, w, h = box
        return [[x, y, x + w, y, x + w, y + h, x, y + h]]
    if "holes" in traits:
        noise = np.random.default_rng(r.randrange(1 << 30)).random((height, width)) < r.choice([0.02, 0.5, 0.98])
        return as_text(masks.encode(np.asfortranarray(noise.astype(np.uint8))))
    return random_mask(r, box, height, width)


def drawable(box):
    """pycocotools draws polygons in 32-bit integers and memory without end."""
    return all(math.isfinite(v) and abs(v) < 2000 for v in box)


def found_mask(r, traits, box, image, base):
    box = box if drawable(box) else [1, 2, 3, 4]
    height, width = image["height"], image["width"]
    if isinstance(base, dict) and isinstance(base["counts"], str) and r.random() < 0.3:
        return base
    if "iou_ties" in traits and r.random() < 0.8:
        x, y, w, h = box
        parts = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        if "result_polygons" in traits:
            return parts
        return as_text(masks.merge(masks.frPyObjects(parts, height, width)))
    if "result_polygons" in traits and r.random() < 0.6 or "result_lists" in traits:
        return random_mask(r, box, height, width)
    if "two_sizes" in traits and r.random() < 0.4:
        return random_mask(r, box, height + 2, width + 1, text_only=True)
    return random_mask(r, box, height, width, text_only=True)


def sharp_points(r, count, box):
    """x, y, v by turns; v is 0, 1 or 2."""
    x, y, w, h = box
    points = []
    for _ in range(count):
        v = r.choice([0, 1, 2, 2])
        at = [r.randrange(int(abs(w)) + 1) + int(x), r.randrange(int(abs(h)) + 1) + int(y)]
        if r.random() < 0.2:
            at = [x + r.random() * w, y + r.random() * h]
        points += [0, 0, 0] if v == 0 and r.random() < 0.7 else at + [v]
    return points


def moved_points(r, traits, points, box):
    out = []
    far = r.random()
    scale = r.choice([0, 0.01, 0.05, 0.2]) * (abs(box[2]) + abs(box[3]) + 1)
    for i in range(0, len(points), 3):
        x, y = points[i : i + 2]
        if "hits_or_misses" in traits:
            if r.random() < far:
                x += 1e5
        elif scale:
            x, y = x + r.gauss(0, scale), y + r.gauss(0, scale)
        out += [x, y, r.choice([1, 1, 2, 0, r.random()])]
    return out


# ---------------------------------------------------------------- a case


def scored(r, traits):
    if "nan_scores" in traits and r.random() < 0.2:
        return math.nan
    if "infinite_scores" in traits and r.random() < 0.25:
        return r.choice([math.inf, -math.inf])
    if "negative_zero" in traits and r.random() < 0.4:
        return r.choice([0.0, -0.0, 0, -1, 5e-324, 1e-7, 1e22, -3.5, 12345678901234567, 0.1 + 0.2])
    if "score_ties" in traits and r.random() < 0.8:
        return r.choice([0.9, 0.5, 0.5, 0.1, 0, 1])
    return r.random()


def extra(r, traits, record, detection):
    """Fields that are overwritten or unknown, and another order."""
    if "fields" not in traits:
        return record
    if r.random() < 0.3:
        record["attributes"] = {"a": [1, {"b": None}], 'x "NaN" \\': "\\\\ é Infinity ] }", "t": True}
    if detection:
        more = {"id": r.randrange(9), "area": r.random() * 1e4, "iscrowd": r.randrange(2), "ignore": 1, "caption_": "-Infinity"}
        record |= {k: v for k, v in more.items() if r.random() < 0.3}
    keys = list(record)
    r.shuffle(keys)
    return {k: record[k] for k in keys}


def a_truth(r, kind, traits, images, categories, side, points):
    annotations = []
    used = categories[: r.randrange(1, len(categories) + 1)] if "empty_classes" in traits else categories
    for image in images:
        if r.random() < 0.15 or "no_truth" in traits:
            continue
        for _ in range(r.choice([40, 0]) if "many" in traits else r.randrange(0, 7)):
            box = a_box(r, traits, side)
            if "nan_boxes" in traits and r.random() < 0.1:
                box[r.randrange(4)] = r.choice([math.nan, math.inf])
            a = {
                "id": len(annotations) + 1,
                "image_id": image["id"],
                "category_id": r.choice(used)["id"],
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": int("crowds" in traits and r.random() < 0.25),
            }
            if "odd_areas" in traits and r.random() < 0.4:
                a["area"] = r.choice([0, 1024, 1024.0001, 9216, 9215.99, 5000, 1e6, 1e11])
            if "nan_areas" in traits and r.random() < 0.2:
                a["area"] = r.choice([math.nan, math.inf])
            if "ignore" in traits:
                a["ignore"] = r.randrange(2)
            if kind == "segm" or kind == "bbox" and r.random() < 0.1 and drawable(box):
                a["segmentation"] = truth_mask(r, traits, box, image)
            if kind == "segm" and "truth_without_box" in traits:
                del a["bbox"]
            if kind == "keypoints":
                a["keypoints"] = sharp_points(r, points, box)
                if "invisible" in traits and r.random() < 0.5:
                    a["keypoints"][2::3] = [0] * points
                a["num_keypoints"] = sum(v > 0 for v in a["keypoints"][2::3])
                if "miscounted" in traits and r.random() < 0.5:
                    a["num_keypoints"] = r.choice([0, 3])
            annotations.append(extra(r, traits, a, False))
    if annotations and "id_zero" in traits:
        r.choice(annotations)["id"] = 0
    if len(annotations) > 1 and "duplicate_ids" in traits:
        for _ in range(3):
            a, b = r.sample(annotations, 2)
            a["id"] = b["id"]
    if annotations and "stray_truth" in traits:
        stray = r.choice(["image_id", "category_id"])
        annotations.append(r.choice(annotations) | {"id": 5000, stray: 4321})
    return annotations


def boxed(r, kind, traits, index):
    """Whether the detection at `index` has a box."""
    if "box_first_only" in traits:
        return index == 0
    if "box_later_only" in traits:
        return index > 0 and r.random() < 0.7
    if kind == "keypoints":
        return "with_box" in traits
    return not traits & {"no_box", "masks_for_boxes", "result_polygons", "result_lists"} or (
        "result_polygons" in traits and r.random() < 0.99 or "result_lists" in traits
    )


def results(r, kind, traits, images, categories, annotations, side):
    plans = []
    for image in images:
        here = [a for a in annotations if a["image_id"] == image["id"]]
        for a in here + [None] * (150 if "many" in traits and r.random() < 0.3 else r.randrange(0, 4)):
            plans += [(image, a)] * r.randrange(0, 3 if here else 2)
    r.shuffle(plans)
    found = []
    for image, a in plans:
        own = (a or {}).get("bbox")
        box = moved(r, traits, own, side) if own and r.random() < 0.8 else a_box(r, traits, side)
        if "nan_boxes" in traits and r.random() < 0.1:
            box[r.randrange(4)] = r.choice([math.nan, math.inf, -math.inf])
        score = scored(r, traits)
        d = {
            "image_id": image["id"],
            "category_id": a["category_id"] if a and r.random() < 0.85 else r.choice(categories)["id"],
            "score": score,
        }
        if "unknown_category" in traits and r.random() < 0.15:
            d["category_id"] = 777
        if kind == "keypoints":
            base = a["keypoints"] if a else None
            count = len(base or (annotations or [{"keypoints": [0] * 51}])[0]["keypoints"]) // 3
            d["keypoints"] = moved_points(r, traits, base or sharp_points(r, count, box), box)
            if "wrong_length" in traits and r.random() < 0.1:
                d["keypoints"] = d["keypoints"][:-3]
        if boxed(r, kind, traits, len(found)):
            d["bbox"] = box
        elif "empty_box" in traits:
            d["bbox"] = []
        if "empty_box" in traits:
            d["bbox"] = []
        if "box_missing_later" in traits and found and r.random() < 0.1:
            d.pop("bbox", None)
        as_mask = kind == "segm" and ("boxes_only" not in traits or r.random() < 0.4)
        if as_mask or "masks_for_boxes" in traits:
            d["segmentation"] = found_mask(r, traits, box, image, (a or {}).get("segmentation"))
        found.append(extra(r, traits, d, True))
    if found and "unknown_image" in traits:
        r.choice(found)["image_id"] = 4321
    return [] if "no_results" in traits else found


def parameters(r, kind, traits, images, categories):
    ids, classes = [i["id"] for i in images], [c["id"] for c in categories]
    params = {"iou_type": kind}
    if kind == "keypoints":
        labels = [("all", 0.0, 1e10), ("medium", 1024.0, 9216.0), ("large", 9216.0, 1e10)]
        params["area_ranges"] = [{"label": label, "min": low, "max": high} for label, low, high in labels]
        params["max_detections"] = [20]
    traits = traits | ({t for t in RARE["any"] if t and r.random() < 0.5} if "all_params" in traits else set())
    if "max_detections" in traits:
        params["max_detections"] = r.choice([
            [1, 2, 100], [100, 1, 3], [1, 2, 3], [5, 5, 5], [100, 100, 1], [1], [100], [0, 3, 100], [1, 10, 100, 300], [20, 1], [0],
        ])
    if "no_categories" in traits or "repeated_no_categories" in traits:
        params["use_categories"] = False
    if "image_ids" in traits:
        params["image_ids"] = r.sample(ids, r.randrange(1, len(ids) + 1)) + [ids[0]]
    if "category_ids" in traits:
        params["category_ids"] = r.sample(classes, r.randrange(1, len(classes) + 1))
        if params.get("use_categories", True) or "repeated_no_categories" in traits:
            params["category_ids"].append(classes[-1])
    if "repeated_no_categories" in traits and "category_ids" not in params:
        params["category_ids"] = [r.choice(classes) for _ in range(4)]
    if "unknown_ids" in traits:
        params["image_ids"] = ids + [99999, 3]
        params["category_ids"] = [888] + classes
    if "empty_lists" in traits:
        which = r.choice(["image_ids", "category_ids", "iou_thresholds", "recall_thresholds", "area_ranges"])
        params[which] = []
    if "almost_equal" in traits:
        params["iou_thresholds"] = [0.5, 1.0]
    if "three_sixteenths" in traits:
        params["iou_thresholds"] = sorted(r.randrange(1, 41) / 40 for _ in range(5))
    if "iou_thresholds" in traits:
        params["iou_thresholds"] = r.choice([
            [0.5], [0.0, 0.3, 1.0], [0.75, 0.5], [0.5, 0.5, 0.9], [-1.0, 0.1, 2.0], [1.0], [0.0], [0.1 * i for i in range(12)],
        ])
    if "recall_thresholds" in traits:
        params["recall_thresholds"] = r.choice([
            [0.0], [1.0], [0.5, 0.5, 1.0], [i / 10 for i in range(11)], [-1.0, 0.3333333333333333, 2.0],
            sorted(r.random() for _ in range(20)), [i / 7 for i in range(8)],
        ])
    if "area_ranges" in traits:
        params["area_ranges"] = r.choice([
            [("all", 0.0, 1e10), ("small", 25.0, 900.0)],
            [("tiny", 0.0, 400.0), ("all", 0.0, 1e10), ("all", 400.0, 400.0)],
            [("all", 400.0, 1600.0)],
            [("all", 1600.0, 400.0), ("large", -5.0, 0.0)],
        ])
        params["area_ranges"] = [{"label": label, "min": low, "max": high} for label, low, high in params["area_ranges"]]
    return params


def dumped(r, traits, value):
    """As a program would write it."""
    style = r.randrange(4) if "layout" in traits else 0
    if style == 1:
        return json.dumps(value)
    if style == 2:
        return json.dumps(value, indent=r.choice([1, 2, "\t"])) + "\n"
    if style == 3:
        return " \r\n" + json.dumps(value, ensure_ascii=False, separators=(" ,", " : "))
    return json.dumps(value, separators=(",", ":"))


def a_case(r, kind, rare):
    traits = {t for t in COMMON if r.random() < 0.4}
    rares = RARE["any"] + RARE[kind]
    traits |= {t for t in rares if t and (t == rare or r.random() < 0.02)}
    side = r.choice([40, 120, 400]) if kind != "segm" else r.choice([40, 90])
    ids = r.sample(range(1, 1000), r.randrange(1, 6))
    images = [{"id": i, "height": side, "width": side + r.choice([0, 0, 7]), "file_name": f"{i}.png"} for i in ids]
    categories = [{"id": c, "name": f"c{c}"} for c in r.sample(range(1, 50), r.randrange(1, 5))]
    if "duplicate_images" in traits:
        images.append(images[0] | {"width": side + 9})
    points, sigmas = 17, None
    if kind == "keypoints" and traits & {"few_points", "sigmas", "one_point", "zero_sigma"}:
        points = 1 if "one_point" in traits else r.choice([1, 2, 4, 5, 8, 12, 21, 133]) if "few_points" in traits else 17
        sigmas = [r.choice([0.025, 0.1, r.random()]) for _ in range(points)]
        if "zero_sigma" in traits:
            sigmas[0] = 0.0
    distinct = list({i["id"]: i for i in images}.values())
    annotations = a_truth(r, kind, traits, distinct, categories, side, points)
    found = results(r, kind, traits, distinct, categories, annotations, side)
    if not found and "no_results" not in traits:
        return a_case(r, kind, rare)
    params = parameters(r, kind, traits, distinct, categories)
    if "duplicate_categories" in traits:
        categories.append(categories[0] | {"name": "again"})
    if not params.get("use_categories", True):
        classes = params.get("category_ids", [c["id"] for c in categories])
        traits |= {"repeated_no_categories"} if len(set(classes)) < len(classes) else set()
    truth = {"images": images, "annotations": annotations, "categories": categories}
    if "fields" in traits:
        truth = {"info": {"year": 2017, "NaN": ["\\", '"']}, "licenses": []} | truth
    return {
        "kind": kind,
        "traits": sorted(traits),
        "truth": dumped(r, traits, truth),
        "found": dumped(r, traits, found),
        "params": params,
        "sigmas": sigmas,
    }


def cases(kind, numbers, seed, digests=False, largest=None):
    rares = RARE["any"] + RARE[kind]
    for i in numbers:
        r = random.Random(f"{kind} {seed} {i}")
        case = a_case(r, kind, rares[i % len(rares)])
        if largest and len(case["truth"]) + len(case["found"]) > largest:
            continue
        case = {"name": f"{kind} {seed}/{i}"} | case
        case["expected"] = judge(case, digests)
        yield case


def line(case):
    return json.dumps(case, separators=(",", ":"), allow_nan=False) + "\n"


def shard(job):
    out, kind, number, numbers, seed = job
    with open(out / f"{kind}-{number:02}.jsonl", "w", encoding="utf-8") as file:
        return [(("error" in c["expected"]), file.write(line(c))) for c in cases(kind, numbers, seed)]


def golden(path, seed, budget):
    """For each kind every rare trait once or twice; small cases only, with hashes for arrays."""
    from importlib.metadata import version

    chosen = []
    for kind in KINDS:
        seen, size = {}, 0
        for case in cases(kind, range(1500), seed, digests=True, largest=2500):
            rares = RARE["any"] + RARE[kind]
            rare = rares[int(case["name"].split("/")[1]) % len(rares)]
            if seen.get(rare, 0) < 1 and len(line(case)) < 5500 and ("error" not in case["expected"] or seen.get("error", 0) < 3):
                seen[rare] = seen.get(rare, 0) + 1
                seen["error"] = seen.get("error", 0) + ("error" in case["expected"])
                chosen.append(case)
                size += len(line(case))
            if size > budget // len(KINDS) - 5500:
                break
    made_by = {"pycocotools": version("pycocotools"), "numpy": np.__version__}
    text = json.dumps(made_by, separators=(",", ":")) + "\n"
    path.write_text('{"made_by":' + text + ',"cases":[\n' + ",".join(map(line, chosen)) + "]}\n", encoding="utf-8")
    print(f"{len(chosen)} cases, {path.stat().st_size} bytes")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--cases", type=int, default=500, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--golden", type=Path)
    args = parser.parse_args()
    if args.golden:
        golden(args.golden, args.seed, 290_000)
        return
    from multiprocessing import Pool

    args.out.mkdir(parents=True, exist_ok=True)
    jobs = []
    for kind in args.kinds.split(","):
        for number, start in enumerate(range(0, args.cases, 100)):
            jobs.append((args.out, kind, number, range(start, min(start + 100, args.cases)), args.seed))
    with Pool(args.jobs) as pool:
        done = [row for rows in pool.imap_unordered(shard, jobs, chunksize=1) for row in rows]
    print(f"{len(done)} cases, {sum(error for error, _ in done)} that pycocotools refuses, {sum(n for _, n in done) >> 20} MiB")


if __name__ == "__main__":
    main()
