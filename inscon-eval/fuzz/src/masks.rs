//! Run-length texts and polygons.

use inscon_eval::{Rle, box_iou};
use libfuzzer_sys::arbitrary::{self, Arbitrary};

/// Sides up to this are also checked pixel by pixel.
const SMALL: u32 = 48;

/// Two texts for a mask of one size.
#[derive(Debug, Arbitrary)]
pub struct TwoMasks {
    height: u32,
    width: u16,
    small: bool,
    first: String,
    second: String,
    crowd: bool,
    ratio: f64,
}

/// Polygons on a picture.
#[derive(Debug, Arbitrary)]
pub struct Drawing {
    height: u32,
    width: u16,
    small: bool,
    /// Coordinates in eighths of a pixel, or as they come.
    polygons: Vec<Vec<i32>>,
    raw: Option<Vec<f64>>,
}

/// Any text is an error or a mask whose runs fill it, whose text is read back, and whose area, box,
/// overlap and boundary are those of its pixels.
pub fn rle_text(input: &TwoMasks) {
    let (height, width) = sides(input.height, input.width, input.small);
    let Ok(first) = Rle::from_string(&input.first, height, width) else {
        return;
    };
    assert_eq!(total(&first), u64::from(height) * u64::from(width));
    assert_eq!(
        Rle::from_string(&first.to_string(), height, width).as_ref(),
        Ok(&first)
    );
    let bbox = first.bbox();
    let second = Rle::from_string(&input.second, height, width).ok();
    let overlap = second.as_ref().map(|second| first.iou(second, input.crowd));
    if height > SMALL || width > SMALL {
        return;
    }
    let pixels = first.decode();
    let mask = Rle::encode(&pixels, height, width);
    assert_eq!(mask.area(), first.area());
    if first.area() > 0 {
        assert_eq!(mask.bbox(), bbox);
    }
    let boundary = first.boundary(input.ratio);
    assert_eq!(boundary.decode(), edge(&pixels, height, width, input.ratio));
    // pycocotools stops at two empty runs in one place; no encoder writes them.
    if let (Some(second), Some(overlap)) = (second, overlap)
        && [&first, &second].iter().all(|rle| plain(rle))
    {
        let other = second.decode();
        let count = |of: fn(u8, u8) -> bool| {
            let pairs = pixels.iter().zip(&other);
            pairs.filter(|(a, b)| of(**a, **b)).count() as f64
        };
        let both = count(|a, b| a + b == 2);
        let over = if input.crowd {
            f64::from(first.area())
        } else {
            count(|a, b| a + b > 0)
        };
        let expected = if both == 0.0 { 0.0 } else { both / over };
        assert_eq!(overlap, expected);
        assert!(both == 0.0 || box_iou(&bbox, &second.bbox(), false) > 0.0);
        for intersect in [false, true] {
            let merged = Rle::merge(&[first.clone(), second.clone()], intersect);
            let area = merged.expect("of one size").area();
            let expected = if intersect {
                both
            } else {
                count(|a, b| a + b > 0)
            };
            assert_eq!(f64::from(area), expected);
        }
    }
}

/// Any polygon is an error or a mask; two of them are the union of each; where its first point
/// begins does not matter for a mask that has none of the others' corners changed.
pub fn polygon(input: &Drawing) {
    let (height, width) = sides(input.height, input.width, input.small);
    let mut polygons: Vec<Vec<f64>> = Vec::new();
    for polygon in input.polygons.iter().take(8) {
        polygons.push(polygon.iter().map(|&v| f64::from(v) / 8.0).collect());
    }
    polygons.extend(input.raw.clone());
    let Ok(rle) = Rle::from_polygons(&polygons, height, width) else {
        return;
    };
    assert_eq!(total(&rle), u64::from(height) * u64::from(width));
    assert!(plain(&rle), "{:?}", rle.counts());
    let crossed: usize = polygons.iter().map(|p| p.len() / 2).sum::<usize>() * width as usize;
    assert!(rle.counts().len() <= crossed + 2 * polygons.len() + 1);
    let parts: Vec<Rle> = polygons
        .iter()
        .filter_map(|p| Rle::from_polygons(std::slice::from_ref(p), height, width).ok())
        .collect();
    if parts.len() == polygons.len() {
        assert_eq!(Rle::merge(&parts, false).as_ref(), Ok(&rle));
    }
    if height <= SMALL && width <= SMALL {
        let again = Rle::encode(&rle.decode(), height, width);
        assert_eq!((again.area(), again.bbox()), (rle.area(), rle.bbox()));
    }
}

/// A picture whose width bounds what a polygon costs, and whose pixels fit 32 bits or do not.
fn sides(height: u32, width: u16, small: bool) -> (u32, u32) {
    if small {
        (height % (SMALL + 1), u32::from(width) % (SMALL + 1))
    } else {
        (height, width.into())
    }
}

fn total(rle: &Rle) -> u64 {
    rle.counts().iter().map(|&count| u64::from(count)).sum()
}

/// No run but the first is empty.
fn plain(rle: &Rle) -> bool {
    rle.counts().iter().skip(1).all(|&count| count > 0)
}

/// The boundary by its definition: eroded by a square, outside counting as background.
fn edge(mask: &[u8], height: u32, width: u32, ratio: f64) -> Vec<u8> {
    let (h, w) = (i64::from(height), i64::from(width));
    let diagonal = ((h * h + w * w) as f64).sqrt();
    let reach = (ratio * diagonal).round_ties_even().max(1.0);
    // A square beyond the picture leaves nothing.
    let reach = reach.min(f64::from(SMALL)) as i64;
    let at = |y: i64, x: i64| {
        (0..h).contains(&y) && (0..w).contains(&x) && mask[(y * w + x) as usize] != 0
    };
    let pixels = (0..h).flat_map(|y| (0..w).map(move |x| (y, x)));
    pixels
        .map(|(y, x)| {
            let whole = || (-reach..=reach).all(|dy| (-reach..=reach).all(|dx| at(y + dy, x + dx)));
            u8::from(at(y, x) && !whole())
        })
        .collect()
}
