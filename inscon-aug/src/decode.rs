//! Image files to RGB pixels, whole or in part.

use std::io::{Cursor, ErrorKind};
use std::ops::Range;
use std::panic::catch_unwind;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

use crate::container::checked;
use crate::jpeg::{COMPONENTS, JpegDecoder, JpegError, JpegImage};
use crate::planes::grow;
use crate::{AugError, BBox, PixelRegion};

/// What decoding may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Bytes of the decoded pixels of a whole image, even where only a part is decoded. 512 MiB by
    /// default.
    ///
    /// As many again may go to each of: the coefficients of a JPEG in several scans, and the samples
    /// of a row of its MCUs, which are kept for the next one; the working memory of another format's decoder; the pixels once more while
    /// they become RGB or are turned. A [`Decoder`] never has more than four times as many bytes,
    /// sixteen times those of the file, and a mebibyte: the tests measure it over the whole zoo of
    /// broken files. An image above the limit is an error before any memory is taken for it.
    ///
    /// The code tables of a lossless WebP are not counted: by reckoning, a file of seven megabytes
    /// that is made for it takes 1.3 GB, which only limits below the default cannot hold.
    pub max_bytes: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            max_bytes: 512 << 20,
        }
    }
}

/// Decodes image files, one after the other, in the same buffers: JPEG, PNG, WebP, BMP and TIFF.
///
/// The pixels are those of PIL's `ImageOps.exif_transpose(image).convert("RGB")`: grey is tripled,
/// alpha is dropped, palettes are looked up, CMYK and YCCK JPEGs are taken as Adobe's inverted
/// ones, EXIF orientation is applied. Of 16-bit channels the high byte is kept (PIL clips 16-bit
/// *grey* at 255 instead, which whitens it). An orientation that only XMP data have
/// (`tiff:Orientation`, to which PIL falls back) is not read. Colour profiles are ignored. JPEGs of one or three
/// components are equal to PIL's to the last bit ([`crate::jpeg`]), those of four within a level
/// or so.
///
/// # Damage
///
/// Whatever the bytes are, there is a picture or an error that says what is wrong; never a panic,
/// never more memory than [`DecodeLimits`] says, and at most 500 scans of a JPEG.
///
/// A file that ends early is an error, as in PIL, whatever part of it is asked for. Where PIL and
/// libjpeg only warn, or not even that, we are stricter: codes that no Huffman table has, data that
/// end within a scan, restart markers out of order, progressive JPEGs that lack their last scans
/// (of the ten lowest coefficients; libjpeg smooths over them) are errors, as pixels made up of
/// nothing must not be trained on. But a part of a JPEG is read only as far as it needs: damage below it (in a progressive
/// JPEG, beyond the rows of the scans that it needs) goes unnoticed, and flipped bits that are
/// valid code are seen by nobody. JPEGs of four components go to a decoder that is as lenient as
/// libjpeg. What does not touch the pixels is forgiven: broken Exif data and colour profiles,
/// unknown segments, whatever follows the image. The name's extension is not looked at.
///
/// ```no_run
/// use inscon_aug::{BBox, Decoder};
/// let bytes = std::fs::read("photo.jpg")?;
/// let mut decoder = Decoder::new();
/// let [width, height] = decoder.size(&bytes)?;
/// let crop = BBox::new(0.0, 0.0, 0.5 * width as f32, 0.5 * height as f32);
/// // The upper left quarter, from a JPEG at half the resolution.
/// let region = decoder.decode_region(&bytes, &crop, 2)?;
/// assert_eq!(region.image_size, [width, height]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct Decoder {
    limits: DecodeLimits,
    jpeg: JpegDecoder,
    /// Turned pixels, and those of formats other than JPEG.
    pixels: Vec<u8>,
}

impl Decoder {
    /// A decoder with the default limits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A decoder with these limits.
    #[must_use]
    pub fn with_limits(limits: DecodeLimits) -> Self {
        Self {
            limits,
            jpeg: JpegDecoder::new().with_limit(limits.max_bytes),
            pixels: Vec::new(),
        }
    }

