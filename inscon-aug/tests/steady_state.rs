//! What is allocated from view to view: nothing, from JPEG to pixels, once the largest was there.
//!
//! One test alone, as the allocations of the whole program are counted.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use inscon_aug::{Decoder, SampledView, ViewAugmentation, ViewScratch, stream};
use ndarray::Array3;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// A side of the views.
const SIDE: u32 = 48;

/// Sequential and progressive, grey, with restart markers, turned.
const FILES: [&str; 7] = [
    "jpeg/420.jpg",
    "jpeg/420_progressive.jpg",
    "jpeg/restart_1.jpg",
    "jpeg/grey.jpg",
    "jpeg/separate_scans.jpg",
    "decode/orientation6.jpg",
    "decode/progressive.jpg",
];

#[test]
fn decoding_and_rendering_a_jpeg_allocates_nothing() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let files = FILES.map(|name| fs::read(folder.join(name)).unwrap());
    let mut decoder = Decoder::new();
    let [first, second] = ViewAugmentation::byol(SIDE);
    let policies = [
        ViewAugmentation::moco_v1(SIDE),
        ViewAugmentation::moco_v2(SIDE),
        first,
        second,
    ];
    let mut views: Vec<(usize, SampledView)> = Vec::new();
    for i in 0..400 {
        let file = i % files.len();
        let [width, height] = decoder.size(&files[file]).unwrap();
        let mut rng = stream(3, &[i as u64]);
        views.push((file, policies[i % 4].sample(&mut rng, width, height)));
    }
    let mut scratch = ViewScratch::new();
    let mut pixels = Array3::zeros((SIDE as usize, SIDE as usize, 3));
    let mut render_all = || {
        for (file, view) in &views {
            let region = decoder.decode_region(&files[*file], &view.crop, view.denominator());
            view.render(&region.unwrap(), &mut scratch, pixels.view_mut());
        }
    };
    render_all();
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    render_all();
    // No allocation, however short-lived, leaves the peak where it was.
    assert_eq!(MEMORY.peak_usage(), before);
    assert_eq!(MEMORY.current_usage(), before);
}
