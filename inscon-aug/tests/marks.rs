//! What a transform says of points, boxes, cells, polygons and masks is where the pixels are: marks
//! painted on a source image are found in its views, on canvases and in detection inputs, over
//! random transforms.

#![allow(clippy::unwrap_used)]

use image::{Rgb, RgbImage};
use inscon_aug::{
    BBox, DetectionTransform, KeyView, PixelRegion, ResizeShortestEdge, SampledView, Stitching,
    ViewScratch, ViewTransform, below, chance, rgb_tiles_mut, stitch_rgb, stream, tile_records,
    uniform,
};
use ndarray::{Array3, Array4, ArrayView3};
use proptest::prelude::*;
use rand_xoshiro::Xoshiro256PlusPlus;

/// A view without colour operations.
fn view(source: [u32; 2], crop: BBox, flip: bool, size: [u32; 2]) -> SampledView {
    SampledView {
        crop,
        flip,
        ..SampledView::plain(source, size[0], size[1])
    }
}

/// Black, but for a white box of whole pixels.
fn marked(width: u32, height: u32, mark: &BBox) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let inside = mark.contains(x as f32 + 0.5, y as f32 + 0.5);
        Rgb([u8::from(inside) * 255; 3])
    })
}

/// Where the light is, weighted, and how much of it in white pixels.
fn light(pixels: ArrayView3<'_, u8>) -> ([f32; 2], f32) {
    let (mut sum, mut x, mut y) = (0.0, 0.0, 0.0);
    for ((row, column, channel), &v) in pixels.indexed_iter() {
        if channel == 0 {
            let v = f64::from(v) / 255.0;
            sum += v;
            x += v * (column as f64 + 0.5);
            y += v * (row as f64 + 0.5);
        }
    }
    ([(x / sum) as f32, (y / sum) as f32], sum as f32)
}

/// Image, crop and size of a view; crops are of whole pixels half the time.
#[derive(Debug)]
struct Drawn {
    source: [u32; 2],
    crop: BBox,
    flip: bool,
    size: [u32; 2],
}

fn drawn(rng: &mut Xoshiro256PlusPlus) -> Drawn {
    let source = [0; 2].map(|_| 48 + below(rng, 160) as u32);
    let whole = chance(rng, 0.5);
    let mut side = |length: u32| {
        let length = f64::from(length);
        let size = uniform(rng, 40.0, length);
        let start = uniform(rng, 0.0, length - size);
        if whole {
            (start.floor() as f32, (start + size).floor() as f32)
        } else {
            (start as f32, (start + size).min(length) as f32)
        }
    };
    let ((x0, x1), (y0, y1)) = (side(source[0]), side(source[1]));
    Drawn {
        source,
        crop: BBox::new(x0, y0, x1, y1),
        flip: chance(rng, 0.5),
        size: [0; 2].map(|_| 16 + below(rng, 150) as u32),
    }
}

/// A square of whole pixels within the crop, so far from its edges that the resize's filter does
/// not reach them.
fn mark_within(rng: &mut Xoshiro256PlusPlus, t: &ViewTransform, denominator: u32) -> Option<BBox> {
    let d = denominator as f32;
    let scale = t.scale();
    let side = d * (2 + below(rng, 4)) as f32;
    let mut place = |low: f32, high: f32, scale: f32| {
        // The filter's reach at this scale, and a pixel of the crop's fraction.
        let room = d * (1.0 / (scale * d)).max(1.0) + d;
        let (low, high) = ((low + room).ceil(), (high - room).floor() - side);
        // On the grid of the reduced image, whose pixels are whole then.
        let steps = ((high - low) / d).floor();
        (steps >= 1.0).then(|| (low / d).ceil() * d + d * below(rng, steps as usize) as f32)
    };
    let x = place(t.crop.x0, t.crop.x1, scale.0)?;
    let y = place(t.crop.y0, t.crop.y1, scale.1)?;
    Some(BBox::new(x, y, x + side, y + side))
}

