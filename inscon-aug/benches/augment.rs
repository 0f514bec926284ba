//! Criterion: each operation, each recipe and decoding, at 64, 224 and 448 px.
//!
//! Throughput is in images (or views, canvases) a second on one core. Sources are generated, with
//! a photograph's kind of detail; seeds are fixed. Operations in place get a fresh copy each time,
//! which is not measured; views are rendered with a kept [`ViewScratch`], as the loader does.

use std::hint::black_box;
use std::io::Cursor;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage};
use inscon_aug::{
    BBox, BlurKernel, ColorOp, Decoder, IMAGENET_MEAN, IMAGENET_STD, Permutation, PixelRegion,
    SampledView, ViewAugmentation, ViewScratch, crop_resize, gaussian_blur_with, grayscale,
    horizontal_flip, normalize_into, stitch_rgb, stream,
};
use ndarray::Array3;
use rand::Rng;

/// Sides of the views and the sizes of the images that they come from: thumbnails, photographs as
/// ImageNet and COCO have them after a resize, and twice that.
const SIZES: [(u32, [u32; 2]); 3] = [(64, [128, 128]), (224, [474, 392]), (448, [948, 784])];

/// Waves of several lengths and a little grain; the detail grows with the picture.
fn picture([width, height]: [u32; 2]) -> RgbImage {
    let mut rng = stream(0, &[]);
    let unit = 40.0 / width as f32;
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (x as f32 * unit, y as f32 * unit);
        let grain = rng.next_u32().to_le_bytes();
        let wave = |c: usize| {
            let k = 1.0 + 0.4 * c as f32;
            let slow = 70.0 * (0.3 * k * x + 0.2 * y).sin();
            let fast = 35.0 * (1.9 * x - k * y).sin() * (0.7 * y).cos();
            128.0 + slow + fast + f32::from(grain[c] % 8) - 3.5
        };
        Rgb([wave(0), wave(1), wave(2)].map(|v| v.clamp(0.0, 255.0) as u8))
    })
}

fn operations(c: &mut Criterion) {
    let mut group = c.benchmark_group("operation");
    group.throughput(Throughput::Elements(1));
    for (side, source) in SIZES {
        let img = picture([side, side]);
        let mut in_place = |name: &str, apply: &dyn Fn(&mut RgbImage)| {
            group.bench_function(BenchmarkId::new(name, side), |b| {
                b.iter_batched_ref(|| img.clone(), apply, BatchSize::SmallInput);
            });
        };
        let jitter = [
            ("brightness", ColorOp::Brightness(1.2)),
            ("contrast", ColorOp::Contrast(0.8)),
            ("saturation", ColorOp::Saturation(1.3)),
            ("hue", ColorOp::Hue(0.05)),
        ];
        for (name, op) in jitter {
            in_place(name, &|img| op.apply(img));
        }
        in_place("solarize", &|img| ColorOp::Solarize(128).apply(img));
        in_place("grayscale", &grayscale);
        let exact = BlurKernel::Exact {
            size: 2 * (side / 20) + 1,
        };
        for (name, sigma, kernel) in [
            ("blur, PIL's, sigma 0.9", 0.9, BlurKernel::Pil),
            ("blur, PIL's, sigma 1.8", 1.8, BlurKernel::Pil),
            ("blur, exact, a tenth of the side", 1.05, exact),
        ] {
            in_place(name, &|img| gaussian_blur_with(img, sigma, kernel));
        }
        in_place("flip", &horizontal_flip);

        // The four in a row, without the way from pixels to planes and back between them.
        let view = SampledView {
            colors: jitter.map(|(_, op)| op).into(),
            ..SampledView::plain([side, side], side, side)
        };
        render(&mut group, "jitter, of a view", side, &img, &[view]);
        let view = SampledView::plain([side, side], side, side);
        render(&mut group, "nothing, of a view", side, &img, &[view]);

        let large = picture(source);
        let s = side as f32;
        let crop = BBox::new(10.0, 20.0, 10.0 + 1.4 * s, 20.0 + 1.2 * s);
        group.bench_function(BenchmarkId::new("crop and resize", side), |b| {
            b.iter(|| crop_resize(black_box(&large), &crop, side, side));
        });
        let mut out = Array3::zeros((3, side as usize, side as usize));
        group.bench_function(BenchmarkId::new("normalize", side), |b| {
            b.iter(|| {
                normalize_into(black_box(&img), IMAGENET_MEAN, IMAGENET_STD, out.view_mut());
            });
        });
        let tiles = vec![img.clone(); 4];
        let order = Permutation::random(4, &mut stream(1, &[]));
        group.bench_function(BenchmarkId::new("stitch, 2 x 2", side), |b| {
            b.iter(|| stitch_rgb(black_box(&tiles), &order, 2, side));
        });
    }
    group.finish();
}

type Group<'a> = criterion::BenchmarkGroup<'a, criterion::measurement::WallTime>;

/// The views in turn, into memory that is there.
fn render(group: &mut Group<'_>, name: &str, side: u32, image: &RgbImage, views: &[SampledView]) {
    let region = PixelRegion::from(image);
    let mut scratch = ViewScratch::new();
    let mut out = Array3::zeros((side as usize, side as usize, 3));
    let mut next = views.iter().cycle();
    group.bench_function(BenchmarkId::new(name, side), |b| {
        b.iter(|| {
            let view = next.next().expect("a cycle has no end");
            view.render(black_box(&region), &mut scratch, out.view_mut());
        });
    });
}

fn recipes(c: &mut Criterion) {
    let mut group = c.benchmark_group("recipe");
    group.throughput(Throughput::Elements(1));
    for (side, [width, height]) in SIZES {
        let source = picture([width, height]);
        let [first, second] = ViewAugmentation::byol(side);
        for (name, recipe) in [
            ("moco_v1", ViewAugmentation::moco_v1(side)),
            ("moco_v2", ViewAugmentation::moco_v2(side)),
            ("simclr", ViewAugmentation::simclr(side)),
            ("byol, view 1", first),
            ("byol, view 2", second),
        ] {
            // Many views, so that the mean is that of the random policy.
            let views: Vec<SampledView> = (0..512)
                .map(|i| recipe.sample(&mut stream(0, &[i]), width, height))
                .collect();
            render(&mut group, name, side, &source, &views);
        }
    }
    group.finish();
}

fn decoding(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(1));
    for (side, size) in SIZES {
        let mut bytes = Cursor::new(Vec::new());
        JpegEncoder::new_with_quality(&mut bytes, 90)
            .encode_image(&picture(size))
            .expect("the image encodes");
        let bytes = bytes.into_inner();
        let [width, height] = size.map(|v| v as f32);
        let whole = BBox::new(0.0, 0.0, width, height);
        // Half of each side, off the middle.
        let half = BBox::new(0.3 * width, 0.2 * height, 0.8 * width, 0.7 * height);
        let mut decoder = Decoder::new();
        for (name, region, denominator) in [
            ("whole", whole, 1),
            ("region of a quarter", half, 1),
            ("whole, scaled by 1/2", whole, 2),
            ("whole, scaled by 1/8", whole, 8),
        ] {
            let id = BenchmarkId::new(format!("{name}, for {side} px"), bytes.len());
            group.bench_function(id, |b| {
                b.iter(|| {
                    let decoded = decoder.decode_region(black_box(&bytes), &region, denominator);
                    decoded.expect("the image decodes").pixels.len()
                });
            });
        }
    }
    group.finish();
}

criterion_group!(
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800));
    targets = operations, recipes, decoding
);
criterion_main!(benches);
