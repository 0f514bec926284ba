//! A real S3-compatible server with a failing line before it, by hand: see `faulty_proxy.py`.
//!
//! ```text
//! AWS_ENDPOINT_URL=http://127.0.0.1:5106 AWS_ACCESS_KEY_ID=S3RVER AWS_SECRET_ACCESS_KEY=S3RVER \
//! AWS_ALLOW_HTTP=true INSCON_SHARDS='s3://data/*.tar' INSCON_PHOTOS=photos \
//!     cargo test -p inscon-train --test shards real_server -- --ignored --nocapture
//! ```

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use inscon_train::data::{SampleSource, ShardOptions};

use crate::fixture::{buffered, open};

/// Two epochs: each photograph of the folder `INSCON_PHOTOS` arrives once an epoch with the bytes
/// that its file has, whatever happens to the connections to `INSCON_SHARDS`.
#[test]
#[ignore = "needs a server: INSCON_SHARDS and INSCON_PHOTOS"]
fn everything_arrives_once() {
    let variable = |name| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let (shards, photos) = (
        variable("INSCON_SHARDS"),
        PathBuf::from(variable("INSCON_PHOTOS")),
    );
    let began = Instant::now();
    let source = open(&shards, &ShardOptions::default());
    println!("{} samples, listed in {:?}", source.len(), began.elapsed());
    let on_disk = walk(&photos);
    assert_eq!(source.len(), on_disk);
    for epoch in 0..2 {
        let before = source.statistics();
        let order = buffered(&source, epoch, 2000);
        source.plan(order.clone());
        let (next, seen) = (AtomicUsize::new(0), Mutex::new(vec![0u8; source.len()]));
        let began = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut bytes = Vec::new();
                    while let Some(&sample) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                        source.read(sample as usize, &mut bytes).unwrap();
                        let name = source.name(sample as usize);
                        let (_, path) = name.split_once(".tar/").unwrap();
                        assert!(bytes == std::fs::read(photos.join(path)).unwrap(), "{name}");
                        seen.lock().unwrap()[sample as usize] += 1;
                    }
                });
            }
        });
        assert!(seen.into_inner().unwrap().iter().all(|&times| times == 1));
        let spent = source.statistics().since(&before);
        let rate = spent.bytes as f64 / 1e6 / began.elapsed().as_secs_f64();
        println!("epoch {epoch}: {rate:.1} MB/s, {spent:?}");
    }
}

/// Files below a folder.
fn walk(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .map(|path| if path.is_dir() { walk(&path) } else { 1 })
        .sum()
}
