//! `[probe]`: linear probes on the frozen backbone.

use serde::{Deserialize, Serialize};

/// Two linear probes: RoIAligned ground-truth boxes → classes, and cells of the map → mask classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProbeConfig {
    /// Shortest side the images are resized to; 0 takes `finetune.test_min_size`.
    pub min_size: u32,
    /// Images of each set to use; 0 is all.
    pub max_images: usize,
    /// Cells along a side of the RoIAligned box; their mean is the feature.
    pub roi_size: usize,
    /// Passes of the linear classifier over the stored features: iterations of L-BFGS, at most.
    pub epochs: u64,
    /// Its L2 penalty on standardised features. The default is near the best of 1e-4 … 1e-1 on VOC
    /// 2007's boxes for random and for briefly pretrained weights alike; less overfits.
    pub weight_decay: f64,
    /// Most boxes, and most cells, kept for training.
    pub max_samples: usize,
    /// Probe cells as well; needs masks.
    pub cells: bool,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self {
            min_size: 0,
            max_images: 0,
            roi_size: 7,
            epochs: 50,
            weight_decay: 1e-2,
            max_samples: 40_000,
            cells: true,
        }
    }
}
