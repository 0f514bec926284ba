//! RoIAlign forward and backward, and NMS, on the boxes of a file.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use burn::tensor::{Device, Tensor, TensorData};
use inscon_model::detection::{Roi, RoiAlign, nms};
use serde::{Deserialize, Serialize};

use super::convs::times;
use super::median;
use crate::Interrupt;

/// What is pooled and suppressed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpsInput {
    /// Sizes of the feature map, `[N, C, H, W]`. Value i is sin(.37·i).
    pub features: [usize; 4],
    /// Feature cells per image pixel.
    pub spatial_scale: f32,
    /// Bins along a side; RoIAlign is measured for each.
    pub outputs: Vec<usize>,
    /// Image index and `x0, y0, x1, y1` in pixels.
    pub rois: Vec<[f32; 5]>,
    /// Boxes for NMS, `[x0, y0, x1, y1]`.
    pub boxes: Vec<[f32; 4]>,
    /// Their scores.
    pub scores: Vec<f32>,
    /// IoU of the NMS.
    pub threshold: f32,
}

/// What an operation takes, medians; and what it gave, to hold against another's.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum OpTimes {
    /// RoIAlign with adaptive sampling, aligned.
    RoiAlign {
        /// Bins along a side.
        output: usize,
        /// Without gradients.
        forward_ms: f64,
        /// From gradients of 1.
        backward_ms: f64,
        /// Σ |y|.
        output_sum: f64,
        /// Σ dx².
        gradient_sum: f64,
    },
    /// NMS without a limit.
    Nms {
        /// All of it.
        ms: f64,
        /// Boxes that survive.
        kept: usize,
        /// Σ rank · index over the survivors, modulo 2⁵³: the same only for the same order.
        checksum: u64,
    },
}

impl OpsInput {
    /// Reads a file of JSON.
    ///
    /// # Errors
    /// If the file cannot be read or does not hold such an input.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
        let input: Self =
            serde_json::from_str(&text).with_context(|| format!("{shown} is not an input"))?;
        input.check().with_context(|| format!("in {shown}"))?;
        Ok(input)
    }

    fn check(&self) -> anyhow::Result<()> {
        if self.features.contains(&0) || self.rois.is_empty() || self.outputs.contains(&0) {
            bail!("features, rois and outputs must not be empty");
        }
        let images = self.features[0];
        let known = |image: f32| (0..images).any(|known| known as f32 == image);
        if let Some(index) = self.rois.iter().position(|roi| !known(roi[0])) {
            let image = self.rois[index][0];
            bail!("rois[{index}] is of image {image}, there are {images}");
        }
        if self.boxes.len() != self.scores.len() {
            let (boxes, scores) = (self.boxes.len(), self.scores.len());
            bail!("{boxes} boxes and {scores} scores");
        }
        Ok(())
    }
}

/// Measures every operation, handing each to `found` as it is done.
///
/// # Errors
/// What `found` says, what the device says, and an interruption.
pub fn ops(
    input: &OpsInput,
    repeat: usize,
    device: &Device,
    interrupt: &Interrupt,
    mut found: impl FnMut(&OpTimes) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for &output in &input.outputs {
        found(&roi_align(input, output, repeat, device)?)?;
        if interrupt.is_raised() {
            bail!("interrupted");
        }
    }
    found(&suppression(input, repeat))
}