    /// Bytes in the decoder's buffers. Of JPEGs alone they only grow, up to what the largest part
    /// asked for needs; an image of another format has its own pixels for buffer.
    #[must_use]
    pub fn buffer_size(&self) -> usize {
        self.jpeg.buffer_size() + self.pixels.capacity()
    }

    /// Width and height in pixels behind EXIF orientation, from the header alone.
    ///
    /// # Errors
    /// [`AugError`] for an unknown format, a broken header, an image without pixels, or a JPEG above
    /// the limits (of other formats only decoding is sure to say that).
    pub fn size(&mut self, bytes: &[u8]) -> Result<[u32; 2], AugError> {
        let format = known_format(bytes)?;
        if format == ImageFormat::Jpeg {
            match self.jpeg.open(bytes) {
                Ok(image) => return Ok(Turn::new(orientation(&image)).transpose(image.size())),
                Err(JpegError::Unsupported(COMPONENTS)) => {}
                Err(error) => return Err(named(error, bytes)),
            }
        }
        let bytes = checked(bytes, format)?;
        let size = guarded(|| {
            let mut decoder = open(bytes, format, self.limits)?;
            let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
            let (width, height) = decoder.dimensions();
            if width == 0 || height == 0 {
                return Ok(None);
            }
            Ok(Some(Turn::new(orientation).transpose([width, height])))
        })?;
        size.ok_or(AugError::Empty(0, 0))
    }

    /// Decodes a whole image.
    ///
    /// # Errors
    /// [`AugError`] for whatever is wrong with the bytes, and for images above the limits.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<PixelRegion<'_>, AugError> {
        let everything = BBox::new(0.0, 0.0, f32::MAX, f32::MAX);
        self.decode_region(bytes, &everything, 1)
    }

    /// Decodes the part of an image that a crop touches.
    ///
    /// `crop` is in source pixels behind EXIF orientation, as [`Decoder::size`] measures them. It
    /// is rounded outward and clipped to the image; at least one pixel is given. `denominator` (1,
    /// 2, 4 or 8) reduces a JPEG by libjpeg's scaled decoding; one that EXIF has mirrored only as far
    /// as it divides the mirrored sides, as the pixels of what is left over are at the other edge;
    /// other formats, and JPEGs of four components, come whole and at full size. So ask [`PixelRegion::locate`] where the crop
    /// lies.
    ///
    /// # Errors
    /// [`AugError`] for what is wrong with the bytes as far as they are read, and for images above
    /// the limits.
    ///
    /// # Panics
    /// If `denominator` is none of 1, 2, 4 and 8.
    pub fn decode_region(
        &mut self,
        bytes: &[u8],
        crop: &BBox,
        denominator: u32,
    ) -> Result<PixelRegion<'_>, AugError> {
        assert!(
            matches!(denominator, 1 | 2 | 4 | 8),
            "denominator {denominator}"
        );
        let format = known_format(bytes)?;
        if format == ImageFormat::Jpeg {
            match self.jpeg.read_header(bytes) {
                Ok(opened) => {
                    let image = self.jpeg.image(opened);
                    let region = decode_jpeg(image, crop, denominator, &mut self.pixels);
                    return region.map_err(|e| named(e, bytes));
                }
                Err(JpegError::Unsupported(COMPONENTS)) => check_markers(bytes)?,
                Err(error) => return Err(named(error, bytes)),
            }
        }
        // Freed first, as the next image brings its own; and a large JPEG's buffers, so that all
        // together stay within the bound.
        self.pixels = Vec::new();
        if self.jpeg.buffer_size() as u64 > self.limits.max_bytes {
            self.jpeg.free();
        }
        let image = decode_other(checked(bytes, format)?, format, self.limits)?;
        let (width, height) = image.dimensions();
        self.pixels = image.into_raw();
        Ok(PixelRegion {
            pixels: &self.pixels,
            width,
            height,
            x: 0,
            y: 0,
            denominator: 1,
            image_size: [width, height],
        })
    }
}

