//! Masks between a box and the image.

use super::{BitMask, RoiAlign};

/// Pastes mask probabilities into an image and cuts them at one half (detectron2's
/// `paste_masks_in_image`, threshold .5).
///
/// `probs` is `side²` values over `bbox`, row-major; each pixel centre is sampled bilinearly, with
/// zeros around the mask.
///
/// # Panics
/// If `probs` is not `side²` long.
///
/// ```
/// use inscon_model::detection::paste_mask;
/// let mask = paste_mask(&[1.0; 4], 2, [1.0, 1.0, 3.0, 4.0], 5, 5);
/// assert_eq!(mask.area(), 6);
/// ```
#[must_use]
pub fn paste_mask(
    probs: &[f32],
    side: usize,
    bbox: [f32; 4],
    height: usize,
    width: usize,
) -> BitMask {
    assert_eq!(
        probs.len(),
        side * side,
        "mask probabilities of side {side}"
    );
    let mut mask = BitMask::zeros(height, width);
    let columns: Vec<_> = axis(bbox[0], bbox[2], side, width).collect();
    for (y, rows) in axis(bbox[1], bbox[3], side, height) {
        for (x, cells) in &columns {
            let mut value = 0.0;
            for (v, weight_v) in rows {
                for (u, weight_u) in cells {
                    if let (Some(v), Some(u)) = (v, u) {
                        value += weight_v * weight_u * probs[v * side + u];
                    }
                }
            }
            mask.data[y * width + x] = u8::from(value >= 0.5);
        }
    }
    mask
}

type Taps = [(Option<usize>, f32); 2];

/// The pixels of an axis that a mask reaches, each with its two cells; `None` is outside the mask.
fn axis(start: f32, end: f32, side: usize, pixels: usize) -> impl Iterator<Item = (usize, Taps)> {
    let (first, last) = if end > start && start.is_finite() && end.is_finite() {
        (start.floor() as i64 - 1, end.ceil() as i64 + 1)
    } else {
        (0, 0)
    };
    let first = first.clamp(0, pixels as i64) as usize;
    let last = last.clamp(0, pixels as i64) as usize;
    (first..last).map(move |pixel| {
        let at = (pixel as f32 + 0.5 - start) / (end - start) * side as f32 - 0.5;
        let low = at.floor();
        let cell = |c: f32| (c >= 0.0 && c < side as f32).then_some(c as usize);
        (
            pixel,
            [(cell(low), 1.0 - (at - low)), (cell(low + 1.0), at - low)],
        )
    })
}

/// The part of a bit mask inside a box, resampled to `side²` and cut at one half (detectron2's
/// `BitMasks.crop_and_resize`: aligned RoIAlign of the mask with adaptive sampling). Row-major.
#[must_use]
pub fn crop_and_resize(mask: &BitMask, bbox: [f32; 4], side: usize) -> Vec<bool> {
    // A full bin sums to 1 but for rounding; so may a half one to just below .5.
    let cut = |share| share >= 0.5 - 1e-6;
    let shares = project_mask(mask, bbox, side, true);
    shares.into_iter().map(cut).collect()
}

/// The share of a bit mask in each of `side²` bins of a box: [`RoiAlign`] of the mask with adaptive
/// sampling, without `aligned` torchvision's `project_masks_on_boxes`. Row-major.
#[must_use]
pub fn project_mask(mask: &BitMask, bbox: [f32; 4], side: usize, aligned: bool) -> Vec<f32> {
    let align = RoiAlign {
        output: side,
        spatial_scale: 1.0,
        sampling_ratio: 0,
        aligned,
    };
    let mut columns: Vec<Vec<(usize, f32)>> = vec![Vec::new(); side];
    let mut rows = columns.clone();
    align.taps(bbox[0], bbox[2], mask.width, |bin, x, weight| {
        columns[bin].push((x, weight))
    });
    align.taps(bbox[1], bbox[3], mask.height, |bin, y, weight| {
        rows[bin].push((y, weight))
    });

    let mut out = Vec::with_capacity(side * side);
    let mut line = vec![0.0f32; mask.width];
    for taps in &rows {
        line.fill(0.0);
        for &(y, weight) in taps {
            let pixels = &mask.data[y * mask.width..][..mask.width];
            for (sum, &pixel) in line.iter_mut().zip(pixels) {
                *sum += weight * f32::from(pixel);
            }
        }
        let bins = columns.iter();
        out.extend(bins.map(|taps| taps.iter().map(|&(x, w)| w * line[x]).sum::<f32>()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(mask: &BitMask) -> Vec<String> {
        let row = |row: &[u8]| {
            row.iter()
                .map(|&p| if p == 1 { '#' } else { '.' })
                .collect()
        };
        mask.data.chunks(mask.width).map(row).collect()
    }

    #[test]
    fn pastes_at_pixel_centres() {
        // A checkerboard of 2×2 cells of two pixels each.
        let mask = paste_mask(&[1.0, 0.0, 0.0, 1.0], 2, [1.0, 0.0, 5.0, 4.0], 4, 6);
        assert_eq!(picture(&mask), [".##...", ".##...", "...##.", "...##."]);
    }

    #[test]
    fn fades_to_zero_at_the_border_and_clips() {
        // Enlarged, the border sample lies between the mask and the zeros around it.
        let full = paste_mask(&[1.0], 1, [0.0, 0.0, 4.0, 4.0], 4, 4);
        assert_eq!(
            picture(&full),
            [".##.", "####", "####", ".##."].map(String::from)
        );
        let clipped = paste_mask(&[1.0; 16], 4, [-2.0, -2.0, 2.0, 2.0], 3, 3);
        assert_eq!(picture(&clipped), ["##.", "##.", "..."].map(String::from));
        for bbox in [
            [2.0, 2.0, 2.0, 3.0],
            [3.0, 3.0, 1.0, 4.0],
            [f32::NAN; 4],
            [50.0; 4],
        ] {
            assert_eq!(paste_mask(&[1.0; 16], 4, bbox, 3, 3).area(), 0, "{bbox:?}");
        }
    }

    #[test]
    fn crops_a_mask() {
        let mut mask = BitMask::zeros(4, 4);
        for y in 1..3 {
            for x in 0..2 {
                mask.data[y * 4 + x] = 1;
            }
        }
        let target = crop_and_resize(&mask, [0.0, 0.0, 4.0, 4.0], 4);
        let target: Vec<u8> = target.into_iter().map(u8::from).collect();
        assert_eq!(target, mask.data);
        assert_eq!(crop_and_resize(&mask, [0.0, 1.0, 2.0, 3.0], 3), [true; 9]);
        assert_eq!(crop_and_resize(&mask, [2.0, 0.0, 4.0, 1.0], 2), [false; 4]);
    }
}
