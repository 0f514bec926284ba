//! Images cut out of the bytes of a range.

use super::ShardError;
use super::shard_index::BLOCK;

/// Takes the bytes of a range in pieces and gives the images in it.
///
/// Each image stands right behind its member's header, which is compared with the index: of a shard
/// that was made anew nothing is taken for an image that is none.
#[derive(Debug)]
pub(super) struct Assembly<T> {
    /// What comes next, last first: offset of the header, length of the image, whose it is.
    parts: Vec<(u64, u32, T)>,
    at: u64,
    header: Vec<u8>,
    image: Vec<u8>,
}

impl<T> Assembly<T> {
    /// Of a range that begins at `start`, with members in the order of their offsets.
    pub(super) fn new(start: u64, mut parts: Vec<(u64, u32, T)>) -> Self {
        parts.reverse();
        Self {
            parts,
            at: start,
            header: Vec::with_capacity(BLOCK as usize),
            image: Vec::new(),
        }
    }

    /// Takes the next bytes. `memory` gives a vector for an image of a length, `give` takes it when
    /// it is whole.
    ///
    /// # Errors
    /// The offset at which the shard is not what its index says, and how.
    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        mut memory: impl FnMut(usize) -> Vec<u8>,
        mut give: impl FnMut(T, Vec<u8>),
    ) -> Result<(), String> {
        while let Some(&(header, length, _)) = self.parts.last() {
            let length = length as usize;
            let before = (header.saturating_sub(self.at)).min(bytes.len() as u64) as usize;
            bytes = self.pass(bytes, before);
            let rest = BLOCK as usize - self.header.len();
            let taken = rest.min(bytes.len());
            self.header.extend_from_slice(&bytes[..taken]);
            bytes = self.pass(bytes, taken);
            if self.header.len() < BLOCK as usize {
                return Ok(());
            }
            if taken > 0 {
                check(&self.header, length as u64, header)?;
                self.image = memory(length);
            }
            let taken = (length - self.image.len()).min(bytes.len());
            self.image.extend_from_slice(&bytes[..taken]);
            bytes = self.pass(bytes, taken);
            if self.image.len() < length {
                return Ok(());
            }
            if let Some((_, _, whose)) = self.parts.pop() {
                give(whose, std::mem::take(&mut self.image));
            }
            self.header.clear();
        }
        Ok(())
    }

    /// Steps over `count` bytes.
    fn pass<'a>(&mut self, bytes: &'a [u8], count: usize) -> &'a [u8] {
        self.at += count as u64;
        &bytes[count..]
    }
}

/// Compares a member's header with the index.
fn check(header: &[u8], length: u64, offset: u64) -> Result<(), String> {
    let header = tar::Header::from_byte_slice(header);
    // The sum of its bytes, with the field of the sum taken for blanks.
    let sum: u32 = header.as_bytes().iter().map(|&b| u32::from(b)).sum();
    let field: u32 = header.as_bytes()[148..156]
        .iter()
        .map(|&b| u32::from(b))
        .sum();
    let is_one = header
        .cksum()
        .is_ok_and(|known| known == sum - field + 8 * 32);
    let said = header.entry_size();
    match (is_one, said) {
        (true, Ok(said)) if said == length => Ok(()),
        (true, Ok(said)) => Err(format!(
            "the member at byte {offset} has {said} bytes instead of {length}"
        )),
        _ => Err(format!("there is no member at byte {offset}")),
    }
}

/// The error of a shard that is not what its index says.
pub(super) fn mismatch(url: &str, what: String) -> ShardError {
    super::fetch::changed(url, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A shard and its members: offset of the header, length, number.
    fn shard(lengths: &[usize]) -> (Vec<u8>, Vec<(u64, u32, usize)>) {
        let mut builder = tar::Builder::new(Vec::new());
        let mut parts = Vec::new();
        for (number, &length) in lengths.iter().enumerate() {
            let mut header = tar::Header::new_gnu();
            header.set_path(format!("{number}.jpg")).unwrap();
            header.set_size(length as u64);
            header.set_cksum();
            parts.push((builder.get_ref().len() as u64, length as u32, number));
            builder
                .append(&header, vec![number as u8; length].as_slice())
                .unwrap();
        }
        (builder.into_inner().unwrap(), parts)
    }

    #[test]
    fn another_shard_is_refused() {
        let (bytes, mut parts) = shard(&[700, 10]);
        parts[1].1 = 11;
        let mut assembly = Assembly::new(0, parts.clone());
        let error = assembly
            .feed(&bytes, Vec::with_capacity, |_, _| {})
            .unwrap_err();
        assert_eq!(error, "the member at byte 1536 has 10 bytes instead of 11");
        parts[1].0 = 1024;
        let mut assembly = Assembly::new(0, parts);
        let error = assembly
            .feed(&bytes, Vec::with_capacity, |_, _| {})
            .unwrap_err();
        assert_eq!(error, "there is no member at byte 1024");
    }

    proptest! {
        #[test]
        fn images_come_whole_from_any_pieces(
            lengths in prop::collection::vec((0_usize..1500, any::<bool>()), 1..12),
            cuts in prop::collection::vec(1_usize..900, 1..60),
        ) {
            let all: Vec<_> = lengths.iter().map(|l| l.0).collect();
            let (bytes, parts) = shard(&all);
            // Some are left out; the range ends with the last that is wanted.
            let wanted: Vec<_> = parts.into_iter().filter(|p| lengths[p.2].1).collect();
            prop_assume!(!wanted.is_empty());
            let start = wanted[0].0;
            let last = wanted[wanted.len() - 1];
            let end = (last.0 + BLOCK) as usize + last.1 as usize;
            let mut assembly = Assembly::new(start, wanted.clone());
            let mut given = Vec::new();
            let mut at = start as usize;
            for cut in cuts.into_iter().cycle() {
                let to = (at + cut).min(end);
                let fed = assembly.feed(&bytes[at..to], Vec::with_capacity, |n, image| given.push((n, image)));
                prop_assert!(fed.is_ok());
                at = to;
                if at == end {
                    break;
                }
            }
            let known: Vec<_> = wanted.iter().map(|&(_, l, n)| (n, vec![n as u8; l as usize])).collect();
            prop_assert_eq!(given, known);
        }
    }
}
