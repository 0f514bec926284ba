//! The pixels of a drawn view.

use image::RgbImage;
use ndarray::{ArrayViewMut3, Axis};

use crate::color_jitter::luma_plane;
use crate::gaussian_blur::BlurScratch;
use crate::lanes::{Lanes, Run, vectorized};
use crate::planes::{grow, interleave3, three};
use crate::resample::{Resampler, Source};
use crate::{ColorOp, PixelRegion, SampledView};

/// Memory that [`SampledView::render`] works in, kept from view to view: one a thread.
#[derive(Debug, Clone, Default)]
pub struct ViewScratch {
    resampler: Resampler,
    blur: BlurScratch,
    /// Red, green and blue of the view, one after another.
    planes: Vec<u8>,
}

impl ViewScratch {
    /// Without memory; the first view brings it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl SampledView {
    /// The most that a JPEG may be reduced when it is decoded for this view: the largest of 1, 2, 4
    /// and 8 that leaves the crop at least as wide and as high as the view.
    ///
    /// ```
    /// use inscon_aug::SampledView;
    /// assert_eq!(SampledView::plain([640, 500], 224, 224).denominator(), 2);
    /// assert_eq!(SampledView::plain([640, 440], 224, 224).denominator(), 1);
    /// ```
    #[must_use]
    pub fn denominator(&self) -> u32 {
        let [width, height] = self.size.map(|side| side as f32);
        let fits = |d: &u32| {
            let d = *d as f32;
            self.crop.width() >= d * width && self.crop.height() >= d * height
        };
        [8, 4, 2].into_iter().find(fits).unwrap_or(1)
    }

    /// The view's pixels: [`render`](Self::render) of a whole image.
    ///
    /// # Panics
    /// If the image is not of `source_size`, or the view cannot be rendered:
    /// [`validate`](Self::validate) says so beforehand.
    pub fn apply_rgb(&self, img: &RgbImage) -> RgbImage {
        let [width, height] = self.size;
        let mut view = RgbImage::new(width, height);
        let shape = (height as usize, width as usize, 3);
        let out = ArrayViewMut3::from_shape(shape, &mut view).expect("the image has its size");
        self.render(&PixelRegion::from(img), &mut ViewScratch::new(), out);
        view
    }

    /// Writes the view's pixels into `out`, `[height, width, 3]`, which may be a tile of a canvas
    /// ([`rgb_tiles_mut`](crate::rgb_tiles_mut)). Nothing is allocated, once the scratch has made a
    /// view of such a size, blur and kernel from as large a crop.
    ///
    /// Of a reduced image the crop is scaled as [`PixelRegion::locate`] finds it; the filter sees
    /// the smallest window of whole pixels around it, so that the result does not depend on how
    /// much more the region holds.
    ///
    /// ```
    /// use image::RgbImage;
    /// use inscon_aug::{PixelRegion, ViewAugmentation, ViewScratch, rgb_tiles_mut, stream};
    /// use ndarray::Array4;
    /// let image = RgbImage::new(80, 60);
    /// let mut canvases = Array4::zeros((1, 64, 64, 3));
    /// let mut scratch = ViewScratch::new();
    /// for (i, tile) in rgb_tiles_mut(&mut canvases, 2).into_iter().enumerate() {
    ///     let view = ViewAugmentation::moco_v2(32).sample(&mut stream(0, &[i as u64]), 80, 60);
    ///     view.render(&PixelRegion::from(&image), &mut scratch, tile);
    /// }
    /// ```
    ///
    /// # Panics
    /// If `out` is not `[height, width, 3]` with contiguous rows, the region is not of an image of
    /// `source_size`, or it does not hold the crop; if the crop or the view is empty, or the size of
    /// an exact blur's kernel is even, of which [`validate`](Self::validate) says so beforehand.
    pub fn render(
        &self,
        region: &PixelRegion<'_>,
        scratch: &mut ViewScratch,
        out: ArrayViewMut3<'_, u8>,
    ) {
        let [source_width, source_height] = region.image_size;
        assert!(
            region.image_size == self.source_size,
            "the view was drawn for {:?} px, but the image is {source_width} x {source_height} px",
            self.source_size
        );
        let [width, height] = self.size.map(|side| side as usize);
        assert!(
            out.shape() == [height, width, 3],
            "the view is {:?}, but the output {:?}",
            [height, width, 3],
            out.shape()
        );
        let ViewScratch {
            resampler,
            blur,
            planes,
        } = scratch;
        let source = Source {
            pixels: region.pixels,
            width: region.width,
            height: region.height,
        };
        let area = width * height;
        grow(planes, 3 * area);
        let planes = &mut planes[..3 * area];
        let size = (self.size[0], self.size[1]);
        resampler.run::<3>(source, &region.locate(&self.crop), size, self.flip, planes);

        // A pass for each operation: contrast needs the mean of all pixels as the operations before
        // it left them, and each rounds to bytes, as PIL does. The planes of a view of 224 px are
        // 150 kB, which a core's own cache holds from pass to pass.
        for color in &self.colors {
            color.apply_planes(three(planes));
        }
        // A grey view is one plane, until it is written.
        let channels = if self.grayscale { 1 } else { 3 };
        if self.grayscale {
            luma_plane(three(planes));
        }
        if let Some(sigma) = self.blur {
            for plane in planes.chunks_exact_mut(area).take(channels) {
                blur.blur(plane, width, sigma, self.blur_kernel);
            }
        }
        if let Some(threshold) = self.solarize {
            ColorOp::Solarize(threshold).apply_planes(three(planes));
        }
        let [r, g, b] = three(planes).map(|plane| &*plane);
        let [r, g, b] = if self.grayscale { [r; 3] } else { [r, g, b] };
        vectorized(Write {
            planes: [r, g, b],
            out,
        });
    }
}

/// Planes into an output with contiguous rows.
struct Write<'a> {
    planes: [&'a [u8]; 3],
    out: ArrayViewMut3<'a, u8>,
}

impl Run for Write<'_> {
    type Output = ();

    #[inline(always)]
    fn run(mut self, lanes: impl Lanes) {
        let width = self.out.shape()[1];
        let [r, g, b] = self.planes;
        for (y, line) in self.out.axis_iter_mut(Axis(0)).enumerate() {
            let line = line
                .into_slice()
                .expect("the rows of the output are contiguous");
            let row = y * width..(y + 1) * width;
            let rows = [&r[row.clone()], &g[row.clone()], &b[row]];
            interleave3(lanes, rows, line);
        }
    }
}
