//! The convolutions of a ResNet.

use serde::Serialize;

use super::Workload;

/// A convolution: what it is, how often it occurs, how much work it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Convolution {
    /// Side of the kernel.
    pub kernel: usize,
    /// Stride.
    pub stride: usize,
    /// Zero padding on every side.
    pub padding: usize,
    /// Input channels.
    pub input: usize,
    /// Output channels.
    pub output: usize,
    /// Side of the input.
    pub side: usize,
    /// Images.
    pub batch: usize,
    /// Times it occurs in the network.
    pub count: usize,
    /// 2·N·H'·W'·M·C·K² / 10⁹: one forward, or either half of the backward.
    pub gflop: f64,
}

impl Convolution {
    fn new(
        kernel: usize,
        stride: usize,
        [input, output]: [usize; 2],
        side: usize,
        batch: usize,
    ) -> Self {
        let new = Self {
            kernel,
            stride,
            padding: kernel / 2,
            input,
            output,
            side,
            batch,
            count: 1,
            gflop: 0.0,
        };
        let pixels = batch * new.output_side() * new.output_side();
        let gflop = 2e-9 * (pixels * output * input * kernel * kernel) as f64;
        Self { gflop, ..new }
    }

    /// Side of the output.
    #[must_use]
    pub fn output_side(&self) -> usize {
        (self.side + 2 * self.padding - self.kernel) / self.stride + 1
    }
}

/// Every distinct convolution of the network, in the order in which they first occur.
#[must_use]
pub fn convolutions(workload: &Workload) -> Vec<Convolution> {
    let mut found: Vec<Convolution> = Vec::new();
    let mut add = |kernel, stride, channels, side| {
        let new = Convolution::new(kernel, stride, channels, side, workload.batch);
        let same = |old: &&mut Convolution| Convolution { count: 1, ..**old } == new;
        match found.iter_mut().find(same) {
            Some(old) => old.count += 1,
            None => found.push(new),
        }
        new.output_side()
    };
    let (blocks, expansion) = match workload.arch.depth() {
        18 => ([2, 2, 2, 2], 1),
        _ => ([3, 4, 6, 3], 4),
    };
    let stem = add(7, 2, [3, 64], workload.size);
    // Max pooling, 3×3 with stride 2.
    let mut side = stem.div_ceil(2);
    let mut input = 64;
    for (stage, blocks) in blocks.into_iter().enumerate() {
        let middle = 64 << stage;
        let output = middle * expansion;
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let after = if expansion == 1 {
                let after = add(3, stride, [input, middle], side);
                add(3, 1, [middle, output], after)
            } else {
                add(1, 1, [input, middle], side);
                let after = add(3, stride, [middle, middle], side);
                add(1, 1, [middle, output], after)
            };
            if stride != 1 || input != output {
                add(1, stride, [input, output], side);
            }
            (input, side) = (output, after);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use inscon_aug::stream;
    use inscon_model::{ResNetConfig, state_dict};

    use super::super::Arch;
    use super::*;

    const WORKLOADS: [(Arch, f64); 2] = [(Arch::Resnet18, 1.814), (Arch::Resnet50, 4.087)];

    #[test]
    fn those_of_the_network() {
        for (arch, _) in WORKLOADS {
            let (depth, output_stride) = (arch.depth(), 32);
            let config = ResNetConfig {
                depth,
                width: 1.0,
                output_stride,
            };
            let device = burn::tensor::Device::flex();
            let resnet = config.init(&mut stream(0, &[]), &device).unwrap();
            let weights = state_dict(&resnet);
            let mut expected: Vec<Vec<usize>> = weights
                .values()
                .map(|weight| weight.shape().to_vec())
                .filter(|shape| shape.len() == 4)
                .collect();
            let workload = Workload {
                arch,
                size: 64,
                batch: 1,
            };
            let mut found: Vec<Vec<usize>> = convolutions(&workload)
                .iter()
                .flat_map(|c| vec![vec![c.output, c.input, c.kernel, c.kernel]; c.count])
                .collect();
            expected.sort();
            found.sort();
            assert_eq!(found, expected, "{arch:?}");
        }
    }

    /// torchvision's table: 1.814 and 4.089 GFLOPs (multiplications) at 224, classifier included.
    #[test]
    fn as_much_work_as_torchvision_says() {
        for (arch, expected) in WORKLOADS {
            let workload = Workload {
                arch,
                size: 224,
                batch: 1,
            };
            let work = convolutions(&workload);
            let work: f64 = work.iter().map(|c| c.gflop * c.count as f64).sum();
            assert!((work / 2.0 - expected).abs() < 2e-3, "{arch:?}: {work}");
        }
    }
}
