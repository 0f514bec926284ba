//! Marker segments: all of a JPEG file but its entropy-coded data.

use std::ops::Range;

use super::error::{COMPONENTS, JpegError};
use super::huffman::{Definition, STANDARD_TABLES};

/// Blocks that an interleaved MCU may have.
const MAX_MCU_BLOCKS: u8 = 10;

/// How a file codes its coefficients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Process {
    /// Baseline or extended sequential, Huffman.
    Sequential,
    /// Progressive, Huffman.
    Progressive,
}

/// What the components of an image are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Color {
    /// One component.
    Grey,
    /// Luma and two chroma components.
    Ycc,
    /// Red, green and blue.
    Rgb,
}

/// A component as the frame header has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Component {
    pub(super) id: u8,
    /// Sampling factors, horizontal and vertical.
    pub(super) sampling: [u8; 2],
    /// Number of its quantisation table.
    pub(super) quantization: u8,
}

/// A frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) process: Process,
    /// Width and height in pixels.
    pub(super) size: [u32; 2],
    /// The first `count` are used.
    pub(super) components: [Component; 3],
    /// 1 or 3.
    pub(super) count: usize,
}

impl Frame {
    pub(super) fn components(&self) -> &[Component] {
        &self.components[..self.count]
    }

    /// The greatest sampling factors.
    pub(super) fn max_sampling(&self) -> [u8; 2] {
        [0, 1].map(|axis| {
            let factors = self.components().iter().map(|c| c.sampling[axis]);
            factors.max().unwrap_or(1)
        })
    }

    /// Width and height of component `index` in blocks, without padding to whole MCUs.
    pub(super) fn blocks(&self, index: usize) -> [u32; 2] {
        let max = self.max_sampling();
        [0, 1].map(|axis| {
            let factor = u32::from(self.components[index].sampling[axis]);
            (self.size[axis] * factor).div_ceil(8 * u32::from(max[axis]))
        })
    }

    /// Interleaved MCUs along both sides.
    pub(super) fn mcus(&self) -> [u32; 2] {
        let max = self.max_sampling();
        [0, 1].map(|axis| self.size[axis].div_ceil(8 * u32::from(max[axis])))
    }
}

/// A component of a scan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ScanComponent {
    /// Which component of the frame.
    pub(super) index: usize,
    /// Numbers of its Huffman tables.
    pub(super) dc: u8,
    pub(super) ac: u8,
}

/// A scan header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scan {
    /// The first `count` are used.
    components: [ScanComponent; 3],
    count: usize,
    /// First and last coefficient, in zigzag order.
    pub(super) band: [u8; 2],
    /// Successive approximation: the bit position before and after this scan.
    pub(super) high: u8,
    pub(super) low: u8,
}

impl Scan {
    pub(super) fn components(&self) -> &[ScanComponent] {
        &self.components[..self.count]
    }
}

/// What comes next in a file.
pub(super) enum Part {
    /// A scan; its entropy-coded data begin at the reader's position.
    Scan(Scan),
    /// The end of the image.
    End,
}

/// What the marker segments up to the reader's position have said.
pub(super) struct Header {
    pub(super) frame: Option<Frame>,
    /// Quantisation tables in zigzag order.
    pub(super) quantization: [Option<[u16; 64]>; 4],
    pub(super) dc: [Option<Definition>; 4],
    pub(super) ac: [Option<Definition>; 4],
    /// MCUs between restart markers; 0 for none.
    pub(super) restart_interval: u32,
    jfif: bool,
    adobe_transform: Option<u8>,
    /// Where the Exif data lie, behind their name.
    pub(super) exif: Option<Range<usize>>,
}

impl Header {
    pub(super) fn new() -> Self {
        Self {
            frame: None,
            quantization: [None; 4],
            dc: [const { None }; 4],
            ac: [const { None }; 4],
            restart_interval: 0,
            jfif: false,
            adobe_transform: None,
            exif: None,
        }
    }

