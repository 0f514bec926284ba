//! A JPEG decoder that decodes only what a crop needs, with libjpeg-turbo's results.
//!
//! Baseline, extended and progressive Huffman JPEGs of 8 bits and one or three components, in any
//! sampling that libjpeg takes, with restart markers and several scans, become RGB. Every pixel has
//! the value that libjpeg-turbo gives with its defaults (integer "islow" transform, "fancy"
//! upsampling, fixed-point colour conversion), which is what PIL and torchvision give. So it is on
//! every machine: all arithmetic is in integers.
//!
//! - A rectangle is decoded at the cost of a rectangle: the transform, upsampling and colour
//!   conversion run on its blocks and no others, entropy decoding ends with its last row and only
//!   counts bits outside of it, whole intervals between restart markers are left out. Its pixels
//!   are those of the whole image's decoding.
//! - Reduced to 1/2, 1/4 or 1/8, as libjpeg scales (`PIL.Image.draft`).
//! - Buffers are kept from image to image.
//!
//! Broken files are errors, where libjpeg warns and goes on: codes that are not in the Huffman
//! table, data that end early, wrong restart markers, progressive images of which some low
//! coefficients never come to their last bit (libjpeg smooths over those). What libjpeg passes over in silence (bytes
//! between segments, unknown application data, what follows the image) is passed over. CMYK,
//! arithmetic-coded, lossless, hierarchical and 12-bit files are [`JpegError::Unsupported`].
//!
//! # Example
//! ```no_run
//! use inscon_aug::jpeg::JpegDecoder;
//! let bytes = std::fs::read("photo.jpg")?;
//! let mut decoder = JpegDecoder::new();
//! let image = decoder.open(&bytes)?;
//! let [width, height] = image.size();
//! // The right half at half the size.
//! let half = image.decode(width / 2..width, 0..height, 2)?;
//! assert_eq!(half.pixels.len(), 3 * (half.width * half.height) as usize);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bits;
mod coefficients;
mod error;
mod header;
mod huffman;
mod idct;
mod output;
mod passes;
mod plan;
mod scan;

use std::ops::Range;

use pulp::Arch;

pub(crate) use error::COMPONENTS;
pub use error::JpegError;

use bits::ScanData;
use coefficients::Coefficients;
use header::{Frame, Header, Part, Process, Reader, Scan};
use huffman::{Tables, Use};
use output::{Output, strip_bytes};
use plan::Plan;
use scan::Sequential;

/// Scans that a file may have, so that a few bytes do not take minutes: encoders write about ten,
/// and one for each coefficient of each component would be 192.
const MAX_SCANS: usize = 500;

/// Decodes JPEG files, one after the other, in the same buffers.
pub struct JpegDecoder {
    arch: Arch,
    /// Bytes that the pixels, and the coefficients, of an image may take.
    limit: u64,
    header: Header,
    tables: Tables,
    data: ScanData,
    coefficients: Coefficients,
    output: Output,
}

impl Default for JpegDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl JpegDecoder {
    /// A decoder with a limit of 512 MiB.
    #[must_use]
    pub fn new() -> Self {
        Self {
            arch: Arch::new(),
            limit: 512 << 20,
            header: Header::new(),
            tables: Tables::default(),
            data: ScanData::default(),
            coefficients: Coefficients::new(),
            output: Output::new(),
        }
    }

    /// The same with another limit, in bytes: for the pixels of a whole image (three bytes each), as
    /// much for the samples of one of its rows of MCUs, and for the coefficients of one in several
    /// scans.
    #[must_use]
    pub fn with_limit(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }

    /// Bytes that the decoder's buffers hold: constant once the largest image has been seen.
    #[must_use]
    pub fn buffer_size(&self) -> usize {
        self.data.capacity() + self.coefficients.capacity() + self.output.capacity()
    }

    /// Gives the memory of all buffers back.
    pub(crate) fn free(&mut self) {
        self.data = ScanData::default();
        self.coefficients = Coefficients::new();
        self.output = Output::new();
    }

