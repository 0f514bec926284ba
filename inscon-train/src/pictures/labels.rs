//! Detections with the names of their classes written on them.

use image::{Rgb, RgbImage};
use inscon_aug::{BBox, crop_resize, draw};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use super::DrawnObject;
use super::detections::{best_first, draw_outlined};

/// Objects on an image with their classes' names and their scores, for people to look at.
///
/// Masks and boxes are as [`draw_objects`](super::draw_objects) has them, with lines and letters
/// that grow with the image. An image whose shorter side is below 640 pixels is enlarged by a whole
/// number first, for else the labels would hide it. A character that is not Latin is written `?`.
///
/// # Panics
/// When a mask is not of the image's size.
///
/// ```
/// use image::RgbImage;
/// use inscon_aug::BBox;
/// use inscon_train::pictures::{DrawnObject, draw_labelled};
/// let object = DrawnObject {
///     bbox: BBox::new(20.0, 30.0, 60.0, 70.0),
///     mask: None,
///     label: 0,
///     score: Some(0.91),
/// };
/// let picture = draw_labelled(&RgbImage::new(120, 100), &[object], &["door".into()]);
/// assert_eq!(picture.dimensions(), (840, 700));
/// ```
#[must_use]
pub fn draw_labelled(image: &RgbImage, objects: &[DrawnObject], classes: &[String]) -> RgbImage {
    let factor = enlargement(image);
    let (image, objects) = enlarge(image, objects, factor);
    let short = image.width().min(image.height());
    let thickness = (short as f32 / 300.0).round().max(1.0);
    let mut picture = draw_outlined(&image, &objects, thickness);
    let height = match short {
        0..700 => RasterHeight::Size16,
        700..1400 => RasterHeight::Size24,
        _ => RasterHeight::Size32,
    };
    for object in best_first(&objects).iter().rev() {
        let name = classes.get(object.label).map_or("?", String::as_str);
        let text = match object.score {
            Some(score) => format!("{name} {score:.2}"),
            None => name.to_owned(),
        };
        write_label(&mut picture, object, &text, height);
    }
    picture
}

/// From this length of the shorter side on a label takes little of the picture.
const READABLE: u32 = 640;

fn enlargement(image: &RgbImage) -> u32 {
    let short = image.width().min(image.height()).max(1);
    let longest = image.width().max(image.height()).max(1);
    // A long strip would become too long.
    READABLE
        .div_ceil(short)
        .min((4 * READABLE).div_ceil(longest))
        .max(1)
}

fn enlarge(image: &RgbImage, objects: &[DrawnObject], factor: u32) -> (RgbImage, Vec<DrawnObject>) {
    if factor == 1 {
        return (image.clone(), objects.to_vec());
    }
    let (width, height) = image.dimensions();
    let frame = BBox::of_size(width, height);
    let picture = crop_resize(image, &frame, width * factor, height * factor);
    let scale = factor as f32;
    let of = |object: &DrawnObject| DrawnObject {
        bbox: object.bbox.scale(scale, scale),
        mask: object
            .mask
            .as_ref()
            .map(|mask| repeat(mask, width as usize, factor as usize)),
        ..object.clone()
    };
    (picture, objects.iter().map(of).collect())
}

/// Each pixel `factor` times in both directions.
fn repeat(mask: &[u8], width: usize, factor: usize) -> Vec<u8> {
    let rows = mask.chunks_exact(width.max(1)).flat_map(|row| {
        let row: Vec<u8> = row
            .iter()
            .flat_map(|v| std::iter::repeat_n(*v, factor))
            .collect();
        std::iter::repeat_n(row, factor)
    });
    rows.flatten().collect()
}

/// The text on a field of the class's colour, on top of the box or, where there is no room, in it.
fn write_label(picture: &mut RgbImage, object: &DrawnObject, text: &str, height: RasterHeight) {
    let corner = (object.bbox.x0, object.bbox.y0);
    write_plate(picture, corner, text, draw::palette(object.label), height);
}

/// The text on a field of the colour, with its lower left corner at `corner` or, where there is no
/// room, its upper left one; within the picture.
pub(super) fn write_plate(
    picture: &mut RgbImage,
    (x, y): (f32, f32),
    text: &str,
    color: [u8; 3],
    height: RasterHeight,
) {
    const MARGIN: u32 = 2;
    let advance = get_raster_width(FontWeight::Bold, height) as u32;
    let line = height.val() as u32;
    let wide = advance * text.chars().count() as u32 + 2 * MARGIN;
    let (width, bottom) = picture.dimensions();
    let left = (x.max(0.0) as u32).min(width.saturating_sub(wide));
    let over = y.max(0.0) as u32;
    let top = match over.checked_sub(line) {
        Some(top) => top,
        None => over,
    };
    let top = top.min(bottom.saturating_sub(line));
    let field = BBox::of_size(wide, line).translate(left as f32, top as f32);
    draw::fill(picture, &field, color);
    for (i, character) in text.chars().enumerate() {
        let x = left + MARGIN + i as u32 * advance;
        write_character(picture, character, (x, top), height, ink(color));
    }
}

