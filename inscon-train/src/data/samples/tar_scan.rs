//! One pass over a tar shard: where its images lie.

use std::io::{self, Read, Seek};

use tar::{Archive, Entries};

use super::ShardError;
use super::shard_index::{BLOCK, ShardIndex};
use crate::data::IMAGE_EXTENSIONS;

/// Lists the images of a shard of this machine, seeking over their bytes.
///
/// # Errors
/// [`ShardError::Broken`].
pub(super) fn scan_file(
    url: &str,
    shard: &str,
    mut file: impl Read + Seek,
    bytes: u64,
) -> Result<ShardIndex, ShardError> {
    let mut first = Vec::new();
    let head = file.by_ref().take(BLOCK).read_to_end(&mut first);
    head.and_then(|_| file.rewind())
        .map_err(|e| broken(url, 0, 0, e.to_string()))?;
    not_compressed(url, &first)?;
    let mut archive = Archive::new(file);
    let entries = archive
        .entries_with_seek()
        .map_err(|e| broken(url, 0, 0, e.to_string()))?;
    scan(url, shard, entries, bytes)
}

/// Lists the images of a shard that comes in one stream of `bytes` bytes.
///
/// # Errors
/// [`ShardError::Broken`].
pub(super) fn scan_stream(
    url: &str,
    shard: &str,
    mut stream: impl Read,
    bytes: u64,
) -> Result<ShardIndex, ShardError> {
    let mut first = Vec::new();
    stream
        .by_ref()
        .take(BLOCK)
        .read_to_end(&mut first)
        .map_err(|e| broken(url, 0, 0, e.to_string()))?;
    not_compressed(url, &first)?;
    // The last block may be cut within its padding.
    let padding = io::repeat(0).take(bytes.next_multiple_of(BLOCK) - bytes);
    let mut archive = Archive::new(first.as_slice().chain(stream).chain(padding));
    let entries = archive
        .entries()
        .map_err(|e| broken(url, 0, 0, e.to_string()))?;
    scan(url, shard, entries, bytes)
}

fn broken(url: &str, offset: u64, images: usize, what: impl Into<String>) -> ShardError {
    ShardError::Broken {
        url: url.to_owned(),
        offset,
        images,
        what: what.into(),
    }
}

/// Compressed shards cannot be read from the middle, and images hardly shrink.
fn not_compressed(url: &str, first: &[u8]) -> Result<(), ShardError> {
    let known: [(&[u8], &str); 4] = [
        (b"\x1f\x8b", "gunzip"),
        (b"\x28\xb5\x2f\xfd", "unzstd"),
        (b"\xfd7zXZ", "unxz"),
        (b"BZh", "bunzip2"),
    ];
    match known.iter().find(|(magic, _)| first.starts_with(magic)) {
        None => Ok(()),
        Some((_, tool)) => Err(ShardError::Refused {
            url: url.to_owned(),
            said: format!(
                "it is a compressed archive, in which images cannot be found; unpack it with {tool} \
                 (images do not get larger by that)"
            ),
        }),
    }
}

fn scan<R: Read>(
    url: &str,
    shard: &str,
    entries: Entries<'_, R>,
    bytes: u64,
) -> Result<ShardIndex, ShardError> {
    let mut found = Samples::default();
    let mut end = 0;
    for entry in entries {
        let entry = entry.map_err(|e| broken(url, end, found.samples.len(), reason(&e)))?;
        let (offset, length) = (entry.raw_file_position(), entry.size());
        let last = offset.checked_add(length).filter(|&last| last <= bytes);
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let Some(last) = last else {
            let what = format!(
                "it ends within {name}, which should reach from byte {offset} over {length} bytes"
            );
            return Err(broken(url, bytes, found.samples.len(), what));
        };
        end = last.next_multiple_of(BLOCK);
        if entry.header().entry_type().is_file() {
            found
                .add(name, offset, length)
                .map_err(|what| broken(url, offset, found.samples.len(), what))?;
        } else {
            found.others += 1;
        }
    }
    // One that lacks them may have been cut between two members, which nothing else would tell.
    if bytes < end + BLOCK {
        let what = "it ends without the empty blocks that end an archive: it is cut short";
        return Err(broken(url, bytes, found.samples.len(), what));
    }
    let (samples, others) = found.finish();
    Ok(ShardIndex {
        shard: shard.to_owned(),
        bytes,
        stamp: None,
        others,
        samples,
    })
}

