//! What the report's pictures and their JSON say.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use image::{Rgb, RgbImage};
use inscon_aug::{
    BBox, KeyView, Stitching, TileRecord, ViewAugmentation, draw, stitch_rgb, stream, tile_records,
};
use inscon_train::pictures::{
    BatchViews, DetectionsPicture, DetectionsRecord, DrawnObject, ViewsRecord, match_cells,
    picture_of, write_detections,
};
use inscon_train::scenes::{Scene, ScenesConfig};
use ndarray::{Array4, Axis};

const TILE: u32 = 64;
const CELLS: usize = 4;

struct Batch {
    query: Array4<u8>,
    key: Array4<u8>,
    query_tiles: Vec<TileRecord>,
    key_tiles: Vec<TileRecord>,
}

/// A real batch of eight scenes.
fn batch(key_view: KeyView) -> Batch {
    let augmentation = ViewAugmentation::moco_v2(TILE);
    let config = ScenesConfig {
        size: 96,
        ..ScenesConfig::default()
    };
    let layout = Stitching::new(8, 2, TILE, key_view, &mut stream(1, &[])).unwrap();
    let images: Vec<RgbImage> = (0..8)
        .map(|i| Scene::sample(&config, &mut stream(2, &[i])).render().image)
        .collect();
    let side = |number: u64, grid: usize, order| {
        let views: Vec<_> = (0..8)
            .map(|i| augmentation.sample(&mut stream(3, &[number, i]), 96, 96))
            .collect();
        let pixels: Vec<_> = views
            .iter()
            .zip(&images)
            .map(|(v, i)| v.apply_rgb(i))
            .collect();
        let canvases = stitch_rgb(&pixels, order, grid, TILE);
        (canvases, tile_records(&views, order, grid, TILE))
    };
    let (query, query_tiles) = side(0, layout.grid, &layout.query);
    let (key, key_tiles) = side(1, layout.key_grid, &layout.key);
    Batch {
        query,
        key,
        query_tiles,
        key_tiles,
    }
}

impl Batch {
    fn views(&self) -> BatchViews<'_> {
        BatchViews {
            query: &self.query,
            key: &self.key,
            query_tiles: &self.query_tiles,
            key_tiles: &self.key_tiles,
            files: &[],
            cells: CELLS,
            positive_below: 0.7,
        }
    }
}

#[test]
fn views_json_agrees_with_the_tiles() {
    for (key_view, key_side) in [(KeyView::Multi, 128), (KeyView::Single, 64)] {
        let batch = batch(key_view);
        let dir = tempfile::tempdir().unwrap();
        let record = batch.views().write(1, dir.path()).unwrap();
        let text = std::fs::read_to_string(dir.path().join("views.json")).unwrap();
        assert_eq!(serde_json::from_str::<ViewsRecord>(&text).unwrap(), record);
        assert_eq!((record.query.len(), record.pairs.len()), (1, 4));
        assert!(dir.path().join("overview_0.png").exists());
        for canvas in record.query.iter().chain(&record.key) {
            let picture = image::open(dir.path().join(&canvas.file)).unwrap();
            let side = if canvas.file.starts_with("query") {
                128
            } else {
                key_side
            };
            assert_eq!(
                (picture.width(), picture.height()),
                (side, side),
                "{}",
                canvas.file
            );
        }
        for pair in &record.pairs {
            let on = |canvases: &[inscon_train::pictures::CanvasRecord], number: usize| {
                let canvas = canvases.iter().find(|c| c.canvas == number).unwrap();
                canvas
                    .tiles
                    .iter()
                    .find(|t| t.image == pair.image)
                    .unwrap()
                    .clone()
            };
            let query = on(&record.query, pair.query_canvas);
            let key = on(&record.key, pair.key_canvas);
            for cell in &pair.cells {
                // Each centre, taken back to the source by hand, is the same place.
                let source = |tile: &inscon_train::pictures::ShownTile, [x, y]: [f32; 2]| {
                    let [x0, y0, x1, y1] = tile.canvas_box;
                    assert!(
                        x0 < x && x < x1 && y0 < y && y < y1,
                        "a cell outside its tile"
                    );
                    let (u, v) = ((x - x0) / (x1 - x0), (y - y0) / (y1 - y0));
                    let u = if tile.flip { 1.0 - u } else { u };
                    let [cx0, cy0, cx1, cy1] = tile.crop;
                    [cx0 + u * (cx1 - cx0), cy0 + v * (cy1 - cy0)]
                };
                let (a, b) = (source(&query, cell.query), source(&key, cell.key));
                let diagonal = |[x0, y0, x1, y1]: [f32; 4]| (x1 - x0).hypot(y1 - y0) / 4.0;
                let longest = diagonal(query.crop).max(diagonal(key.crop));
                let distance = (a[0] - b[0]).hypot(a[1] - b[1]) / longest;
                assert!((distance - cell.distance).abs() < 1e-4 && distance < 0.7001);
            }
        }
    }
}

