//! The augmentation of an instance view: a random policy, and the view it drew.

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::rng::{chance, uniform};
use crate::{AugError, BBox, BlurKernel, ColorJitter, ColorOp, ViewTransform, random_resized_crop};

/// Mean of ImageNet's channels, of values in `[0, 1]`.
pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Standard deviation of ImageNet's channels, of values in `[0, 1]`.
pub const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// How instance views are drawn. The default is MoCo v2's recipe (`recipes.md`), in its order:
/// random resized crop, colour jitter, greyscale, blur (then, for BYOL, solarisation), horizontal
/// flip; then normalisation.
///
/// In a file, every field may be left out; unknown ones are refused:
///
/// ```toml
/// size = 224
/// scale = [0.2, 1.0]
/// ratio = [0.75, 1.3333333333333333]
/// jitter = { brightness = 0.4, contrast = 0.4, saturation = 0.4, hue = 0.1, p = 0.8 }
/// grayscale_p = 0.2
/// grayscale_first = false
/// blur = { sigma = [0.1, 2.0], p = 0.5, kernel = "pil" }  # or kernel = { exact = { size = 23 } }
/// solarize = { threshold = 128, p = 0.0 }
/// flip_p = 0.5
/// mean = [0.485, 0.456, 0.406]
/// std = [0.229, 0.224, 0.225]
/// ```
///
/// ```
/// use image::RgbImage;
/// use inscon_aug::{ViewAugmentation, stream};
/// let image = RgbImage::new(128, 96);
/// let augmentation = ViewAugmentation::moco_v2(64);
/// let view = augmentation.sample(&mut stream(0, &[]), 128, 96);
/// assert_eq!(view.apply_rgb(&image).dimensions(), (64, 64));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ViewAugmentation {
    /// Side of the square view in pixels.
    pub size: u32,
    /// Bounds of the crop's share of the image's area.
    pub scale: [f64; 2],
    /// Bounds of the crop's width ÷ height.
    pub ratio: [f64; 2],
    /// Colour jitter.
    pub jitter: ColorJitter,
    /// Probability of greyscale.
    pub grayscale_p: f64,
    /// Greyscale before the colour jitter (MoCo v1), not after it.
    pub grayscale_first: bool,
    /// Gaussian blur.
    pub blur: Blur,
    /// Solarisation, after the blur.
    pub solarize: Solarize,
    /// Probability of a horizontal flip.
    pub flip_p: f64,
    /// Mean of each channel, of values in `[0, 1]`.
    pub mean: [f32; 3],
    /// Standard deviation of each channel, of values in `[0, 1]`.
    pub std: [f32; 3],
}

/// When and how much a view is blurred.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Blur {
    /// Bounds of the Gaussian's standard deviation, in pixels of the view.
    pub sigma: [f64; 2],
    /// Probability of blurring.
    pub p: f64,
    /// How it is computed.
    pub kernel: BlurKernel,
}

impl Default for Blur {
    fn default() -> Self {
        Self {
            sigma: [0.1, 2.0],
            p: 0.5,
            kernel: BlurKernel::Pil,
        }
    }
}

/// When and from where a view is inverted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Solarize {
    /// The darkest level that is inverted.
    pub threshold: u8,
    /// Probability of solarising.
    pub p: f64,
}

impl Default for Solarize {
    /// Never; BYOL's threshold.
    fn default() -> Self {
        Self {
            threshold: 128,
            p: 0.0,
        }
    }
}

impl Default for ViewAugmentation {
    fn default() -> Self {
        Self {
            size: 224,
            scale: [0.2, 1.0],
            ratio: [3.0 / 4.0, 4.0 / 3.0],
            jitter: ColorJitter::default(),
            grayscale_p: 0.2,
            grayscale_first: false,
            blur: Blur::default(),
            solarize: Solarize::default(),
            flip_p: 0.5,
            mean: IMAGENET_MEAN,
            std: IMAGENET_STD,
        }
    }
}

