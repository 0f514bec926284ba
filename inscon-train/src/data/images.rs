//! Images by index as pairs of views, with unreadable ones replaced.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use image::RgbImage;
use inscon_aug::{AugError, DecodeLimits, Decoder, PixelRegion, SampledView, ViewScratch};
use ndarray::ArrayViewMut3;
use serde::{Deserialize, Serialize};

use super::stats::{Counters, Part};
use super::{DataError, LoadStats, SampleError, SampleSource};

/// An image that could not be read: a line of `bad_images.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadImage {
    /// Its path below the image folder, or in its shard.
    pub file: String,
    /// What was wrong with it.
    pub error: String,
    /// The image that took its place, if there is a readable one.
    pub replaced_by: Option<String>,
}

/// How images are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoding {
    /// Keep decoded images in memory: whole ones at full size, so nothing is scaled while decoding.
    pub cache: bool,
    /// Decode JPEGs at 1/2, 1/4 or 1/8 where both views' crops are that much larger than the views.
    pub scaling: bool,
    /// Most bytes that decoding one image may take.
    pub limits: DecodeLimits,
}

/// The images of a source, decoded on demand.
pub struct Images {
    source: Arc<dyn SampleSource>,
    decoding: Decoding,
    /// One cell an image when decoded images are kept.
    kept: Option<Vec<OnceLock<Decoded>>>,
    counters: Counters,
    /// Buffers of threads that are not at work.
    idle: Mutex<Vec<Box<Buffers>>>,
}

type Decoded = Result<Arc<RgbImage>, String>;

/// So many unreadable images one after another are not stepped over: something else is wrong.
pub const IN_A_ROW: usize = 1000;

/// What a thread needs to make views; kept, so that nothing is allocated for an image.
struct Buffers {
    bytes: Vec<u8>,
    decoder: Decoder,
    scratch: ViewScratch,
}

/// A pair of views that was made.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pair {
    /// The image that is seen.
    pub(super) shown: usize,
    /// What was drawn.
    pub(super) views: [SampledView; 2],
    /// The unreadable images that were stepped over.
    pub(super) bad: Vec<BadImage>,
}

/// Why an image gives no views: it is broken, or nothing can be read any more.
enum Failure {
    Image(String),
    Source(SampleError),
}

impl From<AugError> for Failure {
    fn from(error: AugError) -> Self {
        Self::Image(error.to_string())
    }
}

impl std::fmt::Debug for Images {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Images")
            .field("source", &self.source)
            .field("decoding", &self.decoding)
            .finish_non_exhaustive()
    }
}

impl Images {
    /// The images of `source`.
    #[must_use]
    pub fn new(source: Arc<dyn SampleSource>, decoding: Decoding) -> Self {
        let kept = decoding
            .cache
            .then(|| (0..source.len()).map(|_| OnceLock::new()).collect());
        Self {
            source,
            decoding,
            kept,
            counters: Counters::default(),
            idle: Mutex::default(),
        }
    }

    /// Where they come from.
    #[must_use]
    pub fn source(&self) -> &Arc<dyn SampleSource> {
        &self.source
    }

    /// Whether decoded images are kept.
    pub(super) fn keeps(&self) -> bool {
        self.kept.is_some()
    }

    /// Tells the source what will be read next, but for what is kept already.
    pub(super) fn plan(&self, mut order: Vec<u32>) {
        if let Some(kept) = &self.kept {
            order.retain(|&index| kept[index as usize].get().is_none());
        }
        if !order.is_empty() {
            self.source.plan(order.into());
        }
    }

    /// The time spent so far.
    #[must_use]
    pub fn stats(&self) -> LoadStats {
        self.counters.read()
    }