#[test]
fn shares_are_of_the_whole_batch() {
    let batch = batch(KeyView::Multi);
    let dir = tempfile::tempdir().unwrap();
    let record = batch.views().write(1, dir.path()).unwrap();
    let (mut matched, mut without) = (0, 0);
    for query in &batch.query_tiles {
        let key = batch
            .key_tiles
            .iter()
            .find(|k| k.image == query.image)
            .unwrap();
        let pairs = match_cells(&query.transform, &key.transform, CELLS, 0.7);
        let hit = (0..16)
            .filter(|a| pairs.iter().any(|p| p.query == *a))
            .count();
        matched += hit;
        without += usize::from(hit == 0);
    }
    assert!((record.matched_cells - matched as f64 / 128.0).abs() < 1e-9);
    assert!((record.unmatched_tiles - without as f64 / 8.0).abs() < 1e-9);
    assert!(
        record.matched_cells > 0.05,
        "hardly a match: {}",
        record.matched_cells
    );
}

#[test]
fn a_canvas_is_a_picture() {
    let image = RgbImage::from_fn(9, 7, |x, y| Rgb([(x * 28) as u8, (y * 36) as u8, 200]));
    let canvas = Array4::from_shape_vec((1, 7, 9, 3), image.as_raw().clone()).unwrap();
    assert_eq!(picture_of(canvas.index_axis(Axis(0), 0)), image);
}

#[test]
fn detections_are_drawn_and_listed() {
    let image = RgbImage::from_pixel(20, 10, Rgb([100; 3]));
    let mut mask = vec![0; 200];
    mask[4 * 20 + 6] = 1;
    let object = |label, score, mask| DrawnObject {
        bbox: BBox::new(2.0, 1.0, 12.0, 9.0),
        mask,
        label,
        score,
    };
    let pictures = [DetectionsPicture {
        image_id: 17,
        image: &image,
        found: vec![object(0, Some(0.2), None), object(1, Some(0.9), Some(mask))],
        truth: vec![object(1, None, None)],
    }];
    let classes = ["gear".to_owned(), "ring".to_owned()];
    let dir = tempfile::tempdir().unwrap();
    let record = write_detections(&pictures, &classes, dir.path()).unwrap();
    let text = std::fs::read_to_string(dir.path().join("detections.json")).unwrap();
    assert_eq!(
        serde_json::from_str::<DetectionsRecord>(&text).unwrap(),
        record
    );
    let names: Vec<_> = record.pictures[0]
        .found
        .iter()
        .map(|l| l.name.as_str())
        .collect();
    assert_eq!(names, ["ring", "gear"], "the best comes first");
    let drawn = image::open(dir.path().join("found_17.png"))
        .unwrap()
        .to_rgb8();
    assert_eq!(
        drawn.get_pixel(2, 1).0,
        draw::palette(1),
        "the best is on top"
    );
    assert_ne!(drawn.get_pixel(6, 4).0, [100; 3], "the mask is blended");
    assert_eq!(drawn.get_pixel(8, 5).0, [100; 3]);
    assert!(dir.path().join("truth_17.png").exists());
}