    /// Fills the Huffman slots that the file leaves empty with the standard's own tables, as Motion
    /// JPEG means it.
    pub(super) fn add_standard_tables(&mut self) {
        for (slot, [dc, ac]) in STANDARD_TABLES.iter().enumerate() {
            if self.dc[slot].is_none() {
                self.dc[slot] = dc.definition();
            }
            if self.ac[slot].is_none() {
                self.ac[slot] = ac.definition();
            }
        }
    }

    /// libjpeg's guess.
    pub(super) fn color(&self, frame: &Frame) -> Color {
        if frame.count == 1 {
            return Color::Grey;
        }
        let ids = frame.components.map(|c| c.id);
        let rgb = match (self.jfif, self.adobe_transform) {
            (true, _) => false,
            (false, Some(transform)) => transform == 0,
            (false, None) => ids == *b"RGB",
        };
        if rgb { Color::Rgb } else { Color::Ycc }
    }
}

/// Reads marker segments from a position of a file on.
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) position: usize,
    /// Where the last marker was.
    pub(super) marker: usize,
}

impl<'a> Reader<'a> {
    /// Behind the start-of-image marker.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, JpegError> {
        if !bytes.starts_with(&[0xff, 0xd8]) {
            return Err(JpegError::Unsupported(
                "a file without a JPEG's first two bytes",
            ));
        }
        Ok(Self {
            bytes,
            position: 2,
            marker: 0,
        })
    }

    /// Reads segments until the entropy-coded data of a scan or the end of the image.
    pub(super) fn next_part(&mut self, header: &mut Header) -> Result<Part, JpegError> {
        loop {
            let marker = self.next_marker()?;
            // Start of image, restart markers and TEM stand alone; a second image is broken.
            match marker {
                0x01 | 0xd0..=0xd7 => continue,
                0xd9 => return Ok(Part::End),
                0xd8 => return Err(segment(marker, self.marker, "a second start of image")),
                _ => {}
            }
            let body = self.segment(marker)?;
            let (position, start) = (self.marker, body.start);
            let data = &self.bytes[body.clone()];
            let wrong = |what| segment(marker, position, what);
            match marker {
                0xc0..=0xc2 => {
                    if header.frame.is_some() {
                        return Err(wrong("a second frame header"));
                    }
                    header.frame = Some(frame(marker, data, wrong)?);
                }
                0xc4 => huffman_tables(data, header, wrong)?,
                0xda => return Ok(Part::Scan(scan(data, header, wrong)?)),
                0xdb => quantization_tables(data, header, wrong)?,
                0xdd => {
                    let &[high, low] = data.as_array().ok_or_else(|| wrong("length is not 4"))?;
                    header.restart_interval = u32::from(u16::from_be_bytes([high, low]));
                }
                0xe0 => header.jfif |= data.len() >= 14 && data.starts_with(b"JFIF\0"),
                0xe1 if data.starts_with(b"Exif\0\0") && header.exif.is_none() => {
                    header.exif = Some(start + 6..body.end);
                }
                0xee if data.len() >= 12 && data.starts_with(b"Adobe") => {
                    header.adobe_transform = Some(data[11]);
                }
                0xc3 | 0xc5..=0xc7 | 0xcb | 0xcd..=0xcf => {
                    return Err(JpegError::Unsupported("a lossless or hierarchical JPEG"));
                }
                0xc9 | 0xca | 0xcc => {
                    return Err(JpegError::Unsupported("an arithmetic-coded JPEG"));
                }
                // Number of lines, application data and comments say nothing to us.
                0xdc | 0xe0..=0xef | 0xfe => {}
                _ => return Err(wrong("no marker of a JPEG image")),
            }
        }
    }

    /// The next marker; what stands before it is passed over, as libjpeg does with a warning.
    fn next_marker(&mut self) -> Result<u8, JpegError> {
        loop {
            let rest = self.bytes.get(self.position..).unwrap_or_default();
            let start = find_ff(rest).ok_or(JpegError::Truncated)?;
            let fill = rest[start..].iter().position(|&b| b != 0xff);
            let at = start + fill.ok_or(JpegError::Truncated)?;
            self.position += at + 1;
            self.marker = self.position - 2;
            if rest[at] != 0 {
                return Ok(rest[at]);
            }
        }
    }

    /// The parameters of the marker just read; the reader moves behind them.
    fn segment(&mut self, marker: u8) -> Result<Range<usize>, JpegError> {
        let rest = &self.bytes[self.position..];
        let &length = rest.first_chunk().ok_or(JpegError::Truncated)?;
        let length = usize::from(u16::from_be_bytes(length));
        if length < 2 {
            return Err(segment(marker, self.marker, "length below 2"));
        }
        if rest.len() < length {
            return Err(JpegError::Truncated);
        }
        let body = self.position + 2..self.position + length;
        self.position = body.end;
        Ok(body)
    }
}

