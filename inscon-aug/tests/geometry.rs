//! Properties of boxes, views, permutations and stitched canvases.

#![allow(clippy::unwrap_used)]

use image::{Rgb, RgbImage};
use inscon_aug::{
    AugError, BBox, KeyView, Permutation, ResizeShortestEdge, SampledView, Stitching,
    ViewAugmentation, ViewTransform, check_batch, gaussian_blur, grayscale, horizontal_flip,
    normalize_canvases, rgb_tiles_mut, stitch_rgb, stream, tile_records,
};
use ndarray::Array4;
use proptest::prelude::*;

fn boxes() -> impl Strategy<Value = BBox> {
    (
        -50.0f32..150.0,
        -50.0f32..150.0,
        1.0f32..120.0,
        1.0f32..120.0,
    )
        .prop_map(|(x, y, w, h)| BBox::new(x, y, x + w, y + h))
}

fn transforms() -> impl Strategy<Value = ViewTransform> {
    (boxes(), any::<bool>(), 1u32..300, 1u32..300).prop_map(|(crop, flip, width, height)| {
        ViewTransform {
            crop,
            flip,
            width,
            height,
        }
    })
}

fn close(a: (f32, f32), b: (f32, f32), tolerance: f32) -> bool {
    (a.0 - b.0).abs() <= tolerance && (a.1 - b.1).abs() <= tolerance
}

