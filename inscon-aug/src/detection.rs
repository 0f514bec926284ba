//! Detection inputs: resize by the shortest side and flip, with boxes, polygons and masks.

use image::RgbImage;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::resize::crop_resize_view;
use crate::rng::{below, chance};
use crate::{AugError, BBox, ViewTransform};

/// detectron2's `ResizeShortestEdge`: the shorter side becomes `min_size`, unless the longer one
/// would exceed `max_size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResizeShortestEdge {
    /// Length of the shorter side in pixels.
    pub min_size: u32,
    /// Bound of the longer side in pixels.
    pub max_size: u32,
}

impl ResizeShortestEdge {
    /// Width and height after the resize, rounded as detectron2 does.
    ///
    /// ```
    /// use inscon_aug::ResizeShortestEdge;
    /// let resize = ResizeShortestEdge { min_size: 800, max_size: 1333 };
    /// assert_eq!(resize.output_size(640, 480), (1067, 800));
    /// assert_eq!(resize.output_size(2000, 500), (1333, 333));
    /// ```
    pub fn output_size(&self, width: u32, height: u32) -> (u32, u32) {
        let (w, h) = (f64::from(width), f64::from(height));
        let size = f64::from(self.min_size);
        let scale = size / w.min(h);
        let (mut new_w, mut new_h) = if h < w {
            (scale * w, size)
        } else {
            (size, scale * h)
        };
        let longest = new_w.max(new_h);
        if longest > f64::from(self.max_size) {
            let shrink = f64::from(self.max_size) / longest;
            new_w *= shrink;
            new_h *= shrink;
        }
        (((new_w + 0.5) as u32).max(1), ((new_h + 0.5) as u32).max(1))
    }

    /// The transform of an image of `width × height` pixels.
    pub fn transform(&self, width: u32, height: u32, flip: bool) -> DetectionTransform {
        let (new_width, new_height) = self.output_size(width, height);
        DetectionTransform {
            view: ViewTransform {
                crop: BBox::of_size(width, height),
                flip,
                width: new_width,
                height: new_height,
            },
        }
    }

    /// Checks that both sizes are positive and in order.
    ///
    /// # Errors
    /// [`AugError::Config`].
    pub fn validate(&self) -> Result<(), AugError> {
        if self.min_size > 0 && self.max_size >= self.min_size {
            return Ok(());
        }
        Err(AugError::Config {
            field: "max_size",
            expected: "at least min_size, and that at least 1",
            value: format!("{} for min_size {}", self.max_size, self.min_size),
        })
    }
}

/// How [`DetectionAugmentation`] draws the length of the shortest edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SampleStyle {
    /// One of `short_edge_length`.
    #[default]
    Choice,
    /// Any whole number from the first of `short_edge_length` to the second, both included.
    Range,
}

/// The random policy of detection training: detectron2's `ResizeShortestEdge` over several lengths
/// (its fields have detectron2's names), then `RandomFlip`. It draws a [`DetectionTransform`].
///
/// The default is MoCo's for PASCAL VOC: 480 to 800 in steps of 32, at most 1333, flipped half the
/// time.
///
/// ```
/// use inscon_aug::{DetectionAugmentation, stream};
/// let policy = DetectionAugmentation::default();
/// policy.validate()?;
/// let transform = policy.sample(&mut stream(0, &[]), 640, 480);
/// let (width, height) = transform.output_size();
/// assert!(policy.short_edge_length.contains(&height) && width <= 1333);
/// # Ok::<(), inscon_aug::AugError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectionAugmentation {
    /// Lengths of the shorter side in pixels, or the two ends of their range.
    pub short_edge_length: Vec<u32>,
    /// Bound of the longer side in pixels.
    pub max_size: u32,
    /// How a length is drawn.
    pub sample_style: SampleStyle,
    /// Probability of a horizontal flip.
    pub flip_p: f64,
}

impl Default for DetectionAugmentation {
    fn default() -> Self {
        Self {
            short_edge_length: (480..=800).step_by(32).collect(),
            max_size: 1333,
            sample_style: SampleStyle::Choice,
            flip_p: 0.5,
        }
    }
}

impl DetectionAugmentation {
    /// Draws the transform of an image of `width × height` pixels: first the length, then the flip.
    ///
    /// # Panics
    /// If there is no length to draw, or a range has not two ends in order:
    /// [`validate`](Self::validate) says so beforehand.
    pub fn sample(&self, rng: &mut impl Rng, width: u32, height: u32) -> DetectionTransform {
        let min_size = match (self.sample_style, &self.short_edge_length[..]) {
            (SampleStyle::Range, &[low, high]) => {
                low + below(rng, (high - low) as usize + 1) as u32
            }
            (SampleStyle::Range, lengths) => panic!("{lengths:?} are not the ends of a range"),
            (SampleStyle::Choice, lengths) => lengths[below(rng, lengths.len())],
        };
        let resize = ResizeShortestEdge {
            min_size,
            max_size: self.max_size,
        };
        resize.transform(width, height, chance(rng, self.flip_p))
    }

