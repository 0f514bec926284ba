//! Small drawings on RGB images, for the report: outlines, lines, masks, contact sheets. No text.

use image::RgbImage;

use crate::BBox;

/// The `i`-th of twelve well separated colours (Paul Tol's *bright* and *vibrant* schemes),
/// repeated after that.
pub fn palette(i: usize) -> [u8; 3] {
    const COLORS: [[u8; 3]; 12] = [
        [0xee, 0x77, 0x33],
        [0x00, 0x77, 0xbb],
        [0x22, 0x88, 0x33],
        [0xcc, 0x33, 0x11],
        [0xaa, 0x33, 0x77],
        [0x33, 0xbb, 0xee],
        [0xcc, 0xbb, 0x44],
        [0xee, 0x33, 0x77],
        [0x00, 0x99, 0x88],
        [0x44, 0x77, 0xaa],
        [0xee, 0x66, 0x77],
        [0xbb, 0xbb, 0xbb],
    ];
    COLORS[i % COLORS.len()]
}

/// Fills the part of the box that lies on the image; a pixel counts where its centre does.
pub fn fill(img: &mut RgbImage, b: &BBox, color: [u8; 3]) {
    let (width, height) = img.dimensions();
    let edge = |v: f32, bound: u32| (v - 0.5).ceil().clamp(0.0, bound as f32) as usize;
    let (x0, x1) = (edge(b.x0, width), edge(b.x1, width));
    let (y0, y1) = (edge(b.y0, height), edge(b.y1, height));
    let (pixels, _) = img.as_chunks_mut::<3>();
    for y in y0..y1 {
        if x0 < x1 {
            pixels[y * width as usize..][x0..x1].fill(color);
        }
    }
}

/// The outline of a box, `thickness` pixels wide, inside the box; what leaves the image is not
/// drawn.
pub fn rectangle(img: &mut RgbImage, b: &BBox, color: [u8; 3], thickness: f32) {
    let t = thickness.min(b.width()).min(b.height());
    fill(img, &BBox { y1: b.y0 + t, ..*b }, color);
    fill(img, &BBox { y0: b.y1 - t, ..*b }, color);
    fill(img, &BBox { x1: b.x0 + t, ..*b }, color);
    fill(img, &BBox { x0: b.x1 - t, ..*b }, color);
}

/// A line between two points, `thickness` pixels wide, with round ends: all pixels whose centre is
/// at most half of that away from the segment.
pub fn line(img: &mut RgbImage, from: (f32, f32), to: (f32, f32), color: [u8; 3], thickness: f32) {
    let (width, height) = img.dimensions();
    let reach = (thickness / 2.0).max(0.5);
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let squared = dx * dx + dy * dy;
    let low =
        |a: f32, b: f32, bound: u32| (a.min(b) - reach).floor().clamp(0.0, bound as f32) as usize;
    let high =
        |a: f32, b: f32, bound: u32| (a.max(b) + reach).ceil().clamp(0.0, bound as f32) as usize;
    let (pixels, _) = img.as_chunks_mut::<3>();
    for y in low(from.1, to.1, height)..high(from.1, to.1, height) {
        for x in low(from.0, to.0, width)..high(from.0, to.0, width) {
            let (px, py) = (x as f32 + 0.5 - from.0, y as f32 + 0.5 - from.1);
            let along = if squared > 0.0 {
                ((px * dx + py * dy) / squared).clamp(0.0, 1.0)
            } else {
                0.0
            };
            let (ex, ey) = (px - along * dx, py - along * dy);
            if ex * ex + ey * ey <= reach * reach {
                pixels[y * width as usize + x] = color;
            }
        }
    }
}

/// Blends a colour over the pixels whose mask value is not 0: `(1 − alpha)·pixel + alpha·color`.
///
/// # Panics
/// If the mask (row-major) is not of the image's size.
pub fn mask(img: &mut RgbImage, mask: &[u8], color: [u8; 3], alpha: f32) {
    let (width, height) = img.dimensions();
    assert!(
        mask.len() == width as usize * height as usize,
        "a mask of {} values is not {width} x {height} px",
        mask.len()
    );
    let (pixels, _) = img.as_chunks_mut::<3>();
    for (pixel, _) in pixels.iter_mut().zip(mask).filter(|(_, set)| **set != 0) {
        for (v, c) in pixel.iter_mut().zip(color) {
            *v = (f32::from(*v) + alpha * (f32::from(c) - f32::from(*v))).round() as u8;
        }
    }
}

