//! Crop and resize in one pass.

use image::RgbImage;

use crate::lanes::vectorized;
use crate::planes::{Interleave, three};
use crate::resample::{Resampler, Source};
use crate::{BBox, ViewTransform};

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
    let view = ViewTransform {
        crop: *crop,
        flip: false,
        width,
        height,
    };
    crop_resize_view(img, &view)
}

/// The same, mirrored where the view is.
///
/// # Panics
/// As [`crop_resize`].
pub(crate) fn crop_resize_view(img: &RgbImage, view: &ViewTransform) -> RgbImage {
    let (width, height) = (view.width, view.height);
    let mut out = RgbImage::new(width, height);
    let mut planes = vec![0; out.len()];
    let source = Source {
        pixels: img.as_raw(),
        width: img.width(),
        height: img.height(),
    };
    let size = (width, height);
    Resampler::default().run::<3>(source, &view.crop, size, view.flip, &mut planes);
    let planes = three(&mut planes).map(|plane| &*plane);
    vectorized(Interleave(planes, &mut out));
    out
}

/// The same for one channel of `width × height` values, row-major.
///
/// # Panics
/// As [`crop_resize`], or if the slice's length is not `width · height`.
pub(crate) fn crop_resize_plane(
    pixels: &[u8],
    [width, height]: [u32; 2],
    view: &ViewTransform,
) -> Vec<u8> {
    let size = (view.width, view.height);
    let mut out = vec![0; size.0 as usize * size.1 as usize];
    let source = Source {
        pixels,
        width,
        height,
    };
    Resampler::default().run::<1>(source, &view.crop, size, view.flip, &mut out);
    out
}