    /// Checks that there are lengths to draw, and every value lies in its range. A `max_size` below
    /// a length is no error: detectron2 shrinks what exceeds it.
    ///
    /// # Errors
    /// [`AugError::Config`] with the first field that does not.
    pub fn validate(&self) -> Result<(), AugError> {
        let lengths = &self.short_edge_length[..];
        let ordered = matches!(lengths, [low, high] if low <= high);
        let (ok, expected) = match self.sample_style {
            SampleStyle::Choice => (!lengths.is_empty(), "lengths of at least 1"),
            SampleStyle::Range => (ordered, "[low, high] with 1 <= low <= high"),
        };
        let error = |field, expected, value| {
            Err(AugError::Config {
                field,
                expected,
                value,
            })
        };
        if !ok || lengths.contains(&0) {
            return error("short_edge_length", expected, format!("{lengths:?}"));
        }
        if self.max_size == 0 {
            return error("max_size", "at least 1", self.max_size.to_string());
        }
        if !(0.0..=1.0).contains(&self.flip_p) {
            return error("flip_p", "in [0, 1]", self.flip_p.to_string());
        }
        Ok(())
    }
}

/// A resize and perhaps a horizontal flip of a whole image, its boxes, polygons and masks.
///
/// ```
/// use inscon_aug::{BBox, ResizeShortestEdge};
/// let resize = ResizeShortestEdge { min_size: 200, max_size: 400 };
/// let transform = resize.transform(150, 100, true);
/// let b = transform.apply_box(&BBox::new(0.0, 10.0, 30.0, 20.0));
/// assert_eq!(b, BBox::new(240.0, 20.0, 300.0, 40.0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DetectionTransform {
    /// The geometry; its crop is the whole image.
    pub view: ViewTransform,
}

impl DetectionTransform {
    /// Width and height of the result.
    pub fn output_size(&self) -> (u32, u32) {
        (self.view.width, self.view.height)
    }

    /// The image resized and flipped.
    ///
    /// # Panics
    /// If the image is not of the size that the transform was made for.
    pub fn apply_rgb(&self, img: &RgbImage) -> RgbImage {
        self.check_size(img.dimensions());
        crop_resize_view(img, &self.view)
    }

    /// A box of the source image on the result, clipped to it.
    pub fn apply_box(&self, b: &BBox) -> BBox {
        self.view
            .map_box(b)
            .clip(self.view.width as f32, self.view.height as f32)
    }

    /// A box on the result, such as a detection, on the source image, clipped to it.
    pub fn invert_box(&self, b: &BBox) -> BBox {
        self.view
            .unmap_box(b)
            .clip(self.view.crop.x1, self.view.crop.y1)
    }

    /// A polygon `[x0, y0, x1, y1, …]` of the source image on the result, as COCO has them; the whole
    /// image is seen, so that nothing is to be clipped. See [`ViewTransform::map_polygon`].
    ///
    /// ```
    /// use inscon_aug::ResizeShortestEdge;
    /// let resize = ResizeShortestEdge { min_size: 200, max_size: 400 };
    /// let transform = resize.transform(150, 100, true);
    /// let triangle = transform.apply_polygon(&[0.0, 10.0, 30.0, 10.0, 30.0, 25.0]);
    /// assert_eq!(triangle, [300.0, 20.0, 240.0, 20.0, 240.0, 50.0]);
    /// ```
    ///
    /// # Panics
    /// If the polygon has an odd number of coordinates.
    pub fn apply_polygon(&self, polygon: &[f64]) -> Vec<f64> {
        self.view.map_polygon(polygon)
    }

    /// A polygon on the result on the source image: the inverse of
    /// [`apply_polygon`](Self::apply_polygon).
    ///
    /// # Panics
    /// If the polygon has an odd number of coordinates.
    pub fn invert_polygon(&self, polygon: &[f64]) -> Vec<f64> {
        self.view.unmap_polygon(polygon)
    }

    /// A binary mask of the source image on the result: [`ViewTransform::apply_mask`].
    ///
    /// # Panics
    /// If the mask is not `width × height`, or that not the size that the transform was made for.
    pub fn apply_mask(&self, mask: &[u8], width: u32, height: u32) -> Vec<u8> {
        self.check_size((width, height));
        self.view.apply_mask(mask, width, height)
    }

    fn check_size(&self, (width, height): (u32, u32)) {
        assert!(
            BBox::of_size(width, height) == self.view.crop,
            "the transform was made for {:?}, but the image is {width} x {height} px",
            self.view.crop
        );
    }
}
