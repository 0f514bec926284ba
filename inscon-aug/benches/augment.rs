//! Criterion: each pixel operation at 64 and 224 px, the MoCo v2 preset, decoding.
//!
//! Throughput is in views (or images) a second on one core. Sources are noise; seeds are fixed.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use image::{Rgb, RgbImage};
use inscon_aug::{
    BBox, ColorOp, IMAGENET_MEAN, IMAGENET_STD, SampledView, ViewAugmentation, crop_resize,
    decode_rgb, gaussian_blur, grayscale, horizontal_flip, normalize_into, stream,
};
use ndarray::Array3;
use rand::Rng;

fn noise(width: u32, height: u32) -> RgbImage {
    let mut rng = stream(0, &[]);
    RgbImage::from_fn(width, height, |_, _| {
        let [r, g, b, ..] = rng.next_u32().to_le_bytes();
        Rgb([r, g, b])
    })
}

fn operations(c: &mut Criterion) {
    let mut group = c.benchmark_group("operation");
    group.throughput(Throughput::Elements(1));
    for side in [64u32, 224] {
        let mut in_place = |name: &str, apply: &dyn Fn(&mut RgbImage)| {
            let mut img = noise(side, side);
            group.bench_function(BenchmarkId::new(name, side), |b| b.iter(|| apply(&mut img)));
        };
        in_place("brightness", &|img| ColorOp::Brightness(0.97).apply(img));
        in_place("contrast", &|img| ColorOp::Contrast(0.97).apply(img));
        in_place("saturation", &|img| ColorOp::Saturation(1.1).apply(img));
        in_place("hue", &|img| ColorOp::Hue(0.05).apply(img));
        in_place("grayscale", &grayscale);
        in_place("blur sigma 0.9", &|img| gaussian_blur(img, 0.9));
        in_place("blur sigma 1.8", &|img| gaussian_blur(img, 1.8));
        in_place("flip", &horizontal_flip);

        let source = noise(2 * side, 2 * side);
        let s = side as f32;
        let crop = BBox::new(10.0, 20.0, 10.0 + 1.4 * s, 20.0 + 1.2 * s);
        group.bench_function(BenchmarkId::new("crop_resize", side), |b| {
            b.iter(|| crop_resize(black_box(&source), &crop, side, side));
        });
        let img = noise(side, side);
        let mut out = Array3::zeros((3, side as usize, side as usize));
        group.bench_function(BenchmarkId::new("normalize", side), |b| {
            b.iter(|| normalize_into(&img, IMAGENET_MEAN, IMAGENET_STD, out.view_mut()));
        });
    }
    group.finish();
}

fn presets(c: &mut Criterion) {
    let mut group = c.benchmark_group("moco_v2");
    group.throughput(Throughput::Elements(1));
    for (side, source_side) in [(64u32, 128u32), (224, 500)] {
        let source = noise(source_side, source_side);
        let augmentation = ViewAugmentation::moco_v2(side);
        // Many views, so that the mean is that of the random policy.
        let views: Vec<SampledView> = (0..512)
            .map(|i| augmentation.sample(&mut stream(0, &[i]), source_side, source_side))
            .collect();
        let mut out = Array3::zeros((3, side as usize, side as usize));
        let mut next = views.iter().cycle();
        let id = BenchmarkId::new(format!("from {source_side} px"), side);
        group.bench_function(id, |b| {
            b.iter(|| {
                let view = next.next().expect("a cycle has no end");
                let pixels = view.apply_rgb(&source);
                normalize_into(&pixels, augmentation.mean, augmentation.std, out.view_mut());
            });
        });
    }
    group.finish();
}

fn decoding(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(1));
    for side in [128u32, 500] {
        // Smooth, as photographs mostly are.
        let img = RgbImage::from_fn(side, side, |x, y| {
            let wave =
                |k: f32| (128.0 + 100.0 * (x as f32 * 0.05 * k + y as f32 * 0.03).sin()) as u8;
            Rgb([wave(1.0), wave(1.7), wave(2.3)])
        });
        let mut bytes = std::io::Cursor::new(Vec::new());
        img.write_to(&mut bytes, image::ImageFormat::Jpeg)
            .expect("the image encodes");
        let bytes = bytes.into_inner();
        group.bench_function(BenchmarkId::new("jpeg", side), |b| {
            b.iter(|| decode_rgb(black_box(&bytes)));
        });
    }
    group.finish();
}

criterion_group!(
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1));
    targets = operations, presets, decoding
);
criterion_main!(benches);
