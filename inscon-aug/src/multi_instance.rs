//! Multi-instance images: instance views of several images stitched into one canvas.

use image::RgbImage;
use ndarray::{Array4, ArrayViewMut3, Axis};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::rng::shuffle;
use crate::{AugError, BBox, SampledView, ViewTransform};

/// What the key views look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyView {
    /// Stitched into canvases like the query views.
    #[default]
    Multi,
    /// Plain instance views, one a canvas (MosRep).
    Single,
}

/// A permutation of the images of a batch over its tiles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<usize>", into = "Vec<usize>")]
pub struct Permutation {
    images: Vec<usize>,
}

impl Permutation {
    /// Image `t` at tile `t`.
    pub fn identity(len: usize) -> Self {
        Self {
            images: (0..len).collect(),
        }
    }

    /// A uniformly random permutation.
    pub fn random(len: usize, rng: &mut impl Rng) -> Self {
        let mut permutation = Self::identity(len);
        shuffle(rng, &mut permutation.images);
        permutation
    }

    /// The number of tiles, which is that of images.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Whether there is nothing to permute.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// The image at each tile.
    pub fn images(&self) -> &[usize] {
        &self.images
    }

    /// The image at a tile.
    ///
    /// # Panics
    /// If there is no such tile.
    pub fn image(&self, tile: usize) -> usize {
        self.images[tile]
    }

    /// The tile of each image, as a permutation: `p.inverse().image(p.image(t)) == t`.
    pub fn inverse(&self) -> Self {
        let mut tiles = vec![0; self.len()];
        for (tile, &image) in self.images.iter().enumerate() {
            tiles[image] = tile;
        }
        Self { images: tiles }
    }
}

impl TryFrom<Vec<usize>> for Permutation {
    type Error = AugError;

    fn try_from(images: Vec<usize>) -> Result<Self, AugError> {
        let mut seen = vec![false; images.len()];
        let valid = images
            .iter()
            .all(|&image| image < images.len() && !std::mem::replace(&mut seen[image], true));
        if valid {
            Ok(Self { images })
        } else {
            Err(AugError::NotAPermutation(images, seen.len()))
        }
    }
}

impl From<Permutation> for Vec<usize> {
    fn from(permutation: Permutation) -> Self {
        permutation.images
    }
}

/// Where the instance views of a batch of B images go: query views on query canvases, key views on
/// key canvases, under **independent** permutations, so that corresponding instances have different
/// neighbours and different slots (`method.md`, *Views and stitching*).
///
/// Tiles are counted `t = canvas·G² + slot`, slots row by row. With `grid` 1 both permutations are
/// the identity: plain views in the order of the batch (MoCo v2).
///
/// ```
/// use inscon_aug::{KeyView, Stitching, stream};
/// let stitching = Stitching::new(8, 2, 64, KeyView::Multi, &mut stream(0, &[]))?;
/// assert_eq!((stitching.query_canvases(), stitching.key_canvases()), (2, 2));
/// # Ok::<(), inscon_aug::AugError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stitching {
    /// Tiles along a side of a query canvas.
    pub grid: usize,
    /// Tiles along a side of a key canvas: `grid`, or 1 with [`KeyView::Single`].
    pub key_grid: usize,
    /// Side of a tile in pixels.
    pub tile: u32,
    /// The image at each query tile.
    pub query: Permutation,
    /// The image at each key tile.
    pub key: Permutation,
}

impl Stitching {
    /// Draws the layout of a batch.
    ///
    /// # Errors
    /// [`AugError::BatchNotDivisible`] if `batch` is not a positive multiple of `grid²`;
    /// [`AugError::Config`] if `grid` or `tile` is 0.
    pub fn new(
        batch: usize,
        grid: usize,
        tile: u32,
        key_view: KeyView,
        rng: &mut impl Rng,
    ) -> Result<Self, AugError> {
        check_batch(batch, grid)?;
        if tile == 0 {
            let value = tile.to_string();
            return Err(AugError::Config {
                field: "tile",
                expected: "at least 1",
                value,
            });
        }
        let key_grid = match key_view {
            KeyView::Multi => grid,
            KeyView::Single => 1,
        };
        let mut draw = |grid| {
            if grid == 1 {
                Permutation::identity(batch)
            } else {
                Permutation::random(batch, rng)
            }
        };
        Ok(Self {
            grid,
            key_grid,
            tile,
            query: draw(grid),
            key: draw(key_grid),
        })
    }

    /// Images in the batch.
    pub fn batch(&self) -> usize {
        self.query.len()
    }

    /// Query canvases.
    pub fn query_canvases(&self) -> usize {
        self.batch() / (self.grid * self.grid)
    }

    /// Key canvases.
    pub fn key_canvases(&self) -> usize {
        self.batch() / (self.key_grid * self.key_grid)
    }

    /// For each key tile, the query tile that shows the same image: gathers query rows into key
    /// order, the order of the losses.
    pub fn query_of_key(&self) -> Vec<usize> {
        let tiles = self.query.inverse();
        self.key
            .images()
            .iter()
            .map(|&image| tiles.image(image))
            .collect()
    }
}