fn reason(error: &io::Error) -> String {
    let mut text = error.to_string();
    if let Some(inner) = std::error::Error::source(error) {
        text = format!("{text} ({inner})");
    }
    text
}

/// Members grouped into samples.
#[derive(Default)]
struct Samples {
    samples: Vec<(String, u64, u32)>,
    others: u64,
    /// Key of the sample that members are being added to, and the rank of the image it has.
    key: Option<String>,
    rank: Option<usize>,
}

impl Samples {
    fn add(&mut self, name: String, offset: u64, length: u64) -> Result<(), String> {
        let Some((key, extension)) = tar_key(&name) else {
            self.others += 1;
            return Ok(());
        };
        if self.key.as_deref() != Some(key) {
            (self.key, self.rank) = (Some(key.to_owned()), None);
        }
        let Some(rank) = rank(extension) else {
            self.others += 1;
            return Ok(());
        };
        let Ok(length) = u32::try_from(length) else {
            return Err(format!("{name} has {length} bytes, more than an image can"));
        };
        match self.rank {
            None => self.samples.push((name, offset, length)),
            Some(before) => {
                self.others += 1;
                if before <= rank {
                    return Ok(());
                }
                if let Some(last) = self.samples.last_mut() {
                    *last = (name, offset, length);
                }
            }
        }
        self.rank = Some(rank);
        Ok(())
    }

    fn finish(self) -> (Vec<(String, u64, u32)>, u64) {
        (self.samples, self.others)
    }
}

/// A member's key and extension, split at the first dot of its file name, as in WebDataset; `None`
/// for hidden files and those without an extension.
pub fn tar_key(name: &str) -> Option<(&str, &str)> {
    let base = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = base + name[base..].find('.')?;
    (dot > base).then(|| (&name[..dot], &name[dot + 1..]))
}

