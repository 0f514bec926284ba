//! RoIAlign over the pyramid.

use burn::tensor::Tensor;

use super::{Roi, RoiAlign, area};
use crate::op::roi_align_pyramid;

/// Pools each RoI from the level of its size (FPN, equation 1; detectron2's `ROIPooler`):
/// `⌊canonical_level + log₂(√area / canonical_size)⌋`.
#[derive(Debug, Clone, PartialEq)]
pub struct RoiPooler {
    /// Bins along a side.
    pub output: usize,
    /// Strides of P2, P3, P4, P5.
    pub strides: [usize; 4],
    /// Samples of a bin along an axis; 0 is adaptive.
    pub sampling_ratio: usize,
    /// Whether RoIAlign shifts by half a cell.
    pub aligned: bool,
    /// Side in pixels of a box of the canonical level.
    pub canonical_size: f32,
    /// 2 is P2, 5 is P5.
    pub canonical_level: usize,
}

impl RoiPooler {
    /// Index of a box's level: 0 is P2, 3 is P5.
    #[must_use]
    pub fn level(&self, bbox: [f32; 4]) -> usize {
        let size = area(bbox).max(0.0).sqrt() / self.canonical_size + 1e-8;
        let level = (self.canonical_level as f32 + size.log2()).floor();
        level.clamp(2.0, 5.0) as usize - 2
    }

    /// # Shapes
    /// - `features`: P2 to P5, `[N, C, Hᵢ, Wᵢ]`; more levels are not used
    /// - output: `[R, C, output, output]`
    ///
    /// # Panics
    /// If there is no RoI or are fewer than four maps.
    #[must_use]
    pub fn forward(&self, features: &[Tensor<4>], rois: &[Roi]) -> Tensor<4> {
        let [p2, p3, p4, p5, ..] = features else {
            panic!("pooling from {} levels of 4", features.len());
        };
        let maps = [p2, p3, p4, p5].map(Tensor::clone);
        let levels: Vec<usize> = rois.iter().map(|roi| self.level(roi.bbox)).collect();
        let align = RoiAlign {
            output: self.output,
            spatial_scale: 1.0,
            sampling_ratio: self.sampling_ratio,
            aligned: self.aligned,
        };
        let scales = self.strides.map(|stride| 1.0 / stride as f32);
        roi_align_pyramid(maps, scales, rois, &levels, align)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn pooler() -> RoiPooler {
        RoiPooler {
            output: 2,
            strides: [4, 8, 16, 32],
            sampling_ratio: 0,
            aligned: true,
            canonical_size: 224.0,
            canonical_level: 4,
        }
    }

    fn square(side: f32) -> [f32; 4] {
        [0.0, 0.0, side, side]
    }

    #[test]
    fn levels() {
        let sides = [0.0, 20.0, 111.9, 112.0, 223.9, 224.0, 447.9, 448.0, 5000.0];
        let levels = sides.map(|side| pooler().level(square(side)));
        assert_eq!(levels, [0, 0, 0, 1, 1, 2, 2, 3, 3]);
        assert_eq!(pooler().level([10.0, 10.0, 5.0, 20.0]), 0);
    }

    #[test]
    fn each_roi_comes_from_its_level_in_order() {
        let device = Device::flex();
        let features: Vec<Tensor<4>> = (0..4)
            .map(|level| Tensor::full([2, 3, 64 >> level, 64 >> level], level as f64, &device))
            .collect();
        let sides = [448.0, 20.0, 230.0, 120.0, 21.0];
        let rois: Vec<Roi> = sides
            .into_iter()
            .enumerate()
            .map(|(i, side)| Roi {
                image: i % 2,
                bbox: square(side / 4.0),
            })
            .collect();
        let pooler = RoiPooler {
            canonical_size: 56.0,
            ..pooler()
        };
        let pooled = pooler.forward(&features, &rois);
        assert_eq!(pooled.dims(), [5, 3, 2, 2]);
        let values = pooled.into_data().try_to_vec::<f32>().unwrap();
        for (roi, expected) in [3.0, 0.0, 2.0, 1.0, 0.0f32].into_iter().enumerate() {
            let got = &values[roi * 12..][..12];
            assert!(
                got.iter().all(|v| (v - expected).abs() < 1e-6),
                "{roi}: {got:?}"
            );
        }
    }
}
