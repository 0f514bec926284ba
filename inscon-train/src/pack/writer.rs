//! One shard, under a temporary name until it is whole.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tar::{Builder, Header};

use crate::data::ShardIndex;

/// Writes a shard.
pub(super) struct ShardWriter {
    path: PathBuf,
    temporary: PathBuf,
    builder: Builder<Counted>,
    samples: Vec<(String, u64, u32)>,
}

/// A file and the bytes written to it.
struct Counted {
    file: BufWriter<File>,
    bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// What a shard is called until it is whole.
fn temporary(path: &Path) -> PathBuf {
    path.with_extension("tar.tmp")
}

/// Two empty blocks end an archive.
const END: u64 = 1024;

impl ShardWriter {
    pub(super) fn create(path: PathBuf) -> io::Result<Self> {
        let temporary = temporary(&path);
        let file = BufWriter::with_capacity(1 << 20, File::create(&temporary)?);
        Ok(Self {
            path,
            temporary,
            builder: Builder::new(Counted { file, bytes: 0 }),
            samples: Vec::new(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn images(&self) -> usize {
        self.samples.len()
    }

    /// The shard's bytes with one more image of `length` bytes, its end included.
    pub(super) fn bytes_with(&self, name: &str, length: u64) -> u64 {
        // A name that a header does not hold is a member of its own, with a zero at its end.
        let long = match name.len() {
            0..=100 => 0,
            bytes => 512 + (bytes as u64 + 1).next_multiple_of(512),
        };
        self.builder.get_ref().bytes + long + 512 + length.next_multiple_of(512) + END
    }

    /// Adds an image.
    pub(super) fn append(&mut self, name: String, bytes: &[u8]) -> io::Result<()> {
        let too_large = |_| io::Error::other("an image of 4 GiB and more");
        let length = u32::try_from(bytes.len()).map_err(too_large)?;
        // No times, no owners: the same images give the same shards.
        let mut header = Header::new_gnu();
        header.set_size(u64::from(length));
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        self.builder.append_data(&mut header, &name, bytes)?;
        let end = self.builder.get_ref().bytes;
        let offset = end - u64::from(length).next_multiple_of(512);
        self.samples.push((name, offset, length));
        Ok(())
    }

    /// Ends the shard, which keeps its temporary name until it is [published](Whole::publish).
    pub(super) fn finish(self) -> io::Result<Whole> {
        let mut counted = self.builder.into_inner()?;
        counted.flush()?;
        counted.file.get_ref().sync_all()?;
        let name = self.path.file_name().unwrap_or_default();
        let index = ShardIndex {
            shard: name.to_string_lossy().into_owned(),
            bytes: counted.bytes,
            stamp: None,
            others: 0,
            samples: self.samples,
        };
        Ok(Whole {
            index,
            path: self.path,
            temporary: self.temporary,
        })
    }

    /// Takes the half shard away.
    pub(super) fn abandon(self) {
        let temporary = self.temporary.clone();
        drop(self);
        // What stays is written over by the next try.
        let _ = fs::remove_file(temporary);
    }
}

/// A shard that is whole, under its temporary name.
pub(super) struct Whole {
    pub(super) index: ShardIndex,
    path: PathBuf,
    temporary: PathBuf,
}

impl Whole {
    /// Gives the shard its name.
    pub(super) fn publish(self) -> io::Result<ShardIndex> {
        fs::rename(&self.temporary, &self.path)?;
        Ok(self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_known_beforehand_whatever_the_name() {
        let dir = tempfile::tempdir().unwrap();
        for (length, image) in [(9, 0), (99, 1), (100, 512), (101, 513), (511, 7), (512, 7)] {
            let mut shard = ShardWriter::create(dir.path().join("s-000000.tar")).unwrap();
            for number in 0..3 {
                let name = format!("{number}{}.jpg", "n".repeat(length - 5));
                assert_eq!(name.len(), length);
                let known = shard.bytes_with(&name, image);
                shard.append(name, &vec![7; image as usize]).unwrap();
                assert_eq!(shard.builder.get_ref().bytes + END, known, "{length}");
            }
            let known = shard.builder.get_ref().bytes + END;
            assert_eq!(shard.finish().unwrap().publish().unwrap().bytes, known);
        }
    }
}
