//! Region proposal network.

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::Rng;

use super::losses::{bce_with_logits, smooth_l1};
use super::{
    AnchorGenerator, BoxCoder, MatchLabel, Matcher, ProposalSelector, Proposals, RcnnConfig,
    RpnNormalizer, Target, sample_balanced,
};
use crate::{Conv2d, Conv2dConfig, WeightInit};

/// The RPN's convolutions, shared by all levels (Ren et al., arXiv 1506.01497; detectron2's
/// `StandardRPNHead`).
#[derive(Module, Debug)]
pub struct Rpn {
    /// 3×3.
    pub conv: Conv2d,
    /// 1×1, one logit an anchor.
    pub objectness_logits: Conv2d,
    /// 1×1, four deltas an anchor.
    pub anchor_deltas: Conv2d,
}

/// Predictions over all anchors of a batch: level after level, row by row, cell by cell.
#[derive(Debug, Clone)]
pub struct RpnOutput {
    /// Objectness, `[N, K]`.
    pub logits: Tensor<2>,
    /// Box deltas, `[N, K, 4]`.
    pub deltas: Tensor<3>,
    /// `[height, width]` of each level.
    pub grids: Vec<[usize; 2]>,
}

/// The RPN's two loss terms and what was drawn for them.
#[derive(Debug, Clone)]
pub struct RpnLoss {
    /// Binary cross-entropy over the drawn anchors, `[1]`.
    pub cls: Tensor<1>,
    /// Smooth L1 over the foreground, `[1]`.
    pub bbox: Tensor<1>,
    /// Foreground anchors drawn.
    pub positives: usize,
    /// Background anchors drawn.
    pub negatives: usize,
}

impl Rpn {
    /// Over maps of `channels` channels. Weights `N(0, .01²)`, biases 0.
    pub fn new(config: &RcnnConfig, channels: usize, rng: &mut impl Rng, device: &Device) -> Self {
        let anchors = config.anchors_per_location();
        let mut layer = |output, kernel| {
            Conv2dConfig {
                padding: kernel / 2,
                ..Conv2dConfig::new(channels, output, kernel)
            }
            .init(WeightInit::Normal(0.01), rng, device)
        };
        Self {
            conv: layer(channels, 3),
            objectness_logits: layer(anchors, 1),
            anchor_deltas: layer(4 * anchors, 1),
        }
    }

    /// # Shapes
    /// - `features`: `[N, C, Hᵢ, Wᵢ]` of each level
    #[must_use]
    pub fn forward(&self, features: &[Tensor<4>]) -> RpnOutput {
        let (mut logits, mut deltas, mut grids) = (Vec::new(), Vec::new(), Vec::new());
        for feature in features {
            let [n, _, height, width] = feature.dims();
            let hidden = relu(self.conv.forward(feature.clone()));
            let logit = self.objectness_logits.forward(hidden.clone());
            let delta = self.anchor_deltas.forward(hidden);
            let anchors = logit.dims()[1];
            logits.push(
                logit
                    .permute([0, 2, 3, 1])
                    .reshape([n, height * width * anchors]),
            );
            deltas.push(
                delta
                    .permute([0, 2, 3, 1])
                    .reshape([n, height * width * anchors, 4]),
            );
            grids.push([height, width]);
        }
        RpnOutput {
            logits: Tensor::cat(logits, 1),
            deltas: Tensor::cat(deltas, 1),
            grids,
        }
    }
}

impl RpnOutput {
    /// The anchors of each level, those over padding included.
    #[must_use]
    pub fn anchors(&self, generator: &AnchorGenerator, strides: &[usize]) -> Vec<Vec<[f32; 4]>> {
        let grids = self.grids.iter().zip(strides).enumerate();
        grids
            .map(|(level, (&grid, &stride))| generator.grid(level, grid, stride))
            .collect()
    }

    /// Proposals of each image, without gradient; reads the predictions back once.
    ///
    /// `sizes` are the images' own `[height, width]`.
    #[must_use]
    pub fn proposals(
        &self,
        selector: ProposalSelector,
        coder: BoxCoder,
        anchors: &[Vec<[f32; 4]>],
        sizes: &[[usize; 2]],
    ) -> Vec<Proposals> {
        let [n, k] = self.logits.dims();
        let logits = self.logits.clone().detach().reshape([n, k]);
        let deltas = self.deltas.clone().detach().reshape([n, 4 * k]);
        let values: Vec<f32> = Tensor::cat(vec![logits, deltas], 1)
            .into_data()
            .iter()
            .collect();
        let rows = values.chunks_exact(5 * k).zip(sizes);
        rows.map(|(row, &size)| selector.select(&row[..k], &row[k..], anchors, coder, size))
            .collect()
    }

