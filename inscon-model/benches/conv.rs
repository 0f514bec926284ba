//! The kernels of convolution (elements are floating-point operations), batch norm and max pooling.
#![allow(missing_docs)] // the macros of criterion

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use inscon_model::op::kernel::{Affine, ConvShape, Cpu, NormShape, PoolShape};

/// Values around 0, without a random generator.
fn noise(len: usize) -> Vec<f32> {
    (0..len as u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 8) as f32 / (1u32 << 23) as f32 - 1.0)
        .collect()
}

fn conv(
    images: usize,
    channels: [usize; 2],
    size: usize,
    kernel: usize,
    stride: usize,
) -> ConvShape {
    ConvShape {
        input: channels[0],
        output: channels[1],
        size: [size; 2],
        stride: [stride; 2],
        padding: [kernel / 2; 2],
        ..ConvShape::new(images, [kernel; 2])
    }
}

fn convolution(c: &mut Criterion) {
    let cpu = Cpu::detect();
    let shapes = [
        conv(32, [64, 64], 16, 3, 1),
        conv(32, [256, 256], 4, 3, 1),
        conv(8, [64, 256], 56, 1, 1),
        conv(32, [3, 64], 64, 7, 2),
        conv(32, [64, 128], 16, 3, 2),
        conv(16, [512, 512], 7, 3, 1),
    ];
    for pass in ["forward", "input_gradient", "weight_gradient"] {
        let mut group = c.benchmark_group(pass);
        group.sample_size(20);
        for shape in &shapes {
            let ([kernel, _], [size, _]) = (shape.kernel, shape.size);
            let [rows, columns] = shape.output_size();
            let mut x = noise(shape.images * shape.input * size * size);
            let mut weight = noise(shape.output * shape.input * kernel * kernel);
            let mut y = noise(shape.images * shape.output * rows * columns);
            let id = BenchmarkId::from_parameter(format!(
                "{}→{} {kernel}×{kernel} s{} @{size}² N={}",
                shape.input, shape.output, shape.stride[0], shape.images
            ));
            group.throughput(Throughput::Elements(shape.operations() as u64));
            group.bench_function(id, |b| {
                b.iter(|| match pass {
                    "forward" => cpu.conv2d_forward(shape, &x, &weight, None, &mut y),
                    "input_gradient" => cpu.conv2d_input_gradient(shape, &weight, &y, &mut x),
                    _ => cpu.conv2d_weight_gradient(shape, &x, &y, &mut weight),
                });
            });
        }
    }
}

/// Elements are values.
fn batch_norm(c: &mut Criterion) {
    let cpu = Cpu::detect();
    let shape = NormShape {
        images: 16,
        channels: 64,
        plane: 56 * 56,
        groups: 1,
    };
    let len = shape.images * shape.channels * shape.plane;
    let (x, mut y, slope) = (noise(len), noise(len), noise(shape.channels));
    let affine = Affine {
        scale: &slope,
        shift: &slope,
    };
    let mut group = c.benchmark_group("batch_norm, ReLU, 64 channels @56² N=16");
    group.throughput(Throughput::Elements(len as u64));
    group.bench_function("forward", |b| {
        b.iter(|| {
            let statistics = cpu.batch_statistics(&shape, &x);
            cpu.affine(&shape, &x, affine, None, true, &mut y);
            statistics
        });
    });
    let (mean, _) = cpu.batch_statistics(&shape, &x);
    let gradient = noise(len);
    // The gradient is changed in place, so each run starts from a copy that is not timed.
    group.bench_function("backward", |b| {
        b.iter_batched(
            || gradient.clone(),
            |mut dy| {
                let sums = cpu.norm_sums(&shape, &x, &mean, Some(&y), &dy);
                cpu.norm_gradient(&shape, &x, &mean, &slope, affine, Some(&y), &mut dy);
                (sums, dy)
            },
            BatchSize::LargeInput,
        );
    });
}

/// Elements are values of the input.
fn max_pool(c: &mut Criterion) {
    let cpu = Cpu::detect();
    let shape = PoolShape {
        planes: 16 * 64,
        size: [56, 56],
        kernel: [3, 3],
        stride: [2, 2],
        padding: [1, 1],
    };
    let [rows, columns] = shape.output_size();
    let mut x = noise(shape.planes * 56 * 56);
    let mut y = vec![0.0; shape.planes * rows * columns];
    let mut group = c.benchmark_group("max_pool 3×3 s2, 64 channels @56² N=16");
    group.throughput(Throughput::Elements(x.len() as u64));
    group.bench_function("forward", |b| b.iter(|| cpu.max_pool2d(&shape, &x, &mut y)));
    let sources = cpu.max_pool2d(&shape, &x, &mut y);
    group.bench_function("backward", |b| {
        b.iter(|| cpu.max_pool2d_gradient(&shape, &sources, &y, &mut x));
    });
}

criterion_group!(benches, convolution, batch_norm, max_pool);
criterion_main!(benches);
