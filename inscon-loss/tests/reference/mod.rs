//! The losses as `method.md` writes them: loops over f64, nothing shared with the crate but its
//! configuration types.
#![allow(dead_code, unreachable_pub)]

use inscon_loss::{InsConLossConfig, Matching, Negatives};
use rand::{Rng, RngExt};

/// Rows of vectors.
pub type Rows = Vec<Vec<f64>>;

/// The geometry of one view.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    pub x0: f64,
    pub y0: f64,
    pub x1: f64,
    pub y1: f64,
    pub flip: bool,
}

/// One batch; cells are indexed `[tile][cell]`.
#[derive(Debug, Clone)]
pub struct Batch {
    pub side: usize,
    pub tiles_per_canvas: usize,
    pub query: Rows,
    pub key: Rows,
    pub queue: Rows,
    pub query_cells: Vec<Rows>,
    pub key_cells: Vec<Rows>,
    pub cell_queue: Rows,
    pub query_maps: Vec<Rows>,
    pub key_maps: Vec<Rows>,
    pub query_views: Vec<View>,
    pub key_views: Vec<View>,
}

/// The loss and what goes with it.
#[derive(Debug, Clone, Copy)]
pub struct Loss {
    pub total: f64,
    pub instance: f64,
    pub cell: f64,
    pub pull: f64,
    pub push: f64,
    pub top1: f64,
    pub top5: f64,
    pub logit_mean: f64,
    pub feature_std: f64,
    pub cell_feature_std: f64,
    pub unmatched_tiles: f64,
    pub matched_cells: f64,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn log_sum_exp(logits: &[f64]) -> f64 {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    max + logits.iter().map(|x| (x - max).exp()).sum::<f64>().ln()
}

fn mean(values: &[f64]) -> f64 {
    if values.is_empty() {
        0.0
    } else {
        values.iter().sum::<f64>() / values.len() as f64
    }
}

fn std(rows: &[&Vec<f64>]) -> f64 {
    let stds: Vec<f64> = (0..rows[0].len())
        .map(|d| {
            let column: Vec<f64> = rows.iter().map(|row| row[d]).collect();
            let center = mean(&column);
            mean(
                &column
                    .iter()
                    .map(|x| (x - center).powi(2))
                    .collect::<Vec<_>>(),
            )
            .sqrt()
        })
        .collect();
    mean(&stds)
}

/// Centre of cell (u, v) of an s×s map in the source.
pub fn center(view: View, side: usize, u: usize, v: usize) -> (f64, f64) {
    let (s, u, v) = (side as f64, u as f64, v as f64);
    let u = if view.flip { s - u - 0.5 } else { u + 0.5 };
    (
        view.x0 + u * (view.x1 - view.x0) / s,
        view.y0 + (v + 0.5) * (view.y1 - view.y0) / s,
    )
}

/// d(a, b).
pub fn distance(query: View, key: View, side: usize, a: usize, b: usize) -> f64 {
    let (ax, ay) = center(query, side, a % side, a / side);
    let (bx, by) = center(key, side, b % side, b / side);
    let diagonal = |v: View| (v.x1 - v.x0).hypot(v.y1 - v.y0) / side as f64;
    (ax - bx).hypot(ay - by) / diagonal(query).max(diagonal(key))
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// L = (1 − λ)·L_inst + λ·L_cell, literally.
pub fn loss(batch: &Batch, config: &InsConLossConfig, lambda: f64) -> Loss {
    let tau = config.temperature;
    let tiles = batch.query.len();
    let (mut instance, mut all_logits) = (Vec::new(), Vec::new());
    let (mut top1, mut top5) = (0.0, 0.0);
    for t in 0..tiles {
        let positive = dot(&batch.query[t], &batch.key[t]) / tau;
        let mut negatives = Vec::new();
        if config.negatives != Negatives::Batch {
            negatives.extend(batch.queue.iter().map(|n| dot(&batch.query[t], n) / tau));
        }
        if config.negatives != Negatives::Queue {
            negatives.extend(
                (0..tiles)
                    .filter(|&o| o != t)
                    .map(|o| dot(&batch.query[t], &batch.key[o]) / tau),
            );
        }
        let above = negatives.iter().filter(|&&n| n >= positive).count();
        top1 += f64::from(above < 1) / tiles as f64;
        top5 += f64::from(above < 5) / tiles as f64;
        let logits: Vec<f64> = [positive].into_iter().chain(negatives).collect();
        instance.push(log_sum_exp(&logits) - positive);
        all_logits.extend(logits);
    }

    let cells = batch.side * batch.side;
    let cell_config = &config.cell;
    let (mut pulls, mut pushes) = (Vec::new(), Vec::new());
    let mut unmatched = 0;
    for t in 0..tiles {
        let (query_view, key_view) = (batch.query_views[t], batch.key_views[t]);
        let before = pulls.len();
        for a in 0..cells {
            let q = &batch.query_cells[t][a];
            let d = |b| distance(query_view, key_view, batch.side, a, b);
            let is_positive: Vec<bool> = match cell_config.matching {
                Matching::Distance => (0..cells)
                    .map(|b| d(b) < cell_config.positive_below)
                    .collect(),
                Matching::Densecl => {
                    let cos: Vec<f64> = (0..cells)
                        .map(|b| cosine(&batch.query_maps[t][a], &batch.key_maps[t][b]))
                        .collect();
                    let best = (0..cells)
                        .max_by(|&i, &j| cos[i].total_cmp(&cos[j]))
                        .expect("a tile has cells");
                    (0..cells).map(|b| b == best).collect()
                }
            };
            let s = |k: &Vec<f64>| dot(q, k) / tau;
            let mut positives = Vec::new();
            let mut union = Vec::new();
            for (b, &positive) in is_positive.iter().enumerate() {
                let logit = s(&batch.key_cells[t][b]);
                if positive {
                    positives.push(logit);
                }
                if positive || (cell_config.far_cells && d(b) >= cell_config.negative_from) {
                    union.push(logit);
                }
            }
            if positives.is_empty() {
                continue;
            }
            if cell_config.other_tiles {
                let canvas = t / batch.tiles_per_canvas;
                for other in (0..tiles).filter(|o| *o != t && o / batch.tiles_per_canvas == canvas)
                {
                    union.extend(batch.key_cells[other].iter().map(s));
                }
            }
            if cell_config.queue {
                union.extend(batch.cell_queue.iter().map(s));
            }
            pulls.push(-log_sum_exp(&positives));
            pushes.push(log_sum_exp(&union));
        }
        unmatched += usize::from(pulls.len() == before);
    }
    let (pull, push) = (mean(&pulls), mean(&pushes));
    let cell = cell_config.pull * pull + cell_config.push * push;
    let instance = mean(&instance);
    Loss {
        total: (1.0 - lambda) * instance + lambda * cell,
        instance,
        cell,
        pull,
        push,
        top1,
        top5,
        logit_mean: mean(&all_logits),
        feature_std: std(&batch.query.iter().collect::<Vec<_>>()),
        cell_feature_std: std(&batch.query_cells.iter().flatten().collect::<Vec<_>>()),
        unmatched_tiles: unmatched as f64 / tiles as f64,
        matched_cells: pulls.len() as f64 / (tiles * cells) as f64,
    }
}

/// Sizes of a random batch.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub canvases: usize,
    pub tiles_per_canvas: usize,
    pub side: usize,
    pub dim: usize,
    pub queue: usize,
}

/// A random batch whose numbers are exact in f32 and whose distances stay clear of the thresholds
/// 0.7 and 1.0, so that f32 and f64 agree on every set.
pub fn random_batch(rng: &mut impl Rng, sizes: Sizes) -> Batch {
    let tiles = sizes.canvases * sizes.tiles_per_canvas;
    let cells = sizes.side * sizes.side;
    let view = |rng: &mut _| random_view(rng);
    loop {
        let batch = Batch {
            side: sizes.side,
            tiles_per_canvas: sizes.tiles_per_canvas,
            query: unit_rows(rng, tiles, sizes.dim),
            key: unit_rows(rng, tiles, sizes.dim),
            queue: unit_rows(rng, sizes.queue, sizes.dim),
            query_cells: (0..tiles)
                .map(|_| unit_rows(rng, cells, sizes.dim))
                .collect(),
            key_cells: (0..tiles)
                .map(|_| unit_rows(rng, cells, sizes.dim))
                .collect(),
            cell_queue: unit_rows(rng, sizes.queue + 1, sizes.dim),
            query_maps: (0..tiles).map(|_| unit_rows(rng, cells, 6)).collect(),
            key_maps: (0..tiles).map(|_| unit_rows(rng, cells, 6)).collect(),
            query_views: (0..tiles).map(|_| view(rng)).collect(),
            key_views: (0..tiles).map(|_| view(rng)).collect(),
        };
        let clear = (0..tiles).all(|t| {
            (0..cells * cells).all(|i| {
                let (query, key) = (batch.query_views[t], batch.key_views[t]);
                let d = distance(query, key, sizes.side, i / cells, i % cells);
                (d - 0.7).abs() > 1e-3 && (d - 1.0).abs() > 1e-3
            })
        });
        if clear {
            return batch;
        }
    }
}

fn random_view(rng: &mut impl Rng) -> View {
    let mut at = |low: f32, high: f32| f64::from(rng.random_range(low..high));
    let (x0, y0, w, h) = (
        at(0.0, 60.0),
        at(0.0, 40.0),
        at(30.0, 120.0),
        at(30.0, 120.0),
    );
    let flip = rng.random_bool(0.5);
    View {
        x0,
        y0,
        x1: f64::from((x0 + w) as f32),
        y1: f64::from((y0 + h) as f32),
        flip,
    }
}

/// Rows of length 1, to f32.
pub fn unit_rows(rng: &mut impl Rng, rows: usize, dim: usize) -> Rows {
    (0..rows)
        .map(|_| {
            let row: Vec<f64> = (0..dim).map(|_| rng.random_range(-1.0..1.0)).collect();
            let length = dot(&row, &row).sqrt();
            row.iter().map(|x| f64::from((x / length) as f32)).collect()
        })
        .collect()
}