/// The image reduced by means of `d × d` pixels, and of that the rectangle that a box touches: what
/// a decoder hands out.
struct Part {
    pixels: Vec<u8>,
    rectangle: [u32; 4],
    denominator: u32,
    image_size: [u32; 2],
}

impl Part {
    fn new(image: &RgbImage, crop: &BBox, d: u32) -> Self {
        let (width, height) = image.dimensions();
        let low = |v: f32| (v / d as f32).floor() as u32;
        let high = |v: f32, of: u32| ((v / d as f32).ceil() as u32).min(of.div_ceil(d));
        let (x0, y0) = (low(crop.x0), low(crop.y0));
        let (x1, y1) = (high(crop.x1, width), high(crop.y1, height));
        let mean = |x: u32, y: u32| {
            let at = |dx: u32, dy: u32| {
                image[((x * d + dx).min(width - 1), (y * d + dy).min(height - 1))]
            };
            let sum: u32 = (0..d * d).map(|i| u32::from(at(i % d, i / d).0[0])).sum();
            (sum / (d * d)) as u8
        };
        let places = (y0..y1).flat_map(|y| (x0..x1).map(move |x| (x, y)));
        Self {
            pixels: places.flat_map(|(x, y)| [mean(x, y); 3]).collect(),
            rectangle: [x0, y0, x1 - x0, y1 - y0],
            denominator: d,
            image_size: [width, height],
        }
    }

    fn region(&self) -> PixelRegion<'_> {
        let [x, y, width, height] = self.rectangle;
        PixelRegion {
            pixels: &self.pixels,
            width,
            height,
            x,
            y,
            denominator: self.denominator,
            image_size: self.image_size,
        }
    }
}

fn rendered(view: &SampledView, part: &Part) -> Array3<u8> {
    let mut out = Array3::zeros((view.size[1] as usize, view.size[0] as usize, 3));
    view.render(&part.region(), &mut ViewScratch::new(), out.view_mut());
    out
}

/// A polygon around `center`, its corners between .7 and 1 of `radius` away.
fn polygon(rng: &mut Xoshiro256PlusPlus, center: [f64; 2], radius: [f64; 2]) -> Vec<f64> {
    let corners = 5 + below(rng, 6);
    let turn = uniform(rng, 0.0, std::f64::consts::TAU);
    (0..corners)
        .flat_map(|corner| {
            let step = corner as f64 + uniform(rng, -0.3, 0.3);
            let angle = turn + step * std::f64::consts::TAU / corners as f64;
            let far = uniform(rng, 0.7, 1.0);
            [
                center[0] + far * radius[0] * angle.cos(),
                center[1] + far * radius[1] * angle.sin(),
            ]
        })
        .collect()
}

/// Pixels whose centre is inside, by counting crossings to the left.
fn rasterised(polygon: &[f64], width: u32, height: u32) -> Vec<u8> {
    let (points, _) = polygon.as_chunks::<2>();
    let edges: Vec<_> = points.iter().zip(points.iter().cycle().skip(1)).collect();
    let inside = |x: f64, y: f64| {
        let crossed = edges.iter().filter(|([ax, ay], [bx, by])| {
            (*ay <= y) != (*by <= y) && ax + (y - ay) / (by - ay) * (bx - ax) <= x
        });
        crossed.count() % 2 == 1
    };
    (0..width * height)
        .map(|i| {
            let center = |v: u32| f64::from(v) + 0.5;
            u8::from(inside(center(i % width), center(i / width)))
        })
        .collect()
}

fn iou(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let both = a.iter().zip(b).filter(|&(&a, &b)| a & b == 1).count();
    let any = a.iter().zip(b).filter(|&(&a, &b)| a | b == 1).count();
    both as f64 / any as f64
}

/// The smallest box around a polygon.
fn bounds(polygon: &[f64]) -> BBox {
    let (points, _) = polygon.as_chunks::<2>();
    let fold = |at: usize, f: fn(f64, f64) -> f64| points.iter().map(|p| p[at]).reduce(f).unwrap();
    let edges = [
        fold(0, f64::min),
        fold(1, f64::min),
        fold(0, f64::max),
        fold(1, f64::max),
    ];
    let [x0, y0, x1, y1] = edges.map(|v| v as f32);
    BBox::new(x0, y0, x1, y1)
}

