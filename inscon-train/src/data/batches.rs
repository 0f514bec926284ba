//! The batches of a pretraining run, each a pure function of the seed and the step.

use std::sync::{Arc, Mutex, PoisonError};

use image::RgbImage;
use inscon_aug::{
    Permutation, SampledView, Stitching, TileRecord, ViewAugmentation, stitch, stream, tile_records,
};
use ndarray::Array4;

use super::{BadImage, DataError, ImageFolder, Images, SHUFFLE, STITCH, VIEW};
use crate::config::ExperimentConfig;

/// Two views of each image of a batch, stitched into canvases.
#[derive(Debug, Clone)]
pub struct PretrainBatch {
    /// The step it belongs to.
    pub step: u64,
    /// The epoch it belongs to.
    pub epoch: u64,
    /// Query canvases, `[B/G², 3, G·tile, G·tile]`, normalised.
    pub query: Array4<f32>,
    /// Key canvases, in an order independent of the queries', so that consecutive runs of them are
    /// ShuffleBN's groups. `[B/G², 3, G·tile, G·tile]`, or `[B, 3, tile, tile]` with single keys.
    pub key: Array4<f32>,
    /// The query tiles, in tile order.
    pub query_tiles: Vec<TileRecord>,
    /// The key tiles, in tile order: the order of the losses.
    pub key_tiles: Vec<TileRecord>,
    /// For each key tile, the query tile of the same image.
    pub query_of_key: Vec<usize>,
    /// The files shown, in batch order; for pictures and messages.
    pub files: Vec<String>,
    /// Images that could not be read and were replaced.
    pub bad: Vec<BadImage>,
}

/// Makes the batch of any step.
#[derive(Debug)]
pub struct PretrainBatches {
    images: Images,
    augmentation: ViewAugmentation,
    seed: u64,
    batch: usize,
    grid: usize,
    key_grid: usize,
    tile: u32,
    /// The order of the images in the last epochs asked for; threads may be in two at once.
    orders: Mutex<Vec<(u64, Arc<Permutation>)>>,
}

impl PretrainBatches {
    /// Lists the images of `config.data.pretrain_images`.
    ///
    /// # Errors
    /// What [`ImageFolder::open`] says, and [`DataError::SmallerThanBatch`].
    pub fn open(config: &ExperimentConfig) -> Result<Self, DataError> {
        let (data, pretrain) = (&config.data, &config.pretrain);
        let folder = ImageFolder::open(&data.pretrain_images, data.max_pretrain_images)?;
        let images = folder.files().len();
        if images < pretrain.batch {
            let tiles = pretrain.grid * pretrain.grid;
            return Err(DataError::SmallerThanBatch {
                path: folder.root().to_owned(),
                images,
                fits: images / tiles * tiles,
            });
        }
        Ok(Self {
            images: Images::new(folder, data.cache),
            augmentation: pretrain.views(),
            seed: config.seed,
            batch: pretrain.batch,
            grid: pretrain.grid,
            key_grid: pretrain.key_grid(),
            tile: pretrain.tile,
            orders: Mutex::new(Vec::new()),
        })
    }

    /// The images.
    #[must_use]
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// Whole batches in a pass over the images; the rest of a pass is dropped.
    #[must_use]
    pub fn steps_per_epoch(&self) -> u64 {
        (self.images.folder().files().len() / self.batch) as u64
    }

    /// The batch of 0-based step `step`.
    ///
    /// # Errors
    /// [`DataError::NoneReadable`].
    pub fn make(&self, step: u64) -> Result<PretrainBatch, DataError> {
        let (epoch, number) = (step / self.steps_per_epoch(), step % self.steps_per_epoch());
        let order = self.order(epoch);
        let first = number as usize * self.batch;

        let mut queries = Views::default();
        let mut keys = Views::default();
        let (mut bad, mut files) = (Vec::new(), Vec::new());
        for &index in &order.images()[first..first + self.batch] {
            let (image, replaced) = self.images.readable(index);
            bad.extend(replaced);
            let (shown, image) = image.ok_or_else(|| self.none_readable(&bad))?;
            for (view, views) in [(0, &mut queries), (1, &mut keys)] {
                // The stream is the index's, not the file's: a replacement that is in the batch
                // already gets other views.
                let mut rng = stream(self.seed, &[VIEW, epoch, index as u64, view]);
                views.draw(&self.augmentation, &image, &mut rng);
            }
            files.push(self.images.folder().name(shown));
        }

        let layout = self.layout(epoch, number);
        let (query, query_tiles) = self.stitch(&queries, &layout.query, self.grid);
        let (key, key_tiles) = self.stitch(&keys, &layout.key, self.key_grid);
        let query_of_key = layout.query_of_key();
        Ok(PretrainBatch {
            step,
            epoch,
            query,
            key,
            query_tiles,
            key_tiles,
            query_of_key,
            files,
            bad,
        })
    }

    /// Where the views go. Keys are permuted even with one view a canvas, where the queries stay
    /// in batch order: their batch-norm groups must not be the queries' (ShuffleBN).
    fn layout(&self, epoch: u64, number: u64) -> Stitching {
        let mut rng = stream(self.seed, &[STITCH, epoch, number]);
        let key = Permutation::random(self.batch, &mut rng);
        let query = match self.grid {
            1 => Permutation::identity(self.batch),
            _ => Permutation::random(self.batch, &mut rng),
        };
        Stitching {
            grid: self.grid,
            key_grid: self.key_grid,
            tile: self.tile,
            query,
            key,
        }
    }

    fn stitch(
        &self,
        views: &Views,
        order: &Permutation,
        grid: usize,
    ) -> (Array4<f32>, Vec<TileRecord>) {
        let ViewAugmentation { mean, std, .. } = self.augmentation;
        let canvases = stitch(&views.pixels, order, grid, self.tile, mean, std);
        (
            canvases,
            tile_records(&views.sampled, order, grid, self.tile),
        )
    }

    fn order(&self, epoch: u64) -> Arc<Permutation> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, order)) = orders.iter().find(|(known, _)| *known == epoch) {
            return order.clone();
        }
        let mut rng = stream(self.seed, &[SHUFFLE, epoch]);
        let order = Arc::new(Permutation::random(
            self.images.folder().files().len(),
            &mut rng,
        ));
        if orders.len() == 2 {
            orders.remove(0);
        }
        orders.push((epoch, order.clone()));
        order
    }

    fn none_readable(&self, bad: &[BadImage]) -> DataError {
        let folder = self.images.folder();
        let first = bad
            .first()
            .map_or(String::new(), |b| format!("{}: {}", b.file, b.error));
        DataError::NoneReadable {
            path: folder.root().to_owned(),
            images: folder.files().len(),
            first,
        }
    }
}

/// The views of a batch's images, in batch order.
#[derive(Default)]
struct Views {
    pixels: Vec<RgbImage>,
    sampled: Vec<SampledView>,
}

impl Views {
    fn draw(&mut self, policy: &ViewAugmentation, image: &RgbImage, rng: &mut impl rand::Rng) {
        let view = policy.sample(rng, image.width(), image.height());
        self.pixels.push(view.apply_rgb(image));
        self.sampled.push(view);
    }
}
