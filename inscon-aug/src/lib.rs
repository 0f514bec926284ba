//! Augmentations, instance views, multi-instance stitching and view geometry, on the CPU.
//!
//! A random policy draws a plain value, and that value is applied:
//!
//! ```text
//! ViewAugmentation --sample(rng)--> SampledView -- transform() --> ViewTransform --> TileRecord
//!                                        | crop, denominator()
//! bytes of a file --Decoder::decode_region--> PixelRegion --render--> a tile of rgb_tiles_mut
//!                                                                      | u8, to the device
//!                                                       normalization: v · factor + offset
//! ```
//!
//! So the RNG enters in one place, geometry is known without looking at a pixel, and of a JPEG only
//! what the crop shows is decoded, at half, a quarter or an eighth of its size where the view is
//! small. Bytes are written where they are to lie on the canvas; normalisation is the device's, or
//! [`normalize_canvases`]'s. [`SampledView::apply_rgb`] does the same for one image that is decoded
//! already, and [`DetectionAugmentation`] draws what detectors are trained on.
//!
//! # Conventions
//! - Coordinates are continuous and half-open, at pixel *edges*; boxes are xyxy in `f32`
//!   ([`BBox`]).
//! - Pixels are 8-bit RGB until they are normalised; each operation computes what PIL computes,
//!   which is what torchvision runs on and MoCo v2 was trained with. `tests/pillow.rs` holds that
//!   to stated tolerances.
//! - Randomness is an explicit argument; [`stream`] makes independent generators.
//!
//! The crate knows nothing of tensors, networks or files.
//!
//! # Differences from torchvision
//! Parameters drawn here, pixels computed here and by torchvision on PIL images, on 250 photographs
//! (PASCAL VOC 2007 at 224 px, every fourteenth), in levels of 0 to 255; torchvision 0.29.2 with
//! Pillow 12.3.0. For information, torchvision's v2 operations on uint8 tensors.
//!
//! | operation | max | mean | equal bytes | v2 tensors: max | mean |
//! |---|---|---|---|---|---|
//! | crop and resize to 32, 64, 96, 128, 224 and 448 px | 0 | 0 | all | 2 | .0039 |
//! | brightness | 0 | 0 | all | 0 | 0 |
//! | contrast | 0 | 0 | all | 1 | .099 |
//! | saturation | 0 | 0 | all | 1 | .12 |
//! | hue, within ±.4 | 0 | 0 | all | 13 | .28 |
//! | these four in each of 24 orders | 0 | 0 | all | 21 | .44 |
//! | greyscale | 0 | 0 | all | 1 | .53 |
//! | Gaussian blur, PIL's | 0 | 0 | all | – | – |
//! | Gaussian blur, exact, 9 and 23 taps | 1 | .000020 | 99.998 % | 1 | .000020 |
//! | solarise | 0 | 0 | all | 0 | 0 |
//! | flip | 0 | 0 | all | 0 | 0 |
//! | shortest edge, down and up, flip | 0 | 0 | all | 2 | .0027 |
//! | whole view of MoCo v1, 64 and 224 px | 0 | 0 | all | 16 | .58 |
//! | whole view of MoCo v2, 64 and 224 px | 0 | 0 | all | 17 | .43 |
//! | whole view of SimCLR, 64 and 224 px | 1 | .0000074 | 99.999 % | 21 | .53 |
//! | whole views of BYOL, 64 and 224 px | 1 | .000018 | 99.998 % | 17 | .40 |
//! | normalise (of numbers from −2.1 to 2.6) | 4.8e-7 | 8.4e-8 | | 7.2e-7 | 1.3e-7 |
//!
//! (Of several rows in one, the largest figures.) What is not 0:
//! - **Exact blur**: both sum in single precision, torchvision over the square of taps and this
//!   crate along rows, then columns; two sums in 100,000 that end at half a level are rounded to
//!   the other side. SimCLR and BYOL blur so.
//! - **Normalise** is one product and one sum here, a division and two more operations there: two
//!   units in the last place at most.
//! - **Pillow 13** (13.0.0 measured) changed its resize, as [`crop_resize`] says; this crate did not
//!   follow. No crop to 32, 224 or 448 px differs on these photographs; those to 64, 96 and 128 px
//!   do by 1 level at most and .0031, .038 and .023 on average, resizes of the shortest edge by 1
//!   and .00037. Whole views at 224 px differ as in the table; at 64 px on average by at most .013
//!   and at single bytes by up to 11, where a hue of 255 steps makes more of one level.
//! - **Tensors** are another definition: luma with other weights and truncated, hue in floats
//!   instead of 255 steps. Published models of this family were trained on PIL's.
//!
//! ```text
//! cargo build -p inscon-aug --example apply_views
//! python inscon-aug/tests/fixtures/compare_with_torchvision.py \
//!     target/debug/examples/apply_views PHOTOGRAPHS
//! ```
//!
//! Distributions of the parameters are tested against torchvision's laws, on 100,000 draws each, in
//! `tests/distributions.rs`; that geometry and pixels agree, in `tests/marks.rs`.
//!
//! # Example: views of four JPEGs, stitched to one canvas
//! ```
//! use image::{ImageFormat, RgbImage};
//! use inscon_aug::{
//!     Decoder, KeyView, Stitching, ViewAugmentation, ViewScratch, normalization, rgb_tiles_mut,
//!     stream, tile_records,
//! };
//! use ndarray::Array4;
//!
//! let mut file = std::io::Cursor::new(Vec::new());
//! RgbImage::new(80, 60).write_to(&mut file, ImageFormat::Jpeg)?;
//! let files = vec![file.into_inner(); 4];
//!
//! // One of each a thread, kept from batch to batch.
//! let (mut decoder, mut scratch) = (Decoder::new(), ViewScratch::new());
//! let augmentation = ViewAugmentation::moco_v2(32);
//! augmentation.validate()?;
//! let mut views = Vec::new();
//! for (i, bytes) in (0..).zip(&files) {
//!     let [width, height] = decoder.size(bytes)?;
//!     views.push(augmentation.sample(&mut stream(0, &[i]), width, height));
//! }
//! let layout = Stitching::new(4, 2, 32, KeyView::Multi, &mut stream(0, &[]))?;
//! let mut canvases = Array4::zeros((layout.query_canvases(), 64, 64, 3));
//! let tiles = rgb_tiles_mut(&mut canvases, 2);
//! for (tile, &image) in tiles.into_iter().zip(layout.query.images()) {
//!     let view = &views[image];
//!     let region = decoder.decode_region(&files[image], &view.crop, view.denominator())?;
//!     view.render(&region, &mut scratch, tile);
//! }
//! let tiles = tile_records(&views, &layout.query, 2, 32);
//! assert_eq!(tiles[3].canvas_box.to_array(), [32.0, 32.0, 64.0, 64.0]);
//! // For the device, which makes floats of the bytes.
//! let [factor, offset] = normalization(augmentation.mean, augmentation.std);
//! # assert!(factor[0] > 0.0 && offset[0] < 0.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod augmentation;
mod bbox;
mod color_jitter;
mod container;
mod decode;
mod detection;
pub mod draw;
mod error;
mod gaussian_blur;
mod grayscale;
mod horizontal_flip;
pub mod jpeg;
mod lanes;
mod multi_instance;
mod normalize;
mod planes;
mod presets;
mod random_resized_crop;
mod region;
mod render;
mod resample;
mod resize;
mod rng;
mod view;

pub use augmentation::*;
pub use bbox::BBox;
pub use color_jitter::*;
pub use decode::{DecodeLimits, Decoder, decode_rgb};
pub use detection::*;
pub use error::AugError;
pub use gaussian_blur::{BlurKernel, gaussian_blur, gaussian_blur_with};
pub use grayscale::grayscale;
pub use horizontal_flip::horizontal_flip;
pub use multi_instance::*;
pub use normalize::*;
pub use random_resized_crop::random_resized_crop;
pub use region::PixelRegion;
pub use render::ViewScratch;
pub use resize::crop_resize;
pub use rng::{below, chance, shuffle, stream, uniform};
pub use view::ViewTransform;
