//! Eight pictures are learnt by heart.

use inscon_train::{RunDir, read_metrics};

use crate::fixture::{pretrain_to_the_end, tiny, write_images};

/// Mean of a column of `metrics.jsonl` over some of its lines.
fn mean(lines: &[serde_json::Value], name: &str) -> f64 {
    lines
        .iter()
        .map(|line| line[name].as_f64().unwrap())
        .sum::<f64>()
        / lines.len() as f64
}

/// 150 steps on eight images, without queues, which would hold earlier keys of the very images, and
/// without colour changes: eight ways to choose among. The mean loss of the last 20 steps must have
/// fallen below `share` of the first five's, and the right image be first in `top1` of the cases.
fn check(sets: &[&str], share: f64, top1: f64) {
    let dir = tempfile::tempdir().unwrap();
    let (images, run) = (dir.path().join("images"), dir.path().join("run"));
    write_images(&images, 8);
    let mut all = vec![
        "pretrain.epochs=150",
        "pretrain.negatives=\"batch\"",
        "pretrain.cell.queue=false",
        "pretrain.bn_groups=1",
        "pretrain.lr=0.1",
        "pretrain.schedule={kind=\"cosine\"}",
        "pretrain.augmentation={scale=[0.6,1.0],grayscale_p=0.0,jitter={p=0.0},blur={p=0.0}}",
        "pretrain.checkpoint_every=1000",
        "data.workers=2",
        "data.cache=true",
    ];
    all.extend(sets);
    pretrain_to_the_end(&tiny(&images, &all), &run).unwrap();
    let lines = read_metrics(&RunDir::create(run.join("pretrain")).unwrap());
    let (start, end) = (&lines[..5], &lines[lines.len() - 20..]);
    for name in ["loss", "instance"] {
        let (start, end) = (mean(start, name), mean(end, name));
        assert!(
            end < share * start,
            "{name} fell from {start} to {end} only"
        );
    }
    assert!(mean(end, "top1") > top1, "top-1 is {}", mean(end, "top1"));
}

#[test]
fn one_instance_a_canvas() {
    check(&["pretrain.grid=1", "pretrain.lambda=0.0"], 0.2, 0.95);
}

/// On canvases a tile's feature holds something of its neighbours', which are others in the key:
/// harder, the more so the smaller the tile.
#[test]
fn four_instances_a_canvas() {
    check(&["pretrain.tile=64"], 0.5, 0.7);
}