/// `turned` is for pixels that EXIF has turned.
fn decode_jpeg<'d>(
    image: JpegImage<'d, '_>,
    crop: &BBox,
    denominator: u32,
    turned: &'d mut Vec<u8>,
) -> Result<PixelRegion<'d>, JpegError> {
    let turn = Turn::new(orientation(&image));
    let stored = image.size();
    let image_size = turn.transpose(stored);
    let denominator = turn.denominator(denominator, image_size);
    let ranges = turn.mirror(pixel_ranges(crop, image_size), image_size);
    let [columns, rows] = turn.transpose(ranges);
    let part = image.decode(columns, rows, denominator)?;
    let size = [part.width, part.height];
    let ranges = turn.transpose([part.x..part.x + size[0], part.y..part.y + size[1]]);
    let [x, y] = turn.mirror(ranges, image_size.map(|s| s.div_ceil(denominator)));
    let pixels = if turn == Turn::new(Orientation::NoTransforms) {
        part.pixels
    } else {
        turn.apply(part.pixels, size, turned);
        &turned[..part.pixels.len()]
    };
    let [width, height] = turn.transpose(size);
    Ok(PixelRegion {
        pixels,
        width,
        height,
        x: x.start,
        y: y.start,
        denominator,
        image_size,
    })
}

/// Decodes a whole image file to RGB, as [`Decoder`] does; which is for more than one image.
///
/// # Errors
/// [`AugError`] for whatever is wrong with the bytes; broken files never panic. Images of more than
/// 512 MiB are refused.
pub fn decode_rgb(bytes: &[u8]) -> Result<RgbImage, AugError> {
    let mut decoder = Decoder::new();
    let region = decoder.decode(bytes)?;
    let (width, height) = (region.width, region.height);
    let pixels = region.pixels.to_vec();
    RgbImage::from_raw(width, height, pixels).ok_or(AugError::Empty(width, height))
}

fn known_format(bytes: &[u8]) -> Result<ImageFormat, AugError> {
    let known = [
        ImageFormat::Jpeg,
        ImageFormat::Png,
        ImageFormat::WebP,
        ImageFormat::Bmp,
        ImageFormat::Tiff,
    ];
    let format = image::guess_format(bytes).ok();
    format
        .filter(|f| known.contains(f))
        .ok_or(AugError::UnknownFormat(bytes.len()))
}

fn named(error: JpegError, bytes: &[u8]) -> AugError {
    match error {
        JpegError::Truncated => AugError::Truncated(bytes.len()),
        error => AugError::Jpeg(error),
    }
}

/// Pixel columns and rows that a box touches: within the image, and at least one.
fn pixel_ranges(crop: &BBox, size: [u32; 2]) -> [Range<u32>; 2] {
    let range = |low: f32, high: f32, size: u32| {
        let start = (low.max(0.0).floor() as u32).min(size - 1);
        start..(high.ceil() as u32).clamp(start + 1, size)
    };
    [
        range(crop.x0, crop.x1, size[0]),
        range(crop.y0, crop.y1, size[1]),
    ]
}

/// How EXIF has a stored image turned: first transposed, then mirrored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    transposed: bool,
    /// Left to right and top to bottom, behind the transposition.
    mirrored: [bool; 2],
}

impl Turn {
    fn new(orientation: Orientation) -> Self {
        let (transposed, mirrored) = match orientation {
            Orientation::NoTransforms => (false, [false, false]),
            Orientation::FlipHorizontal => (false, [true, false]),
            Orientation::Rotate180 => (false, [true, true]),
            Orientation::FlipVertical => (false, [false, true]),
            Orientation::Rotate90FlipH => (true, [false, false]),
            Orientation::Rotate90 => (true, [true, false]),
            Orientation::Rotate270FlipH => (true, [true, true]),
            Orientation::Rotate270 => (true, [false, true]),
        };
        Self {
            transposed,
            mirrored,
        }
    }