    /// Reads a file up to its first scan.
    ///
    /// # Errors
    /// [`JpegError`] for what is wrong up to there, and for an image above the limit.
    pub fn open<'d, 'b>(&'d mut self, bytes: &'b [u8]) -> Result<JpegImage<'d, 'b>, JpegError> {
        let opened = self.read_header(bytes)?;
        Ok(self.image(opened))
    }

    /// [`open`](Self::open) in two steps, of which the first does not keep the decoder.
    pub(crate) fn read_header<'b>(&mut self, bytes: &'b [u8]) -> Result<Opened<'b>, JpegError> {
        self.header = Header::new();
        let mut reader = Reader::new(bytes)?;
        let Part::Scan(scan) = reader.next_part(&mut self.header)? else {
            return Err(JpegError::Segment {
                marker: 0xd9,
                position: reader.marker,
                what: "the image ends before its first scan",
            });
        };
        let Some(frame) = self.header.frame else {
            unreachable!("a scan without a frame is refused");
        };
        let [width, height] = frame.size;
        // A part, or a reduced image, takes less of each.
        let strips = strip_bytes(&Plan::new(&frame, 1, 0..width, 0..height));
        let needed = (3 * u64::from(width) * u64::from(height)).max(strips);
        if needed > self.limit {
            return Err(JpegError::TooLarge {
                width,
                height,
                needed,
                limit: self.limit,
            });
        }
        Ok(Opened {
            reader,
            frame,
            scan,
        })
    }

    /// The file whose header was read last.
    pub(crate) fn image<'d, 'b>(&'d mut self, opened: Opened<'b>) -> JpegImage<'d, 'b> {
        let Opened {
            reader,
            frame,
            scan,
        } = opened;
        JpegImage {
            decoder: self,
            reader,
            frame,
            scan,
        }
    }
}

/// A file up to its first scan.
pub(crate) struct Opened<'b> {
    reader: Reader<'b>,
    frame: Frame,
    scan: Scan,
}

/// A JPEG file of which the header is read.
pub struct JpegImage<'d, 'b> {
    decoder: &'d mut JpegDecoder,
    reader: Reader<'b>,
    frame: Frame,
    scan: Scan,
}

/// Pixels of a rectangle of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JpegPixels<'a> {
    /// `height · width · 3` bytes, row by row, red, green and blue interleaved.
    pub pixels: &'a [u8],
    /// Width in (reduced) pixels.
    pub width: u32,
    /// Height in (reduced) pixels.
    pub height: u32,
    /// Column of the first pixel on the (reduced) image.
    pub x: u32,
    /// Row of the first pixel on the (reduced) image.
    pub y: u32,
}

impl<'d, 'b> JpegImage<'d, 'b> {
    /// Width and height in pixels, as stored: without regard to the Exif orientation.
    #[must_use]
    pub fn size(&self) -> [u32; 2] {
        self.frame.size
    }

