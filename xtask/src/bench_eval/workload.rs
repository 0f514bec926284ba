//! The files that are evaluated: of the size and make of COCO val2017 and a detector's results.
//!
//! Made from a fixed seed, streamed to disk, and written as Python's `json.dump` writes: this
//! process must stay small, because Linux counts its memory towards that of what it starts.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::mask::{Blob, compressed};
use super::random::{Random, cumulated, python, rounded, single};
use crate::shell;

/// Part of the files' names; goes up when their content changes.
const VERSION: &str = "v1";

const SIZES: [(usize, usize); 5] = [(640, 480), (640, 427), (480, 640), (500, 375), (640, 480)];
const CLASSES: usize = 80;

/// A pair of files and what to do with it.
pub(super) struct Workload {
    pub(super) name: &'static str,
    pub(super) iou: &'static str,
    pub(super) truth: PathBuf,
    pub(super) found: PathBuf,
    shape: Shape,
}

#[derive(Clone, Copy)]
struct Shape {
    images: usize,
    objects: usize,
    crowds: usize,
    detections: usize,
    masks: bool,
    boxes: bool,
}

const NAMES: [&str; 4] = ["bbox", "segm", "segm-no-box", "bbox-10x"];

/// What `--only` may name, largest last.
pub(super) fn names() -> &'static [&'static str] {
    &NAMES
}

/// The workload of that name, with its files in `folder`.
pub(super) fn workload(name: &'static str, folder: &Path) -> Workload {
    let scale = if name == "bbox-10x" { 10 } else { 1 };
    let masks = name.starts_with("segm");
    let shape = if masks {
        Shape {
            images: 1000,
            objects: 7496,
            crowds: 76,
            detections: 100_000,
            masks,
            boxes: name == "segm",
        }
    } else {
        Shape {
            images: 5000 * scale,
            objects: 37_479 * scale,
            crowds: 381 * scale,
            detections: 500_000 * scale,
            masks,
            boxes: true,
        }
    };
    let truth = if masks { "segm" } else { name };
    Workload {
        name,
        iou: if masks { "segm" } else { "bbox" },
        truth: folder.join(format!("{truth}-{VERSION}-truth.json")),
        found: folder.join(format!("{name}-{VERSION}-found.json")),
        shape,
    }
}

impl Workload {
    /// In a sentence.
    pub(super) fn described(&self) -> String {
        let Shape {
            images,
            objects,
            crowds,
            detections,
            ..
        } = self.shape;
        let mib = |path: &Path| fs::metadata(path).map_or(0, |m| m.len()) >> 20;
        format!(
            "{images} images, {CLASSES} classes, {objects} ground truths ({crowds} crowds, {} MiB), \
             {detections} detections ({} MiB)",
            mib(&self.truth),
            mib(&self.found)
        )
    }

    /// Writes the files unless they are there.
    pub(super) fn prepare(&self) -> Result<()> {
        if self.truth.is_file() && self.found.is_file() {
            return Ok(());
        }
        shell::say(&format!("writing {}", self.found.display()));
        let part = |path: &Path| path.with_extension("json.part");
        let open = |path: &Path| {
            let file = File::create(part(path));
            file.map(|file| BufWriter::with_capacity(1 << 20, file))
                .with_context(|| format!("cannot write {}", part(path).display()))
        };
        if let Some(folder) = self.truth.parent() {
            fs::create_dir_all(folder)?;
        }
        let (mut truth, mut found) = (open(&self.truth)?, open(&self.found)?);
        write(self.shape, &mut truth, &mut found)?;
        truth.flush()?;
        found.flush()?;
        for path in [&self.truth, &self.found] {
            fs::rename(part(path), path)?;
        }
        Ok(())
    }
}

/// COCO's ids: 1 to 90 with gaps.
fn category(class: usize) -> usize {
    class + 1 + class / 8
}

struct Picture {
    id: usize,
    width: usize,
    height: usize,
    objects: usize,
}

struct Object {
    class: usize,
    blob: Blob,
}

struct Found {
    class: usize,
    score: f64,
    blob: Blob,
}

