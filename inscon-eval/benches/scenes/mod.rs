//! Synthetic data sets of COCO's make, the same ones in every run.
#![allow(dead_code, unreachable_pub, reason = "each bench takes what it needs")]

use std::time::Duration;

use criterion::Criterion;
use inscon_eval::{
    Annotation, Category, CocoDataset, Detection, Image, IouType, Rle, Segmentation,
};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Images of a data set; COCO's val2017 has 5000.
pub const SIZES: [u64; 3] = [100, 500, 2500];
pub const HEIGHT: u32 = 480;
pub const WIDTH: u32 = 640;
/// Classes; a person is the only one that has keypoints.
const CLASSES: u64 = 80;
const KEYPOINTS: usize = 17;

/// Short enough that the three benches together take a few minutes.
pub fn settings() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .without_plots()
}

/// Scenes of 7 objects each on average. Each object is found three times over, and every image has
/// so many false alarms besides: 20 with boxes, 5 with masks, 5 with keypoints.
pub fn scenes(images: u64, iou_type: IouType) -> (CocoDataset, Vec<Detection>) {
    let mut maker = Maker {
        rng: Xoshiro256PlusPlus::seed_from_u64(images),
        iou_type,
    };
    let (mut truth, mut found) = (CocoDataset::default(), Vec::new());
    truth.categories = (1..=CLASSES)
        .map(|id| Category {
            id,
            name: format!("class {id}"),
            supercategory: Some("thing".into()),
        })
        .collect();
    for image_id in 1..=images {
        truth.images.push(Image {
            id: image_id,
            file_name: format!("{image_id:012}.jpg"),
            width: WIDTH,
            height: HEIGHT,
        });
        for _ in 0..maker.rng.random_range(0..15) {
            let annotation = maker.annotation(truth.annotations.len() as u64 + 1, image_id);
            for _ in 0..3 {
                found.push(maker.near(&annotation));
            }
            truth.annotations.push(annotation);
        }
        for _ in 0..if iou_type == IouType::Bbox { 20 } else { 5 } {
            let alarm = maker.annotation(0, image_id);
            found.push(maker.near(&alarm));
        }
    }
    (truth, found)
}

/// A file of it.
pub fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

/// A closed line of 24 points around the ellipse that fills the box, to the hundredth as COCO's.
pub fn ellipse([x, y, width, height]: [f64; 4]) -> Vec<f64> {
    let hundredth = |v: f64| (v * 100.0).round() / 100.0;
    (0..24)
        .flat_map(|i| {
            let (sin, cos) = (f64::from(i) * std::f64::consts::TAU / 24.0).sin_cos();
            [
                x + width * (1.0 + cos) / 2.0,
                y + height * (1.0 + sin) / 2.0,
            ]
            .map(hundredth)
        })
        .collect()
}

/// Boxes of 8 to 200 pixels anywhere on the picture.
pub fn boxes(count: usize, seed: u64) -> Vec<[f64; 4]> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    (0..count).map(|_| a_box(&mut rng)).collect()
}

fn a_box(rng: &mut Xoshiro256PlusPlus) -> [f64; 4] {
    [
        rng.random_range(0.0..440.0),
        rng.random_range(0.0..280.0),
        rng.random_range(8.0..200.0),
        rng.random_range(8.0..200.0),
    ]
}

struct Maker {
    rng: Xoshiro256PlusPlus,
    iou_type: IouType,
}

impl Maker {
    fn annotation(&mut self, id: u64, image_id: u64) -> Annotation {
        let bbox = a_box(&mut self.rng);
        let mut annotation = Annotation {
            id,
            image_id,
            category_id: self.rng.random_range(1..=CLASSES),
            bbox,
            area: bbox[2] * bbox[3],
            iscrowd: self.rng.random_bool(0.01),
            // Boxes are evaluated from the same file as masks.
            segmentation: Some(Segmentation::Polygons(vec![ellipse(bbox)])),
            ..Annotation::default()
        };
        if self.iou_type == IouType::Keypoints {
            annotation.category_id = 1;
            annotation.keypoints = Some(self.keypoints(bbox));
            annotation.num_keypoints = Some(KEYPOINTS as u32);
        }
        annotation
    }

    fn keypoints(&mut self, [x, y, width, height]: [f64; 4]) -> Vec<f64> {
        (0..KEYPOINTS)
            .flat_map(|_| {
                let (right, down): (f64, f64) = (self.rng.random(), self.rng.random());
                [
                    (x + right * width).round(),
                    (y + down * height).round(),
                    2.0,
                ]
            })
            .collect()
    }

    /// A detection that is a little off.
    fn near(&mut self, truth: &Annotation) -> Detection {
        let mut detection = Detection {
            image_id: truth.image_id,
            category_id: truth.category_id,
            score: self.rng.random(),
            ..Detection::default()
        };
        let mut moved = |values: &[f64]| -> Vec<f64> {
            let off = |v: &f64| v + self.rng.random_range(-6.0..6.0);
            values.iter().map(off).collect()
        };
        match self.iou_type {
            IouType::Bbox => {
                let moved = moved(&truth.bbox);
                detection.bbox = Some([moved[0], moved[1], moved[2], moved[3]]);
            }
            IouType::Keypoints => {
                detection.keypoints = truth.keypoints.as_deref().map(moved);
            }
            IouType::Segm | IouType::Boundary => {
                let moved = moved(&truth.bbox);
                let line = ellipse([moved[0], moved[1], moved[2], moved[3]]);
                let rle = Rle::from_polygons(&[line], HEIGHT, WIDTH).unwrap();
                detection.segmentation = Some(Segmentation::from(&rle));
            }
        }
        detection
    }
}
