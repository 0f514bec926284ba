//! The embedded default data: cluttered scenes drawn from a seed, as COCO data.
//!
//! Everything an experiment needs without a download: unlabelled images to pretrain on, a labelled
//! split to fine-tune on and a test split, with exact masks of what is visible. A scene is a
//! textured background under textured, rotated, deformed, overlapping and truncated objects of
//! [eight categories](Category), with clutter of no category between them, under uneven light, with
//! blur and sensor noise. Colour is drawn independently of the category, which is decided by shape
//! or by texture, so that a detector needs features and not a colour histogram.
//!
//! [`generate`] writes a folder; [`Scene`] is one picture in memory:
//!
//! ```
//! use inscon_train::scenes::{Scene, ScenesConfig};
//!
//! let config = ScenesConfig { size: 96, ..ScenesConfig::default() };
//! let scene = Scene::sample(&config, &mut inscon_aug::stream(7, &[0]));
//! let picture = scene.render();
//! assert_eq!(picture.image.dimensions(), (96, 96));
//! assert!(picture.instances.iter().all(|i| i.mask.iter().any(|&m| m == 1)));
//! ```

mod background;
mod body;
mod category;
mod config;
mod generate;
mod material;
mod noise;
mod outline;
mod palette;
mod photo;
mod scene;
mod surface;

pub use category::*;
pub use config::*;
pub use generate::*;
pub use scene::*;