/// Place of an extension among those of images: `jpg` before `png`, and `seg.png`, whose last part
/// is an image's, after all.
fn rank(extension: &str) -> Option<usize> {
    let of = |extension: &str| {
        IMAGE_EXTENSIONS
            .iter()
            .position(|known| known.eq_ignore_ascii_case(extension))
    };
    match extension.rsplit_once('.') {
        None => of(extension),
        Some((_, last)) => of(last).map(|_| IMAGE_EXTENSIONS.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;
    use tar::{Builder, EntryType, Header};

    /// A shard of members with `length` bytes each.
    fn shard(members: &[(&str, usize)]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (name, length) in members {
            let mut header = Header::new_gnu();
            header.set_size(*length as u64);
            header.set_mode(0o644);
            let bytes = vec![7; *length];
            builder
                .append_data(&mut header, name, bytes.as_slice())
                .unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn both(bytes: &[u8]) -> Result<ShardIndex, String> {
        let length = bytes.len() as u64;
        let seeking = scan_file("u.tar", "u", Cursor::new(bytes), length);
        let streaming = scan_stream("u.tar", "u", bytes, length);
        match (&seeking, &streaming) {
            (Ok(a), Ok(b)) => assert_eq!(a, b),
            (Err(_), Err(_)) => {}
            _ => panic!("seeking {seeking:?}, streaming {streaming:?}"),
        }
        seeking.map_err(|e| e.to_string())
    }

    fn names(index: &ShardIndex) -> Vec<&str> {
        index.samples.iter().map(|s| s.0.as_str()).collect()
    }

    #[test]
    fn images_are_found_where_they_are() {
        let bytes = shard(&[
            ("a/1.jpg", 700),
            ("a/1.json", 10),
            ("b.v2/2.PNG", 512),
            ("3.cls", 1),
        ]);
        let index = both(&bytes).unwrap();
        assert_eq!(names(&index), ["a/1.jpg", "b.v2/2.PNG"]);
        assert_eq!(index.others, 2);
        let ends: Vec<_> = index.samples.iter().map(|s| (s.1, s.2)).collect();
        assert_eq!(ends, [(512, 700), (512 + 1024 + 1024 + 512, 512)]);
        for (_, offset, length) in index.samples {
            let at = offset as usize;
            assert!(bytes[at..at + length as usize].iter().all(|&b| b == 7));
        }
    }

    #[test]
    fn a_key_has_one_image_by_extension() {
        let one = |members: &[&str]| {
            let members: Vec<_> = members.iter().map(|&m| (m, 5)).collect();
            names(&both(&shard(&members)).unwrap()).join(" ")
        };
        assert_eq!(one(&["1.png", "1.JPG", "1.jpeg"]), "1.JPG");
        assert_eq!(
            one(&["1.seg.png", "1.webp", "2.left.jpg", "2.right.jpg"]),
            "1.webp 2.left.jpg"
        );
        // A key is a run of members, as in WebDataset: one that comes again is another sample.
        assert_eq!(one(&["1.jpg", "2.jpg", "1.png"]), "1.jpg 2.jpg 1.png");
        assert_eq!(one(&[".jpg", "x/.a.jpg", "jpg", "d.jpg/x"]), "");
    }

    #[test]
    fn names_are_long_or_not_ascii() {
        let long = format!("{}/{}.jpg", "d".repeat(130), "f".repeat(140));
        let bytes = shard(&[(&long, 3), ("ü/ß.webp", 4)]);
        assert_eq!(names(&both(&bytes).unwrap()), [&long, "ü/ß.webp"]);

        // PAX, as Python's tarfile and bsdtar write it; and ustar's prefix.
        let mut builder = Builder::new(Vec::new());
        builder
            .append_pax_extensions([("path", long.as_bytes()), ("mtime", b"1.5".as_slice())])
            .unwrap();
        let mut header = Header::new_ustar();
        header.set_path("short.jpg").unwrap();
        header.set_size(2);
        header.set_cksum();
        builder.append(&header, b"ab".as_slice()).unwrap();
        let prefixed = format!("{}/{}.jpg", "p".repeat(90), "n".repeat(80));
        let mut header = Header::new_ustar();
        header.set_path(&prefixed).unwrap();
        header.set_size(1);
        header.set_cksum();
        builder.append(&header, b"c".as_slice()).unwrap();
        let index = both(&builder.into_inner().unwrap()).unwrap();
        assert_eq!(names(&index), [&long, &prefixed]);
    }

    #[test]
    fn folders_and_links_are_not_images() {
        let mut builder = Builder::new(Vec::new());
        for (kind, name) in [
            (EntryType::Directory, "d.jpg/"),
            (EntryType::Symlink, "l.jpg"),
            (EntryType::Link, "h.jpg"),
        ] {
            let mut header = Header::new_gnu();
            header.set_entry_type(kind);
            header.set_path(name).unwrap();
            header.set_link_name("x.jpg").unwrap();
            header.set_size(0);
            header.set_cksum();
            builder.append(&header, io::empty()).unwrap();
        }
        let index = both(&builder.into_inner().unwrap()).unwrap();
        assert_eq!((index.samples.len(), index.others), (0, 3));
    }

    #[test]
    fn one_empty_block_ends_an_archive() {
        let whole = shard(&[("1.jpg", 512), ("2.jpg", 20)]);
        let members = 2 * 512 + 2 * 512;
        for end in [members + 512, members + 1024] {
            let index = both(&whole[..end]).unwrap();
            assert_eq!(index.samples.len(), 2, "{end}");
        }
        assert_eq!(both(&[0; 10_240]).unwrap().samples, []);
    }

    #[test]
    fn broken_archives_name_the_place() {
        let whole = shard(&[("1.jpg", 600), ("2.jpg", 900), ("3.jpg", 20)]);
        // Cut within the bytes of the second image, within the third header.
        for (end, said) in [
            (512 + 1024 + 512 + 100, "within 2.jpg"),
            (512 + 1024 + 512 + 1024 + 100, "after 2 images"),
            (100, "byte 0"),
            // Between two members, within the padding of an image, within the end.
            (512 + 1024 + 512 + 1024, "after 2 images: it ends without"),
            (512 + 700, "after 1 images"),
            (512 + 1024 + 512 + 1024 + 1024 + 100, "after 3 images"),
            (0, "cut short"),
        ] {
            let error = both(&whole[..end]).unwrap_err();
            assert!(
                error.contains(said) && error.contains("u.tar"),
                "{end}: {error}"
            );
        }
        let mut garbage = whole.clone();
        garbage[512 + 1024..][..512].fill(0xaa);
        let error = both(&garbage).unwrap_err();
        assert!(error.contains("at byte 1536, after 1 images"), "{error}");
        let error = both(b"<html>404 not found</html>").unwrap_err();
        assert!(error.contains("byte 0, after 0 images"), "{error}");
        let error = both(b"\x1f\x8b\x08\0\0\0\0\0rest").unwrap_err();
        assert!(error.contains("gunzip"), "{error}");
    }
}
