//! Self-supervised pretraining: the family of MoCo v2 and InsCon, by configuration.
//!
//! One step, in the order of MoCo v2 (`method.md`):
//!
//! 1. a batch of query canvases and key canvases ([`data`](crate::data));
//! 2. the key encoder moves a little towards the query encoder (EMA);
//! 3. keys, without gradients, batch statistics over shuffled groups;
//! 4. queries, with gradients;
//! 5. the objective, in the order of the keys;
//! 6. backward and SGD;
//! 7. the keys enter the queues.

mod adopt;
mod bad_images;
mod profile;
mod record;
mod run;
mod state;
mod step;
mod views;

pub use adopt::*;
pub use bad_images::*;
pub use profile::*;
pub use record::*;
pub use run::*;
pub use state::*;
pub use views::*;