/// Checks that a batch fills its canvases.
///
/// # Errors
/// [`AugError::BatchNotDivisible`] with the two nearest valid values; [`AugError::Config`] if
/// `grid` is 0.
pub fn check_batch(batch: usize, grid: usize) -> Result<(), AugError> {
    if grid == 0 {
        return Err(AugError::Config {
            field: "grid",
            expected: "at least 1",
            value: "0".into(),
        });
    }
    let tiles = grid * grid;
    if batch > 0 && batch.is_multiple_of(tiles) {
        return Ok(());
    }
    let below = (batch / tiles * tiles).max(tiles);
    Err(AugError::BatchNotDivisible {
        batch,
        grid,
        below,
        above: below + tiles,
    })
}

/// What is known of one tile.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TileRecord {
    /// The image's index in the batch.
    pub image: usize,
    /// The canvas.
    pub canvas: usize,
    /// The place on the canvas, row by row.
    pub slot: usize,
    /// From the source image to the tile's own pixels.
    pub transform: ViewTransform,
    /// Width and height of the source image in pixels.
    pub source_size: [u32; 2],
    /// The tile's box on its canvas, in canvas pixels.
    pub canvas_box: BBox,
}

impl TileRecord {
    /// Source point to canvas point.
    pub fn map_point(&self, x: f32, y: f32) -> (f32, f32) {
        let (x, y) = self.transform.map_point(x, y);
        (x + self.canvas_box.x0, y + self.canvas_box.y0)
    }

    /// Canvas point to source point.
    pub fn unmap_point(&self, x: f32, y: f32) -> (f32, f32) {
        self.transform
            .unmap_point(x - self.canvas_box.x0, y - self.canvas_box.y0)
    }
}

/// The records of all tiles, in tile order. `views` are those of the images, in the order of the
/// batch.
///
/// # Panics
/// If there are not as many views as tiles, or they do not fill the canvases.
pub fn tile_records(
    views: &[SampledView],
    order: &Permutation,
    grid: usize,
    tile: u32,
) -> Vec<TileRecord> {
    check_layout(views.len(), order, grid);
    let tiles = grid * grid;
    order
        .images()
        .iter()
        .enumerate()
        .map(|(t, &image)| {
            let slot = t % tiles;
            let (x, y) = (
                (slot % grid) as f32 * tile as f32,
                (slot / grid) as f32 * tile as f32,
            );
            TileRecord {
                image,
                canvas: t / tiles,
                slot,
                transform: views[image].transform(),
                source_size: views[image].source_size,
                canvas_box: BBox::new(x, y, x + tile as f32, y + tile as f32),
            }
        })
        .collect()
}

/// The canvases `[canvases, G·tile, G·tile, 3]` cut into one writable `[tile, tile, 3]` view a tile,
/// in tile order: what [`SampledView::render`] fills. The views are disjoint, so threads can fill
/// them at the same time.
///
/// # Panics
/// If the canvases are not square RGB canvases of `grid × grid` tiles.
pub fn rgb_tiles_mut(canvases: &mut Array4<u8>, grid: usize) -> Vec<ArrayViewMut3<'_, u8>> {
    let &[_, height, width, channels] = canvases.shape() else {
        unreachable!("an Array4")
    };
    assert!(
        grid > 0 && channels == 3 && height == width && height.is_multiple_of(grid) && height > 0,
        "canvases {:?} are not cut into {grid} x {grid} tiles",
        canvases.shape()
    );
    let tile = height / grid;
    canvases
        .exact_chunks_mut([1, tile, tile, 3])
        .into_iter()
        .map(|chunk| chunk.index_axis_move(Axis(0), 0))
        .collect()
}

/// Stitches the views of a batch, in batch order, into canvases `[B/G², G·tile, G·tile, 3]` of
/// bytes, for [`normalize_canvases`](crate::normalize_canvases) here or on a device.
///
/// Loaders can instead [`render`](SampledView::render) into [`rgb_tiles_mut`]; this does all in
/// turn.
///
/// # Panics
/// If there are not as many images as tiles, they do not fill the canvases, or one is not `tile ×
/// tile`.
pub fn stitch_rgb(images: &[RgbImage], order: &Permutation, grid: usize, tile: u32) -> Array4<u8> {
    check_layout(images.len(), order, grid);
    let side = grid * tile as usize;
    let mut canvases = Array4::zeros((images.len() / (grid * grid), side, side, 3));
    if !images.is_empty() {
        for (mut out, &image) in rgb_tiles_mut(&mut canvases, grid)
            .into_iter()
            .zip(order.images())
        {
            let image = &images[image];
            assert!(
                image.dimensions() == (tile, tile),
                "a tile is {tile} x {tile} px, but the view {:?}",
                image.dimensions()
            );
            for (mut line, source) in out
                .outer_iter_mut()
                .zip(image.chunks_exact(3 * tile as usize))
            {
                line.as_slice_mut()
                    .expect("the rows of a tile are contiguous")
                    .copy_from_slice(source);
            }
        }
    }
    canvases
}

fn check_layout(views: usize, order: &Permutation, grid: usize) {
    assert!(
        views == order.len() && grid > 0 && views.is_multiple_of(grid * grid),
        "{views} views for {} tiles on canvases of {grid} x {grid}",
        order.len()
    );
}
