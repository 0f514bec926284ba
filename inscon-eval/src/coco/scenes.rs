//! Images with the objects of all classes on them, for what looks beyond one class.

use rayon::prelude::*;

use super::columns::CROWD;
use super::evaluate::prepare;
use super::grouping::{Grouping, Member, Sorted};
use super::overlap::Overlaps;
use super::{CocoParams, GroundTruth, Mode, Results, score_key};
use crate::EvalError;

/// What is looked at on an image.
pub(crate) struct Selection {
    /// The best so many detections, of all classes together.
    pub(crate) limit: usize,
    /// Of at least this score.
    pub(crate) score: f64,
    /// Overlaps of less are not of interest.
    pub(crate) overlap: f64,
}

/// One image.
pub(crate) struct Scene {
    /// In the order of the file.
    pub(crate) truths: Vec<SceneTruth>,
    /// Best score first, equals in the order of the file.
    pub(crate) detections: Vec<SceneDetection>,
}

/// A truth on an image.
pub(crate) struct SceneTruth {
    /// Position on the K axis.
    pub(crate) class: u32,
    pub(crate) crowd: bool,
}

/// A detection on an image.
pub(crate) struct SceneDetection {
    /// Position on the K axis.
    pub(crate) class: u32,
    pub(crate) score: f64,
    /// Truths of any class and their overlap, in the order of the truths; a crowd's is over the
    /// detection's own area.
    pub(crate) overlaps: Vec<(u32, f64)>,
}

/// All images, looked at.
pub(crate) struct Scenes<T> {
    /// Ids of the classes, ascending; 0 if they are not told apart.
    pub(crate) categories: Vec<u64>,
    /// Ids of the images, ascending.
    pub(crate) images: Vec<u64>,
    /// By image.
    pub(crate) each: Vec<T>,
}

/// Class, image and position of an object.
type Object = (u32, Member);

/// Has a `look` at every image. Truths are told
/// apart by position, not by id. Detections and truths of classes that are not listed are dropped.
pub(crate) fn each_scene<T: Send>(
    truth: &GroundTruth,
    results: &Results,
    params: &CocoParams,
    selection: &Selection,
    look: impl Fn(Scene) -> T + Sync,
) -> Result<Scenes<T>, EvalError> {
    let params = CocoParams {
        mode: Mode::Corrected,
        ..params.clone()
    };
    let (params, grouping, sizes) = prepare(truth, results, &params)?;
    let Grouping {
        categories,
        images,
        truths,
        detections,
    } = grouping;
    let truths = by_image(&truths, categories.len(), |_| 0);
    let detections = by_image(&detections, categories.len(), |m| {
        score_key(results.scores[m.index as usize])
    });
    let scenes: Vec<Result<T, EvalError>> = (0..images.len() as u32)
        .into_par_iter()
        .map(|image| {
            let truths = on(&truths, image);
            let members: Vec<Member> = truths.iter().map(|&(_, m)| m).collect();
            let candidates = on(&detections, image);
            let shown: Vec<Member> = candidates.iter().map(|&(_, m)| m).collect();
            let mut overlaps =
                Overlaps::new(&truth.rows, results, &params, &sizes, &members, &shown)?;
            let mut scene = Scene {
                truths: truths
                    .iter()
                    .map(|&(class, m)| SceneTruth {
                        class,
                        crowd: truth.rows.flags[m.index as usize] & CROWD != 0,
                    })
                    .collect(),
                detections: Vec::new(),
            };
            for (position, &(class, member)) in candidates.iter().enumerate().take(selection.limit)
            {
                let score = results.scores[member.index as usize];
                // NaN, too, is below any threshold but the lowest.
                if score < selection.score || score.is_nan() && selection.score > f64::MIN {
                    continue;
                }
                let mut found = Vec::new();
                let all = 0..members.len() as u32;
                overlaps.candidates(position, member, all, selection.overlap, &mut found)?;
                found.retain(|(_, iou)| !iou.is_nan());
                scene.detections.push(SceneDetection {
                    class,
                    score,
                    overlaps: found,
                });
            }
            Ok(look(scene))
        })
        .collect();
    // The first error in the order of the images, whatever the threads did.
    Ok(Scenes {
        categories,
        images,
        each: scenes.into_iter().collect::<Result<_, _>>()?,
    })
}

/// All classes' members by image, then by key, then in the order of the file.
fn by_image(sorted: &Sorted, classes: usize, key: impl Fn(&Member) -> u64) -> Vec<Object> {
    let mut objects: Vec<Object> = (0..classes)
        .flat_map(|k| sorted.class(k).iter().map(move |&m| (k as u32, m)))
        .collect();
    objects.sort_by_cached_key(|(_, m)| (m.image, key(m), m.index));
    objects
}

/// The objects on one image.
fn on(objects: &[Object], image: u32) -> &[Object] {
    let start = objects.partition_point(|(_, m)| m.image < image);
    let end = objects.partition_point(|(_, m)| m.image <= image);
    &objects[start..end]
}
