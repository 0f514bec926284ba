//! Contrastive, multi-instance and cell-instance losses of InsCon, on Burn tensors.
//!
//! InsCon's abstract (arXiv 2203.07688) names two terms, consistency of *instances* and of *cells*
//! of the feature map; their form here is a **reconstruction** from MoCo v2, DenseCL, PixPro and
//! MosRep, written down in the project's `method.md`.
//!
//! - [`InsConLoss`] is the whole: (1 − λ)·[`InfoNce`] + λ·[`CellInstanceLoss`].
//! - [`Correspondence`] says which cells of two views are the same place, by [`cell_distance`] or
//!   by backbone features.
//!
//! # Conventions
//! - **Key order.** Row t of every tensor is the t-th tile of the key canvases, t = canvas·G² + slot;
//!   the caller brings the queries into that order.
//! - Keys and queues are **constants**: no gradient reaches them, whichever device they are on.
//! - Boxes are xyxy in source pixels, continuous, half-open; cells are row-major, index v·S + u.
//! - Everything is computed on the device of the inputs; nothing is read back.
//! - Wrong shapes panic with both shapes; settings are checked by [`InsConLossConfig::validate`].
//!
//! # Symbols
//!
//! | symbol | field or item | shape, unit |
//! |---|---|---|
//! | T | tiles of the batch | |
//! | G² | [`CellInput::tiles_per_canvas`] | |
//! | S | side of a tile in cells | |
//! | q_t | [`InsConInput::query`] | `[T, D]` |
//! | k_t | [`InsConInput::key`] | `[T, D]` |
//! | n | [`InsConInput::queue`], [`CellInput::queue`], keys of other tiles | `[K, D]` |
//! | q_a, k_b | [`CellInput::query`], [`CellInput::key`] | `[T, S², D]` |
//! | m_q, m_k | [`CellInput::maps`] | `[T, S², C]` |
//! | c(a) | [`cell_centers`] | source pixels |
//! | d(a, b) | [`cell_distance`] | larger cell diagonals |
//! | P(a) | [`Correspondence::positive`], [`CellLossConfig::positive_below`] | |
//! | P(a) ∪ far(a) | [`Correspondence::counted`], [`CellLossConfig::negative_from`] | |
//! | N(a) | [`CellLossConfig::far_cells`], [`CellLossConfig::other_tiles`], [`CellLossConfig::queue`] | |
//! | τ | [`InsConLossConfig::temperature`] | |
//! | λ | [`InsConLossConfig::lambda`], argument of [`InsConLoss::forward`] | |
//! | λ_pull, λ_push | [`CellLossConfig::pull`], [`CellLossConfig::push`] | |
//! | L, L_inst, L_cell | [`InsConOutput::total`], [`InsConOutput::instance`], [`InsConOutput::cell`] | nats |
//! | L_pull, L_push | [`InsConOutput::pull`], [`InsConOutput::push`] | nats |

mod cell_instance;
mod config;
mod correspondence;
mod info_nce;
mod inscon;
mod log_sum_exp;
mod views;

pub use cell_instance::*;
pub use config::*;
pub use correspondence::*;
pub use info_nce::*;
pub use inscon::*;
pub use views::*;
