//! `[data.scenes]`: what the generator draws.

use serde::{Deserialize, Serialize};

/// Settings of the scene generator. Every number but the counts belongs to the look of an image;
/// the counts may change without changing any image.
///
/// ```
/// use inscon_train::scenes::ScenesConfig;
///
/// assert!(ScenesConfig::default().validate().is_ok());
/// let error = ScenesConfig { size: 4, ..ScenesConfig::default() }.validate().unwrap_err();
/// assert!(error.contains("size"));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScenesConfig {
    /// Side of the square images in pixels.
    pub size: u32,
    /// Images without labels, to pretrain on.
    pub unlabelled: usize,
    /// Images with labels, to fine-tune on.
    pub labelled: usize,
    /// Images with labels, to evaluate on.
    pub test: usize,
    /// Fewest objects tried in a scene, at least 1.
    pub min_objects: usize,
    /// Most objects in a scene.
    pub max_objects: usize,
    /// Smallest diameter of an object as a share of `size`.
    pub min_scale: f32,
    /// Largest diameter of an object as a share of `size`.
    pub max_scale: f32,
    /// An object shows at least this share of itself, what the border cuts off included.
    pub min_visible: f32,
    /// Mean count of small things of no category.
    pub clutter: f32,
    /// Share of objects in the colours of their background.
    pub camouflage: f32,
    /// Strength of the bending of outlines, 0 to 1.
    pub deform: f32,
    /// Strength of uneven light, 0 to 1.
    pub lighting: f32,
    /// Largest standard deviation of the sensor noise, in grey levels of 255.
    pub noise: f32,
    /// Largest standard deviation of the blur, in pixels.
    pub blur: f32,
    /// File format of the images.
    pub format: PictureFormat,
    /// JPEG quality, 1 to 100.
    pub quality: u8,
}

impl Default for ScenesConfig {
    fn default() -> Self {
        Self {
            size: 128,
            unlabelled: 3000,
            labelled: 300,
            test: 300,
            min_objects: 4,
            max_objects: 11,
            min_scale: 0.14,
            max_scale: 0.48,
            min_visible: 0.35,
            clutter: 10.0,
            camouflage: 0.3,
            deform: 0.4,
            lighting: 0.5,
            noise: 7.0,
            blur: 0.8,
            format: PictureFormat::Jpeg,
            quality: 90,
        }
    }
}

/// File format of generated images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PictureFormat {
    /// JPEG with [`ScenesConfig::quality`].
    Jpeg,
    /// PNG, without loss.
    Png,
}

impl PictureFormat {
    /// The extension of its files, without the dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
        }
    }
}

impl ScenesConfig {
    /// Checks that a scene can be drawn with these values.
    ///
    /// # Errors
    /// A sentence that names the key, its value and its bounds.
    pub fn validate(&self) -> Result<(), String> {
        if !(32..=4096).contains(&self.size) {
            return Err(format!(
                "data.scenes.size = {} must lie in 32..=4096",
                self.size
            ));
        }
        if self.min_objects == 0 || self.min_objects > self.max_objects || self.max_objects > 200 {
            return Err(format!(
                "data.scenes.min_objects = {} and max_objects = {} must satisfy 1 <= min <= max <= 200",
                self.min_objects, self.max_objects
            ));
        }
        if !(0.02 <= self.min_scale && self.min_scale <= self.max_scale && self.max_scale <= 2.0) {
            return Err(format!(
                "data.scenes.min_scale = {} and max_scale = {} must satisfy 0.02 <= min <= max <= 2",
                self.min_scale, self.max_scale
            ));
        }
        let bounded = [
            ("min_visible", self.min_visible, 1.0),
            ("clutter", self.clutter, 200.0),
            ("camouflage", self.camouflage, 1.0),
            ("deform", self.deform, 1.0),
            ("lighting", self.lighting, 1.0),
            ("noise", self.noise, 128.0),
            ("blur", self.blur, 16.0),
        ];
        for (key, value, most) in bounded {
            if !(0.0..=most).contains(&value) {
                return Err(format!(
                    "data.scenes.{key} = {value} must lie in [0, {most}]"
                ));
            }
        }
        if !(1..=100).contains(&self.quality) {
            return Err(format!(
                "data.scenes.quality = {} must lie in 1..=100",
                self.quality
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_named() {
        let check = |config: ScenesConfig, key: &str| {
            let error = config.validate().unwrap_err();
            assert!(error.contains(key), "{error}");
        };
        let d = ScenesConfig::default;
        check(
            ScenesConfig {
                max_objects: 2,
                min_objects: 4,
                ..d()
            },
            "max_objects = 2",
        );
        check(
            ScenesConfig {
                min_scale: 0.6,
                ..d()
            },
            "min_scale = 0.6",
        );
        check(
            ScenesConfig {
                blur: f32::NAN,
                ..d()
            },
            "blur = NaN",
        );
        check(ScenesConfig { quality: 0, ..d() }, "quality = 0");
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error = serde_json::from_str::<ScenesConfig>(r#"{"sise": 3}"#)
            .unwrap_err()
            .to_string();
        assert!(error.contains("unknown field `sise`"), "{error}");
    }
}