fn noise(width: u32, height: u32, seed: u64) -> RgbImage {
    use rand::Rng;
    let mut rng = stream(seed, &[]);
    RgbImage::from_fn(width, height, |_, _| {
        let [r, g, b, ..] = rng.next_u32().to_le_bytes();
        Rgb([r, g, b])
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_inverse_undoes_the_map(t in transforms(), x in -60.0f32..300.0, y in -60.0f32..300.0) {
        let (u, v) = t.map_point(x, y);
        prop_assert!(close(t.unmap_point(u, v), (x, y), 1e-2));
        let (x1, y1) = t.unmap_point(t.map_point(x, y).0, v);
        prop_assert!(close(t.map_point(x1, y1), (u, v), 1e-3 * (1.0 + u.abs() + v.abs())));
    }

    #[test]
    fn composition_is_one_after_the_other(
        first in transforms(), x in 0.0f32..100.0, y in 0.0f32..100.0,
        part in (0.0f32..0.5, 0.0f32..0.5, 0.3f32..0.5, 0.3f32..0.5),
        flip: bool, width in 1u32..300, height in 1u32..300,
    ) {
        let (w, h) = (first.width as f32, first.height as f32);
        let (l, t) = (part.0 * w, part.1 * h);
        let crop = BBox::new(l, t, l + part.2 * w, t + part.3 * h);
        let second = ViewTransform { crop, flip, width, height };
        let (u, v) = first.map_point(x, y);
        let sequential = second.map_point(u, v);
        let composed = first.then(&second).map_point(x, y);
        let scale = 1.0 + sequential.0.abs() + sequential.1.abs()
            + (width + height) as f32 * second.scale().0.max(second.scale().1);
        prop_assert!(close(sequential, composed, 1e-4 * scale), "{sequential:?} {composed:?}");
    }

    #[test]
    fn flipping_twice_is_not_flipping(t in transforms(), x in 0.0f32..100.0, y in 0.0f32..100.0) {
        let mirror = ViewTransform { flip: true, ..ViewTransform::identity(t.width, t.height) };
        let twice = t.then(&mirror).then(&mirror);
        prop_assert_eq!(twice.flip, t.flip);
        let tolerance = 1e-3 * (1.0 + t.width as f32 + t.height as f32) * (1.0 + t.scale().0);
        prop_assert!(close(twice.map_point(x, y), t.map_point(x, y), tolerance));
        let img = noise(t.width % 37 + 1, t.height % 23 + 1, 0);
        let mut flipped = img.clone();
        horizontal_flip(&mut flipped);
        horizontal_flip(&mut flipped);
        prop_assert_eq!(img, flipped);
    }

    #[test]
    fn boxes_and_points_agree(t in transforms(), b in boxes()) {
        let mapped = t.map_box(&b);
        let (cx, cy) = b.center();
        let size: f32 = mapped.to_array().iter().map(|v| v.abs()).sum();
        let tolerance = 1e-3 * (1.0 + size);
        prop_assert!(close(mapped.center(), t.map_point(cx, cy), tolerance));
        prop_assert!(mapped.x0 <= mapped.x1 && mapped.y0 <= mapped.y1);
        // Overlap is a property of the scene: no view changes it.
        let other = b.translate(b.width() * 0.25, -b.height() * 0.5);
        prop_assert!((b.iou(&other) - mapped.iou(&t.map_box(&other))).abs() < 1e-2);
        prop_assert_eq!(b.iou(&other), other.iou(&b));
        let clipped = b.clip(100.0, 80.0);
        prop_assert_eq!(clipped, clipped.clip(100.0, 80.0));
    }

    #[test]
    fn cell_centers_are_the_centres_of_their_boxes(
        t in transforms(), side in 1usize..8, u in 0usize..8, v in 0usize..8,
    ) {
        let (u, v) = (u % side, v % side);
        let tolerance = 1e-3 * (1.0 + t.crop.x1.abs() + t.crop.y1.abs());
        prop_assert!(close(t.cell_box(u, v, side).center(), t.cell_center(u, v, side), tolerance));
    }

    #[test]
    fn permutations_round_trip(len in 0usize..40, seed: u64) {
        let p = Permutation::random(len, &mut stream(seed, &[]));
        let inverse = p.inverse();
        for tile in 0..len {
            prop_assert_eq!(inverse.image(p.image(tile)), tile);
        }
        prop_assert_eq!(&inverse.inverse(), &p);
        prop_assert_eq!(Permutation::try_from(Vec::from(p.clone())).unwrap(), p);
    }

    /// A bright blob in the source is found in the view where the geometry says.
    #[test]
    fn a_marked_pixel_lands_where_the_geometry_says(seed: u64, x in 10u32..90, y in 10u32..60) {
        let (width, height) = (100, 70);
        let mut img = RgbImage::new(width, height);
        for dy in 0..3 {
            for dx in 0..3 {
                img.put_pixel(x - 1 + dx, y - 1 + dy, Rgb([255; 3]));
            }
        }
        let mut augmentation = ViewAugmentation::moco_v2(48);
        augmentation.jitter.p = 0.0;
        let view = augmentation.sample(&mut stream(seed, &[]), width, height);
        let t = view.transform();
        let (sx, sy) = t.scale();
        let blob = BBox::new(x as f32 - 1.0, y as f32 - 1.0, x as f32 + 2.0, y as f32 + 2.0);
        prop_assume!(t.crop.intersection(&blob) == blob);
        let expected = t.map_point(x as f32 + 0.5, y as f32 + 0.5);
        // Blur and filter spread the blob; near the edge they would cut it, and shift its centre.
        let room = 6.0 + 3.0 * sx.max(sy);
        let size = 48.0;
        prop_assume!(expected.0 > room && expected.0 < size - room);
        prop_assume!(expected.1 > room && expected.1 < size - room);
        let pixels = view.apply_rgb(&img);
        let (mut sum, mut u, mut v) = (0.0, 0.0, 0.0);
        for (px, py, p) in pixels.enumerate_pixels() {
            let weight = f32::from(p.0[0]);
            sum += weight;
            u += weight * (px as f32 + 0.5);
            v += weight * (py as f32 + 0.5);
        }
        prop_assert!(sum > 0.0);
        let found = (u / sum, v / sum);
        prop_assert!(close(found, expected, 0.15), "{found:?}, not {expected:?}");
    }

    /// Each pixel operation keeps what it must: grey stays grey, a flat picture stays flat under
    /// blur.
    #[test]
    fn pixel_operations_keep_their_invariants(
        seed: u64, width in 1u32..40, height in 1u32..40, sigma in 0.1f32..5.0,
    ) {
        let mut img = noise(width, height, seed);
        grayscale(&mut img);
        let once = img.clone();
        grayscale(&mut img);
        prop_assert_eq!(&once, &img);
        let mut flipped_then_blurred = img.clone();
        horizontal_flip(&mut flipped_then_blurred);
        gaussian_blur(&mut flipped_then_blurred, sigma);
        gaussian_blur(&mut img, sigma);
        horizontal_flip(&mut img);
        prop_assert_eq!(img, flipped_then_blurred);
        let flat = RgbImage::from_pixel(width, height, Rgb([3, 100, 255]));
        let mut blurred = flat.clone();
        gaussian_blur(&mut blurred, sigma);
        prop_assert_eq!(flat, blurred);
    }

    #[test]
    fn detection_resizes_keep_their_bounds_and_invert(
        width in 1u32..2000, height in 1u32..2000, min_size in 1u32..900, flip: bool, b in boxes(),
    ) {
        let resize = ResizeShortestEdge { min_size, max_size: min_size * 5 / 3 };
        let t = resize.transform(width, height, flip);
        let (w, h) = t.output_size();
        prop_assert!(w.max(h) <= resize.max_size.max(1));
        prop_assert!(w.min(h) <= min_size);
        let inside = b.clip(width as f32, height as f32);
        let back = t.invert_box(&t.apply_box(&inside));
        let tolerance = 1e-5 * (width + height) as f32 * 4.0;
        prop_assert!(close((back.x0, back.y0), (inside.x0, inside.y0), tolerance));
        prop_assert!(close((back.x1, back.y1), (inside.x1, inside.y1), tolerance));
    }
}

/// The mask of a crop is the crop of the mask's picture, also of a view that was drawn.
#[test]
fn masks_are_cropped_like_pixels() {
    let augmentation = ViewAugmentation::moco_v2(24);
    let mut flips = 0;
    for i in 0..100 {
        let (width, height) = (40 + i % 17, 30 + i % 23);
        let img = RgbImage::from_fn(width, height, |x, y| {
            Rgb([if (x / 7 + y / 5) % 2 == 0 { 255 } else { 0 }; 3])
        });
        let mask: Vec<u8> = img.pixels().map(|p| p.0[0] / 255).collect();
        let drawn = augmentation.sample(&mut stream(9, &[u64::from(i)]), width, height);
        let transform = drawn.transform();
        flips += u32::from(transform.flip);
        let plain = SampledView {
            crop: drawn.crop,
            flip: drawn.flip,
            ..SampledView::plain([width, height], 24, 24)
        };
        let pixels = plain.apply_rgb(&img);
        let thresholded: Vec<u8> = pixels.pixels().map(|p| u8::from(p.0[0] >= 128)).collect();
        assert_eq!(transform.apply_mask(&mask, width, height), thresholded);
    }
    assert!((20..80).contains(&flips), "{flips}");
}

#[test]
fn masks_follow_their_image() {
    for flip in [false, true] {
        for (min_size, width, height) in [(60, 40, 30), (20, 40, 30), (30, 40, 30)] {
            let b = BBox::new(8.0, 4.0, 24.0, 20.0);
            let inside = |x: u32, y: u32| b.contains(x as f32 + 0.5, y as f32 + 0.5);
            let mask: Vec<u8> = (0..width * height)
                .map(|i| u8::from(inside(i % width, i / width)))
                .collect();
            let img =
                RgbImage::from_fn(width, height, |x, y| Rgb([u8::from(inside(x, y)) * 255; 3]));
            let t = ResizeShortestEdge {
                min_size,
                max_size: 999,
            }
            .transform(width, height, flip);
            let (mask, img) = (t.apply_mask(&mask, width, height), t.apply_rgb(&img));
            let thresholded: Vec<u8> = img.pixels().map(|p| u8::from(p.0[0] >= 128)).collect();
            assert_eq!(mask, thresholded);
            let area: u32 = mask.iter().map(|&v| u32::from(v)).sum();
            // Whole scales keep the area exactly, others to half a pixel along the outline.
            let mapped = t.apply_box(&b);
            let slack = if min_size == 20 {
                mapped.width() + mapped.height()
            } else {
                0.0
            };
            let error = (area as f32 - mapped.area()).abs();
            assert!(
                error <= slack,
                "flip {flip}, {min_size}: {area} px, not {}",
                mapped.area()
            );
        }
    }
}

#[test]
fn stitched_tiles_hold_the_views_that_the_records_name() {
    let (batch, grid, tile) = (8, 2, 16);
    let augmentation = ViewAugmentation::moco_v2(tile);
    let sources: Vec<_> = (0..batch as u64)
        .map(|i| noise(50 + i as u32, 40, i))
        .collect();
    let views: Vec<SampledView> = sources
        .iter()
        .enumerate()
        .map(|(i, s)| augmentation.sample(&mut stream(1, &[i as u64]), s.width(), s.height()))
        .collect();
    let pixels: Vec<_> = views
        .iter()
        .zip(&sources)
        .map(|(v, s)| v.apply_rgb(s))
        .collect();
    let layout = Stitching::new(batch, grid, tile, KeyView::Multi, &mut stream(2, &[])).unwrap();
    assert_ne!(
        layout.query, layout.key,
        "query and key are permuted independently"
    );
    for order in [&layout.query, &layout.key] {
        let (mean, std) = ([0.0; 3], [1.0 / 255.0; 3]);
        let canvases = stitch_rgb(&pixels, order, grid, tile);
        let canvases = normalize_canvases(canvases.view(), mean, std);
        let records = tile_records(&views, order, grid, tile);
        assert_eq!(canvases.shape(), [2, 3, 32, 32]);
        for (t, record) in records.iter().enumerate() {
            assert_eq!(t, record.canvas * 4 + record.slot);
            assert_eq!(record.image, order.image(t));
            assert_eq!(record.transform, views[record.image].transform());
            assert_eq!(record.source_size, [sources[record.image].width(), 40]);
            let (left, top) = (record.canvas_box.x0 as usize, record.canvas_box.y0 as usize);
            assert_eq!(record.canvas_box.area(), 256.0);
            for (x, y, p) in pixels[record.image].enumerate_pixels() {
                for c in 0..3 {
                    let v = canvases[[record.canvas, c, top + y as usize, left + x as usize]];
                    assert!((v - f32::from(p.0[c])).abs() < 1e-3);
                }
            }
            let center = record.unmap_point(left as f32 + 8.0, top as f32 + 8.0);
            assert!(close(center, record.transform.crop.center(), 1e-3));
            assert!(close(
                record.map_point(center.0, center.1),
                record.canvas_box.center(),
                1e-3
            ));
        }
    }
    for (key_tile, query_tile) in layout.query_of_key().into_iter().enumerate() {
        assert_eq!(layout.query.image(query_tile), layout.key.image(key_tile));
    }
}

#[test]
fn tiles_are_cut_in_tile_order() {
    let mut canvases = Array4::<u8>::zeros((2, 6, 6, 3));
    for (t, mut tile) in rgb_tiles_mut(&mut canvases, 3).into_iter().enumerate() {
        tile.fill(t as u8);
    }
    for ((canvas, y, x, _), &v) in canvases.indexed_iter() {
        assert_eq!(usize::from(v), canvas * 9 + y / 2 * 3 + x / 2);
    }
}

#[test]
fn grid_1_and_single_keys_are_plain_views() {
    let plain = Stitching::new(6, 1, 32, KeyView::Multi, &mut stream(0, &[])).unwrap();
    assert_eq!(plain.query, Permutation::identity(6));
    assert_eq!(plain.key, Permutation::identity(6));
    assert_eq!((plain.query_canvases(), plain.key_canvases()), (6, 6));
    let single = Stitching::new(8, 2, 32, KeyView::Single, &mut stream(0, &[])).unwrap();
    assert_eq!((single.query_canvases(), single.key_canvases()), (2, 8));
    assert_eq!(single.key, Permutation::identity(8));
}

#[test]
fn every_slot_and_neighbour_is_possible() {
    // Over many draws each image is equally often at each tile.
    let mut counts = [[0u32; 4]; 4];
    for seed in 0..4000 {
        let p = Permutation::random(4, &mut stream(seed, &[]));
        for (tile, &image) in p.images().iter().enumerate() {
            counts[tile][image] += 1;
        }
    }
    assert!(
        counts.iter().flatten().all(|c| (880..1120).contains(c)),
        "{counts:?}"
    );
}

#[test]
fn batches_that_do_not_fill_their_canvases_are_refused() {
    for (batch, grid, message) in [
        (
            30,
            2,
            "a batch of 30 images does not fill canvases of 2 x 2 tiles; take 28 or 32",
        ),
        (
            3,
            2,
            "a batch of 3 images does not fill canvases of 2 x 2 tiles; take 4 or 8",
        ),
        (
            0,
            1,
            "a batch of 0 images does not fill canvases of 1 x 1 tiles; take 1 or 2",
        ),
        (
            10,
            3,
            "a batch of 10 images does not fill canvases of 3 x 3 tiles; take 9 or 18",
        ),
        (4, 0, "grid must be at least 1, but is 0"),
    ] {
        assert_eq!(check_batch(batch, grid).unwrap_err().to_string(), message);
    }
    let result = Stitching::new(4, 2, 0, KeyView::Multi, &mut stream(0, &[]));
    assert!(matches!(
        result,
        Err(AugError::Config { field: "tile", .. })
    ));
    let twice = Permutation::try_from(vec![0, 1, 1]);
    assert!(matches!(twice, Err(AugError::NotAPermutation(..))));
}
