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

/// Two empty blocks end an archive.
const END: u64 = 1024;

impl ShardWriter {
    pub(super) fn create(path: PathBuf) -> io::Result<Self> {
        let temporary = path.with_extension("tar.tmp");
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
    pub(super) fn bytes_with(&self, length: u64) -> u64 {
        self.builder.get_ref().bytes + 512 + length.next_multiple_of(512) + END
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

    /// Ends the shard and gives it its name.
    pub(super) fn finish(self) -> io::Result<ShardIndex> {
        let mut counted = self.builder.into_inner()?;
        counted.flush()?;
        counted.file.get_ref().sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        let name = self.path.file_name().unwrap_or_default();
        Ok(ShardIndex {
            shard: name.to_string_lossy().into_owned(),
            bytes: counted.bytes,
            stamp: None,
            others: 0,
            samples: self.samples,
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
