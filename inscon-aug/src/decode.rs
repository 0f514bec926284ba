//! Image files to RGB pixels.

use std::io::Cursor;
use std::panic::catch_unwind;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

use crate::AugError;

/// Decodes a JPEG, PNG, WebP, BMP or TIFF file to RGB, as PIL's
/// `ImageOps.exif_transpose(image).convert("RGB")` does: grey is tripled, alpha is dropped,
/// palettes are looked up, CMYK and YCCK JPEGs are taken as Adobe's inverted ones, EXIF orientation
/// is applied. Of 16-bit channels the high byte is kept (PIL clips 16-bit *grey* at 255 instead,
/// which whitens it). Colour profiles are ignored.
///
/// A truncated JPEG is an error, as in PIL: the decoder would fill the rest with grey and say
/// nothing.
///
/// # Errors
/// [`AugError`] for whatever is wrong with the bytes; broken files never panic. Images that need
/// more than 512 MiB are refused.
pub fn decode_rgb(bytes: &[u8]) -> Result<RgbImage, AugError> {
    let format = image::guess_format(bytes).map_err(|_| AugError::UnknownFormat(bytes.len()))?;
    let known = [
        ImageFormat::Jpeg,
        ImageFormat::Png,
        ImageFormat::WebP,
        ImageFormat::Bmp,
        ImageFormat::Tiff,
    ];
    if !known.contains(&format) {
        return Err(AugError::UnknownFormat(bytes.len()));
    }
    if format == ImageFormat::Jpeg && !reaches_end_of_image(bytes) {
        return Err(AugError::Truncated(bytes.len()));
    }
    // A file must not end a run of days, whatever it does to the decoder.
    let (image, orientation) = catch_unwind(|| -> image::ImageResult<_> {
        let mut decoder = ImageReader::with_format(Cursor::new(bytes), format).into_decoder()?;
        // Not every decoder compares its image with the limits by itself.
        Limits::default().reserve(decoder.total_bytes())?;
        // Broken metadata is no reason to lose the picture.
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        Ok((DynamicImage::from_decoder(decoder)?, orientation))
    })
    .map_err(|_| AugError::DecoderPanicked)??;
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

/// Walks the markers of a JPEG: whether an end-of-image marker follows its scans.
fn reaches_end_of_image(bytes: &[u8]) -> bool {
    const END_OF_IMAGE: u8 = 0xd9;
    let mut position = 2;
    while let Some((marker, after)) = next_marker(bytes, position) {
        match marker {
            END_OF_IMAGE => return true,
            // TEM and start of image carry nothing.
            0x01 | 0xd8 => position = after,
            _ => {
                let Some(&[high, low]) = bytes[after..].first_chunk() else {
                    return false;
                };
                let length = usize::from(u16::from_be_bytes([high, low]));
                // Broken, which is for the decoder to say.
                if length < 2 {
                    return true;
                }
                position = after + length;
            }
        }
    }
    false
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