    /// Both terms, each the sum over the drawn anchors divided by what
    /// [`rpn_normalizer`](RcnnConfig::rpn_normalizer) says. `sizes` are the images' own
    /// `[height, width]`.
    pub fn loss(
        &self,
        config: &RcnnConfig,
        anchors: &[Vec<[f32; 4]>],
        sizes: &[[usize; 2]],
        targets: &[Target],
        rng: &mut impl Rng,
    ) -> RpnLoss {
        let [n, k] = self.logits.dims();
        let device = self.logits.device();
        let anchors = anchors.concat();
        let matcher = Matcher {
            negative_below: config.rpn_negative_below,
            positive_from: config.rpn_positive_from,
            low_quality_matches: config.rpn_low_quality_matches,
        };
        let coder = BoxCoder::new(config.rpn_box_weights, config.box_scale_clamp);
        // Foreground first, so that one list of indices serves both terms.
        let (mut foreground, mut background, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
        for (image, target) in targets.iter().enumerate() {
            let mut matches = matcher.matches(&target.boxes, &anchors);
            if !config.rpn_sample_padding {
                ignore_padding(&mut matches.labels, &anchors, sizes[image]);
            }
            let (positives, negatives) = sample_balanced(
                &matches.labels,
                config.rpn_batch_per_image,
                config.rpn_positive_fraction,
                rng,
            );
            for index in positives {
                foreground.push((image * k + index) as i64);
                let truth = target.boxes[matches.truth[index]];
                wanted.extend(coder.encode(anchors[index], truth));
            }
            background.extend(
                negatives
                    .into_iter()
                    .map(|index| (image * k + index) as i64),
            );
        }
        let (positives, negatives) = (foreground.len(), background.len());
        let divisor = match config.rpn_normalizer {
            RpnNormalizer::BatchSize => config.rpn_batch_per_image * n,
            RpnNormalizer::Sampled => (positives + negatives).max(1),
        };
        let scale = 1.0 / divisor as f64;
        let zero = || Tensor::zeros([1], &device);

        let bbox = if positives == 0 {
            zero()
        } else {
            let index = TensorData::new(foreground.clone(), [positives]);
            let index = Tensor::<1, Int>::from_data(index, &device);
            let wanted = Tensor::from_data(TensorData::new(wanted, [positives, 4]), &device);
            let deltas = self.deltas.clone().reshape([n * k, 4]).select(0, index);
            smooth_l1(deltas, wanted, config.rpn_smooth_l1_beta).sum() * scale
        };
        let number = positives + negatives;
        let cls = if number == 0 {
            zero()
        } else {
            foreground.extend(background);
            let mut labels = vec![1.0f32; positives];
            labels.resize(number, 0.0);
            let index = Tensor::<1, Int>::from_data(TensorData::new(foreground, [number]), &device);
            let labels = Tensor::from_data(TensorData::new(labels, [number]), &device);
            let logits = self.logits.clone().reshape([n * k]).select(0, index);
            bce_with_logits(logits, labels).sum() * scale
        };
        RpnLoss {
            cls,
            bbox,
            positives,
            negatives,
        }
    }
}

/// Takes the anchors centred on padding out of the background.
fn ignore_padding(labels: &mut [MatchLabel], anchors: &[[f32; 4]], [height, width]: [usize; 2]) {
    let (height, width) = (2.0 * height as f32, 2.0 * width as f32);
    for (label, [x0, y0, x1, y1]) in labels.iter_mut().zip(anchors) {
        let outside = x0 + x1 >= width || y0 + y1 >= height;
        if outside && *label == MatchLabel::Negative {
            *label = MatchLabel::Ignored;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MatchLabel::{Ignored, Negative, Positive};
    use super::*;

    #[test]
    fn background_lies_on_the_image() {
        let anchors = [
            [-4.0, -4.0, 4.0, 4.0],
            [16.0, 0.0, 24.0, 8.0], // centred on the right edge
            [0.0, 4.0, 8.0, 13.0],
            [0.0, 8.0, 8.0, 16.0],
            [30.0, 30.0, 40.0, 40.0],
        ];
        let mut labels = [Negative, Negative, Negative, Negative, Positive];
        ignore_padding(&mut labels, &anchors, [10, 20]);
        assert_eq!(labels, [Negative, Ignored, Negative, Ignored, Positive]);
    }
}