    /// Writes two views of image `index`, or of the next readable one (the first comes after the
    /// last), into `out`. `draw` draws them for an image's width and height.
    ///
    /// # Errors
    /// [`DataError::NoneReadable`] when no image is readable, or none of [`IN_A_ROW`] images, [`DataError::Samples`] when the
    /// source itself fails.
    ///
    /// # Panics
    /// When there is no image `index`.
    pub(super) fn pair(
        &self,
        index: usize,
        draw: impl Fn([u32; 2]) -> [SampledView; 2],
        mut out: [ArrayViewMut3<'_, u8>; 2],
    ) -> Result<Pair, DataError> {
        let images = self.source.len();
        assert!(index < images, "image {index} of {images}");
        let mut buffers = self.take();
        let mut bad: Vec<BadImage> = Vec::new();
        for shown in (index..images).chain(0..index).take(IN_A_ROW) {
            match self.try_pair(shown, &draw, &mut out, &mut buffers) {
                Ok(views) => {
                    self.give(buffers);
                    let name = (!bad.is_empty()).then(|| self.source.name(shown));
                    bad.iter_mut().for_each(|b| b.replaced_by.clone_from(&name));
                    return Ok(Pair { shown, views, bad });
                }
                Err(Failure::Source(error)) => return Err(DataError::Samples(error)),
                Err(Failure::Image(error)) => {
                    self.counters.bad();
                    let file = self.source.name(shown);
                    bad.push(BadImage {
                        file,
                        error,
                        replaced_by: None,
                    });
                }
            }
        }
        Err(DataError::NoneReadable {
            origin: self.source.place(),
            bad,
        })
    }

    fn try_pair(
        &self,
        index: usize,
        draw: &impl Fn([u32; 2]) -> [SampledView; 2],
        out: &mut [ArrayViewMut3<'_, u8>; 2],
        buffers: &mut Buffers,
    ) -> Result<[SampledView; 2], Failure> {
        let Buffers {
            bytes,
            decoder,
            scratch,
        } = buffers;
        if let Some(kept) = &self.kept {
            let image = self.kept(&kept[index], index, bytes, decoder)?;
            let (width, height) = image.dimensions();
            let views = draw([width, height]);
            let region = PixelRegion::from(&*image);
            self.render(&views, &region, scratch, out);
            self.counters.shown();
            return Ok(views);
        }
        self.fetch(index, bytes)?;
        let (views, region) = self.counters.time(Part::Decode, || {
            let size = decoder.size(bytes)?;
            let views = draw(size);
            let [a, b] = &views;
            let seen = a.crop.around(&b.crop);
            let denominator = match self.decoding.scaling {
                true => a.denominator().min(b.denominator()),
                false => 1,
            };
            let region = decoder.decode_region(bytes, &seen, denominator)?;
            Ok::<_, Failure>((views, region))
        })?;
        self.render(&views, &region, scratch, out);
        self.counters.shown();
        Ok(views)
    }

    fn fetch(&self, index: usize, bytes: &mut Vec<u8>) -> Result<(), Failure> {
        let read = || self.source.read(index, bytes);
        self.counters
            .time(Part::Read, read)
            .map_err(|error| match error {
                SampleError::Unreadable(what) => Failure::Image(what),
                SampleError::Source(_) => Failure::Source(error),
            })?;
        self.counters.file(bytes.len());
        Ok(())
    }

    fn kept(
        &self,
        cell: &OnceLock<Decoded>,
        index: usize,
        bytes: &mut Vec<u8>,
        decoder: &mut Decoder,
    ) -> Result<Arc<RgbImage>, Failure> {
        if cell.get().is_none() {
            let image = match self.fetch(index, bytes) {
                Ok(()) => self
                    .counters
                    .time(Part::Decode, || {
                        decoder.decode(bytes).map(|region| owned(&region))
                    })
                    .map(Arc::new)
                    .map_err(|error| error.to_string()),
                Err(Failure::Image(error)) => Err(error),
                Err(failure) => return Err(failure),
            };
            // Another thread may have been quicker, with the same.
            let _ = cell.set(image);
        }
        let image = cell
            .get()
            .cloned()
            .unwrap_or_else(|| Err("not read".into()));
        image.map_err(Failure::Image)
    }

    fn render(
        &self,
        views: &[SampledView; 2],
        region: &PixelRegion<'_>,
        scratch: &mut ViewScratch,
        out: &mut [ArrayViewMut3<'_, u8>; 2],
    ) {
        self.counters.time(Part::Augment, || {
            for (view, out) in views.iter().zip(out) {
                view.render(region, scratch, out.view_mut());
            }
        });
    }

    fn take(&self) -> Box<Buffers> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let limits = self.decoding.limits;
        idle.pop().unwrap_or_else(|| {
            Box::new(Buffers {
                bytes: Vec::new(),
                decoder: Decoder::with_limits(limits),
                scratch: ViewScratch::new(),
            })
        })
    }

    fn give(&self, buffers: Box<Buffers>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(buffers);
    }
}

/// A whole image of its own.
fn owned(region: &PixelRegion<'_>) -> RgbImage {
    RgbImage::from_raw(region.width, region.height, region.pixels.to_vec())
        .expect("a whole image has all its pixels")
}
