//! The batches of a pretraining run, each a pure function of the seed and the step.

use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use inscon_aug::{
    Permutation, SampledView, Stitching, TileRecord, ViewAugmentation, rgb_tiles_mut, stream,
    tile_records,
};
use ndarray::{Array4, ArrayViewMut3};

use super::images::Pair;
use super::{
    BadImage, DataError, Decoding, Images, Ranks, STITCH, Shuffle, VIEW, epoch_order, groups_of,
    open_source,
};
use crate::config::ExperimentConfig;

/// Two views of each image of a batch, stitched into canvases.
#[derive(Debug)]
pub struct PretrainBatch {
    /// The step it belongs to.
    pub step: u64,
    /// The epoch it belongs to.
    pub epoch: u64,
    /// Query canvases, `[B/G², G·tile, G·tile, 3]`, RGB bytes.
    pub query: Canvases,
    /// Key canvases, in an order independent of the queries', so that consecutive runs of them are
    /// ShuffleBN's groups. `[B/G², G·tile, G·tile, 3]`, or `[B, tile, tile, 3]` with single keys.
    pub key: Canvases,
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

/// Canvases `[N, H, W, 3]` of RGB bytes, whose memory goes back to where it came from.
#[derive(Debug, Default)]
pub struct Canvases {
    pixels: Array4<u8>,
    home: Option<Arc<Pool>>,
}

/// Memory of canvases that were used.
type Pool = Mutex<Vec<Array4<u8>>>;

impl Canvases {
    /// From the pool, or new; what is on them is left from an earlier batch.
    fn take(home: &Arc<Pool>, shape: [usize; 4]) -> Self {
        let mut pool = home.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = pool.iter().position(|pixels| pixels.shape() == shape);
        let pixels = fits.map(|at| pool.swap_remove(at));
        Self {
            pixels: pixels.unwrap_or_else(|| Array4::zeros(shape)),
            home: Some(home.clone()),
        }
    }
}

impl From<Array4<u8>> for Canvases {
    fn from(pixels: Array4<u8>) -> Self {
        Self { pixels, home: None }
    }
}

impl Deref for Canvases {
    type Target = Array4<u8>;

    fn deref(&self) -> &Array4<u8> {
        &self.pixels
    }
}

impl Drop for Canvases {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            let mut pool = home.lock().unwrap_or_else(PoisonError::into_inner);
            pool.push(std::mem::take(&mut self.pixels));
        }
    }
}

/// Makes the batch of any step.
///
/// With several processes each makes its own part of every global batch ([`Ranks`]), whose size is
/// the recipe's times their number.
#[derive(Debug)]
pub struct PretrainBatches {
    images: Images,
    augmentation: ViewAugmentation,
    shuffle: Shuffle,
    groups: Vec<usize>,
    seed: u64,
    batch: usize,
    grid: usize,
    key_grid: usize,
    tile: u32,
    ranks: Ranks,
    world: usize,
    pool: Arc<Pool>,
    /// The order of the images in the last epochs asked for; threads may be in two at once.
    orders: Mutex<Vec<(u64, Arc<[u32]>)>>,
}

impl PretrainBatches {
    /// Lists the images that `config.data` names.
    ///
    /// # Errors
    /// What [`open_source`] says, and [`DataError::SmallerThanBatch`].
    pub fn open(config: &ExperimentConfig) -> Result<Self, DataError> {
        Self::open_rank(config, 0, 1)
    }

    /// The part of process `rank` of `world`.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    ///
    /// # Panics
    /// When `rank` is not below `world`.
    pub fn open_rank(
        config: &ExperimentConfig,
        rank: usize,
        world: usize,
    ) -> Result<Self, DataError> {
        let (data, pretrain) = (&config.data, &config.pretrain);
        let source = open_source(data)?;
        let images = source.len();
        if images < pretrain.batch * world {
            let tiles = pretrain.grid * pretrain.grid;
            return Err(DataError::SmallerThanBatch {
                origin: source.place(),
                images,
                world,
                fits: images / world / tiles * tiles,
            });
        }
        let groups = match (source.groups(), data.shard_size) {
            (groups, _) if groups.len() > 1 => groups.to_vec(),
            (_, 0) => vec![images],
            // A folder in the order of the shards that it would be packed into.
            (_, size) => groups_of(images, size),
        };
        let decoding = Decoding {
            cache: data.cache,
            scaling: data.jpeg_scaling,
            limits: data.decode_limits(),
        };
        Ok(Self {
            images: Images::new(source, decoding),
            augmentation: pretrain.views(),
            shuffle: data.shuffle,
            groups,
            seed: config.seed,
            batch: pretrain.batch,
            grid: pretrain.grid,
            key_grid: pretrain.key_grid(),
            tile: pretrain.tile,
            ranks: Ranks::new(rank, world),
            world,
            pool: Arc::default(),
            orders: Mutex::new(Vec::new()),
        })
    }

    /// The images.
    #[must_use]
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// Images in a batch.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Whole batches in a pass over the images; the rest of a pass is dropped.
    #[must_use]
    pub fn steps_per_epoch(&self) -> u64 {
        (self.images.source().len() / (self.batch * self.world)) as u64
    }

    /// Tells the source what the steps from `step` to the end of its epoch will read, so that it
    /// can fetch it ahead of time.
    pub fn announce(&self, step: u64) {
        let (epoch, number) = self.place(step);
        let order = self.order(epoch);
        let coming = self
            .ranks
            .order(&order, self.batch * self.world, number as usize);
        self.images.plan(coming);
    }

