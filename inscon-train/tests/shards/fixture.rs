//! Folders of made-up images, and reading them back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use inscon_train::Interrupt;
use inscon_train::data::{
    RetryPolicy, SampleSource, ShardOptions, ShardSource, Shuffle, epoch_order,
};
use inscon_train::pack::{PackArgs, ShardSize, pack};

/// A folder of files and the shards packed from it.
pub(crate) struct Fixture {
    pub(crate) dir: tempfile::TempDir,
    /// Names and bytes, in the order of the folder.
    pub(crate) images: Vec<(String, Vec<u8>)>,
}

/// Bytes that tell images and places in them apart.
pub(crate) fn bytes_of(image: usize, length: usize) -> Vec<u8> {
    let mut state = image as u32 ^ 0x9e37_79b9;
    let byte = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(byte).collect()
}

impl Fixture {
    /// `images` files of up to `most` bytes in two folders, and shards of `size` of them.
    pub(crate) fn new(images: usize, most: usize, size: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut all = Vec::new();
        for image in 0..images {
            let folder = if image < images / 3 { "a" } else { "b.1" };
            let name = format!("{folder}/{image:05}.jpg");
            // Empty ones and whole blocks among them.
            let length = match image % 7 {
                0 => image % 2 * 512,
                _ => (image * 7919) % most,
            };
            all.push((name, bytes_of(image, length)));
        }
        for (name, bytes) in &all {
            let path = dir.path().join("photos").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        let fixture = Self { dir, images: all };
        let packed = pack(&fixture.args(size), &Interrupt::default()).unwrap();
        assert!(packed.is_complete);
        assert_eq!(
            (packed.images, packed.shards),
            (images, images.div_ceil(size))
        );
        fixture
    }

    pub(crate) fn args(&self, size: usize) -> PackArgs {
        PackArgs {
            images: self.dir.path().join("photos"),
            out: self.shards(),
            name: "train".into(),
            shard_size: ShardSize::Images(size),
            shuffle: None,
        }
    }

    pub(crate) fn shards(&self) -> PathBuf {
        self.dir.path().join("shards")
    }

    pub(crate) fn drop_index(&self) {
        std::fs::remove_file(self.shards().join("train.index.jsonl")).unwrap();
    }

    /// Reads what `order` says on `threads` threads and compares it with the folder.
    pub(crate) fn read_all(&self, source: &dyn SampleSource, order: &[u32], threads: usize) {
        let next = std::sync::atomic::AtomicUsize::new(0);
        let work = || {
            let mut bytes = Vec::new();
            loop {
                let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let Some(&sample) = order.get(at) else {
                    return;
                };
                source.read(sample as usize, &mut bytes).unwrap();
                let (name, known) = &self.images[sample as usize];
                assert!(source.name(sample as usize).ends_with(name));
                assert!(bytes == *known, "{name}");
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(work);
            }
        });
    }
}

/// Options that fail quickly.
pub(crate) fn quick(read_ahead: u64) -> ShardOptions {
    ShardOptions {
        read_ahead,
        retry: RetryPolicy {
            first_pause: Duration::from_millis(5),
            longest_pause: Duration::from_millis(40),
            stall: Duration::from_millis(400),
            give_up: Duration::from_secs(20),
            give_up_opening: Duration::from_secs(5),
        },
        ..ShardOptions::default()
    }
}

pub(crate) fn open(pattern: &str, options: &ShardOptions) -> ShardSource {
    ShardSource::open(pattern, options).unwrap()
}

pub(crate) fn text(path: &Path) -> String {
    path.display().to_string()
}

/// The order of an epoch through a buffer of `size`.
pub(crate) fn buffered(source: &dyn SampleSource, epoch: u64, size: usize) -> Arc<[u32]> {
    epoch_order(11, epoch, source.groups(), Shuffle::Buffer { size }).into()
}
