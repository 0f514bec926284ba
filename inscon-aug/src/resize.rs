//! Crop and resize in one pass.

use image::RgbImage;

use crate::BBox;
use crate::lanes::vectorized;
use crate::planes::{Interleave, three};
use crate::resample::{Resampler, Source};

/// Cuts `crop` out of the image and scales it to `width × height`, bilinear with antialiasing: to
/// the last bit PIL's `image.crop(..).resize(.., BILINEAR)` (what torchvision does), without
/// copying the crop.
///
/// Rows are filtered first, then columns, each rounded to bytes: Pillow up to 12, with which the
/// published models were trained. Pillow 13 filters columns first where the height shrinks much
/// more than the width (python-pillow/Pillow#9549), which moves some bytes of such crops by a
/// level; this crate keeps one order.
///
/// A crop of whole pixels sees nothing beyond its edges, as in torchvision; a fractional one sees
/// the pixels it cuts: PIL's `image.crop(outwards).resize(.., BILINEAR, box=..)`.
///
/// # Panics
/// If the crop is empty or leaves the image, or the output is empty.
pub fn crop_resize(img: &RgbImage, crop: &BBox, width: u32, height: u32) -> RgbImage {
    let mut out = RgbImage::new(width, height);
    let mut planes = vec![0; out.len()];
    let source = Source {
        pixels: img.as_raw(),
        width: img.width(),
        height: img.height(),
    };
    Resampler::default().run::<3>(source, crop, (width, height), false, &mut planes);
    let planes = three(&mut planes).map(|plane| &*plane);
    vectorized(Interleave(planes, &mut out));
    out
}

/// The same for one channel, row-major.
///
/// # Panics
/// As [`crop_resize`], or if the slice's length is not `width · height`.
pub(crate) fn crop_resize_plane(
    plane: &[u8],
    (width, height): (u32, u32),
    crop: &BBox,
    output: (u32, u32),
) -> Vec<u8> {
    let mut out = vec![0; output.0 as usize * output.1 as usize];
    let source = Source {
        pixels: plane,
        width,
        height,
    };
    Resampler::default().run::<1>(source, crop, output, false, &mut out);
    out
}
