//! Draws views and applies operations for another program, which compares them with another
//! library's: our side of `tests/fixtures/compare_with_torchvision.py`.
//!
//! A request is a line of JSON on standard input, `{"width": W, "height": H, "task": T}`. Tasks that
//! draw answer with a line of JSON, the drawn value. Tasks that compute are followed by `W · H · 3`
//! bytes, RGB row by row, and answer with a line of JSON, `[width, height]`, and the pixels: bytes
//! in the same order, or little-endian floats, channel by channel, of the task `normalize`.

use std::error::Error;
use std::io::{BufRead, Read, Write};

use image::RgbImage;
use inscon_aug::{
    BBox, BlurKernel, ColorOp, DetectionAugmentation, DetectionTransform, PixelRegion, SampledView,
    ViewAugmentation, ViewScratch, crop_resize, gaussian_blur_with, grayscale, horizontal_flip,
    normalize_into, stream,
};
use ndarray::{Array3, ArrayViewMut3};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    width: u32,
    height: u32,
    task: Task,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Task {
    /// Draws a view by a recipe.
    SampleView {
        recipe: Recipe,
        size: u32,
        seed: u64,
    },
    /// Draws a resize and flip.
    SampleDetection {
        policy: DetectionAugmentation,
        seed: u64,
    },
    View(SampledView),
    Detection(DetectionTransform),
    CropResize {
        crop: BBox,
        size: [u32; 2],
    },
    Colors(Vec<ColorOp>),
    Grayscale,
    Flip,
    Blur {
        sigma: f32,
        kernel: BlurKernel,
    },
    Normalize {
        mean: [f32; 3],
        std: [f32; 3],
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Recipe {
    MocoV1,
    MocoV2,
    Simclr,
    ByolFirst,
    ByolSecond,
}

impl Recipe {
    fn at(&self, size: u32) -> ViewAugmentation {
        let [first, second] = ViewAugmentation::byol(size);
        match self {
            Self::MocoV1 => ViewAugmentation::moco_v1(size),
            Self::MocoV2 => ViewAugmentation::moco_v2(size),
            Self::Simclr => ViewAugmentation::simclr(size),
            Self::ByolFirst => first,
            Self::ByolSecond => second,
        }
    }
}

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut scratch = ViewScratch::new();
    let mut line = String::new();
    while input.read_line(&mut line)? > 0 {
        let Request {
            width,
            height,
            task,
        } = serde_json::from_str(&line)?;
        line.clear();
        match task {
            Task::SampleView { recipe, size, seed } => {
                let mut rng = stream(seed, &[]);
                say(
                    &mut output,
                    &recipe.at(size).sample(&mut rng, width, height),
                )?;
            }
            Task::SampleDetection { policy, seed } => {
                policy.validate()?;
                say(
                    &mut output,
                    &policy.sample(&mut stream(seed, &[]), width, height),
                )?;
            }
            task => {
                let mut image = RgbImage::new(width, height);
                input.read_exact(&mut image)?;
                let (size, bytes) = compute(&task, image, &mut scratch)?;
                say(&mut output, &size)?;
                output.write_all(&bytes)?;
            }
        }
        output.flush()?;
    }
    Ok(())
}

fn say(output: &mut impl Write, value: &impl Serialize) -> Outcome<()> {
    serde_json::to_writer(&mut *output, value)?;
    Ok(output.write_all(b"\n")?)
}

/// Size and bytes of a task's pixels.
fn compute(
    task: &Task,
    mut image: RgbImage,
    scratch: &mut ViewScratch,
) -> Outcome<((u32, u32), Vec<u8>)> {
    match task {
        Task::View(view) => {
            // As the loader does: into memory that is there.
            let [width, height] = view.size;
            let mut out = RgbImage::new(width, height);
            let shape = (height as usize, width as usize, 3);
            view.render(
                &PixelRegion::from(&image),
                scratch,
                ArrayViewMut3::from_shape(shape, &mut out)?,
            );
            image = out;
        }
        Task::Detection(transform) => image = transform.apply_rgb(&image),
        Task::CropResize {
            crop,
            size: [width, height],
        } => image = crop_resize(&image, crop, *width, *height),
        Task::Colors(colors) => colors.iter().for_each(|color| color.apply(&mut image)),
        Task::Grayscale => grayscale(&mut image),
        Task::Flip => horizontal_flip(&mut image),
        Task::Blur { sigma, kernel } => gaussian_blur_with(&mut image, *sigma, *kernel),
        Task::Normalize { mean, std } => {
            let (width, height) = image.dimensions();
            let mut out = Array3::zeros((3, height as usize, width as usize));
            normalize_into(&image, *mean, *std, out.view_mut());
            let bytes = out.iter().flat_map(|v: &f32| v.to_le_bytes()).collect();
            return Ok((image.dimensions(), bytes));
        }
        Task::SampleView { .. } | Task::SampleDetection { .. } => {
            return Err("this task draws and has no pixels".into());
        }
    }
    Ok((image.dimensions(), image.into_raw()))
}
