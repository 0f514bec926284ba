//! One pretraining for several detection sets.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::DONE;
use crate::config::ExperimentConfig;
use crate::{RunDir, say};

/// What a run takes over: all that later phases and the report read.
const FILES: [&str; 3] = ["backbone.safetensors", "metrics.jsonl", DONE];

/// Takes the finished pretraining of the run folder `from` instead of doing it again: its files are
/// copied to `run/pretrain`, `done.json` last. Nothing is done when that is there already.
///
/// # Errors
/// When `from` holds no finished pretraining, or one by other images or another way of
/// reading them, another seed, `weights`, `[model]`
/// or `[pretrain]`; the message names the section.
pub fn adopt(config: &ExperimentConfig, from: &Path, run: &Path) -> Result<()> {
    let dir = RunDir::create(run.join("pretrain"))?;
    if dir.file(DONE).exists() {
        return Ok(());
    }
    let source = from.join("pretrain");
    if !source.join(DONE).exists() {
        bail!(
            "{} holds no finished pretraining: finish it, or leave --from out",
            source.display()
        );
    }
    let recipe = from.join("recipe.toml");
    let theirs = ExperimentConfig::load(&recipe, None, &[])?;
    let (a, b) = (&theirs, config);
    let differs = [
        ("seed", a.seed != b.seed),
        ("weights", a.weights != b.weights),
        ("[model]", a.model != b.model),
        ("[pretrain]", a.pretrain != b.pretrain),
        ("data.source", a.data.source != b.data.source),
        (
            "data.scenes",
            (&a.data.scenes, a.data.scenes_seed) != (&b.data.scenes, b.data.scenes_seed),
        ),
        (
            "data.pretrain_images",
            a.data.pretrain_images != b.data.pretrain_images,
        ),
        (
            "data.max_pretrain_images",
            a.data.max_pretrain_images != b.data.max_pretrain_images,
        ),
    ];
    let data = [
        (
            "data.pretrain_json",
            a.data.pretrain_json != b.data.pretrain_json,
        ),
        (
            "data.pretrain_voc",
            a.data.pretrain_voc != b.data.pretrain_voc,
        ),
        (
            "data.pretrain_shards",
            a.data.pretrain_shards != b.data.pretrain_shards,
        ),
        ("data.shuffle", a.data.shuffle != b.data.shuffle),
        ("data.shard_size", a.data.shard_size != b.data.shard_size),
        (
            "data.jpeg_scaling",
            a.data.scales_jpegs() != b.data.scales_jpegs(),
        ),
        (
            "data.max_image_mib",
            a.data.max_image_mib != b.data.max_image_mib,
        ),
    ];
    let mut differs = differs.iter().chain(&data);
    if let Some((what, _)) = differs.find(|(_, differs)| *differs) {
        bail!(
            "{} was pretrained with another {what} than this recipe's: make them agree, or leave \
             --from out",
            from.display()
        );
    }
    for name in FILES {
        let bytes = fs::read(source.join(name))
            .with_context(|| format!("cannot read {}", source.join(name).display()))?;
        crate::write_whole(&dir.file(name), |file| {
            std::io::Write::write_all(file, &bytes)
        })?;
    }
    say(&format!("took the pretraining of {}", from.display()));
    Ok(())
}
