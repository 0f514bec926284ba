//! Looking into a result: who matched whom, what was confused, what it costs, how sure it is.

mod bootstrap;
mod confusion;
mod matches;
mod replay;
mod tide;

pub use bootstrap::*;
pub use confusion::*;
pub use matches::*;
pub use replay::*;
pub use tide::*;

use crate::GroundTruth;

/// Id and name of each class; the single `(0, "")` stays as it is.
fn named(truth: &GroundTruth, ids: &[u64]) -> Vec<(u64, String)> {
    let name = |id: u64| truth.categories.iter().rev().find(|c| c.id == id);
    ids.iter()
        .map(|&id| (id, name(id).map_or_else(String::new, |c| c.name.clone())))
        .collect()
}
