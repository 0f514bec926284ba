//! Random resized crop: where a view looks.

use rand::Rng;

use crate::BBox;
use crate::rng::{below, uniform};

/// Draws the crop of torchvision's `RandomResizedCrop.get_params`: an area of `scale` × the image's
/// and an aspect ratio whose logarithm is uniform over `ratio`; ten tries, then the largest central
/// crop within `ratio`. Whole pixels.
///
/// # Panics
/// If the image has no pixels.
pub fn random_resized_crop(
    rng: &mut impl Rng,
    width: u32,
    height: u32,
    scale: [f64; 2],
    ratio: [f64; 2],
) -> BBox {
    assert!(
        width > 0 && height > 0,
        "cannot crop an image of {width} x {height} px"
    );
    let area = f64::from(width) * f64::from(height);
    for _ in 0..10 {
        let target = area * uniform(rng, scale[0], scale[1]);
        let aspect = uniform(rng, ratio[0].ln(), ratio[1].ln()).exp();
        // Python's round() goes to even.
        let w = (target * aspect).sqrt().round_ties_even() as u32;
        let h = (target / aspect).sqrt().round_ties_even() as u32;
        if 0 < w && w <= width && 0 < h && h <= height {
            let y = below(rng, (height - h + 1) as usize) as u32;
            let x = below(rng, (width - w + 1) as usize) as u32;
            return whole(x, y, w, h);
        }
    }
    central_crop(width, height, ratio)
}

/// The largest central crop whose aspect ratio lies within `ratio`.
fn central_crop(width: u32, height: u32, ratio: [f64; 2]) -> BBox {
    let image_ratio = f64::from(width) / f64::from(height);
    let (w, h) = if image_ratio < ratio[0] {
        (
            width,
            (f64::from(width) / ratio[0]).round_ties_even() as u32,
        )
    } else if image_ratio > ratio[1] {
        (
            (f64::from(height) * ratio[1]).round_ties_even() as u32,
            height,
        )
    } else {
        (width, height)
    };
    let (w, h) = (w.clamp(1, width), h.clamp(1, height));
    whole((width - w) / 2, (height - h) / 2, w, h)
}

fn whole(x: u32, y: u32, w: u32, h: u32) -> BBox {
    BBox::new(x as f32, y as f32, (x + w) as f32, (y + h) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream;

    #[test]
    fn long_images_fall_back_to_the_centre() {
        let crop = random_resized_crop(&mut stream(0, &[]), 1000, 4, [0.9, 1.0], [0.75, 4.0 / 3.0]);
        assert_eq!(crop, BBox::new(497.0, 0.0, 502.0, 4.0));
        let crop = random_resized_crop(&mut stream(0, &[]), 6, 600, [0.9, 1.0], [0.75, 4.0 / 3.0]);
        assert_eq!(crop, BBox::new(0.0, 296.0, 6.0, 304.0));
        let crop = random_resized_crop(&mut stream(0, &[]), 1, 1, [0.2, 1.0], [0.75, 4.0 / 3.0]);
        assert_eq!(crop, BBox::of_size(1, 1));
    }

    #[test]
    fn areas_and_ratios_keep_their_bounds() {
        let mut rng = stream(1, &[]);
        let mut areas = Vec::new();
        for _ in 0..2000 {
            let crop = random_resized_crop(&mut rng, 500, 400, [0.2, 1.0], [0.75, 4.0 / 3.0]);
            assert_eq!(crop, crop.clip(500.0, 400.0));
            let ratio = crop.width() / crop.height();
            assert!((0.74..1.34).contains(&ratio), "{ratio}");
            areas.push(crop.area() / 200_000.0);
        }
        assert!(areas.iter().all(|a| (0.198..=1.0).contains(a)));
        let mean = areas.iter().sum::<f32>() / areas.len() as f32;
        // U(.2, 1) has mean .6; large crops that do not fit are drawn again, which lowers it.
        assert!((0.5..0.6).contains(&mean), "{mean}");
    }
}