fn write(shape: Shape, truth: &mut impl Write, found: &mut impl Write) -> Result<()> {
    let mut r = Random::new(2017);
    // Few images hold many objects, and few classes hold most objects.
    let crowding = cumulated((0..shape.images).map(|_| -(1.0 - r.unit()).ln() + 0.05));
    let classes = cumulated((0..CLASSES).map(|class| 1.0 / (class as f64 + 1.0)));
    let mut pictures: Vec<Picture> = (0..shape.images)
        .map(|i| {
            let (width, height) = SIZES[r.below(SIZES.len())];
            // 2999 is prime: every id once, in no order.
            let id = 139 + 97 * (i * 2999 % shape.images);
            Picture {
                id,
                width,
                height,
                objects: 0,
            }
        })
        .collect();
    for _ in 0..shape.objects {
        pictures[r.weighted(&crowding)].objects += 1;
    }
    write!(
        truth,
        "{{\"info\": {{\"description\": \"made by xtask bench eval\", \"year\": 2017}}, \
         \"licenses\": [], \"images\": ["
    )?;
    for (i, p) in pictures.iter().enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        write!(
            truth,
            "{comma}{{\"license\": 3, \"file_name\": \"{id:012}.jpg\", \"coco_url\": \
             \"http://images.cocodataset.org/val2017/{id:012}.jpg\", \"height\": {}, \"width\": {}, \
             \"date_captured\": \"2013-11-14 17:02:52\", \"id\": {id}}}",
            p.height,
            p.width,
            id = p.id
        )?;
    }
    write!(truth, "], \"annotations\": [")?;
    write!(found, "[")?;
    let step = shape.objects / shape.crowds;
    let (mut number, mut crowds, mut detections) = (0, 0, 0);
    for (i, p) in pictures.iter().enumerate() {
        let mut objects: Vec<Object> = Vec::new();
        for _ in 0..p.objects {
            let object = object(&mut r, p, &objects, &classes);
            let crowd = number % step == step / 2 && crowds < shape.crowds;
            crowds += usize::from(crowd);
            number += 1;
            annotation(&mut r, truth, p, &object, number, crowd)?;
            objects.push(object);
        }
        let wanted = shape.detections * (i + 1) / shape.images - detections;
        for d in results(&mut r, p, &objects, &classes, wanted) {
            let comma = if detections == 0 { "" } else { ", " };
            detections += 1;
            write!(found, "{comma}")?;
            // The same random numbers with and without boxes.
            detection(&mut r, found, p, &d, shape)?;
        }
    }
    write!(truth, "], \"categories\": [")?;
    for class in 0..CLASSES {
        let comma = if class == 0 { "" } else { ", " };
        let id = category(class);
        write!(
            truth,
            "{comma}{{\"supercategory\": \"thing\", \"id\": {id}, \"name\": \"class {id}\"}}"
        )?;
    }
    write!(truth, "]}}")?;
    write!(found, "]")?;
    Ok(())
}

fn random_box(r: &mut Random, p: &Picture) -> [f64; 4] {
    let side = (r.normal() * 0.95 - 2.0).exp();
    let stretch = (r.normal() * 0.35).exp();
    let (width, height) = (p.width as f64, p.height as f64);
    let w = (side * stretch * width).clamp(3.0, width);
    let h = (side / stretch * height).clamp(3.0, height);
    [r.range(0.0, width - w), r.range(0.0, height - h), w, h]
}

fn object(r: &mut Random, p: &Picture, others: &[Object], classes: &[f64]) -> Object {
    let class = if !others.is_empty() && r.chance(0.55) {
        others[r.below(others.len())].class
    } else {
        r.weighted(classes)
    };
    let bbox = random_box(r, p).map(|v| rounded(v, 2));
    Object {
        class,
        blob: Blob::new(r, bbox),
    }
}

fn annotation(
    r: &mut Random,
    out: &mut impl Write,
    p: &Picture,
    object: &Object,
    id: usize,
    crowd: bool,
) -> Result<()> {
    let [x, y, w, h] = object.blob.bbox;
    let segmentation = if crowd {
        let runs = object.blob.runs(r, p.width, p.height);
        let (height, width) = (p.height, p.width);
        format!("{{\"counts\": {runs:?}, \"size\": [{height}, {width}]}}")
    } else {
        object.blob.polygon()
    };
    let area = python(w * h * r.range(0.45, 0.85));
    write!(
        out,
        "{comma}{{\"segmentation\": {segmentation}, \"area\": {area}, \"iscrowd\": {}, \
         \"image_id\": {}, \"bbox\": [{}, {}, {}, {}], \"category_id\": {}, \"id\": {}}}",
        u8::from(crowd),
        p.id,
        python(x),
        python(y),
        python(w),
        python(h),
        category(object.class),
        900_000 + id * 7,
        comma = if id == 1 { "" } else { ", " },
    )?;
    Ok(())
}

