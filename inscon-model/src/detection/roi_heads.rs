//! The second stage: sampling of proposals, box head, mask head.

use burn::module::Module;
use burn::tensor::activation::{log_softmax, sigmoid, softmax};
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::Rng;

use super::losses::{bce_with_logits, smooth_l1};
use super::{
    BoxCoder, BoxHead, DetectionSelector, Detections, MaskHead, MaskRcnnConfig, Matcher, Proposals,
    Roi, RoiPooler, Target, crop_and_resize, sample_balanced,
};

/// Box head and mask head (detectron2's `StandardROIHeads`).
#[derive(Module, Debug)]
pub struct RoiHeads {
    /// Classes and boxes.
    pub box_head: BoxHead,
    /// Masks; `None` in Faster R-CNN.
    pub mask_head: Option<MaskHead>,
}

/// The RoIs drawn for training; the first `positives` are foreground.
#[derive(Debug, Clone, PartialEq)]
pub struct SampledRois {
    /// The regions.
    pub rois: Vec<Roi>,
    /// Class of each; `num_classes` is background.
    pub labels: Vec<usize>,
    /// Index of the ground truth of each foreground RoI in its image.
    pub truth: Vec<usize>,
    /// Number of foreground RoIs.
    pub positives: usize,
}

/// The heads' loss terms.
#[derive(Debug, Clone)]
pub struct RoiLoss {
    /// Softmax cross-entropy, mean over the RoIs, `[1]`.
    pub cls: Tensor<1>,
    /// Smooth L1 of the foreground, divided by the number of RoIs, `[1]`.
    pub bbox: Tensor<1>,
    /// Binary cross-entropy, mean over the foreground's mask cells, `[1]`.
    pub mask: Option<Tensor<1>>,
}

impl SampledRois {
    /// Draws `roi_batch_per_image` RoIs of every image among its proposals and, if so configured,
    /// its ground truth.
    pub fn draw(
        config: &MaskRcnnConfig,
        proposals: &[Proposals],
        targets: &[Target],
        rng: &mut impl Rng,
    ) -> Self {
        let threshold = config.roi_positive_from;
        let matcher = Matcher {
            negative_below: threshold,
            positive_from: threshold,
            low_quality_matches: false,
        };
        let (mut foreground, mut background) = (Vec::new(), Vec::new());
        for (image, (proposals, target)) in proposals.iter().zip(targets).enumerate() {
            let mut boxes = proposals.boxes.clone();
            if config.roi_append_ground_truth {
                let finite = target
                    .boxes
                    .iter()
                    .filter(|b| b.iter().all(|x| x.is_finite()));
                boxes.extend(finite);
            }
            let matches = matcher.matches(&target.boxes, &boxes);
            let (positives, negatives) = sample_balanced(
                &matches.labels,
                config.roi_batch_per_image,
                config.roi_positive_fraction,
                rng,
            );
            let roi = |index: usize| Roi {
                image,
                bbox: boxes[index],
            };
            for index in positives {
                let truth = matches.truth[index];
                foreground.push((roi(index), target.labels[truth], truth));
            }
            background.extend(negatives.into_iter().map(roi));
        }
        let positives = foreground.len();
        let mut rois: Vec<Roi> = foreground.iter().map(|(roi, ..)| *roi).collect();
        let mut labels: Vec<usize> = foreground.iter().map(|(_, label, _)| *label).collect();
        let truth = foreground.iter().map(|(.., truth)| *truth).collect();
        rois.extend(background);
        labels.resize(rois.len(), config.num_classes);
        Self {
            rois,
            labels,
            truth,
            positives,
        }
    }
}

impl RoiHeads {
    /// The heads that `config` describes.
    pub fn new(config: &MaskRcnnConfig, rng: &mut impl Rng, device: &Device) -> Self {
        Self {
            box_head: BoxHead::new(config, rng, device),
            mask_head: config.mask.then(|| MaskHead::new(config, rng, device)),
        }
    }

    /// Losses over the drawn RoIs. `features` are P2 to P5.
    ///
    /// # Panics
    /// If there is a mask head and a target with a foreground RoI has no masks.
    #[must_use]
    pub fn loss(
        &self,
        config: &MaskRcnnConfig,
        strides: [usize; 4],
        features: &[Tensor<4>],
        sampled: &SampledRois,
        targets: &[Target],
    ) -> RoiLoss {
        let device = features[0].device();
        let zero = || Tensor::zeros([1], &device);
        let number = sampled.rois.len();
        let mask = self.mask_head.as_ref().map(|head| {
            if sampled.positives == 0 {
                return zero();
            }
            let rois = &sampled.rois[..sampled.positives];
            let pooler = pooler(config, strides, config.mask_pooler_size);
            let pooled = pooler.forward(features, rois);
            let logits = head.forward(pooled, &sampled.labels[..sampled.positives]);
            let wanted = mask_targets(sampled, targets, 2 * config.mask_pooler_size);
            let wanted = Tensor::from_data(TensorData::new(wanted, logits.dims()), &device);
            bce_with_logits(logits, wanted).mean()
        });
        if number == 0 {
            return RoiLoss {
                cls: zero(),
                bbox: zero(),
                mask,
            };
        }
        let pooler = pooler(config, strides, config.box_pooler_size);
        let (logits, deltas) = self
            .box_head
            .forward(pooler.forward(features, &sampled.rois));

        let labels: Vec<i64> = sampled.labels.iter().map(|&label| label as i64).collect();
        let labels = Tensor::<2, Int>::from_data(TensorData::new(labels, [number, 1]), &device);
        let cls = log_softmax(logits, 1).gather(1, labels).mean().neg();

        let bbox = if sampled.positives == 0 {
            zero()
        } else {
            let coder = BoxCoder::new(config.box_weights, config.box_scale_clamp);
            let (mut rows, mut wanted) = (Vec::new(), Vec::new());
            for i in 0..sampled.positives {
                let Roi { image, bbox } = sampled.rois[i];
                rows.push((i * config.num_classes + sampled.labels[i]) as i64);
                wanted.extend(coder.encode(bbox, targets[image].boxes[sampled.truth[i]]));
            }
            let rows = TensorData::new(rows, [sampled.positives]);
            let rows = Tensor::<1, Int>::from_data(rows, &device);
            let wanted = TensorData::new(wanted, [sampled.positives, 4]);
            let wanted = Tensor::from_data(wanted, &device);
            let deltas = deltas
                .reshape([number * config.num_classes, 4])
                .select(0, rows);
            smooth_l1(deltas, wanted, config.box_smooth_l1_beta).sum() / number as f64
        };
        RoiLoss { cls, bbox, mask }
    }