fn far_apart(a: &BBox, b: &BBox) -> f32 {
    let edges = a.to_array().into_iter().zip(b.to_array());
    edges.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whole images, decoded parts, and parts of reduced images; whole and fractional crops; any
    /// size; both ways round.
    #[test]
    fn a_mark_is_where_the_view_says(seed: u64, denominator in prop::sample::select(vec![1u32, 2, 4])) {
        let rng = &mut stream(seed, &[]);
        let Drawn { source, crop, flip, size } = drawn(rng);
        let view = view(source, crop, flip, size);
        let t = view.transform();
        let mark = mark_within(rng, &t, denominator);
        prop_assume!(mark.is_some());
        let mark = mark.unwrap();
        let image = marked(source[0], source[1], &mark);
        let pixels = rendered(&view, &Part::new(&image, &crop, denominator));
        let ([x, y], mass) = light(pixels.view());

        let expected = t.map_box(&mark);
        let (cx, cy) = expected.center();
        // Whole levels move the centre of what is small and dim.
        let tolerance = 0.15 + 0.15 / expected.area();
        prop_assert!(
            (x - cx).abs() < tolerance && (y - cy).abs() < tolerance,
            "{x}, {y}, not {cx}, {cy} ({expected:?})"
        );
        prop_assert!(
            (mass - expected.area()).abs() < 0.12 * expected.area() + 0.3,
            "{mass} px of light, not {}", expected.area()
        );
        // Back on the source, within the mark.
        let (sx, sy) = t.unmap_point(x, y);
        prop_assert!(mark.contains(sx, sy), "{sx}, {sy} is not in {mark:?}");
        // Nothing is lit a filter's reach outside the box.
        let scale = t.scale();
        let reach = [scale.0, scale.1].map(|s| 1.0 + (s * denominator as f32).max(1.0));
        for ((row, column, _), &v) in pixels.indexed_iter() {
            let (px, py) = (column as f32 + 0.5, row as f32 + 0.5);
            let near = px > expected.x0 - reach[0] && px < expected.x1 + reach[0]
                && py > expected.y0 - reach[1] && py < expected.y1 + reach[1];
            prop_assert!(near || v == 0, "{v} at {px}, {py}, but {expected:?}");
        }
    }

    /// The source point of a cell's centre shows up in the middle of that cell, counted on the view.
    #[test]
    fn a_cells_centre_is_in_its_cell(seed: u64, side in 2usize..8) {
        let rng = &mut stream(seed, &[1]);
        let Drawn { source, crop, flip, size } = drawn(rng);
        let view = view(source, crop, flip, size);
        let t = view.transform();
        let (u, v) = (below(rng, side), below(rng, side));
        let (cx, cy) = t.cell_center(u, v, side);
        // The 3 × 3 pixels around it: off by half a pixel of the source at most.
        let (left, top) = (cx.floor() - 1.0, cy.floor() - 1.0);
        let mark = BBox::new(left, top, left + 3.0, top + 3.0);
        let scale = t.scale();
        let room = [scale.0, scale.1].map(|s| 1.0 + (1.0 / s).max(1.0));
        prop_assume!(mark.x0 - room[0] >= crop.x0 && mark.x1 + room[0] <= crop.x1);
        prop_assume!(mark.y0 - room[1] >= crop.y0 && mark.y1 + room[1] <= crop.y1);
        let image = marked(source[0], source[1], &mark);
        let ([x, y], _) = light(rendered(&view, &Part::new(&image, &crop, 1)).view());
        let middle = |at: usize, size: u32| (at as f32 + 0.5) * size as f32 / side as f32;
        let small = 0.2 / t.map_box(&mark).area();
        prop_assert!((x - middle(u, size[0])).abs() < 0.5 * scale.0 + 0.15 + small, "{x}, {u} of {side}");
        prop_assert!((y - middle(v, size[1])).abs() < 0.5 * scale.1 + 0.15 + small, "{y}, {v} of {side}");
        let seen = t.cell_box(u, v, side);
        prop_assert!(seen.contains(cx, cy));
    }

    /// One image of a batch has a mark: it lights up one canvas, where the tile's record says.
    #[test]
    fn a_mark_is_where_the_canvas_says(seed: u64, grid in 1usize..4, canvases in 1usize..3, single: bool) {
        let rng = &mut stream(seed, &[2]);
        let tile = 32 + below(rng, 40) as u32;
        let batch = grid * grid * canvases;
        let key_view = if single { KeyView::Single } else { KeyView::Multi };
        let layout = Stitching::new(batch, grid, tile, key_view, rng).unwrap();
        let views: Vec<SampledView> = (0..batch)
            .map(|_| {
                let Drawn { source, crop, flip, .. } = drawn(rng);
                view(source, crop, flip, [tile; 2])
            })
            .collect();
        let chosen = below(rng, batch);
        let mark = mark_within(rng, &views[chosen].transform(), 1);
        prop_assume!(mark.is_some());
        let mark = mark.unwrap();
        let images: Vec<RgbImage> = views
            .iter()
            .enumerate()
            .map(|(i, view)| {
                let nothing = BBox::default();
                let [width, height] = view.source_size;
                marked(width, height, if i == chosen { &mark } else { &nothing })
            })
            .collect();
        for (order, grid) in [(&layout.query, grid), (&layout.key, layout.key_grid)] {
            let side = grid * tile as usize;
            let mut pixels = Array4::<u8>::zeros((batch / (grid * grid), side, side, 3));
            let mut scratch = ViewScratch::new();
            for (out, &i) in rgb_tiles_mut(&mut pixels, grid).into_iter().zip(order.images()) {
                views[i].render(&PixelRegion::from(&images[i]), &mut scratch, out);
            }
            let one_by_one: Vec<_> = views.iter().zip(&images).map(|(v, i)| v.apply_rgb(i)).collect();
            prop_assert_eq!(&pixels, &stitch_rgb(&one_by_one, order, grid, tile));

            let records = tile_records(&views, order, grid, tile);
            let record = records.iter().find(|record| record.image == chosen).unwrap();
            for (canvas, pixels) in pixels.outer_iter().enumerate() {
                if canvas != record.canvas {
                    prop_assert!(pixels.iter().all(|&v| v == 0), "canvas {canvas} is lit");
                    continue;
                }
                let ([x, y], _) = light(pixels);
                let (cx, cy) = mark.center();
                let (ex, ey) = record.map_point(cx, cy);
                let tolerance = 0.15 + 0.15 / record.transform.map_box(&mark).area();
                prop_assert!(
                    (x - ex).abs() < tolerance && (y - ey).abs() < tolerance,
                    "{x}, {y}, not {ex}, {ey}"
                );
                prop_assert!(record.canvas_box.contains(x, y));
                let (sx, sy) = record.unmap_point(x, y);
                prop_assert!(mark.contains(sx, sy));
            }
        }
    }

    /// Pixels, mask, box and polygon of an object stay together through resize and flip.
    #[test]
    fn an_object_stays_together(seed: u64, min_size in 40u32..260, flip: bool) {
        let rng = &mut stream(seed, &[3]);
        let [width, height] = [0; 2].map(|_| 60 + below(rng, 140) as u32);
        let radius = [width, height].map(|v| uniform(rng, 0.2, 0.4) * f64::from(v));
        let center = [f64::from(width), f64::from(height)].map(|v| v * uniform(rng, 0.4, 0.6));
        let object = polygon(rng, center, radius);
        let transform = ResizeShortestEdge { min_size, max_size: 2 * min_size }
            .transform(width, height, flip);
        let (new_width, new_height) = transform.output_size();

        let mask = rasterised(&object, width, height);
        let image = RgbImage::from_fn(width, height, |x, y| Rgb([mask[(y * width + x) as usize] * 255; 3]));
        let mapped_mask = transform.apply_mask(&mask, width, height);
        let mapped_image = transform.apply_rgb(&image);
        let bright: Vec<u8> = mapped_image.pixels().map(|p| u8::from(p.0[0] >= 128)).collect();
        prop_assert_eq!(&mapped_mask, &bright);

        let mapped = transform.apply_polygon(&object);
        let agreement = iou(&rasterised(&mapped, new_width, new_height), &mapped_mask);
        prop_assert!(agreement > least_iou(&transform, radius), "IoU {agreement}");
        // The wrong flip is noticed wherever the object is not in the middle.
        let DetectionTransform { view } = transform;
        let other = ViewTransform { flip: !flip, ..view }.map_polygon(&object);
        if (center[0] / f64::from(width) - 0.5).abs() > 0.05 {
            prop_assert!(iou(&rasterised(&other, new_width, new_height), &mapped_mask) < agreement);
        }

        let around = transform.apply_box(&bounds(&object));
        prop_assert!(far_apart(&around, &bounds(&mapped)) < 1e-3);
        let back = transform.invert_polygon(&mapped);
        for (a, b) in back.iter().zip(&object) {
            prop_assert!((a - b).abs() < 1e-9, "{a}, not {b}");
        }
        // Lit pixels are within the box, but for those that the outline cuts.
        let step = view.scale().0.max(view.scale().1).max(1.0);
        let lit = mapped_mask.iter().enumerate().filter(|&(_, &v)| v == 1);
        for (i, _) in lit {
            let (x, y) = (i as u32 % new_width, i as u32 / new_width);
            let grown = BBox::new(around.x0 - step, around.y0 - step, around.x1 + step, around.y1 + step);
            prop_assert!(grown.contains(x as f32 + 0.5, y as f32 + 0.5));
        }
    }

    /// The same through a view's crop, which cuts polygons that are never clipped.
    #[test]
    fn polygons_follow_a_crop(seed: u64) {
        let rng = &mut stream(seed, &[4]);
        let Drawn { source, crop, flip, size } = drawn(rng);
        let view = view(source, crop, flip, size);
        let t = view.transform();
        let (cx, cy) = crop.center();
        let radius = [crop.width(), crop.height()].map(|v| f64::from(v) * uniform(rng, 0.3, 0.7));
        let object = polygon(rng, [f64::from(cx), f64::from(cy)], radius);
        let mask = rasterised(&object, source[0], source[1]);
        let image = RgbImage::from_fn(source[0], source[1], |x, y| {
            Rgb([mask[(y * source[0] + x) as usize] * 255; 3])
        });
        let bright: Vec<u8> =
            view.apply_rgb(&image).pixels().map(|p| u8::from(p.0[0] >= 128)).collect();
        let mapped = t.map_polygon(&object);
        let agreement = iou(&rasterised(&mapped, size[0], size[1]), &bright);
        prop_assert!(agreement > least_iou(&DetectionTransform { view: t }, radius), "IoU {agreement}");
        let back = t.unmap_polygon(&mapped);
        prop_assert!(back.iter().zip(&object).all(|(a, b)| (a - b).abs() < 1e-9));
        let (points, _) = object.as_chunks::<2>();
        let (mapped, _) = mapped.as_chunks::<2>();
        for (&[x, y], &[u, v]) in points.iter().zip(mapped) {
            let (mu, mv) = t.map_point(x as f32, y as f32);
            prop_assert!((f64::from(mu) - u).abs() < 1e-2 && (f64::from(mv) - v).abs() < 1e-2);
        }
    }
}

/// What the pixels leave: along the outline, half a pixel of the source and half one of the view
/// may be on the wrong side, of an ellipse of this radius about 2/r of the area per pixel.
fn least_iou(transform: &DetectionTransform, radius: [f64; 2]) -> f64 {
    let (sx, sy) = transform.view.scale();
    let coarsest = |radius: f64, scale: f32| 1.0 / radius + 1.0 / (radius * f64::from(scale));
    1.0 - 0.5 * (coarsest(radius[0], sx) + coarsest(radius[1], sy))
}

#[test]
#[should_panic(expected = "a polygon of 5 coordinates ends in half a point")]
fn half_a_point_is_refused() {
    ViewTransform::identity(8, 8).map_polygon(&[0.0; 5]);
}