    /// A pair of x and y with or without transposition, which is its own inverse.
    fn transpose<T>(self, [x, y]: [T; 2]) -> [T; 2] {
        if self.transposed { [y, x] } else { [x, y] }
    }

    /// Ranges of columns and rows mirrored in an image of `size`, or not; its own inverse.
    fn mirror(self, ranges: [Range<u32>; 2], size: [u32; 2]) -> [Range<u32>; 2] {
        let mut axis = 0;
        ranges.map(|range| {
            let (mirrored, side) = (self.mirrored[axis], size[axis]);
            axis += 1;
            if mirrored {
                side - range.end..side - range.start
            } else {
                range
            }
        })
    }

    /// The greatest denominator up to this one that reduces an image of turned `size` to pixels
    /// that begin at its turned edges.
    fn denominator(self, wanted: u32, size: [u32; 2]) -> u32 {
        let fits = |d: &u32| {
            [0, 1]
                .iter()
                .all(|&a| !self.mirrored[a] || size[a].is_multiple_of(*d))
        };
        [8, 4, 2]
            .into_iter()
            .filter(|&d| d <= wanted)
            .find(fits)
            .unwrap_or(1)
    }

    /// Turns pixels of stored width and height into the first bytes of `out`.
    fn apply(self, pixels: &[u8], [width, height]: [u32; 2], out: &mut Vec<u8>) {
        grow(out, pixels.len());
        let (pixels, _) = pixels.as_chunks::<3>();
        let (out, _) = out.as_chunks_mut::<3>();
        let size = self.transpose([width as usize, height as usize]);
        let steps = self.transpose([1, width as usize]);
        // Where a column or a row of the turned image lies in the stored one.
        let at = |axis: usize, i: usize| {
            let i = if self.mirrored[axis] {
                size[axis] - 1 - i
            } else {
                i
            };
            i * steps[axis]
        };
        for (y, row) in out.chunks_mut(size[0]).take(size[1]).enumerate() {
            let start = at(1, y);
            for (x, pixel) in row.iter_mut().enumerate() {
                *pixel = pixels[start + at(0, x)];
            }
        }
    }
}

/// Broken metadata is no reason to lose the picture.
fn orientation(image: &JpegImage<'_, '_>) -> Orientation {
    let orientation = image.exif().and_then(Orientation::from_exif_chunk);
    orientation.unwrap_or(Orientation::NoTransforms)
}

/// Runs a decoder of the `image` crate. A file must not end a run of days, whatever it does to it.
fn guarded<T>(
    decode: impl FnOnce() -> image::ImageResult<T> + std::panic::UnwindSafe,
) -> Result<T, AugError> {
    let decoded = catch_unwind(decode).map_err(|_| AugError::DecoderPanicked)?;
    decoded.map_err(|error| match error {
        image::ImageError::IoError(e) if e.kind() == ErrorKind::UnexpectedEof => AugError::Ended,
        error => AugError::Decode(error),
    })
}

/// A decoder of the `image` crate that has read the header.
fn open(
    bytes: &[u8],
    format: ImageFormat,
    limits: DecodeLimits,
) -> image::ImageResult<impl ImageDecoder> {
    let mut allowed = Limits::default();
    allowed.max_alloc = Some(limits.max_bytes);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(allowed);
    reader.into_decoder()
}