    /// Detections of each image. `features` are P2 to P5; `sizes` the images' `[height, width]`.
    #[must_use]
    pub fn infer(
        &self,
        config: &MaskRcnnConfig,
        strides: [usize; 4],
        features: &[Tensor<4>],
        proposals: &[Proposals],
        sizes: &[[usize; 2]],
    ) -> Vec<Detections> {
        let classes = config.num_classes;
        let rois = rois_of(proposals.iter().map(|proposals| &proposals.boxes));
        let row = classes + 1 + 4 * classes;
        let values: Vec<f32> = if rois.is_empty() {
            Vec::new()
        } else {
            let pooler = pooler(config, strides, config.box_pooler_size);
            let (logits, deltas) = self.box_head.forward(pooler.forward(features, &rois));
            let both = Tensor::cat(vec![softmax(logits, 1), deltas], 1);
            both.into_data().iter().collect()
        };
        let selector = DetectionSelector {
            score_threshold: config.score_threshold,
            nms: config.nms,
            limit: config.detections_per_image,
        };
        let coder = BoxCoder::new(config.box_weights, config.box_scale_clamp);
        let mut rows = values.chunks_exact(row);
        let mut found = Vec::with_capacity(proposals.len());
        for (proposals, &size) in proposals.iter().zip(sizes) {
            let (mut probabilities, mut deltas) = (Vec::new(), Vec::new());
            for row in rows.by_ref().take(proposals.boxes.len()) {
                probabilities.extend_from_slice(&row[..classes + 1]);
                deltas.extend_from_slice(&row[classes + 1..]);
            }
            let boxes = &proposals.boxes;
            found.push(selector.select(&probabilities, &deltas, boxes, classes, coder, size));
        }
        if let Some(head) = &self.mask_head {
            self.add_masks(head, config, strides, features, &mut found);
        }
        found
    }

    fn add_masks(
        &self,
        head: &MaskHead,
        config: &MaskRcnnConfig,
        strides: [usize; 4],
        features: &[Tensor<4>],
        found: &mut [Detections],
    ) {
        let side = 2 * config.mask_pooler_size;
        let rois = rois_of(found.iter().map(|detections| &detections.boxes));
        let values: Vec<f32> = if rois.is_empty() {
            Vec::new()
        } else {
            let classes: Vec<usize> = found.iter().flat_map(|d| d.labels.clone()).collect();
            let pooler = pooler(config, strides, config.mask_pooler_size);
            let logits = head.forward(pooler.forward(features, &rois), &classes);
            sigmoid(logits).into_data().iter().collect()
        };
        let mut masks = values.chunks_exact(side * side).map(<[f32]>::to_vec);
        for detections in found {
            detections.masks = Some(masks.by_ref().take(detections.len()).collect());
            detections.mask_side = side;
        }
    }
}

fn rois_of<'a>(boxes: impl Iterator<Item = &'a Vec<[f32; 4]>>) -> Vec<Roi> {
    let boxes = boxes.enumerate();
    boxes
        .flat_map(|(image, list)| list.iter().map(move |&bbox| Roi { image, bbox }))
        .collect()
}

fn pooler(config: &MaskRcnnConfig, strides: [usize; 4], output: usize) -> RoiPooler {
    RoiPooler {
        output,
        strides,
        sampling_ratio: config.pooler_sampling_ratio,
        canonical_size: config.pooler_canonical_size,
        canonical_level: config.pooler_canonical_level,
    }
}

/// The masks of the foreground RoIs' ground truth, `[positives, side, side]`, 0 or 1.
fn mask_targets(sampled: &SampledRois, targets: &[Target], side: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(sampled.positives * side * side);
    for (roi, &truth) in sampled.rois.iter().zip(&sampled.truth) {
        let masks = targets[roi.image].masks.as_ref();
        let masks = masks.unwrap_or_else(|| {
            panic!(
                "image {} of the batch has boxes but no masks: turn the mask branch off",
                roi.image
            )
        });
        let cells = crop_and_resize(&masks[truth], roi.bbox, side);
        out.extend(cells.into_iter().map(|cell| f32::from(u8::from(cell))));
    }
    out
}
