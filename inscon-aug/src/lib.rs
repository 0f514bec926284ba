//! Augmentations, instance views, multi-instance stitching and view geometry, on the CPU.
//!
//! A random policy draws a plain value, and that value is applied:
//!
//! ```text
//! ViewAugmentation --sample(rng)--> SampledView --apply_rgb--> pixels --normalize_into--> tile
//!                                       └-- transform() --> ViewTransform --> TileRecord
//! ```
//!
//! So the RNG enters in one place, and geometry is known without looking at a pixel.
//!
//! # Conventions
//! - Coordinates are continuous and half-open, at pixel *edges*; boxes are xyxy in `f32`
//!   ([`BBox`]).
//! - Pixels are 8-bit RGB ([`image::RgbImage`]) until [`normalize_into`]; each operation computes
//!   what PIL computes, which is what torchvision runs on and MoCo v2 was trained with.
//!   `tests/pillow.rs` holds that to stated tolerances.
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
//! # Example: two views of two images, stitched side by side
//! ```
//! use image::RgbImage;
//! use inscon_aug::{KeyView, Stitching, ViewAugmentation, stitch, stream, tile_records};
//!
//! let augmentation = ViewAugmentation::moco_v2(32);
//! let images = vec![RgbImage::new(80, 60); 4];
//! let views: Vec<_> =
//!     (0..4).map(|i| augmentation.sample(&mut stream(0, &[i]), 80, 60)).collect();
//! let pixels: Vec<_> = views.iter().zip(&images).map(|(v, i)| v.apply_rgb(i)).collect();
//! let layout = Stitching::new(4, 2, 32, KeyView::Multi, &mut stream(0, &[]))?;
//! let canvases = stitch(&pixels, &layout.query, 2, 32, augmentation.mean, augmentation.std);
//! let tiles = tile_records(&views, &layout.query, 2, 32);
//! assert_eq!(canvases.shape(), [1, 3, 64, 64]);
//! assert_eq!(tiles[3].canvas_box.to_array(), [32.0, 32.0, 64.0, 64.0]);
//! # Ok::<(), inscon_aug::AugError>(())
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
