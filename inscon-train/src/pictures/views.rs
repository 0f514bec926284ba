//! The views of a pretraining batch: canvases, tiles and matched cells.

use std::collections::BTreeMap;
use std::path::Path;

use image::RgbImage;
use inscon_aug::{BBox, TileRecord, draw};
use ndarray::{Array4, ArrayView3, Axis};
use noto_sans_mono_bitmap::RasterHeight;
use serde::{Deserialize, Serialize};

use super::error::save_png;
use super::labels::write_plate;
use super::{PicturesError, cell_in_view, match_cells};
use crate::RunDir;

/// A batch as pretraining sees it, and how its cells are matched.
#[derive(Debug, Clone, Copy)]
pub struct BatchViews<'a> {
    /// Query canvases, `[N, H, W, 3]`, RGB bytes.
    pub query: &'a Array4<u8>,
    /// Key canvases, `[N, H, W, 3]`, RGB bytes.
    pub key: &'a Array4<u8>,
    /// The query tiles.
    pub query_tiles: &'a [TileRecord],
    /// The key tiles, one of each image that has a query tile.
    pub key_tiles: &'a [TileRecord],
    /// The files shown, in batch order; may be empty.
    pub files: &'a [String],
    /// Cells along a side of a tile.
    pub cells: usize,
    /// Cells closer than this many cell diagonals are matched.
    pub positive_below: f64,
}

/// What `views.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ViewsRecord {
    /// Cells along a side of a tile.
    pub cells: usize,
    /// Cells closer than this many cell diagonals are matched.
    pub positive_below: f64,
    /// Share of the query cells of the whole batch that have a match.
    pub matched_cells: f64,
    /// Share of the tiles of the whole batch without any match.
    pub unmatched_tiles: f64,
    /// The query canvases shown.
    pub query: Vec<CanvasRecord>,
    /// The key canvases that hold the same images.
    pub key: Vec<CanvasRecord>,
    /// One entry for each tile of the query canvases shown.
    pub pairs: Vec<PairRecord>,
}

/// A canvas and its tiles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CanvasRecord {
    /// The PNG, beside `views.json`.
    pub file: String,
    /// Its number in the batch.
    pub canvas: usize,
    /// Width and height in pixels.
    pub size: [usize; 2],
    /// Its tiles, by slot.
    pub tiles: Vec<ShownTile>,
}

/// A tile of a canvas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShownTile {
    /// The image's number in the batch.
    pub image: usize,
    /// The image's file, if known.
    pub file: Option<String>,
    /// Its place on the canvas, row by row.
    pub slot: usize,
    /// Its box on the canvas, xyxy in canvas pixels.
    pub canvas_box: [f32; 4],
    /// What of the image it shows, xyxy in source pixels.
    pub crop: [f32; 4],
    /// Mirrored left to right.
    pub flip: bool,
    /// Width and height of the image.
    pub source_size: [u32; 2],
}

/// Two tiles of one image, and their matched cells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairRecord {
    /// The image's number in the batch.
    pub image: usize,
    /// The query canvas' number in the batch.
    pub query_canvas: usize,
    /// The key canvas' number in the batch.
    pub key_canvas: usize,
    /// Share of the query tile's cells that have a match.
    pub matched_cells: f64,
    /// The matched cells.
    pub cells: Vec<CellPair>,
}

/// Centres of two matched cells.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CellPair {
    /// Of the query cell, (x, y) in pixels of the query canvas.
    pub query: [f32; 2],
    /// Of the key cell, (x, y) in pixels of the key canvas.
    pub key: [f32; 2],
    /// Their distance in cell diagonals.
    pub distance: f32,
}

/// Pixels between the canvases of an overview.
const GAP: u32 = 24;
/// Height of a sheet's first line in pixels.
const HEADER: u32 = 24;