/// Black on light colours, white on dark ones.
fn ink([r, g, b]: [u8; 3]) -> [u8; 3] {
    let luma = 0.299 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b);
    if luma > 140.0 { [0; 3] } else { [255; 3] }
}

fn write_character(
    picture: &mut RgbImage,
    character: char,
    (left, top): (u32, u32),
    height: RasterHeight,
    ink: [u8; 3],
) {
    let raster = |c| get_raster(c, FontWeight::Bold, height);
    let Some(raster) = raster(character).or_else(|| raster('?')) else {
        return;
    };
    for (y, row) in (top..).zip(raster.rows()) {
        for (x, coverage) in (left..).zip(row) {
            let Some(Rgb(pixel)) = picture.get_pixel_mut_checked(x, y) else {
                continue;
            };
            let share = f32::from(*coverage) / 255.0;
            for (v, c) in pixel.iter_mut().zip(ink) {
                *v = (f32::from(*v) + share * (f32::from(c) - f32::from(*v))).round() as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(bbox: BBox, mask: Option<Vec<u8>>) -> DrawnObject {
        DrawnObject {
            bbox,
            mask,
            label: 1,
            score: Some(0.5),
        }
    }

    #[test]
    fn small_images_are_enlarged_with_their_masks() {
        let image = RgbImage::from_fn(60, 40, |x, _| Rgb([(x * 4) as u8; 3]));
        let mask: Vec<u8> = (0..60 * 40).map(|i| u8::from(i % 60 >= 30)).collect();
        let factor = enlargement(&image);
        assert_eq!(factor, 16);
        let (picture, objects) = enlarge(
            &image,
            &[object(BBox::new(30.0, 0.0, 60.0, 40.0), Some(mask))],
            factor,
        );
        assert_eq!(picture.dimensions(), (960, 640));
        assert_eq!(objects[0].bbox, BBox::new(480.0, 0.0, 960.0, 640.0));
        let mask = objects[0].mask.as_ref().unwrap();
        assert_eq!(mask.len(), 960 * 640);
        assert!((0..mask.len()).all(|i| mask[i] == u8::from(i % 960 >= 480)));
        assert_eq!(enlargement(&RgbImage::new(4000, 10)), 1);
        assert_eq!(enlargement(&RgbImage::new(640, 480)), 2);
        assert_eq!(enlargement(&RgbImage::new(640, 640)), 1);
    }

    /// The label's field is where there is room for it, and the letters are on it.
    #[test]
    fn labels_stay_on_the_picture() {
        let image = RgbImage::from_pixel(700, 650, Rgb([255, 255, 255]));
        let color = Rgb(draw::palette(1));
        let white = Rgb([255, 255, 255]);
        // (box, where the field's upper left corner is)
        for (bbox, (left, top)) in [
            (BBox::new(100.0, 100.0, 300.0, 200.0), (100, 84)),
            (BBox::new(100.0, 4.0, 300.0, 200.0), (100, 4)),
            (BBox::new(690.0, 100.0, 699.0, 200.0), (632, 84)),
        ] {
            let picture =
                draw_labelled(&image, &[object(bbox, None)], &["x".into(), "door".into()]);
            // "door 0.50": nine characters of seven or eight pixels and a margin on both sides.
            let advance = get_raster_width(FontWeight::Bold, RasterHeight::Size16) as u32;
            let wide = 9 * advance + 4;
            let left: u32 = if left == 632 { 700 - wide } else { left };
            assert_eq!(*picture.get_pixel(left, top), color, "{bbox:?}");
            // In the margin, off the box's outline, and below the field.
            assert_eq!(
                *picture.get_pixel(left + wide - 2, top + 3),
                color,
                "{bbox:?}"
            );
            assert_eq!(*picture.get_pixel(left + 3, top + 19), white, "{bbox:?}");
            assert_eq!(
                *picture.get_pixel(left + wide - 1, top + 15),
                color,
                "{bbox:?}"
            );
            let inside = (top..top + 16).flat_map(|y| (left..left + wide).map(move |x| (x, y)));
            let inked = inside
                .filter(|(x, y)| *picture.get_pixel(*x, *y) == white)
                .count();
            assert!(inked > 40, "{inked} white pixels of letters, {bbox:?}");
            if left >= 2 {
                assert_eq!(*picture.get_pixel(left - 2, top + 2), white, "{bbox:?}");
            }
        }
        // Wider than the picture, of an unknown class, with letters that the font lacks.
        let strip = RgbImage::new(40, 2000);
        let far = object(BBox::new(-5.0, -5.0, 500.0, 500.0), None);
        let _ = draw_labelled(&strip, std::slice::from_ref(&far), &[]);
        let _ = draw_labelled(&strip, &[far], &["窓".into(), "фасад с окном".into()]);
    }
}
