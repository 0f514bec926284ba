//! Crop and resize in one pass.

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::{InnerPixel, U8, U8x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;

use crate::BBox;

/// Cuts `crop` out of the image and scales it to `width × height`, bilinear with antialiasing:
/// PIL's `image.crop(..).resize(.., BILINEAR)` (what torchvision does), without copying the crop.
///
/// A crop of whole pixels sees nothing beyond its edges, as in torchvision; a fractional one sees
/// the pixels it cuts.
///
/// # Panics
/// If the crop is empty or leaves the image, or the output is empty.
pub fn crop_resize(img: &RgbImage, crop: &BBox, width: u32, height: u32) -> RgbImage {
    let mut out = RgbImage::new(width, height);
    resize_into::<U8x3>(
        img.as_raw(),
        img.dimensions(),
        crop,
        &mut out,
        (width, height),
    );
    out
}

/// The same for one channel, row-major.
///
/// # Panics
/// As [`crop_resize`], or if the slice's length is not `width · height`.
pub(crate) fn crop_resize_plane(
    plane: &[u8],
    source: (u32, u32),
    crop: &BBox,
    output: (u32, u32),
) -> Vec<u8> {
    let mut out = vec![0; output.0 as usize * output.1 as usize];
    resize_into::<U8>(plane, source, crop, &mut out, output);
    out
}

fn resize_into<P: PixelTrait + InnerPixel>(
    pixels: &[u8],
    (source_width, source_height): (u32, u32),
    crop: &BBox,
    out: &mut [u8],
    (width, height): (u32, u32),
) {
    let inside = crop.x0 >= 0.0
        && crop.y0 >= 0.0
        && crop.x1 <= source_width as f32
        && crop.y1 <= source_height as f32;
    assert!(
        inside && crop.area() > 0.0 && width > 0 && height > 0,
        "cannot cut {crop:?} out of {source_width} x {source_height} px for {width} x {height} px"
    );
    // The smallest whole-pixel window around the crop bounds what the filter may see.
    let (left, top) = (crop.x0.floor() as u32, crop.y0.floor() as u32);
    let (right, bottom) = (crop.x1.ceil() as u32, crop.y1.ceil() as u32);
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
        .crop(
            f64::from(crop.x0) - f64::from(left),
            f64::from(crop.y0) - f64::from(top),
            f64::from(crop.x1) - f64::from(crop.x0),
            f64::from(crop.y1) - f64::from(crop.y0),
        );
    let source = TypedImageRef::<P>::from_buffer(source_width, source_height, pixels)
        .expect("the buffer has the image's size");
    let window = TypedCroppedImage::new(source, left, top, right - left, bottom - top)
        .expect("the window lies in the image");
    let mut target = TypedImage::<P>::from_buffer(width, height, out)
        .expect("the output buffer has the output's size");
    Resizer::new()
        .resize_typed(&window, &mut target, &options)
        .expect("the crop lies in the window");
}
