//! Cell grid and correspondence: identical crops, flips, far crops.

mod reference;
mod support;

use burn::tensor::{Bool, Device, Tensor};
use inscon_loss::{CellLossConfig, Correspondence, Matching, cell_centers, cell_distance};
use proptest::prelude::*;
use reference::View;
use support::{assert_close, numbers, views};

const SIDE: usize = 7;
const CELLS: usize = SIDE * SIDE;

fn view(x0: f64, y0: f64, width: f64, height: f64, flip: bool) -> View {
    View {
        x0,
        y0,
        x1: x0 + width,
        y1: y0 + height,
        flip,
    }
}

fn any_view() -> impl Strategy<Value = View> {
    (
        0.0..500.0,
        0.0..500.0,
        20.0..400.0,
        20.0..400.0,
        any::<bool>(),
    )
        .prop_map(|(x0, y0, width, height, flip)| view(x0, y0, width, height, flip))
}

fn flags(x: &Tensor<3, Bool>) -> Vec<bool> {
    x.clone().into_data().iter::<bool>().collect()
}

fn correspond(config: &CellLossConfig, query: View, key: View) -> Correspondence {
    let device = Device::flex();
    Correspondence::new(
        config,
        &views(&[query], &device),
        &views(&[key], &device),
        SIDE,
        None,
    )
}

#[test]
fn identical_crops_match_exactly_the_same_cell() {
    let crop = view(10.0, 20.0, 224.0, 224.0, false);
    let device = Device::flex();
    let d = numbers(&cell_distance(
        &views(&[crop], &device),
        &views(&[crop], &device),
        SIDE,
    ));
    for a in 0..CELLS {
        for b in 0..CELLS {
            let steps = (a % SIDE).abs_diff(b % SIDE) + (a / SIDE).abs_diff(b / SIDE);
            match steps {
                0 => assert_eq!(d[a * CELLS + b], 0.0),
                1 => assert_close(
                    "4-neighbour",
                    f64::from(d[a * CELLS + b]),
                    std::f64::consts::FRAC_1_SQRT_2,
                    1e-6,
                ),
                _ => assert!(d[a * CELLS + b] > 0.99),
            }
        }
    }
    let same = |threshold| {
        let config = CellLossConfig {
            positive_below: threshold,
            ..CellLossConfig::default()
        };
        flags(&correspond(&config, crop, crop).positive)
    };
    let identity: Vec<bool> = (0..CELLS * CELLS).map(|i| i / CELLS == i % CELLS).collect();
    assert_eq!(same(0.7), identity);
    // Just above 0.7071 the 4-neighbours come in: 49 cells and 2·84 ordered neighbour pairs.
    assert_eq!(same(0.71).iter().filter(|&&x| x).count(), 49 + 168);
}

#[test]
fn a_flip_mirrors_the_matches() {
    let crop = view(0.0, 0.0, 224.0, 224.0, false);
    let config = CellLossConfig::default();
    let matches = flags(&correspond(&config, crop, View { flip: true, ..crop }).positive);
    for a in 0..CELLS {
        let mirrored = a / SIDE * SIDE + (SIDE - 1 - a % SIDE);
        for b in 0..CELLS {
            assert_eq!(matches[a * CELLS + b], b == mirrored, "cells {a} and {b}");
        }
    }
}

#[test]
fn far_apart_crops_have_no_positive_and_only_far_cells() {
    let (left, right) = (
        view(0.0, 0.0, 100.0, 80.0, false),
        view(300.0, 0.0, 100.0, 80.0, true),
    );
    let far = correspond(&CellLossConfig::default(), left, right);
    assert!(flags(&far.positive).iter().all(|x| !x));
    assert!(flags(&far.counted).iter().all(|&x| x));
    let off = CellLossConfig {
        far_cells: false,
        ..CellLossConfig::default()
    };
    assert!(
        flags(&correspond(&off, left, right).counted)
            .iter()
            .all(|x| !x)
    );
}

#[test]
fn densecl_takes_the_largest_cosine_not_the_largest_product() {
    let device = Device::flex();
    let query =
        Tensor::<3>::from_floats([[[1.0, 0.2], [0.0, 5.0], [3.0, 3.0], [-1.0, 0.0]]], &device);
    let key =
        Tensor::<3>::from_floats([[[9.0, 9.0], [0.1, 0.0], [0.0, 0.2], [-2.0, 0.1]]], &device);
    let crop = views(&[view(0.0, 0.0, 10.0, 10.0, false)], &device);
    let config = CellLossConfig {
        matching: Matching::Densecl,
        ..CellLossConfig::densecl()
    };
    let got = flags(&Correspondence::new(&config, &crop, &crop, 2, Some((query, key))).positive);
    let best: Vec<usize> = got
        .chunks(4)
        .map(|row| row.iter().position(|&x| x).expect("one match"))
        .collect();
    assert_eq!(best, [1, 2, 0, 3]);
    assert_eq!(got.iter().filter(|&&x| x).count(), 4);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn centres_agree_with_the_formula(crop in any_view(), side in 1usize..9) {
        let got = numbers(&cell_centers(&views(&[crop], &Device::flex()), side));
        for (i, got) in got.chunks(2).enumerate() {
            let (x, y) = reference::center(crop, side, i % side, i / side);
            assert_close("x", f64::from(got[0]), x, 1e-6);
            assert_close("y", f64::from(got[1]), y, 1e-6);
        }
    }

    #[test]
    fn flipping_both_views_mirrors_both_axes(query in any_view(), key in any_view()) {
        let device = Device::flex();
        let mirror = |v: View| View { flip: !v.flip, ..v };
        let distance = |q, k| numbers(&cell_distance(&views(&[q], &device), &views(&[k], &device), 3));
        let plain = distance(query, key);
        let mirrored = distance(mirror(query), mirror(key));
        let across = |cell: usize| cell / 3 * 3 + 2 - cell % 3;
        for a in 0..9 {
            for b in 0..9 {
                let (got, want) = (mirrored[across(a) * 9 + across(b)], plain[a * 9 + b]);
                assert_close("distance", f64::from(got), f64::from(want), 2e-5);
            }
        }
    }

    #[test]
    fn distance_is_symmetric_in_the_views(query in any_view(), key in any_view()) {
        let device = Device::flex();
        let (q, k) = (views(&[query], &device), views(&[key], &device));
        let forth = numbers(&cell_distance(&q, &k, 4));
        let back = numbers(&cell_distance(&k, &q, 4).swap_dims(1, 2));
        prop_assert_eq!(forth, back);
    }
}
