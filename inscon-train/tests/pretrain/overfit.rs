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

/// Without queues, which would hold earlier keys of the very images: eight ways to choose among.
#[test]
fn eight_images() {
    let dir = tempfile::tempdir().unwrap();
    let (images, run) = (dir.path().join("images"), dir.path().join("run"));
    write_images(&images, 8);
    let config = tiny(
        &images,
        &[
            "pretrain.epochs=150",
            "pretrain.negatives=\"batch\"",
            "pretrain.cell.queue=false",
            "pretrain.bn_groups=1",
            "pretrain.lr=0.1",
            "pretrain.schedule={kind=\"cosine\"}",
            "pretrain.checkpoint_every=1000",
            "data.workers=2",
            "data.cache=true",
        ],
    );
    pretrain_to_the_end(&config, &run).unwrap();
    let lines = read_metrics(&RunDir::create(run.join("pretrain")).unwrap());
    let (start, end) = (&lines[..5], &lines[lines.len() - 20..]);
    for name in ["loss", "instance", "cell"] {
        let (start, end) = (mean(start, name), mean(end, name));
        assert!(end < 0.5 * start, "{name} fell from {start} to {end} only");
    }
    assert!(mean(end, "top1") > 0.9, "top-1 {}", mean(end, "top1"));
}