impl ViewAugmentation {
    /// Checks that every value lies in its range.
    ///
    /// # Errors
    /// [`AugError::Config`] with the first field that does not.
    pub fn validate(&self) -> Result<(), AugError> {
        let range = |[low, high]: [f64; 2]| low > 0.0 && low <= high && high.is_finite();
        let share = |p: f64| (0.0..=1.0).contains(&p);
        let strength = |v: f64| v >= 0.0 && v.is_finite();
        check(self.size > 0, "size", "at least 1", self.size.to_string())?;
        check(
            range(self.scale) && self.scale[1] <= 1.0,
            "scale",
            "[low, high] with 0 < low <= high <= 1",
            format!("{:?}", self.scale),
        )?;
        check(
            range(self.ratio),
            "ratio",
            "[low, high] with 0 < low <= high",
            format!("{:?}", self.ratio),
        )?;
        for (field, value) in [
            ("jitter.brightness", self.jitter.brightness),
            ("jitter.contrast", self.jitter.contrast),
            ("jitter.saturation", self.jitter.saturation),
        ] {
            check(strength(value), field, "at least 0", value.to_string())?;
        }
        let hue = self.jitter.hue;
        check(
            (0.0..=0.5).contains(&hue),
            "jitter.hue",
            "in [0, 0.5]",
            hue.to_string(),
        )?;
        check(
            range(self.blur.sigma) && self.blur.sigma[1] <= widest_blur(self.size),
            "blur.sigma",
            "[low, high] with 0 < low <= high <= twice the view's side",
            format!("{:?}", self.blur.sigma),
        )?;
        check_kernel(self.blur.kernel, "blur.kernel.exact.size", self.size)?;
        for (field, p) in [
            ("jitter.p", self.jitter.p),
            ("grayscale_p", self.grayscale_p),
            ("blur.p", self.blur.p),
            ("solarize.p", self.solarize.p),
            ("flip_p", self.flip_p),
        ] {
            check(share(p), field, "in [0, 1]", p.to_string())?;
        }
        check(
            self.mean.iter().all(|m| m.is_finite()),
            "mean",
            "three finite numbers",
            format!("{:?}", self.mean),
        )?;
        check(
            self.std.iter().all(|&s| s > 0.0 && s.is_finite()),
            "std",
            "three numbers above 0",
            format!("{:?}", self.std),
        )
    }

    /// Draws a view of an image of `width × height` pixels.
    ///
    /// # Panics
    /// If the image has no pixels.
    pub fn sample(&self, rng: &mut impl Rng, width: u32, height: u32) -> SampledView {
        let crop = random_resized_crop(rng, width, height, self.scale, self.ratio);
        let mut colors = self.jitter.sample(rng);
        let mut grayscale = chance(rng, self.grayscale_p);
        if grayscale && self.grayscale_first {
            colors.insert(0, ColorOp::Grayscale);
            grayscale = false;
        }
        let blur = chance(rng, self.blur.p)
            .then(|| uniform(rng, self.blur.sigma[0], self.blur.sigma[1]) as f32);
        let flip = chance(rng, self.flip_p);
        // The last draw, and only where it is asked for: seeds keep their views.
        let solarize = (self.solarize.p > 0.0 && chance(rng, self.solarize.p))
            .then_some(self.solarize.threshold);
        SampledView {
            source_size: [width, height],
            crop,
            flip,
            size: [self.size, self.size],
            colors,
            grayscale,
            blur,
            blur_kernel: self.blur.kernel,
            solarize,
        }
    }
}

fn check(
    ok: bool,
    field: &'static str,
    expected: &'static str,
    value: String,
) -> Result<(), AugError> {
    if ok {
        return Ok(());
    }
    Err(AugError::Config {
        field,
        expected,
        value,
    })
}

/// The largest standard deviation of a blur of a view of this side: with more it is nearly even,
/// and takes ever longer.
fn widest_blur(side: u32) -> f64 {
    2.0 * f64::from(side)
}

