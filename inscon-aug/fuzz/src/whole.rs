//! Any bytes.

use std::cell::RefCell;

use inscon_aug::{AugError, BBox, DecodeLimits, Decoder};

/// Bytes that the pixels of an image may take.
const LIMIT: u64 = 2 << 20;

thread_local! {
    /// One decoder for all inputs: what it keeps from one must not show in the next.
    static USED: RefCell<Decoder> =
        RefCell::new(Decoder::with_limits(DecodeLimits { max_bytes: LIMIT }));
}

/// The size, the whole and some parts of it: if there is a whole, there are its parts, with its
/// pixels; a decoder with a past says the same as a new one; errors have a text and are no panic.
pub fn decode(bytes: &[u8]) {
    USED.with_borrow_mut(|used| check(used, bytes));
}

fn check(used: &mut Decoder, bytes: &[u8]) {
    let size = used.size(bytes).map_err(named).ok();
    let whole = used.decode(bytes).map_err(named).ok();
    let whole = whole.map(|region| {
        let [width, height] = region.image_size;
        assert_eq!(size, Some([width, height]));
        assert_eq!(
            [region.width, region.height, region.x, region.y],
            [width, height, 0, 0]
        );
        let pixels = region.pixels.to_vec();
        assert_eq!(pixels.len(), 3 * width as usize * height as usize);
        assert!(pixels.len() as u64 <= LIMIT);
        pixels
    });
    let [width, height] = size.unwrap_or([16, 16]);
    // Where the crop lies is a matter of the bytes, so that the fuzzer can choose.
    let sum = bytes
        .iter()
        .fold(0u32, |sum, &b| sum.rotate_left(5) ^ u32::from(b));
    let part = |shift: u32, side: u32| (sum >> shift & 0xff) as f32 / 255.0 * side as f32;
    let (x, y) = (part(0, width), part(8, height));
    let crop = BBox::new(x, y, x + part(16, width) / 2.0, y + part(24, height) / 2.0);
    for denominator in [1, 2, 4, 8] {
        let region = match used.decode_region(bytes, &crop, denominator) {
            Ok(region) => region,
            Err(error) => {
                assert!(whole.is_none(), "only a part is broken: {error}");
                named(error);
                continue;
            }
        };
        assert_eq!(Some(region.image_size), size);
        let row = 3 * region.width as usize;
        assert_eq!(region.pixels.len(), row * region.height as usize);
        assert!(denominator.is_multiple_of(region.denominator));
        let reduced = region.image_size.map(|s| s.div_ceil(region.denominator));
        assert!(region.x + region.width <= reduced[0] && region.y + region.height <= reduced[1]);
        let (Some(whole), 1) = (&whole, region.denominator) else {
            continue;
        };
        for (y, pixels) in region.pixels.chunks_exact(row).enumerate() {
            let y = region.y as usize + y;
            let start = 3 * (y * width as usize + region.x as usize);
            assert_eq!(pixels, &whole[start..start + row], "row {y}");
        }
    }
    // A new decoder for every eighth input: its buffers are dear.
    if sum.is_multiple_of(8) {
        let mut new = Decoder::with_limits(DecodeLimits { max_bytes: LIMIT });
        let region = new.decode(bytes).map_err(named).ok();
        assert_eq!(
            region.map(|r| r.pixels.to_vec()),
            whole,
            "a decoder with a past"
        );
    }
}

fn named(error: AugError) {
    assert!(!matches!(error, AugError::DecoderPanicked));
    assert!(error.to_string().len() >= 20, "{error}");
}
