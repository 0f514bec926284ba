//! What a detector is trained on: boxes, classes and bit masks of one image.

/// A binary mask, one byte a pixel, row-major.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BitMask {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `height · width` bytes, 0 or 1.
    pub data: Vec<u8>,
}

impl BitMask {
    /// An empty mask.
    #[must_use]
    pub fn zeros(height: usize, width: usize) -> Self {
        Self {
            height,
            width,
            data: vec![0; height * width],
        }
    }

    /// Pixels that are set.
    #[must_use]
    pub fn area(&self) -> usize {
        self.data.iter().filter(|&&pixel| pixel != 0).count()
    }
}

/// Ground truth of one image, in the pixels of the (unpadded) input.
///
/// ```
/// use inscon_model::detection::Target;
/// let target = Target { boxes: vec![[4.0, 4.0, 20.0, 16.0]], labels: vec![0], masks: None };
/// assert_eq!(target.boxes.len(), target.labels.len());
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Target {
    /// `[x0, y0, x1, y1]` of each object.
    pub boxes: Vec<[f32; 4]>,
    /// 0-based class of each object.
    pub labels: Vec<usize>,
    /// The mask of each object, of the whole image; required where the mask branch is on.
    pub masks: Option<Vec<BitMask>>,
}