/// An exact kernel has a middle, and sees the view's pixels once more beyond each edge at most, as
/// torchvision demands.
fn check_kernel(kernel: BlurKernel, field: &'static str, side: u32) -> Result<(), AugError> {
    let BlurKernel::Exact { size } = kernel else {
        return Ok(());
    };
    let ok = size % 2 == 1 && size / 2 < side;
    let expected = "odd and less than twice the view's side";
    check(ok, field, expected, size.to_string())
}

/// A drawn view: plain data that says which pixels to show and how, and can be written down and
/// applied again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampledView {
    /// Width and height of the source image in pixels.
    pub source_size: [u32; 2],
    /// What is seen, in source pixels.
    pub crop: BBox,
    /// Mirrored left to right.
    pub flip: bool,
    /// Width and height of the view in pixels.
    pub size: [u32; 2],
    /// Colour operations in the order of application.
    pub colors: Vec<ColorOp>,
    /// Made grey after them.
    pub grayscale: bool,
    /// Standard deviation of the blur in pixels of the view.
    pub blur: Option<f32>,
    /// How the blur is computed.
    #[serde(default)]
    pub blur_kernel: BlurKernel,
    /// Threshold of the solarisation.
    #[serde(default)]
    pub solarize: Option<u8>,
}

impl SampledView {
    /// The whole image at `width × height`, with its own colours.
    pub fn plain(source_size: [u32; 2], width: u32, height: u32) -> Self {
        Self {
            source_size,
            crop: BBox::of_size(source_size[0], source_size[1]),
            flip: false,
            size: [width, height],
            colors: Vec::new(),
            grayscale: false,
            blur: None,
            blur_kernel: BlurKernel::Pil,
            solarize: None,
        }
    }

    /// Checks that the view can be rendered, which is so for each that a valid [`ViewAugmentation`]
    /// drew: for views read back from a file.
    ///
    /// ```
    /// use inscon_aug::{BBox, SampledView};
    /// let mut view = SampledView::plain([640, 480], 224, 224);
    /// view.validate()?;
    /// view.crop.x1 = 641.0;
    /// assert!(view.validate().is_err());
    /// # Ok::<(), inscon_aug::AugError>(())
    /// ```
    ///
    /// # Errors
    /// [`AugError::Config`] with the first field that is out of its range.
    pub fn validate(&self) -> Result<(), AugError> {
        /// The longest side, which is a JPEG's as well.
        const LONGEST: u32 = 65_535;
        let BBox { x0, y0, x1, y1 } = self.crop;
        let [width, height] = self.source_size.map(|side| side as f32);
        check(
            0.0 <= x0 && x0 < x1 && x1 <= width && 0.0 <= y0 && y0 < y1 && y1 <= height,
            "crop",
            "a part of the source image that is not empty",
            format!("{:?} of {:?}", self.crop.to_array(), self.source_size),
        )?;
        check(
            self.size.iter().all(|side| (1..=LONGEST).contains(side)),
            "size",
            "two sides from 1 to 65535",
            format!("{:?}", self.size),
        )?;
        let possible = |op: &ColorOp| match *op {
            ColorOp::Brightness(f) | ColorOp::Contrast(f) | ColorOp::Saturation(f) => {
                f >= 0.0 && f.is_finite()
            }
            ColorOp::Hue(turns) => (-0.5..=0.5).contains(&turns),
            ColorOp::Grayscale | ColorOp::Solarize(_) => true,
        };
        check(
            self.colors.iter().all(possible),
            "colors",
            "factors of at least 0 and hues in [-0.5, 0.5]",
            format!("{:?}", self.colors),
        )?;
        let [width, height] = self.size;
        check(
            self.blur
                .is_none_or(|s| s > 0.0 && f64::from(s) <= widest_blur(width.max(height))),
            "blur",
            "above 0 and at most twice the view's longer side",
            format!("{:?}", self.blur),
        )?;
        check_kernel(
            self.blur_kernel,
            "blur_kernel.exact.size",
            width.min(height),
        )
    }

    /// The geometry.
    pub fn transform(&self) -> ViewTransform {
        ViewTransform {
            crop: self.crop,
            flip: self.flip,
            width: self.size[0],
            height: self.size[1],
        }
    }
}
