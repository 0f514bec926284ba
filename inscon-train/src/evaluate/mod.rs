//! What a detector finds on the validation set, and what that is worth.

mod inference;
mod pictures;
mod run;
mod scores;

pub use inference::*;
pub use pictures::*;
pub use run::*;
pub use scores::*;