    /// The Exif data (a TIFF file), where there are any before the first scan.
    #[must_use]
    pub fn exif(&self) -> Option<&'b [u8]> {
        self.reader.bytes.get(self.decoder.header.exif.clone()?)
    }

    /// Decodes the columns `x` and rows `y` of source pixels (clipped to the image, at least one
    /// pixel), reduced by `denominator`: all reduced pixels that touch them.
    ///
    /// # Errors
    /// [`JpegError`] for whatever is wrong with the file as far as it is read: to the end of the
    /// last row needed, and then in search of the end of the image.
    ///
    /// # Panics
    /// If `denominator` is none of 1, 2, 4 and 8.
    pub fn decode(
        mut self,
        x: Range<u32>,
        y: Range<u32>,
        denominator: u32,
    ) -> Result<JpegPixels<'d>, JpegError> {
        assert!(
            matches!(denominator, 1 | 2 | 4 | 8),
            "denominator {denominator}"
        );
        let reduce = |range: Range<u32>, size: u32| {
            let start = range.start.min(size - 1);
            let end = range.end.clamp(start + 1, size);
            start / denominator..end.div_ceil(denominator)
        };
        let [width, height] = self.frame.size;
        let (x, y) = (reduce(x, width), reduce(y, height));
        let plan = Plan::new(&self.frame, denominator, x, y);
        if self.frame.process == Process::Progressive
            || self.scan.components().len() < self.frame.count
        {
            self.decode_scans(&plan)?;
        } else {
            self.decode_scan(&plan)?;
        }
        let output = &self.decoder.output;
        Ok(JpegPixels {
            pixels: output.pixels(&plan),
            width: plan.x.end - plan.x.start,
            height: plan.y.end - plan.y.start,
            x: plan.x.start,
            y: plan.y.start,
        })
    }

    /// An image in one scan.
    fn decode_scan(&mut self, plan: &Plan) -> Result<(), JpegError> {
        let JpegDecoder {
            arch,
            header,
            tables,
            data,
            output,
            ..
        } = &mut *self.decoder;
        header.add_standard_tables();
        for component in self.scan.components() {
            tables.prepare(Use::Dc, component.dc, &header.dc)?;
            tables.prepare(Use::Ac, component.ac, &header.ac)?;
        }
        output.start(plan, quantization(header, &self.frame)?);
        let segments = segments(plan.mcus, header.restart_interval);
        self.reader.position = data.load(self.reader.bytes, self.reader.position, segments)?;
        Sequential {
            plan,
            scan: &self.scan,
            restart_interval: header.restart_interval,
            color: header.color(&self.frame),
            tables,
            data,
        }
        .decode(*arch, output)?;
        match self.reader.next_part(header)? {
            Part::End => Ok(()),
            Part::Scan(_) => Err(JpegError::Segment {
                marker: 0xda,
                position: self.reader.marker,
                what: "a scan behind the last one",
            }),
        }
    }

    /// An image in several scans.
    fn decode_scans(&mut self, plan: &Plan) -> Result<(), JpegError> {
        let JpegDecoder {
            arch,
            limit,
            header,
            tables,
            data,
            coefficients,
            output,
        } = &mut *self.decoder;
        let (frame, reader) = (&self.frame, &mut self.reader);
        if frame.process == Process::Sequential {
            header.add_standard_tables();
        }
        coefficients.start(frame, plan, *limit)?;
        let wrong = |marker, position, what| JpegError::Segment {
            marker,
            position,
            what,
        };
        let mut scan = self.scan;
        for count in 1.. {
            if count > MAX_SCANS {
                return Err(wrong(0xda, reader.marker, "more than 500 scans"));
            }
            let announced = coefficients.announce(header, frame, &scan);
            announced.map_err(|what| wrong(0xda, reader.marker, what))?;
            let mcus = match scan.components() {
                [component] => frame.blocks(component.index),
                _ => plan.mcus,
            };
            let segments = segments(mcus, header.restart_interval);
            reader.position = data.load(reader.bytes, reader.position, segments)?;
            coefficients.read(*arch, (frame, plan, &scan), (header, tables), data)?;
            match reader.next_part(header)? {
                Part::Scan(next) => scan = next,
                Part::End => break,
            }
        }
        let missing = "the image ends before each component had a scan and a quantisation table";
        let quantization = coefficients.quantization(frame);
        let quantization = quantization.ok_or_else(|| wrong(0xd9, reader.marker, missing))?;
        if coefficients.unfinished(frame) {
            let unsaid = "the image ends before its scans have said all of it";
            return Err(wrong(0xd9, reader.marker, unsaid));
        }
        output.start(plan, quantization);
        coefficients.finish(*arch, plan, header.color(frame), output);
        Ok(())
    }
}

/// Segments between restart markers of a scan of so many MCUs across and down.
fn segments(mcus: [u32; 2], interval: u32) -> usize {
    match interval as usize {
        0 => 1,
        interval => (mcus[0] as usize * mcus[1] as usize).div_ceil(interval),
    }
}

/// The quantisation table of each component.
fn quantization<'h>(header: &'h Header, frame: &Frame) -> Result<[&'h [u16; 64]; 3], JpegError> {
    let mut tables = [&[0; 64]; 3];
    for (table, component) in tables.iter_mut().zip(frame.components()) {
        let index = component.quantization;
        let slot = header.quantization.get(usize::from(index));
        *table = slot
            .and_then(|s| s.as_ref())
            .ok_or(JpegError::MissingTable {
                kind: "quantisation",
                index,
            })?;
    }
    Ok(tables)
}