impl BatchViews<'_> {
    /// Writes the first `count` query canvases (`query_N.png`), the key canvases that hold their
    /// images (`key_N.png`), an `overview_N.png` of each query canvas with its matches drawn and the
    /// share of each tile's cells that has one, all of these below each other as `sheet.png`, and
    /// `views.json`.
    ///
    /// # Errors
    /// When the disk refuses a file.
    ///
    /// # Panics
    /// When a tile lies on no canvas, or an image has a query tile and no key tile.
    pub fn write(&self, count: usize, out: &Path) -> Result<ViewsRecord, PicturesError> {
        let run = RunDir::create(out)?;
        let all: Vec<PairRecord> = self
            .query_tiles
            .iter()
            .map(|tile| self.pair(tile))
            .collect();
        let tiles = all.len().max(1) as f64;
        let matched = all.iter().map(|pair| pair.matched_cells).sum::<f64>() / tiles;
        let unmatched = all.iter().filter(|pair| pair.cells.is_empty()).count() as f64 / tiles;
        let shown: Vec<PairRecord> = all
            .into_iter()
            .filter(|pair| pair.query_canvas < count)
            .collect();
        let numbers = |of: fn(&PairRecord) -> usize| -> BTreeMap<usize, ()> {
            shown.iter().map(|pair| (of(pair), ())).collect()
        };
        let (query, key) = (numbers(|p| p.query_canvas), numbers(|p| p.key_canvas));
        let picture = |canvases: &Array4<u8>, n: usize| picture_of(canvases.index_axis(Axis(0), n));
        let save = |kind: &str, canvases: &Array4<u8>, tiles: &[TileRecord], n: usize| {
            let file = format!("{kind}_{n}.png");
            let pixels = picture(canvases, n);
            save_png(&pixels, &run.file(&file))?;
            Ok::<_, PicturesError>(self.canvas(file, n, &pixels, tiles))
        };
        let queries = query
            .keys()
            .map(|&n| save("query", self.query, self.query_tiles, n));
        let keys = key
            .keys()
            .map(|&n| save("key", self.key, self.key_tiles, n));
        let record = ViewsRecord {
            cells: self.cells,
            positive_below: self.positive_below,
            matched_cells: matched,
            unmatched_tiles: unmatched,
            query: queries.collect::<Result<_, _>>()?,
            key: keys.collect::<Result<_, _>>()?,
            pairs: shown,
        };
        let mut sheet = Vec::new();
        for &n in query.keys() {
            let pairs: Vec<&PairRecord> = record
                .pairs
                .iter()
                .filter(|pair| pair.query_canvas == n)
                .collect();
            let mut keys: Vec<usize> = pairs.iter().map(|pair| pair.key_canvas).collect();
            keys.sort_unstable();
            keys.dedup();
            let keys: Vec<(usize, RgbImage)> = keys
                .into_iter()
                .map(|k| (k, picture(self.key, k)))
                .collect();
            let drawn = self.overview(&picture(self.query, n), n, &keys, &pairs);
            save_png(&drawn, &run.file(&format!("overview_{n}.png")))?;
            sheet.push(drawn);
        }
        save_png(&self.sheet(&sheet, &record), &run.file("sheet.png"))?;
        run.write_json("views.json", &record)?;
        Ok(record)
    }

    fn key_tile(&self, image: usize) -> &TileRecord {
        let found = self.key_tiles.iter().find(|tile| tile.image == image);
        found.unwrap_or_else(|| panic!("image {image} has a query tile and no key tile"))
    }

    /// Matches a query tile with the key tile of its image.
    fn pair(&self, query: &TileRecord) -> PairRecord {
        let key = self.key_tile(query.image);
        let matches = match_cells(
            &query.transform,
            &key.transform,
            self.cells,
            self.positive_below,
        );
        let on_canvas = |tile: &TileRecord, cell: usize| {
            let (x, y) = cell_in_view(&tile.transform, self.cells, cell);
            [x + tile.canvas_box.x0, y + tile.canvas_box.y0]
        };
        let mut matched: Vec<usize> = matches.iter().map(|m| m.query).collect();
        matched.dedup();
        PairRecord {
            image: query.image,
            query_canvas: query.canvas,
            key_canvas: key.canvas,
            matched_cells: matched.len() as f64 / (self.cells * self.cells) as f64,
            cells: matches
                .iter()
                .map(|m| CellPair {
                    query: on_canvas(query, m.query),
                    key: on_canvas(key, m.key),
                    distance: m.distance,
                })
                .collect(),
        }
    }

    fn canvas(
        &self,
        file: String,
        canvas: usize,
        pixels: &RgbImage,
        tiles: &[TileRecord],
    ) -> CanvasRecord {
        let shown = tiles
            .iter()
            .filter(|tile| tile.canvas == canvas)
            .map(|tile| ShownTile {
                image: tile.image,
                file: self.files.get(tile.image).cloned(),
                slot: tile.slot,
                canvas_box: tile.canvas_box.to_array(),
                crop: tile.transform.crop.to_array(),
                flip: tile.transform.flip,
                source_size: tile.source_size,
            });
        let size = [pixels.width() as usize, pixels.height() as usize];
        CanvasRecord {
            file,
            canvas,
            size,
            tiles: shown.collect(),
        }
    }

    /// The overviews below each other under a line that says what they are.
    fn sheet(&self, overviews: &[RgbImage], record: &ViewsRecord) -> RgbImage {
        let width = overviews.iter().map(RgbImage::width).max().unwrap_or(0);
        let height: u32 = overviews.iter().map(RgbImage::height).sum();
        let mut sheet = RgbImage::from_pixel(width.max(1), HEADER + height, image::Rgb([255; 3]));
        let text = format!(
            "left: query canvases, right: the keys of their images; lines join matched cells. Of \
             the batch: {:.1} % of the cells have a match, {:.1} % of the tiles have none",
            100.0 * record.matched_cells,
            100.0 * record.unmatched_tiles
        );
        let corner = (GAP as f32, HEADER as f32);
        write_plate(&mut sheet, corner, &text, [255; 3], RasterHeight::Size16);
        let mut top = HEADER;
        for overview in overviews {
            image::imageops::replace(&mut sheet, overview, 0, i64::from(top));
            top += overview.height();
        }
        sheet
    }

    /// The query canvas on the left, its key canvases in a row on the right; tiles framed in the
    /// colour of their image, matched cells as dots joined by lines.
    fn overview(
        &self,
        query: &RgbImage,
        number: usize,
        keys: &[(usize, RgbImage)],
        pairs: &[&PairRecord],
    ) -> RgbImage {
        let zoom = (448 / query.width().max(1)).clamp(1, 4);
        let enlarged = |picture: &RgbImage| {
            let (width, height) = (picture.width() * zoom, picture.height() * zoom);
            image::imageops::resize(
                picture,
                width,
                height,
                image::imageops::FilterType::Triangle,
            )
        };
        let sheet_of = |pictures: &[RgbImage]| {
            draw::contact_sheet(pictures, pictures.len().max(1), GAP, [255; 3])
        };
        let mut pictures = vec![enlarged(query)];
        pictures.extend(keys.iter().map(|(_, picture)| enlarged(picture)));
        let field = pictures.iter().map(RgbImage::width).max().unwrap_or(0) + GAP;
        let mut sheet = sheet_of(&pictures);
        let zoom = zoom as f32;
        let place = |column: usize, [x, y]: [f32; 2]| {
            let left = GAP as f32 + column as f32 * field as f32;
            (left + x * zoom, GAP as f32 + y * zoom)
        };
        let column_of = |canvas: usize| keys.iter().position(|(k, _)| *k == canvas).map(|k| k + 1);
        let mut labels = Vec::new();
        for (colour, pair) in pairs.iter().enumerate() {
            let colour = draw::palette(colour);
            let Some(column) = column_of(pair.key_canvas) else {
                continue;
            };
            let tile = self
                .query_tiles
                .iter()
                .find(|t| (t.image, t.canvas) == (pair.image, number));
            let tiles = [(0, tile), (column, Some(self.key_tile(pair.image)))];
            for (column, tile) in tiles {
                let Some(BBox { x0, y0, x1, y1 }) = tile.map(|tile| tile.canvas_box) else {
                    continue;
                };
                let (low, high) = (place(column, [x0, y0]), place(column, [x1, y1]));
                let frame = BBox::new(low.0, low.1, high.0, high.1);
                draw::rectangle(&mut sheet, &frame, colour, 3.0);
            }
            labels.extend(tile.map(|tile| {
                let BBox { x0, y1, .. } = tile.canvas_box;
                let share = format!("{:.0} %", 100.0 * pair.matched_cells);
                (place(0, [x0, y1]), share, colour)
            }));
            // The nearest key cell of each query cell.
            let mut nearest: Vec<CellPair> = Vec::new();
            for cell in &pair.cells {
                match nearest.last_mut() {
                    Some(last) if last.query == cell.query => {
                        if cell.distance < last.distance {
                            *last = *cell;
                        }
                    }
                    _ => nearest.push(*cell),
                }
            }
            for cell in nearest {
                let (from, to) = (place(0, cell.query), place(column, cell.key));
                draw::line(&mut sheet, from, to, colour, 1.0);
                draw::line(&mut sheet, from, from, colour, 7.0);
                draw::line(&mut sheet, to, to, colour, 7.0);
            }
        }
        for (corner, text, colour) in labels {
            write_plate(&mut sheet, corner, &text, colour, RasterHeight::Size16);
        }
        sheet
    }
}

/// A canvas `[H, W, 3]` as a picture.
///
/// # Panics
/// When the canvas has not three channels.
#[must_use]
pub fn picture_of(canvas: ArrayView3<'_, u8>) -> RgbImage {
    let (height, width, channels) = canvas.dim();
    assert_eq!(
        channels,
        3,
        "a canvas of shape {:?} is not [H, W, 3]",
        canvas.shape()
    );
    RgbImage::from_fn(width as u32, height as u32, |x, y| {
        image::Rgb([0, 1, 2].map(|c| canvas[[y as usize, x as usize, c]]))
    })
}
