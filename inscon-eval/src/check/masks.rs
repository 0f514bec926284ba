//! Masks, which are worth several threads.

use super::{Finding, FindingKind, Subject};
use crate::{Image, Segmentation};

/// What is wrong with a mask, and its area if it can be drawn.
pub(super) fn check(
    mask: &Segmentation,
    image: Option<&&Image>,
    subject: Subject,
    findings: &mut Vec<Finding>,
) -> Option<u64> {
    let mut add = |kind, message| findings.push(Finding::new(kind, subject, message));
    let sized = image.filter(|image| image.width > 0 && image.height > 0);
    let (height, width) = sized.map_or((0, 0), |image| (image.height, image.width));
    match mask {
        Segmentation::Polygons(polygons) if polygons.is_empty() => {
            let message = "`segmentation` is []: fine for boxes, refused when masks are compared";
            add(FindingKind::EmptySegmentation, message.into());
            return None;
        }
        Segmentation::Polygons(polygons) => {
            for (i, polygon) in polygons.iter().enumerate() {
                if let Some(problem) = degenerate(polygon, i == 0) {
                    let message = format!("polygon {i} (from 0) {problem}");
                    add(FindingKind::DegeneratePolygon, message);
                }
            }
            // The image is to blame, and is reported once.
            sized?;
        }
        Segmentation::Rle { size, .. } => {
            if let Some(image) = sized.filter(|image| [image.height, image.width] != *size) {
                add(
                    FindingKind::MaskSize,
                    format!(
                        "the mask is {}x{} (height x width), image {} is {}x{}",
                        size[0], size[1], image.id, image.height, image.width
                    ),
                );
            }
        }
    }
    match mask.to_rle(height, width) {
        Ok(rle) => Some(rle.area().into()),
        Err(error) => {
            add(FindingKind::MalformedMask, error.to_string());
            None
        }
    }
}

/// What is odd about a polygon that can be drawn all the same.
fn degenerate(polygon: &[f64], first: bool) -> Option<String> {
    let count = polygon.len();
    if count < 6 {
        // Of the first one, drawing it complains.
        return (count > 4 || !first).then(|| {
            format!("has {count} coordinates; a polygon needs at least 6 (three points)")
        });
    }
    if count % 2 == 1 {
        return Some(format!("has an odd number of coordinates, {count}"));
    }
    let points = polygon.as_chunks::<2>().0;
    let next = points.iter().cycle().skip(1);
    let cross = points
        .iter()
        .zip(next)
        .map(|(a, b)| a[0] * b[1] - b[0] * a[1]);
    (cross.sum::<f64>() == 0.0).then(|| "has no area".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polygons_by_hand() {
        let square = [0.0, 0.0, 4.0, 0.0, 4.0, 4.0, 0.0, 4.0];
        assert_eq!(degenerate(&square, true), None);
        let odd = degenerate(&square[..7], true).unwrap();
        assert!(odd.contains("odd"), "{odd}");
        let line = degenerate(&[0.0, 0.0, 1.0, 1.0, 2.0, 2.0], true).unwrap();
        assert!(line.contains("no area"), "{line}");
        assert!(
            degenerate(&square[..4], false)
                .unwrap()
                .contains("4 coordinates")
        );
        assert_eq!(degenerate(&square[..4], true), None);
    }
}