    /// The batch of 0-based step `step`, made by the threads of the rayon pool that it is called
    /// in.
    ///
    /// # Errors
    /// [`DataError::NoneReadable`] and [`DataError::Samples`].
    pub fn make(&self, step: u64) -> Result<PretrainBatch, DataError> {
        let (epoch, number) = self.place(step);
        let order = self.order(epoch);
        let indices = &order[self.slice(number)];
        let layout = self.layout(epoch, number);

        let canvases = |grid: usize| {
            let side = grid * self.tile as usize;
            let shape = [self.batch / (grid * grid), side, side, 3];
            Canvases::take(&self.pool, shape)
        };
        let (mut query, mut key) = (canvases(self.grid), canvases(self.key_grid));
        let queries = by_image(rgb_tiles_mut(&mut query.pixels, self.grid), &layout.query);
        let keys = by_image(rgb_tiles_mut(&mut key.pixels, self.key_grid), &layout.key);
        let tasks = indices.iter().zip(queries).zip(keys);
        let tasks = tasks.map(|((&index, query), key)| Task {
            index: index as usize,
            out: [query, key],
            made: None,
        });
        let pairs = self.run(tasks.map(Mutex::new).collect(), epoch)?;

        let (mut views, mut bad, mut files) = ([Vec::new(), Vec::new()], Vec::new(), Vec::new());
        for pair in pairs {
            files.push(self.images.source().name(pair.shown));
            bad.extend(pair.bad);
            for (views, view) in views.iter_mut().zip(pair.views) {
                views.push(view);
            }
        }
        Ok(PretrainBatch {
            step,
            epoch,
            query,
            key,
            query_tiles: tile_records(&views[0], &layout.query, self.grid, self.tile),
            key_tiles: tile_records(&views[1], &layout.key, self.key_grid, self.tile),
            query_of_key: layout.query_of_key(),
            files,
            bad,
        })
    }

    /// Does the tasks on all threads of the pool, begun in order: what a source fetches ahead of
    /// time comes in that order.
    fn run(&self, tasks: Vec<Mutex<Task<'_>>>, epoch: u64) -> Result<Vec<Pair>, DataError> {
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(task) = tasks.get(next.fetch_add(1, Relaxed)) {
                let mut task = task.lock().unwrap_or_else(PoisonError::into_inner);
                let Task { index, out, made } = &mut *task;
                let [query, key] = out;
                let out = [query.view_mut(), key.view_mut()];
                let pair = self
                    .images
                    .pair(*index, |size| self.draw(epoch, *index, size), out);
                if pair.is_err() {
                    next.store(tasks.len(), Relaxed);
                }
                *made = Some(pair);
            }
        };
        rayon::scope(|scope| {
            for _ in 0..rayon::current_num_threads().min(tasks.len()) {
                scope.spawn(|_| work());
            }
        });
        let mut pairs = Vec::with_capacity(tasks.len());
        let mut unmade = false;
        for task in tasks {
            match task
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner)
                .made
            {
                Some(pair) => pairs.push(pair?),
                None => unmade = true,
            }
        }
        assert!(!unmade, "a task is left out only after an error");
        Ok(pairs)
    }

    /// The query and the key view of image `index`. The streams are the index's, not the file's: a
    /// replacement that is in the batch already gets other views.
    fn draw(&self, epoch: u64, index: usize, [width, height]: [u32; 2]) -> [SampledView; 2] {
        [0, 1].map(|view| {
            let mut rng = stream(self.seed, &[VIEW, epoch, index as u64, view]);
            self.augmentation.sample(&mut rng, width, height)
        })
    }

    /// Where the views go. Keys are permuted even with one view a canvas, where the queries stay
    /// in batch order: their batch-norm groups must not be the queries' (ShuffleBN).
    fn layout(&self, epoch: u64, number: u64) -> Stitching {
        let mut path = vec![STITCH, epoch, number];
        match self.ranks.part(self.world).start {
            0 => {}
            rank => path.push(rank as u64),
        }
        let mut rng = stream(self.seed, &path);
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

    /// The epoch of a step and its number in it.
    fn place(&self, step: u64) -> (u64, u64) {
        (step / self.steps_per_epoch(), step % self.steps_per_epoch())
    }

    /// Where this process' part of a global batch stands in the epoch's order.
    fn slice(&self, number: u64) -> std::ops::Range<usize> {
        let global = self.batch * self.world;
        let first = number as usize * global + self.ranks.part(global).start;
        first..first + self.batch
    }

    fn order(&self, epoch: u64) -> Arc<[u32]> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, order)) = orders.iter().find(|(known, _)| *known == epoch) {
            return order.clone();
        }
        let order: Arc<[u32]> = epoch_order(self.seed, epoch, &self.groups, self.shuffle).into();
        if orders.len() == 2 {
            orders.remove(0);
        }
        orders.push((epoch, order.clone()));
        order
    }
}

/// One image of a batch: where its views go, and what came of it.
struct Task<'a> {
    index: usize,
    out: [ArrayViewMut3<'a, u8>; 2],
    made: Option<Result<Pair, DataError>>,
}

/// Tiles, in tile order, in the order of their images.
fn by_image<'a>(
    tiles: Vec<ArrayViewMut3<'a, u8>>,
    order: &Permutation,
) -> Vec<ArrayViewMut3<'a, u8>> {
    let mut tiles: Vec<_> = order.images().iter().zip(tiles).collect();
    tiles.sort_unstable_by_key(|(image, _)| **image);
    tiles.into_iter().map(|(_, tile)| tile).collect()
}
