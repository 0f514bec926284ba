//! PyTorch's losses and gradients; `fixtures/loss.py` made the file.
#![allow(clippy::unwrap_used)]

mod reference;
mod support;

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use inscon_loss::{
    CellInput, CellInstanceLoss, CellLossConfig, InfoNce, Negatives, Views, cell_distance,
};
use support::{assert_close, number, numbers};

/// PyTorch and Burn sum f32 in different orders; slopes here are of the order of 1.
const TOLERANCE: f64 = 2e-6;

struct Golden(BTreeMap<String, (Vec<usize>, Vec<f32>)>);

impl Golden {
    fn read() -> Self {
        let lines = include_str!("fixtures/loss.txt").lines();
        Self(
            lines
                .map(|line| {
                    let mut words = line.split_whitespace();
                    let name = words.next().unwrap().to_owned();
                    let shape = words.next().unwrap().split(',').map(|d| d.parse().unwrap());
                    let shape = shape.collect();
                    (name, (shape, words.map(|x| x.parse().unwrap()).collect()))
                })
                .collect(),
        )
    }

    fn tensor<const D: usize>(&self, name: &str, device: &Device) -> Tensor<D> {
        let (shape, values) = &self.0[name];
        Tensor::from_data(TensorData::new(values.clone(), shape.clone()), device)
    }

    #[track_caller]
    fn check<const D: usize>(&self, name: &str, got: &Tensor<D>) {
        let (got, want) = (numbers(got), &self.0[name].1);
        assert_eq!(got.len(), want.len(), "{name}");
        for (&got, &want) in got.iter().zip(want) {
            assert_close(name, f64::from(got), f64::from(want), TOLERANCE);
        }
    }

    fn views(&self, which: &str, device: &Device) -> Views {
        Views {
            boxes: self.tensor(&format!("{which}_boxes"), device),
            flips: self.tensor(&format!("{which}_flips"), device),
        }
    }

    fn cells(&self, device: &Device) -> CellInput {
        CellInput {
            query: self.tensor::<3>("cq", device).require_grad(),
            key: self.tensor("ck", device),
            queue: Some(self.tensor("cell_queue", device)),
            query_views: self.views("query", device),
            key_views: self.views("key", device),
            tiles_per_canvas: 2,
            maps: Some((self.tensor("mq", device), self.tensor("mk", device))),
        }
    }
}

#[test]
fn info_nce_agrees() {
    let (golden, device) = (Golden::read(), Device::flex().autodiff());
    for (name, negatives) in [
        ("moco", Negatives::Queue),
        ("queue_and_batch", Negatives::QueueAndBatch),
    ] {
        let query = golden.tensor::<2>("q", &device).require_grad();
        let (key, queue) = (golden.tensor("k", &device), golden.tensor("queue", &device));
        let out = InfoNce {
            temperature: 0.2,
            negatives,
        }
        .forward(query.clone(), key, Some(queue));
        golden.check(name, &out.loss);
        let slopes = query.grad(&out.loss.backward()).unwrap();
        golden.check(&format!("{name}_grad_q"), &slopes);
    }
}

#[test]
fn densecl_agrees() {
    let (golden, device) = (Golden::read(), Device::flex().autodiff());
    let cells = golden.cells(&device);
    let query = cells.query.clone();
    let config = CellLossConfig::densecl();
    let out = CellInstanceLoss {
        temperature: 0.2,
        config,
    }
    .forward(cells);
    golden.check("densecl", &out.loss);
    golden.check(
        "densecl_grad_cq",
        &query.grad(&out.loss.backward()).unwrap(),
    );
}

#[test]
fn the_cell_term_agrees() {
    let (golden, device) = (Golden::read(), Device::flex().autodiff());
    let (query, key) = (golden.views("query", &device), golden.views("key", &device));
    golden.check("distance", &cell_distance(&query, &key, 2));
    for (name, push) in [("cell", 1.0), ("pull", 0.0)] {
        let cells = golden.cells(&device);
        let query = cells.query.clone();
        let config = CellLossConfig {
            push,
            ..CellLossConfig::default()
        };
        let out = CellInstanceLoss {
            temperature: 0.2,
            config,
        }
        .forward(cells);
        golden.check(name, &out.loss);
        golden.check(
            &format!("{name}_grad_cq"),
            &query.grad(&out.loss.backward()).unwrap(),
        );
        assert_eq!(number(&out.matched_cells), 0.875);
    }
}
