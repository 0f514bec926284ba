//! What the `image` crate's decoders take on trust, at the price of memory or of a panic.

use crate::AugError;

/// The part of a file that is its picture, after a look at what its decoder does not look at.
pub(crate) fn checked(bytes: &[u8], format: image::ImageFormat) -> Result<&[u8], AugError> {
    match format {
        image::ImageFormat::Png => palette(bytes).map(|()| bytes),
        image::ImageFormat::WebP => webp(bytes),
        _ => Ok(bytes),
    }
}

/// The `png` crate panics on palettes that are no whole number of colours.
fn palette(bytes: &[u8]) -> Result<(), AugError> {
    let mut at = 8;
    while let Some(&[a, b, c, d, ref name @ ..]) = chunk_start(bytes, at) {
        let length = u32::from_be_bytes([a, b, c, d]);
        match name {
            b"PLTE" if length == 0 || !length.is_multiple_of(3) => {
                let what = "a palette that is no list of colours";
                return Err(broken("PNG", at, what));
            }
            b"IDAT" => break,
            _ => at = at.saturating_add(length as usize).saturating_add(12),
        }
    }
    Ok(())
}

/// A WebP file up to where RIFF has its end. The `image-webp` crate allocates what a chunk says of
/// its length, and a lossy frame's size without a look at the canvas.
fn webp(bytes: &[u8]) -> Result<&[u8], AugError> {
    let wrong = |at, what| Err(broken("WebP", at, what));
    let &length = bytes[4..].first_chunk().unwrap_or(&[0; 4]);
    let end = 8usize.saturating_add(u32::from_le_bytes(length) as usize);
    if end > bytes.len() {
        return wrong(4, "the file ends before its RIFF container");
    }
    let bytes = &bytes[..end];
    let mut canvas = [u32::MAX; 2];
    // Frames of an animation have their chunks within; two levels are all there is.
    let mut levels = vec![(12, end)];
    while let Some((mut at, end)) = levels.pop() {
        while let Some(&[ref name @ .., a, b, c, d]) = chunk_start(&bytes[..end], at) {
            let length = u32::from_le_bytes([a, b, c, d]) as usize;
            let start = at + 8;
            if length > end - start {
                return wrong(at, "a chunk ends behind what it is in");
            }
            let data = &bytes[start..start + length];
            match name {
                b"VP8X" if length >= 10 => {
                    let side = |i| 1 + u32::from_le_bytes([data[i], data[i + 1], data[i + 2], 0]);
                    canvas = [side(4), side(7)];
                }
                b"VP8 " if length >= 10 => {
                    let side = |i| u32::from(u16::from_le_bytes([data[i], data[i + 1]]) & 0x3fff);
                    if side(6) > canvas[0] || side(8) > canvas[1] {
                        return wrong(at, "a frame larger than its canvas");
                    }
                }
                b"ANMF" if length >= 16 => levels.push((start + 16, start + length)),
                _ => {}
            }
            at = start + length.next_multiple_of(2);
        }
    }
    Ok(bytes)
}

/// Name and length of a chunk, in either order.
fn chunk_start(bytes: &[u8], at: usize) -> Option<&[u8; 8]> {
    bytes.get(at..)?.first_chunk()
}

fn broken(format: &'static str, position: usize, what: &'static str) -> AugError {
    AugError::Container {
        format,
        position,
        what,
    }
}
