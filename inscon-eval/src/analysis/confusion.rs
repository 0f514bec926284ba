//! Which class is taken for which.

use serde::{Deserialize, Serialize};

use super::named;
use crate::coco::scenes::{Scene, Selection, each_scene};
use crate::{CocoParams, EvalError, GroundTruth, Results};

/// Counts of truths and detections by the class they are and the class they were taken for.
///
/// Made by [`confusion_matrix`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfusionMatrix {
    /// Ids and names of the K classes, ids ascending; the single `(0, "")` if classes are not told
    /// apart.
    pub categories: Vec<(u64, String)>,
    /// Detections of a lower score were left out.
    pub score_threshold: f64,
    /// Pairs of a smaller overlap were left out.
    pub iou_threshold: f64,
    /// `[K + 1][K + 1]`: rows are the classes of truths, columns those of detections. The last row
    /// counts detections of nothing (background), the last column truths that were not found.
    pub counts: Vec<Vec<u64>>,
}

impl ConfusionMatrix {
    /// The counts with each row divided by its sum: of the truths of a class, the share that was
    /// taken for each class. A row of zeros stays so.
    ///
    /// ```
    /// use inscon_eval::ConfusionMatrix;
    ///
    /// let matrix = ConfusionMatrix {
    ///     categories: vec![(1, "dog".into())],
    ///     score_threshold: 0.25,
    ///     iou_threshold: 0.5,
    ///     counts: vec![vec![3, 1], vec![0, 0]],
    /// };
    /// assert_eq!(matrix.normalized(), [[0.75, 0.25], [0.0, 0.0]]);
    /// ```
    #[must_use]
    pub fn normalized(&self) -> Vec<Vec<f64>> {
        let share = |row: &Vec<u64>| {
            let sum = row.iter().sum::<u64>().max(1) as f64;
            row.iter().map(|&count| count as f64 / sum).collect()
        };
        self.counts.iter().map(share).collect()
    }
}

/// Pairs truths and detections across classes and counts the pairs by their classes.
///
/// On each image, all pairs of a detection of `score_threshold` or more and a truth that overlap
/// by `iou_threshold` or more are sorted by overlap, largest first; among equals by the score of
/// the detection, best first, then by the order of the files. From the top, a pair counts if
/// neither of its two is part of a pair already. Classes play no part in this. A truth that is
/// left over counts as missed (last column), a detection that is left over as background (last
/// row).
///
/// Crowds are in no row. A detection that is left over is not counted if it lies on a crowd of its
/// own class (by `iou_threshold` or more of its own area).
///
/// Of `params` the type of overlap, the images, the classes and what belongs to the type of overlap
/// are used; thresholds, area ranges, detection limits and the mode are not. Truths are told apart
/// by position, not by id.
///
/// This is what `ultralytics` counts, but for three things: it asks for more than a threshold, not
/// as much; it drops a detection whose best truth went to another one, where here its next best is
/// tried; and it knows no crowds.
///
/// # Errors
/// As [`evaluate`](crate::evaluate), and when a threshold is NaN, or that of overlaps not above 0.
///
/// ```
/// use inscon_eval::{CocoParams, GroundTruth, IouType, Results, confusion_matrix};
///
/// let truth = r#"{"images": [{"id": 7}],
///     "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}],
///     "annotations": [{"id": 5, "image_id": 7, "category_id": 1, "bbox": [0, 0, 4, 5], "area": 20}]}"#;
/// let found = r#"[{"image_id": 7, "category_id": 2, "bbox": [0, 0, 4, 4], "score": 0.9}]"#;
/// let truth = GroundTruth::read(truth.as_bytes(), "truth", IouType::Bbox)?;
/// let found = Results::read(found.as_bytes(), "found", IouType::Bbox)?;
/// let matrix = confusion_matrix(&truth, &found, &CocoParams::new(IouType::Bbox), 0.25, 0.5)?;
/// assert_eq!(matrix.counts, [[0, 1, 0], [0, 0, 0], [0, 0, 0]]); // a dog taken for a cat
/// # Ok::<(), inscon_eval::EvalError>(())
/// ```
pub fn confusion_matrix(
    truth: &GroundTruth,
    results: &Results,
    params: &CocoParams,
    score_threshold: f64,
    iou_threshold: f64,
) -> Result<ConfusionMatrix, EvalError> {
    let fail = |name, problem| Err(EvalError::Params { name, problem });
    if score_threshold.is_nan() {
        return fail("score_threshold", "is NaN; ultralytics takes 0.25");
    }
    if iou_threshold.is_nan() || iou_threshold <= 0.0 {
        return fail("iou_threshold", "is not above 0; take 0.5 for instance");
    }
    let selection = Selection {
        limit: usize::MAX,
        score: score_threshold,
        overlap: iou_threshold,
    };
    let scenes = each_scene(truth, results, params, &selection, |scene| pairs(&scene))?;
    let ids = scenes.categories;
    let mut counts = vec![vec![0; ids.len() + 1]; ids.len() + 1];
    let at = |class: Option<u32>| class.map_or(ids.len(), |class| class as usize);
    for (truth, detection) in scenes.each.into_iter().flatten() {
        counts[at(truth)][at(detection)] += 1;
    }
    Ok(ConfusionMatrix {
        categories: named(truth, &ids),
        score_threshold,
        iou_threshold,
        counts,
    })
}

/// Classes of truth and detection, `None` for background.
type Cell = (Option<u32>, Option<u32>);

fn pairs(scene: &Scene) -> Vec<Cell> {
    let mut candidates = Vec::new();
    for (d, detection) in scene.detections.iter().enumerate() {
        for &(g, iou) in &detection.overlaps {
            if !scene.truths[g as usize].crowd {
                candidates.push((iou, d, g as usize));
            }
        }
    }
    // Stable: equals stay by rank of the detection, then by position of the truth.
    candidates.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut found: Vec<bool> = scene.truths.iter().map(|truth| truth.crowd).collect();
    let mut placed = vec![false; scene.detections.len()];
    let mut cells = Vec::new();
    for (_, d, g) in candidates {
        if !placed[d] && !found[g] {
            (placed[d], found[g]) = (true, true);
            cells.push((Some(scene.truths[g].class), Some(scene.detections[d].class)));
        }
    }
    for (truth, found) in scene.truths.iter().zip(found) {
        if !found {
            cells.push((Some(truth.class), None));
        }
    }
    for (detection, placed) in scene.detections.iter().zip(placed) {
        let excused = || {
            detection.overlaps.iter().any(|&(g, _)| {
                let truth = &scene.truths[g as usize];
                truth.crowd && truth.class == detection.class
            })
        };
        if !placed && !excused() {
            cells.push((None, Some(detection.class)));
        }
    }
    cells
}
