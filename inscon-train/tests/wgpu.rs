//! The pretraining smoke test on `wgpu`: `cargo xtask ci --gpu-software` runs it on Mesa's software
//! Vulkan.
#![cfg(feature = "wgpu")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "pretrain/fixture.rs"]
#[expect(dead_code, reason = "shared with the CPU tests")]
mod fixture;

use inscon_train::{Interrupt, RunDir, open_device, pretrain, read_metrics};

/// Six steps on the GPU, and the CPU's first loss within rounding: the same weights and views go
/// in, so that only the arithmetic differs.
#[test]
fn pretrains_as_the_cpu_does() {
    let dir = tempfile::tempdir().unwrap();
    let images = dir.path().join("images");
    fixture::write_images(&images, 16);
    let config = fixture::tiny(&images, &[]);
    let losses = |device: &str| -> Vec<f64> {
        let run = dir.path().join(device);
        let opened = open_device(device).unwrap();
        pretrain::run(&config, &run, &opened, &Interrupt::manual()).unwrap();
        let log = read_metrics(&RunDir::create(run.join("pretrain")).unwrap());
        log.iter()
            .map(|line| line["loss"].as_f64().unwrap())
            .collect()
    };
    let (gpu, cpu) = (losses("wgpu"), losses("cpu"));
    println!("wgpu {gpu:?}\ncpu  {cpu:?}");
    assert_eq!(gpu.len(), 6);
    assert!(gpu.iter().all(|loss| loss.is_finite()));
    // f32 sums in another order, through 20 layers of batch norm over few values.
    assert!(
        (gpu[0] - cpu[0]).abs() < 1e-3 * cpu[0].abs(),
        "{gpu:?} against {cpu:?}"
    );
}
