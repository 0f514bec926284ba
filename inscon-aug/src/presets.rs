//! Recipes of the method family, by name.

use crate::{Blur, BlurKernel, ColorJitter, Solarize, ViewAugmentation};

/// Recipes of papers.
///
/// Each is checked against the method's own code (repository and file are named) and against its
/// paper. All are drawn and computed as torchvision on PIL does. Where the method's own code is in
/// another framework, so that its pixels differ, the recipe says how.
impl ViewAugmentation {
    /// MoCo v1 (He et al., arXiv 1911.05722), which took it over from InstDisc:
    /// `facebookresearch/moco`, `main_moco.py`, without `--aug-plus`.
    ///
    /// Crops of 20 to 100 %, greyscale .2 **before** the jitter, jitter (.4, .4, .4, .4) always, no
    /// blur, flip.
    ///
    /// ```
    /// let v1 = inscon_aug::ViewAugmentation::moco_v1(224);
    /// assert!(v1.grayscale_first && v1.jitter.p == 1.0 && v1.jitter.hue == 0.4);
    /// ```
    #[must_use]
    pub fn moco_v1(size: u32) -> Self {
        Self {
            jitter: ColorJitter {
                hue: 0.4,
                p: 1.0,
                ..ColorJitter::default()
            },
            grayscale_first: true,
            blur: Blur {
                p: 0.0,
                ..Blur::default()
            },
            ..Self::moco_v2(size)
        }
    }

    /// MoCo v2 (Chen et al., arXiv 2003.04297), the default: `facebookresearch/moco`,
    /// `main_moco.py`, with `--aug-plus`.
    ///
    /// ```
    /// use inscon_aug::ViewAugmentation;
    /// assert_eq!(ViewAugmentation::moco_v2(224), ViewAugmentation::default());
    /// ```
    #[must_use]
    pub fn moco_v2(size: u32) -> Self {
        Self {
            size,
            ..Self::default()
        }
    }

    /// DenseCL (Wang et al., arXiv 2011.09157), which is MoCo v2's to the last value:
    /// `WXinlong/DenseCL`, `configs/selfsup/densecl/densecl_coco_800ep.py`.
    ///
    /// ```
    /// use inscon_aug::ViewAugmentation;
    /// assert_eq!(ViewAugmentation::densecl(224), ViewAugmentation::moco_v2(224));
    /// ```
    #[must_use]
    pub fn densecl(size: u32) -> Self {
        Self::moco_v2(size)
    }

    /// SimCLR at strength 1 (Chen et al., arXiv 2002.05709, appendix A): `google-research/simclr`,
    /// `tf2/data_util.py`.
    ///
    /// Crops of 8 to 100 %, flip, jitter (.8, .8, .8, .2) p .8, greyscale .2, the exact Gaussian
    /// over a tenth of the side p .5. Values stay in `[0, 1]`: mean 0, standard deviation 1.
    ///
    /// The original is TensorFlow's: its crops are scaled bicubically, tried 100 times instead of
    /// 10 and then the whole image, and its blur sees zeros beyond the edge. The jitter is the
    /// torchvision one that the paper gives beside it.
    ///
    /// ```
    /// use inscon_aug::{BlurKernel, ViewAugmentation};
    /// let simclr = ViewAugmentation::simclr(224);
    /// assert_eq!(simclr.blur.kernel, BlurKernel::Exact { size: 23 });
    /// ```
    #[must_use]
    pub fn simclr(size: u32) -> Self {
        let (hue, p) = (0.2, 0.8);
        Self {
            scale: [0.08, 1.0],
            jitter: ColorJitter {
                brightness: 0.8,
                contrast: 0.8,
                saturation: 0.8,
                hue,
                p,
            },
            blur: Blur {
                kernel: tenth_of(size),
                ..Blur::default()
            },
            mean: [0.0; 3],
            std: [1.0; 3],
            ..Self::moco_v2(size)
        }
    }

    /// The two views of BYOL (Grill et al., arXiv 2006.07733, appendix B and its table):
    /// `google-deepmind/deepmind-research`, `byol/utils/augmentations.py`.
    ///
    /// Crops of 8 to 100 %, flip, jitter (.4, .4, .2, .1) p .8, greyscale .2, the exact Gaussian
    /// over a tenth of the side; then view 1 is always blurred and never solarised, view 2 blurred
    /// with probability .1 and solarised with .2.
    ///
    /// The original is JAX's: crops are scaled bicubically, brightness is added instead of
    /// multiplied, and the blur sees zeros beyond the edge.
    ///
    /// ```
    /// let [first, second] = inscon_aug::ViewAugmentation::byol(224);
    /// assert_eq!((first.blur.p, first.solarize.p), (1.0, 0.0));
    /// assert_eq!((second.blur.p, second.solarize.p), (0.1, 0.2));
    /// ```
    #[must_use]
    pub fn byol(size: u32) -> [Self; 2] {
        [(1.0, 0.0), (0.1, 0.2)].map(|(blur_p, solarize_p)| Self {
            scale: [0.08, 1.0],
            jitter: ColorJitter {
                saturation: 0.2,
                ..ColorJitter::default()
            },
            blur: Blur {
                p: blur_p,
                kernel: tenth_of(size),
                ..Blur::default()
            },
            solarize: Solarize {
                p: solarize_p,
                ..Solarize::default()
            },
            ..Self::moco_v2(size)
        })
    }
}

/// A tenth of the side, made odd as SimCLR and BYOL do: twice its half, and one.
fn tenth_of(size: u32) -> BlurKernel {
    BlurKernel::Exact {
        size: 2 * (size / 20) + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ColorOp, stream};

    #[test]
    fn recipes_are_valid_at_any_size() {
        for size in [1, 19, 32, 64, 96, 224, 448] {
            let [first, second] = ViewAugmentation::byol(size);
            let others = [
                ViewAugmentation::moco_v1(size),
                ViewAugmentation::moco_v2(size),
                ViewAugmentation::simclr(size),
            ];
            for recipe in others.into_iter().chain([first, second]) {
                recipe.validate().expect("the recipe is valid");
                assert_eq!(recipe.size, size);
            }
        }
    }

    #[test]
    fn moco_v1_is_grey_before_it_is_jittered() {
        let recipe = ViewAugmentation::moco_v1(64);
        let n = 4000;
        let mut grey = 0;
        for i in 0..n {
            let view = recipe.sample(&mut stream(7, &[i]), 100, 80);
            assert!(!view.grayscale && view.blur.is_none());
            let place = view.colors.iter().position(|&c| c == ColorOp::Grayscale);
            assert!(place.is_none_or(|place| place == 0));
            assert_eq!(view.colors.len(), 4 + usize::from(place.is_some()));
            grey += usize::from(place.is_some());
        }
        let share = grey as f64 / n as f64;
        assert!((share - 0.2).abs() < 0.025, "{share}");
    }
}