/// Copies `source` onto the image with its left top corner at (x, y); what leaves the image is cut
/// off.
pub fn paste(img: &mut RgbImage, source: &RgbImage, x: i64, y: i64) {
    let (width, height) = (i64::from(img.width()), i64::from(img.height()));
    let x0 = x.clamp(0, width);
    let x1 = (x + i64::from(source.width())).clamp(0, width);
    if x0 >= x1 {
        return;
    }
    let bytes = (x1 - x0) as usize * 3;
    for row in y.clamp(0, height)..(y + i64::from(source.height())).clamp(0, height) {
        let from = (((row - y) * i64::from(source.width()) + x0 - x) * 3) as usize;
        let to = ((row * width + x0) * 3) as usize;
        (**img)[to..to + bytes].copy_from_slice(&(**source)[from..from + bytes]);
    }
}

/// A contact sheet: the images row by row in `columns` columns, each in a field of the largest
/// one's size, `gap` pixels between and around them.
///
/// # Panics
/// If `columns` is 0.
pub fn contact_sheet(
    images: &[RgbImage],
    columns: usize,
    gap: u32,
    background: [u8; 3],
) -> RgbImage {
    assert!(columns > 0, "a contact sheet needs a column");
    let width = images.iter().map(RgbImage::width).max().unwrap_or(0);
    let height = images.iter().map(RgbImage::height).max().unwrap_or(0);
    let columns = columns.min(images.len().max(1)) as u32;
    let rows = (images.len() as u32).div_ceil(columns);
    let mut sheet = RgbImage::from_pixel(
        gap + columns * (width + gap),
        gap + rows * (height + gap),
        image::Rgb(background),
    );
    for (i, img) in (0u32..).zip(images) {
        let x = gap + i % columns * (width + gap);
        let y = gap + i / columns * (height + gap);
        paste(&mut sheet, img, i64::from(x), i64::from(y));
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    const RED: [u8; 3] = [255, 0, 0];

    /// The red pixels as rows of `#` and `.`.
    fn picture(img: &RgbImage) -> Vec<String> {
        img.rows()
            .map(|r| r.map(|p| if p.0 == RED { '#' } else { '.' }).collect())
            .collect()
    }

    #[test]
    fn outlines_lie_inside_their_box() {
        let mut img = RgbImage::new(6, 5);
        rectangle(&mut img, &BBox::new(1.0, 1.0, 5.0, 4.0), RED, 1.0);
        assert_eq!(
            picture(&img),
            ["......", ".####.", ".#..#.", ".####.", "......"]
        );
        let mut img = RgbImage::new(4, 3);
        rectangle(&mut img, &BBox::new(-3.0, -3.0, 2.0, 2.0), RED, 1.0);
        assert_eq!(picture(&img), [".#..", "##..", "...."]);
    }

    #[test]
    fn lines_join_their_ends() {
        let mut img = RgbImage::new(5, 5);
        line(&mut img, (0.5, 0.5), (4.5, 4.5), RED, 1.0);
        assert_eq!(picture(&img), ["#....", ".#...", "..#..", "...#.", "....#"]);
        let mut img = RgbImage::new(4, 3);
        line(&mut img, (-5.0, 1.5), (50.0, 1.5), RED, 1.0);
        assert_eq!(picture(&img), ["....", "####", "...."]);
    }

    #[test]
    fn masks_blend() {
        let mut img = RgbImage::from_pixel(2, 1, image::Rgb([100, 100, 100]));
        mask(&mut img, &[0, 1], [200, 0, 100], 0.5);
        assert_eq!(img.as_raw(), &[100, 100, 100, 150, 50, 100]);
    }

    #[test]
    fn pastes_are_cut_off() {
        let red = RgbImage::from_pixel(2, 2, image::Rgb(RED));
        let mut img = RgbImage::new(3, 3);
        paste(&mut img, &red, -1, 2);
        paste(&mut img, &red, 2, -1);
        paste(&mut img, &red, 9, 9);
        assert_eq!(picture(&img), ["..#", "...", "#.."]);
    }

    #[test]
    fn contact_sheets_have_gaps() {
        let red = RgbImage::from_pixel(2, 1, image::Rgb(RED));
        let sheet = contact_sheet(&[red.clone(), red.clone(), red], 2, 1, [0; 3]);
        assert_eq!(
            picture(&sheet),
            [".......", ".##.##.", ".......", ".##....", "......."]
        );
        assert_eq!(contact_sheet(&[], 3, 2, [9; 3]).dimensions(), (4, 2));
    }

    #[test]
    fn palette_repeats() {
        assert_eq!(palette(0), palette(12));
        let mut colors: Vec<_> = (0..12).map(palette).collect();
        colors.sort_unstable();
        colors.dedup();
        assert_eq!(colors.len(), 12);
    }
}
