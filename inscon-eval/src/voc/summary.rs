//! VOC's numbers: by class, by threshold, over ten thresholds.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::VocMetric;

/// Average precision at one IoU threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VocSummary {
    /// How average precision is taken.
    pub metric: VocMetric,
    /// A detection hits if its overlap is above (not at) this.
    pub iou: f64,
    /// Mean of the classes that have an object which is not difficult; `None` if no class has.
    pub mean_ap: Option<f64>,
    /// The classes in ascending order of id.
    pub per_class: Vec<VocClass>,
}

/// One class of a [`VocSummary`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VocClass {
    /// Id of the category.
    pub category_id: u64,
    /// Its name.
    pub name: String,
    /// Objects that are not difficult.
    pub positives: usize,
    /// Average precision in 0..1; `None` without positives, where the reference divides by zero.
    pub ap: Option<f64>,
}

/// Precision against recall of one class: what its average precision is taken of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VocCurve {
    /// Id of the category.
    pub category_id: u64,
    /// Its name.
    pub name: String,
    /// Recall after each detection, best score first; never falls.
    pub recall: Vec<f64>,
    /// Precision after each detection.
    pub precision: Vec<f64>,
}

/// detectron2's numbers: ten thresholds .50, .55, .. .95.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VocSweep {
    /// Mean of the ten means.
    pub ap: Option<f64>,
    /// Mean AP at .50.
    pub ap50: Option<f64>,
    /// Mean AP at .75.
    pub ap75: Option<f64>,
    /// One for each threshold.
    pub thresholds: Vec<VocSummary>,
}

/// The mean, then a line for each class; per cent, as the VOC tables have it.
impl fmt::Display for VocSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |ap: Option<f64>| match ap {
            Some(ap) => format!("{:5.1}", 100.0 * ap),
            None => format!("{:>5}", "-"),
        };
        let year = match self.metric {
            VocMetric::Voc07 => "VOC07",
            VocMetric::Voc10 => "VOC10",
        };
        writeln!(
            f,
            "{year} mean AP, IoU > {:.2}: {}",
            self.iou,
            percent(self.mean_ap).trim()
        )?;
        for class in &self.per_class {
            writeln!(f, "  {} {}", percent(class.ap), class.name)?;
        }
        Ok(())
    }
}