/// Files that are not for [`JpegDecoder`].
fn decode_other(
    bytes: &[u8],
    format: ImageFormat,
    limits: DecodeLimits,
) -> Result<RgbImage, AugError> {
    // The size that is too large, or the image and its orientation.
    let decoded = guarded(|| {
        let mut decoder = open(bytes, format, limits)?;
        let (width, height) = decoder.dimensions();
        // Not every decoder compares its image with the limits by itself, and none knows of the
        // RGB that is made of it. A JPEG of four components that is decoded here may take two
        // bytes for each sample.
        let samples = if format == ImageFormat::Jpeg { 8 } else { 3 };
        let rgb = (u64::from(width) * u64::from(height)).saturating_mul(samples);
        let needed = rgb.max(decoder.total_bytes());
        if needed > limits.max_bytes {
            return Ok(Err((width, height, needed)));
        }
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        Ok(Ok((DynamicImage::from_decoder(decoder)?, orientation)))
    })?;
    let (image, orientation) = decoded.map_err(|(width, height, needed)| AugError::TooLarge {
        width,
        height,
        needed,
        limit: limits.max_bytes,
    })?;
    let (width, height) = (image.width(), image.height());
    if width == 0 || height == 0 {
        return Err(AugError::Empty(width, height));
    }
    let mut image = DynamicImage::ImageRgb8(into_rgb(image));
    image.apply_orientation(orientation);
    Ok(image.into_rgb8())
}

fn into_rgb(image: DynamicImage) -> RgbImage {
    let (width, height) = (image.width(), image.height());
    match image {
        DynamicImage::ImageLuma16(image) => high_bytes::<1>(width, height, &image),
        DynamicImage::ImageLumaA16(image) => high_bytes::<2>(width, height, &image),
        DynamicImage::ImageRgb16(image) => high_bytes::<3>(width, height, &image),
        DynamicImage::ImageRgba16(image) => high_bytes::<4>(width, height, &image),
        image => image.into_rgb8(),
    }
}

/// The high bytes of `N` interleaved 16-bit channels: grey, grey and alpha, RGB, or RGB and alpha.
fn high_bytes<const N: usize>(width: u32, height: u32, samples: &[u16]) -> RgbImage {
    let mut out = RgbImage::new(width, height);
    let (targets, _) = out.as_chunks_mut::<3>();
    let (pixels, _) = samples.as_chunks::<N>();
    for (target, pixel) in targets.iter_mut().zip(pixels) {
        for (c, v) in target.iter_mut().enumerate() {
            *v = (pixel[if N < 3 { 0 } else { c }] >> 8) as u8;
        }
    }
    out
}

/// Walks the markers of a JPEG of four components: an end-of-image marker must follow its scans, and
/// the decoder panics where a second frame header changes the sampling.
fn check_markers(bytes: &[u8]) -> Result<(), AugError> {
    const END_OF_IMAGE: u8 = 0xd9;
    let mut frames = 0;
    let mut position = 2;
    while let Some((marker, after)) = next_marker(bytes, position) {
        match marker {
            END_OF_IMAGE => return Ok(()),
            // TEM and start of image carry nothing.
            0x01 | 0xd8 => position = after,
            _ => {
                if matches!(marker, 0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf) {
                    frames += 1;
                }
                if frames > 1 {
                    return Err(AugError::Jpeg(JpegError::Segment {
                        marker,
                        position: after - 2,
                        what: "a second frame header",
                    }));
                }
                let Some(&[high, low]) = bytes[after..].first_chunk() else {
                    break;
                };
                let length = usize::from(u16::from_be_bytes([high, low]));
                // Broken, which is for the decoder to say.
                if length < 2 {
                    return Ok(());
                }
                position = after + length;
            }
        }
    }
    Err(AugError::Truncated(bytes.len()))
}

/// The next marker at or after `from` and the position behind it; entropy-coded bytes and restart
/// markers are passed over.
fn next_marker(bytes: &[u8], from: usize) -> Option<(u8, usize)> {
    let mut position = from;
    loop {
        position += bytes.get(position..)?.iter().position(|&b| b == 0xff)?;
        position += bytes[position..].iter().position(|&b| b != 0xff)?;
        let marker = bytes[position];
        position += 1;
        if marker != 0x00 && !(0xd0..=0xd7).contains(&marker) {
            return Some((marker, position));
        }
    }
}