fn segment(marker: u8, position: usize, what: &'static str) -> JpegError {
    JpegError::Segment {
        marker,
        position,
        what,
    }
}

/// The first 0xff.
pub(super) fn find_ff(bytes: &[u8]) -> Option<usize> {
    let (chunks, tail) = bytes.as_chunks::<32>();
    for (i, chunk) in chunks.iter().enumerate() {
        if chunk.iter().fold(false, |found, &b| found | (b == 0xff)) {
            for (j, word) in chunk.as_chunks::<8>().0.iter().enumerate() {
                // The first byte of 0 takes its highest bit; those behind it may, too.
                let zeros = !u64::from_le_bytes(*word);
                let found = zeros.wrapping_sub(0x0101_0101_0101_0101) & !zeros;
                let found = found & 0x8080_8080_8080_8080;
                if found != 0 {
                    return Some(32 * i + 8 * j + found.trailing_zeros() as usize / 8);
                }
            }
        }
    }
    let at = tail.iter().position(|&b| b == 0xff)?;
    Some(32 * chunks.len() + at)
}

fn frame(
    marker: u8,
    data: &[u8],
    wrong: impl Fn(&'static str) -> JpegError,
) -> Result<Frame, JpegError> {
    let short = "too short for a frame header";
    let (&[precision, h1, h0, w1, w0, count], specs) =
        data.split_first_chunk().ok_or_else(|| wrong(short))?;
    let height = u32::from(u16::from_be_bytes([h1, h0]));
    let width = u32::from(u16::from_be_bytes([w1, w0]));
    if precision != 8 {
        return Err(JpegError::Unsupported(
            "a JPEG of other than 8 bits a sample",
        ));
    }
    if width == 0 || height == 0 {
        return Err(wrong("an image without pixels"));
    }
    if count != 1 && count != 3 {
        return Err(JpegError::Unsupported(COMPONENTS));
    }
    let count = usize::from(count);
    let (specs, rest) = specs.as_chunks::<3>();
    if specs.len() != count || !rest.is_empty() {
        return Err(wrong("length does not fit the number of components"));
    }
    let mut frame = Frame {
        process: if marker == 0xc2 {
            Process::Progressive
        } else {
            Process::Sequential
        },
        size: [width, height],
        components: [Component::default(); 3],
        count,
    };
    for (component, &[id, sampling, quantization]) in frame.components.iter_mut().zip(specs) {
        let factors = [sampling >> 4, sampling & 15];
        if factors.iter().any(|f| !(1..=4).contains(f)) {
            return Err(wrong("a sampling factor out of 1..=4"));
        }
        *component = Component {
            id,
            // The only component is never interleaved, so its factors say nothing.
            sampling: if count == 1 { [1, 1] } else { factors },
            quantization,
        };
    }
    let max = frame.max_sampling();
    for component in frame.components() {
        // libjpeg refuses these as well.
        if [0, 1]
            .iter()
            .any(|&a| !max[a].is_multiple_of(component.sampling[a]))
        {
            return Err(wrong(
                "sampling factors that are no multiples of each other",
            ));
        }
    }
    Ok(frame)
}

fn scan(
    data: &[u8],
    header: &Header,
    wrong: impl Fn(&'static str) -> JpegError,
) -> Result<Scan, JpegError> {
    let frame = header
        .frame
        .as_ref()
        .ok_or_else(|| wrong("no frame header before it"))?;
    let length = "length does not fit the number of components";
    let (&count, rest) = data.split_first().ok_or_else(|| wrong(length))?;
    let count = usize::from(count);
    let (specs, parameters) = rest
        .split_at_checked(2 * count)
        .ok_or_else(|| wrong(length))?;
    let &[first, last, approximation] = parameters.as_array().ok_or_else(|| wrong(length))?;
    if count == 0 || count > frame.count {
        return Err(wrong("more components than the frame, or none"));
    }
    let mut scan = Scan {
        components: [ScanComponent::default(); 3],
        count,
        band: [first, last],
        high: approximation >> 4,
        low: approximation & 15,
    };
    let mut blocks = 0;
    for (i, spec) in specs.as_chunks::<2>().0.iter().enumerate() {
        let earlier = &scan.components[..i];
        // Of components with the same id, each is taken once.
        let found = frame
            .components()
            .iter()
            .enumerate()
            .find(|(index, c)| c.id == spec[0] && earlier.iter().all(|e| e.index != *index));
        let (index, component) = found.ok_or_else(|| wrong("a component that is not there"))?;
        blocks += component.sampling[0] * component.sampling[1];
        scan.components[i] = ScanComponent {
            index,
            dc: spec[1] >> 4,
            ac: spec[1] & 15,
        };
    }
    if count > 1 && blocks > MAX_MCU_BLOCKS {
        return Err(wrong("more than 10 blocks in an MCU"));
    }
    Ok(scan)
}

fn quantization_tables(
    mut data: &[u8],
    header: &mut Header,
    wrong: impl Fn(&'static str) -> JpegError,
) -> Result<(), JpegError> {
    while let Some((&kind, rest)) = data.split_first() {
        let slot = header.quantization.get_mut(usize::from(kind & 15));
        let slot = slot.ok_or_else(|| wrong("a quantisation table number above 3"))?;
        let bytes = if kind >> 4 == 0 { 64 } else { 128 };
        let (values, rest) = rest
            .split_at_checked(bytes)
            .ok_or_else(|| wrong("too short for its quantisation tables"))?;
        let mut table = [0; 64];
        if bytes == 64 {
            for (to, &from) in table.iter_mut().zip(values) {
                *to = u16::from(from);
            }
        } else {
            for (to, &from) in table.iter_mut().zip(values.as_chunks::<2>().0) {
                *to = u16::from_be_bytes(from);
            }
        }
        *slot = Some(table);
        data = rest;
    }
    Ok(())
}

fn huffman_tables(
    mut data: &[u8],
    header: &mut Header,
    wrong: impl Fn(&'static str) -> JpegError,
) -> Result<(), JpegError> {
    while let Some((&kind, rest)) = data.split_first() {
        let short = "too short for its Huffman tables";
        let (lengths, rest) = rest.split_first_chunk::<16>().ok_or_else(|| wrong(short))?;
        let count = lengths.iter().map(|&n| usize::from(n)).sum();
        if count > 256 {
            return Err(wrong("a Huffman table of more than 256 codes"));
        }
        let (symbols, rest) = rest.split_at_checked(count).ok_or_else(|| wrong(short))?;
        let slots = match kind >> 4 {
            0 => &mut header.dc,
            1 => &mut header.ac,
            _ => return Err(wrong("a Huffman table neither of DC nor of AC")),
        };
        let slot = slots.get_mut(usize::from(kind & 15));
        let slot = slot.ok_or_else(|| wrong("a Huffman table number above 3"))?;
        let definition = Definition::new(lengths, symbols);
        *slot =
            Some(definition.ok_or_else(|| wrong("Huffman codes that do not fit their lengths"))?);
        data = rest;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ff_is_found() {
        // Neighbours of 0xff, which a borrow could take for it, before and behind it.
        for length in 0..100 {
            for at in 0..length {
                let mut bytes = vec![0xfe; length];
                bytes[at] = 0xff;
                for &value in &[0, 0x7f, 0x80, 0xfe, 0xff] {
                    bytes[at + 1..].fill(value);
                    assert_eq!(find_ff(&bytes), Some(at), "{value} behind {at} of {length}");
                }
            }
            assert_eq!(find_ff(&vec![0x7f; length]), None);
        }
    }
}
