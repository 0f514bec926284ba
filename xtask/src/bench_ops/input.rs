//! Boxes as a detector makes them.

use serde::Serialize;

use crate::bench_eval::random::Random;

/// Height and width of the images, in pixels.
const IMAGE: [f64; 2] = [800.0, 1344.0];
const STRIDE: usize = 16;

/// What `inscon-train bench ops` and `torch_ops.py` read.
#[derive(Serialize)]
pub(super) struct Input {
    pub(super) features: [usize; 4],
    spatial_scale: f64,
    pub(super) outputs: Vec<usize>,
    pub(super) rois: Vec<[f32; 5]>,
    pub(super) boxes: Vec<[f32; 4]>,
    scores: Vec<f32>,
    pub(super) threshold: f64,
}

impl Input {
    /// 512 RoIs of `images` images of 800 × 1344 px on 256 channels of stride 16, and 12,000 boxes.
    pub(super) fn new(images: usize) -> Self {
        let mut random = Random::new(0);
        let rois = proposals(512, &mut random);
        let rois = rois.into_iter().enumerate();
        let boxes = proposals(12_000, &mut random);
        let scores = boxes.iter().map(|_| random.normal() as f32).collect();
        let [height, width] = IMAGE.map(|side| side as usize / STRIDE);
        Self {
            features: [images, 256, height, width],
            spatial_scale: 1.0 / STRIDE as f64,
            outputs: vec![7, 14],
            rois: rois
                .map(|(index, [x0, y0, x1, y1])| [(index % images) as f32, x0, y0, x1, y1])
                .collect(),
            boxes,
            scores,
            threshold: 0.7,
        }
    }
}

/// As an RPN proposes them: three fifths around one of 40 objects, the rest anywhere.
fn proposals(number: usize, random: &mut Random) -> Vec<[f32; 4]> {
    let [height, width] = IMAGE;
    let anywhere = |random: &mut Random| {
        let side = 24.0 * 20_f64.powf(random.unit());
        let ratio = 2_f64.powf(random.range(-0.5, 0.5));
        let center = [random.range(0.0, width), random.range(0.0, height)];
        (center, [side / ratio, side * ratio])
    };
    let objects: Vec<_> = (0..40).map(|_| anywhere(random)).collect();
    (0..number)
        .map(|_| {
            let ([x, y], [w, h]) = if random.chance(0.6) {
                let ([x, y], [w, h]) = objects[random.below(objects.len())];
                let mut near = |spread: f64| spread * random.normal();
                let center = [x + w * near(0.1), y + h * near(0.1)];
                (center, [w * near(0.2).exp(), h * near(0.2).exp()])
            } else {
                anywhere(random)
            };
            let [x0, x1] = [x - w / 2.0, x + w / 2.0].map(|x| x.clamp(0.0, width));
            let [y0, y1] = [y - h / 2.0, y + h / 2.0].map(|y| y.clamp(0.0, height));
            [x0, y0, x1, y1].map(|edge| edge as f32)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_boxes_every_time_inside_the_image() {
        let input = Input::new(2);
        assert_eq!((input.rois.len(), input.boxes.len()), (512, 12_000));
        assert_eq!(input.features, [2, 256, 50, 84]);
        assert_eq!(input.boxes, Input::new(2).boxes);
        for [x0, y0, x1, y1] in input.boxes {
            assert!(0.0 <= x0 && x0 <= x1 && x1 <= 1344.0, "{x0} {x1}");
            assert!(0.0 <= y0 && y0 <= y1 && y1 <= 800.0, "{y0} {y1}");
        }
        let second = input.rois.iter().filter(|roi| roi[0] == 1.0).count();
        assert_eq!(second, 256);
    }
}