fn roi_align(
    input: &OpsInput,
    output: usize,
    repeat: usize,
    device: &Device,
) -> anyhow::Result<OpTimes> {
    let values = (0..input.features.iter().product()).map(|i: usize| (0.37 * i as f64).sin());
    let values: Vec<f32> = values.map(|value| value as f32).collect();
    let x = Tensor::<4>::from_data(TensorData::new(values, input.features), device);
    let rois: Vec<Roi> = input
        .rois
        .iter()
        .map(|&[image, x0, y0, x1, y1]| Roi {
            image: image as usize,
            bbox: [x0, y0, x1, y1],
        })
        .collect();
    let align = RoiAlign {
        output,
        spatial_scale: input.spatial_scale,
        sampling_ratio: 0,
        aligned: true,
    };
    let forward = times(repeat, device, || {
        let (x, rois) = (x.clone(), &rois);
        move || align.forward(x, rois)
    })?;
    let leaf = x.autodiff().require_grad();
    let backward = times(repeat, device, || {
        let y = align.forward(leaf.clone(), &rois);
        move || y.backward()
    })?;
    let y = align.forward(leaf.clone(), &rois);
    let gradient = leaf.grad(&y.clone().backward());
    let gradient = gradient.context("RoIAlign gave no gradient")?;
    let sum = |tensor: Tensor<4>, of: fn(f64) -> f64| -> f64 {
        tensor.into_data().iter::<f64>().map(of).sum()
    };
    let ms = |times: Vec<Duration>| median(times.iter().map(|time| time.as_secs_f64() * 1e3));
    Ok(OpTimes::RoiAlign {
        output,
        forward_ms: ms(forward),
        backward_ms: ms(backward),
        output_sum: sum(y.inner(), f64::abs),
        gradient_sum: sum(gradient, |value| value * value),
    })
}

fn suppression(input: &OpsInput, repeat: usize) -> OpTimes {
    let (mut times, mut kept) = (Vec::new(), Vec::new());
    for round in 0..=repeat {
        let started = Instant::now();
        kept = nms(&input.boxes, &input.scores, input.threshold, usize::MAX);
        if round > 0 {
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    let checksum = kept.iter().enumerate().fold(0u64, |sum, (rank, &index)| {
        sum.wrapping_add((rank as u64 + 1).wrapping_mul(index as u64)) % (1 << 53)
    });
    OpTimes::Nms {
        ms: median(times),
        kept: kept.len(),
        checksum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input() -> OpsInput {
        OpsInput {
            features: [1, 2, 4, 4],
            spatial_scale: 0.5,
            outputs: vec![1, 2],
            rois: vec![[0.0, 0.0, 0.0, 8.0, 8.0]],
            boxes: vec![
                [0.0, 0.0, 4.0, 4.0],
                [9.0, 0.0, 10.0, 1.0],
                [0.0, 0.0, 4.0, 3.0],
            ],
            scores: vec![0.1, 0.2, 0.3],
            threshold: 0.5,
        }
    }

    #[test]
    fn all_are_measured() {
        let mut lines = Vec::new();
        ops(&input(), 1, &Device::flex(), &Interrupt::manual(), |line| {
            lines.push(line.clone());
            Ok(())
        })
        .unwrap();
        let [
            OpTimes::RoiAlign { .. },
            OpTimes::RoiAlign {
                output,
                output_sum,
                gradient_sum,
                ..
            },
            OpTimes::Nms { kept, checksum, .. },
        ] = lines[..]
        else {
            panic!("{lines:?}");
        };
        // A bin is a quarter of a map of 16 cells and averages four of them: every weight is 1/4.
        assert_eq!((output, gradient_sum), (2, 2.0));
        let cell =
            |channel: usize, y: usize, x: usize| (0.37 * (channel * 16 + y * 4 + x) as f64).sin();
        let mut expected = 0.0;
        for (channel, y, x) in (0..8).map(|i| (i / 4, i / 2 % 2 * 2, i % 2 * 2)) {
            let cells = [(0, 0), (0, 1), (1, 0), (1, 1)];
            let sum: f64 = cells.iter().map(|(v, u)| cell(channel, y + v, x + u)).sum();
            expected += (sum / 4.0).abs();
        }
        assert!(
            (output_sum - expected).abs() < 1e-5,
            "{output_sum} {expected}"
        );
        // Kept: 2, then 1.
        assert_eq!((kept, checksum), (2, 2 + 2));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("input.json");
        let error = OpsInput::read(&path).unwrap_err();
        assert!(error.to_string().contains("input.json"), "{error:#}");
        let mut other = input();
        other.rois.push([1.0, 0.0, 0.0, 1.0, 1.0]);
        let error = other.check().unwrap_err().to_string();
        assert_eq!(error, "rois[1] is of image 1, there are 1");
        let mut other = input();
        other.scores.pop();
        assert_eq!(
            other.check().unwrap_err().to_string(),
            "3 boxes and 2 scores"
        );
    }
}