/// `wanted` detections, best first: most objects are found, some more than once, some under
/// another name; the rest is background.
fn results(
    r: &mut Random,
    p: &Picture,
    objects: &[Object],
    classes: &[f64],
    wanted: usize,
) -> Vec<Found> {
    let mut found = Vec::with_capacity(wanted);
    for object in objects {
        if r.chance(0.12) {
            continue;
        }
        for copy in 0..1 + r.below(3) {
            let blur = 0.01 + 0.16 * r.unit() * r.unit() * (1.0 + copy as f64);
            let bbox = around(r, p, object.blob.bbox, blur);
            let sure = 2.5 - 18.0 * blur - copy as f64 + r.normal();
            found.push(Found {
                class: object.class,
                score: single(1.0 / (1.0 + (-sure).exp())),
                blob: object.blob.moved(r, bbox),
            });
        }
    }
    while found.len() < wanted {
        let doubt = r.unit();
        let score = single(0.001 + 0.5 * doubt.powi(4));
        let class = r.weighted(classes);
        let near = !objects.is_empty() && r.chance(0.5);
        let blob = if near {
            let object = &objects[r.below(objects.len())];
            let bbox = around(r, p, object.blob.bbox, 0.2);
            object.blob.moved(r, bbox)
        } else {
            let bbox = random_box(r, p).map(single);
            Blob::new(r, bbox)
        };
        found.push(Found { class, score, blob });
    }
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(wanted);
    found
}

/// A box near another one, within the picture.
fn around(r: &mut Random, p: &Picture, [x, y, w, h]: [f64; 4], blur: f64) -> [f64; 4] {
    let mut edge =
        |at: f64, side: f64, end: usize| (at + r.normal() * blur * side).clamp(0.0, end as f64);
    let (x0, x1) = (edge(x, w, p.width), edge(x + w, w, p.width));
    let (y0, y1) = (edge(y, h, p.height), edge(y + h, h, p.height));
    let (x0, x1) = (x0.min(x1), x0.max(x1));
    let (y0, y1) = (y0.min(y1), y0.max(y1));
    [x0, y0, x1 - x0, y1 - y0].map(single)
}

fn detection(
    r: &mut Random,
    out: &mut impl Write,
    p: &Picture,
    d: &Found,
    shape: Shape,
) -> Result<()> {
    write!(
        out,
        "{{\"image_id\": {}, \"category_id\": {}, ",
        p.id,
        category(d.class)
    )?;
    if shape.boxes {
        let [x, y, w, h] = d.blob.bbox.map(python);
        write!(out, "\"bbox\": [{x}, {y}, {w}, {h}], ")?;
    }
    write!(out, "\"score\": {}", python(d.score))?;
    if shape.masks {
        let text = compressed(&d.blob.runs(r, p.width, p.height)).replace('\\', "\\\\");
        write!(
            out,
            ", \"segmentation\": {{\"size\": [{}, {}], \"counts\": \"{text}\"}}",
            p.height, p.width
        )?;
    }
    write!(out, "}}")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_asked_for_and_json() {
        for (masks, boxes) in [(false, true), (true, false)] {
            let shape = Shape {
                images: 20,
                objects: 150,
                crowds: 7,
                detections: 1990,
                masks,
                boxes,
            };
            let (mut truth, mut found) = (Vec::new(), Vec::new());
            write(shape, &mut truth, &mut found).unwrap();
            let truth: serde_json::Value = serde_json::from_slice(&truth).unwrap();
            let annotations = truth["annotations"].as_array().unwrap();
            assert_eq!(annotations.len(), 150);
            assert_eq!(annotations.iter().filter(|a| a["iscrowd"] == 1).count(), 7);
            assert_eq!(truth["images"].as_array().unwrap().len(), 20);
            assert_eq!(truth["categories"][79]["id"], 89);
            let found: Vec<serde_json::Value> = serde_json::from_slice(&found).unwrap();
            assert_eq!(found.len(), 1990);
            assert_eq!(found[0].get("bbox").is_some(), boxes);
            assert_eq!(found[0].get("segmentation").is_some(), masks);
        }
    }
}
