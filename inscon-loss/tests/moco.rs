//! Grid 1, λ 0 is MoCo v2: an independent form of its loss, value and gradient.

mod reference;
mod support;

use burn::tensor::{Device, Tensor, activation::log_softmax};
use inscon_loss::{InsConInput, InsConLoss, InsConLossConfig};
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use reference::unit_rows;
use support::{assert_close, matrix, number, numbers};

/// `moco/builder.py`: cross-entropy of [l_pos, l_neg] / T with label 0.
fn moco_v2(query: Tensor<2>, key: Tensor<2>, queue: Tensor<2>, temperature: f32) -> Tensor<1> {
    let positive = (query.clone() * key).sum_dim(1);
    let negative = query.matmul(queue.transpose());
    let logits = Tensor::cat(vec![positive, negative], 1) / temperature;
    log_softmax(logits, 1).narrow(1, 0, 1).mean().neg()
}

#[test]
fn grid_1_without_cells_is_moco_v2() {
    let device = Device::flex().autodiff();
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
    for (tiles, dim, queue) in [(1, 2, 1), (4, 8, 16), (32, 128, 1024)] {
        let rows = |rng: &mut _, rows| matrix(&unit_rows(rng, rows, dim), &device);
        let (key, queue) = (rows(&mut rng, tiles), rows(&mut rng, queue));
        let query = rows(&mut rng, tiles).require_grad();
        let other = query.clone().detach().require_grad();

        let out = InsConLoss::new(InsConLossConfig::moco_v2()).forward(
            InsConInput {
                query: query.clone(),
                key: key.clone(),
                queue: Some(queue.clone()),
                cells: None,
            },
            0.0,
        );
        let want = moco_v2(other.clone(), key, queue, 0.2);

        assert_close("loss", number(&out.total), number(&want), 1e-6);
        let got = numbers(&query.grad(&out.total.backward()).unwrap());
        let want = numbers(&other.grad(&want.backward()).unwrap());
        for (got, want) in got.into_iter().zip(want) {
            assert_close("slope", f64::from(got), f64::from(want), 1e-6);
        }
    }
}

#[test]
fn a_perfect_encoder_has_top1_1_and_a_collapsed_one_0() {
    let device = Device::flex();
    let loss = InsConLoss::new(InsConLossConfig::moco_v2());
    let run = |query: [[f32; 2]; 2], key: [[f32; 2]; 2], queue: [[f32; 2]; 2]| {
        let tensor = |x| Tensor::<2>::from_floats(x, &device);
        let input = InsConInput {
            query: tensor(query),
            key: tensor(key),
            queue: Some(tensor(queue)),
            cells: None,
        };
        loss.forward(input, 0.0).stats
    };
    let (x, y) = ([1.0, 0.0], [0.0, 1.0]);
    let perfect = run([x, y], [x, y], [[-1.0, 0.0], [0.0, -1.0]]);
    assert_eq!(number(&perfect.top1), 1.0);
    assert_eq!(number(&perfect.feature_std), 0.5);
    let collapsed = run([x, x], [x, x], [x, x]);
    assert_eq!(number(&collapsed.top1), 0.0);
    assert_eq!(number(&collapsed.top5), 1.0);
    assert_eq!(number(&collapsed.feature_std), 0.0);
}

#[test]
#[should_panic(expected = "query [4, 8] and key [4, 6] must agree")]
fn shapes_that_disagree_panic_with_both() {
    let device = Device::flex();
    let input = InsConInput {
        query: Tensor::ones([4, 8], &device),
        key: Tensor::ones([4, 6], &device),
        queue: Some(Tensor::ones([4, 8], &device)),
        cells: None,
    };
    InsConLoss::new(InsConLossConfig::moco_v2()).forward(input, 0.0);
}
