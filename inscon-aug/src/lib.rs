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
