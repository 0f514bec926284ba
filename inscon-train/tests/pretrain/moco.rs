//! With grid 1 and λ 0 a step is MoCo v2's, computed here a second time from its definition.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use inscon_aug::{IMAGENET_MEAN, IMAGENET_STD};
use inscon_model::{
    Encoder, NormMode, Split, StateDict, Strictness, is_buffer, load_state_dict, state_dict,
};
use inscon_train::data::PretrainBatches;
use inscon_train::pretrain::{Phases, PretrainState};

use crate::fixture::{tiny, write_images};

const TEMPERATURE: f64 = 0.2;

/// Relative: f32 sums of 64 logits against f64 ones.
const TOLERANCE: f64 = 2e-5;

fn rows(tensor: Tensor<2>) -> Vec<Vec<f64>> {
    let [_, width] = tensor.dims();
    let values: Vec<f32> = tensor.inner().into_data().try_to_vec().unwrap();
    values
        .chunks(width)
        .map(|row| row.iter().map(|&v| f64::from(v)).collect())
        .collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `key ← m·key + (1 − m)·query`, parameters only.
fn moving_average(key: &StateDict, query: &StateDict, m: f64) -> StateDict {
    let blend = |(name, key): (&String, &TensorData)| {
        let values =
            key.iter::<f32>()
                .zip(query[name].iter::<f32>())
                .map(|(k, q)| match is_buffer(name) {
                    true => k,
                    false => (f64::from(k) * m + f64::from(q) * (1.0 - m)) as f32,
                });
        (
            name.clone(),
            TensorData::new(values.collect::<Vec<f32>>(), key.shape().clone()),
        )
    };
    key.iter().map(blend).collect()
}

/// Images `range` of a batch of canvases, normalised by the formula.
fn part(
    canvases: &ndarray::Array4<u8>,
    range: std::ops::Range<usize>,
    device: &Device,
) -> Tensor<4> {
    let part = canvases.slice_axis(ndarray::Axis(0), range.into());
    let (n, h, w, _) = part.dim();
    let mut values = Vec::new();
    for n in 0..n {
        for c in 0..3 {
            for (y, x) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
                let v = f32::from(part[[n, y, x, c]]) / 255.0;
                values.push((v - IMAGENET_MEAN[c]) / IMAGENET_STD[c]);
            }
        }
    }
    Tensor::from_data(TensorData::new(values, [n, 3, h, w]), device)
}

fn embed(encoder: &Encoder, views: Tensor<4>) -> Vec<Vec<f64>> {
    rows(
        encoder
            .forward(views, 1, Split::Slice, NormMode::Train, 1)
            .instance,
    )
}

/// Mean of −log softmax over the positive and the queue, and the share of positives on top.
fn info_nce(q: &[Vec<f64>], k: &[Vec<f64>], queue: &[Vec<f64>]) -> (f64, f64) {
    let mut loss = 0.0;
    let mut top = 0.0;
    for (q, k) in q.iter().zip(k) {
        let positive = dot(q, k) / TEMPERATURE;
        let negatives: Vec<f64> = queue.iter().map(|n| dot(q, n) / TEMPERATURE).collect();
        let sum: f64 = positive.exp() + negatives.iter().map(|n| n.exp()).sum::<f64>();
        loss += sum.ln() - positive;
        top += f64::from(negatives.iter().all(|n| *n < positive));
    }
    (loss / q.len() as f64, top / q.len() as f64)
}

#[test]
fn grid_1_and_lambda_0_is_moco_v2() {
    let dir = tempfile::tempdir().unwrap();
    write_images(dir.path(), 26);
    let sets = [
        "pretrain.grid=1",
        "pretrain.lambda=0.0",
        "pretrain.negatives=\"queue\"",
    ];
    let config = tiny(dir.path(), &sets);
    let (p, device) = (&config.pretrain, Device::flex());
    let batches = PretrainBatches::open(&config).unwrap();
    let mut state = PretrainState::new(&config, batches.steps_per_epoch(), &device).unwrap();
    let mut queue = rows(state.instances.tensor());
    let mut oldest = 0;

    for step in 0..3 {
        let batch = batches.make(step).unwrap();
        // Queries in the order of the batch, keys in another one.
        let images: Vec<usize> = batch.query_tiles.iter().map(|t| t.image).collect();
        assert_eq!(images, (0..p.batch).collect::<Vec<_>>());
        let shuffled: Vec<usize> = batch.key_tiles.iter().map(|t| t.image).collect();
        assert_ne!(images, shuffled, "ShuffleBN needs another order");

        let key = moving_average(&state_dict(&state.key), &state_dict(&state.query), p.ema);
        let (key, _) = load_state_dict(state.key.clone(), &key, "", Strictness::Exact).unwrap();
        // Each batch-norm group by itself, then back into the order of the batch.
        let group = p.batch / p.bn_groups;
        let mut keys: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for first in (0..p.batch).step_by(group) {
            let made = embed(&key, part(&batch.key, first..first + group, &device));
            keys.extend(shuffled[first..first + group].iter().copied().zip(made));
        }
        let keys: Vec<Vec<f64>> = keys.into_values().collect();
        let queries = embed(
            &state.query.clone(),
            part(&batch.query, 0..p.batch, &device.clone().autodiff()),
        );
        let (loss, top1) = info_nce(&queries, &keys, &queue);

        let before = state_dict(&state.query);
        let (next, terms) = state.step(batch, p, 0.05, &mut Phases::default());
        state = next;
        let got = terms.get("loss").unwrap();
        assert!(
            (got - loss).abs() < TOLERANCE * loss,
            "step {step}: {got} against {loss}"
        );
        assert_eq!(terms.get("instance"), terms.get("loss"));
        assert!((terms.get("top1").unwrap() - top1).abs() < 1e-6);
        assert_eq!(terms.get("cell"), None);

        // The keys of this batch took the places of the oldest.
        for image in &shuffled {
            queue[oldest] = keys[*image].clone();
            oldest = (oldest + 1) % p.queue;
        }
        for (got, wanted) in rows(state.instances.tensor()).iter().zip(&queue) {
            assert!(got.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-4));
        }
        assert_ne!(before, state_dict(&state.query), "the query encoder learns");
    }
}
