//! How many MoCo v2 views a second this crate makes: our side of `cargo xtask bench aug`.
//!
//! ```text
//! view_rate rates WORKLOAD… [--modes a,b,c,crop,decode] [--threads 1] [--scaling off] \
//!     [--seconds 1.5] [--seed 0]
//! view_rate memory WORKLOAD --views 100000 [--threads 1] [--scaling off]
//! view_rate pictures FOLDER
//! ```
//!
//! A WORKLOAD is `NAME:SIZE:FOLDER` of JPEGs. `rates` prints a line of JSON for each workload and
//! mode: `a` decodes for every view, `b` once for two views of an image, `c` not at all; `crop`
//! decodes what `a` does and makes no view, `decode` whole images. Views are made as
//! `inscon-train` makes them: drawn for the size in the header, of the rectangle that their crops
//! need, into bytes that are kept; with `--scaling on`, of a JPEG reduced as far as they allow.
//! `memory` prints the resident memory ten times on the way to so many views. `pictures` writes
//! generated ones, for machines without photographs.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};
use std::{fs, thread};

use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage};
use inscon_aug::{
    Decoder, PixelRegion, SampledView, ViewAugmentation, ViewScratch, decode_rgb, stream, uniform,
};
use ndarray::Array3;
use rand::Rng;
use serde_json::json;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    if command == "pictures" {
        let folder = arguments.next().ok_or("give a folder")?;
        return pictures(Path::new(&folder));
    }
    let options = Options::parse(arguments)?;
    match command.as_str() {
        "rates" => rates(&options),
        "memory" => memory(&options),
        other => Err(format!("no command `{other}`; there are rates, memory and pictures").into()),
    }
}

struct Options {
    workloads: Vec<Workload>,
    modes: Vec<Mode>,
    threads: usize,
    /// Let JPEGs be decoded at half, a quarter or an eighth where the crop allows it.
    scaling: bool,
    seconds: f64,
    seed: u64,
    views: usize,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Outcome<Self> {
        let mut options = Self {
            workloads: Vec::new(),
            modes: Mode::ALL.to_vec(),
            threads: 1,
            scaling: false,
            seconds: 1.5,
            seed: 0,
            views: 100_000,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next();
                value.ok_or_else(|| format!("{argument} needs a value"))
            };
            match argument.as_str() {
                "--modes" => {
                    options.modes = value()?
                        .split(',')
                        .map(str::parse)
                        .collect::<Outcome<_>>()?;
                }
                "--threads" => options.threads = value()?.parse::<usize>()?.max(1),
                "--scaling" => options.scaling = value()? == "on",
                "--seconds" => options.seconds = value()?.parse()?,
                "--seed" => options.seed = value()?.parse()?,
                "--views" => options.views = value()?.parse()?,
                flag if flag.starts_with("--") => return Err(format!("no option {flag}").into()),
                workload => options.workloads.push(workload.parse()?),
            }
        }
        if options.workloads.is_empty() {
            return Err("give a workload: NAME:SIZE:FOLDER".into());
        }
        Ok(options)
    }
}

/// JPEGs in memory, and the side of their views.
struct Workload {
    name: String,
    size: u32,
    files: Vec<Vec<u8>>,
}

impl FromStr for Workload {
    type Err = Box<dyn Error + Send + Sync>;

    fn from_str(text: &str) -> Outcome<Self> {
        let mut parts = text.splitn(3, ':');
        let (Some(name), Some(size), Some(folder)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(format!("`{text}` is not NAME:SIZE:FOLDER").into());
        };
        let mut paths: Vec<PathBuf> = fs::read_dir(folder)
            .map_err(|error| format!("{folder}: {error}"))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Outcome<_>>()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "jpg"));
        paths.sort();
        if paths.is_empty() {
            return Err(format!("{folder} has no .jpg").into());
        }
        Ok(Self {
            name: name.to_owned(),
            size: size.parse()?,
            files: paths.iter().map(fs::read).collect::<Result<_, _>>()?,
        })
    }
}

/// What is repeated for every file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// A decoding for every view.
    Each,
    /// A decoding for two views.
    Two,
    /// Views of what was decoded before.
    Decoded,
    /// What a view needs of an image, no views.
    Crop,
    /// Whole images, no views.
    Decode,
}

impl Mode {
    const ALL: [Self; 5] = [
        Self::Each,
        Self::Two,
        Self::Decoded,
        Self::Crop,
        Self::Decode,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Each => "a",
            Self::Two => "b",
            Self::Decoded => "c",
            Self::Crop => "crop",
            Self::Decode => "decode",
        }
    }
}

impl FromStr for Mode {
    type Err = Box<dyn Error + Send + Sync>;

    fn from_str(name: &str) -> Outcome<Self> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.name() == name)
            .ok_or_else(|| format!("no mode `{name}`").into())
    }
}

/// What a thread keeps from view to view.
struct Worker<'a> {
    policy: ViewAugmentation,
    files: &'a [Vec<u8>],
    /// Of all files, where the mode does not decode.
    decoded: Vec<RgbImage>,
    seed: u64,
    scaling: bool,
    made: u64,
    decoder: Decoder,
    scratch: ViewScratch,
    view: Array3<u8>,
}

impl<'a> Worker<'a> {
    fn new(workload: &'a Workload, mode: Mode, seed: u64, scaling: bool) -> Outcome<Self> {
        let decoded = match mode {
            Mode::Decoded => workload.files.iter().map(|file| decode_rgb(file)).collect(),
            _ => Ok(Vec::new()),
        };
        let side = workload.size as usize;
        Ok(Self {
            policy: ViewAugmentation::moco_v2(workload.size),
            files: &workload.files,
            decoded: decoded?,
            seed,
            scaling,
            made: 0,
            decoder: Decoder::new(),
            scratch: ViewScratch::new(),
            view: Array3::zeros((side, side, 3)),
        })
    }

    /// What the mode does with file `at`; how many results that gave.
    fn once(&mut self, mode: Mode, at: usize) -> Outcome<u64> {
        match mode {
            Mode::Each => self.views::<1>(at, true)?,
            Mode::Two => {
                self.views::<2>(at, true)?;
                return Ok(2);
            }
            Mode::Decoded => {
                let [width, height] = [self.decoded[at].width(), self.decoded[at].height()];
                let view = self.draw([width, height]);
                let region = PixelRegion::from(&self.decoded[at]);
                view.render(&region, &mut self.scratch, self.view.view_mut());
                black_box(&mut self.view);
            }
            Mode::Crop => self.views::<1>(at, false)?,
            Mode::Decode => {
                black_box(self.decoder.decode(&self.files[at])?);
            }
        }
        Ok(1)
    }

    fn draw(&mut self, [width, height]: [u32; 2]) -> SampledView {
        let mut rng = stream(self.seed, &[self.made]);
        self.made += 1;
        self.policy.sample(&mut rng, width, height)
    }

    /// Draws `N` views of a file, decodes what they need, and renders them if they are wanted.
    fn views<const N: usize>(&mut self, at: usize, wanted: bool) -> Outcome<()> {
        let file = &self.files[at];
        let size = self.decoder.size(file)?;
        let views: [SampledView; N] = std::array::from_fn(|_| self.draw(size));
        let crops = views.iter().map(|view| view.crop);
        let seen = crops.reduce(|a, b| a.around(&b)).ok_or("no view")?;
        let denominator = match self.scaling {
            true => views.iter().map(SampledView::denominator).min(),
            false => None,
        };
        let region = self
            .decoder
            .decode_region(file, &seen, denominator.unwrap_or(1))?;
        if !wanted {
            black_box(region);
            return Ok(());
        }
        for view in &views {
            view.render(&region, &mut self.scratch, self.view.view_mut());
            black_box(&mut self.view);
        }
        Ok(())
    }
}

/// What a thread did.
struct Done {
    made: u64,
    /// Of the clock.
    seconds: f64,
    /// Of the processor.
    busy: f64,
}

fn rates(options: &Options) -> Outcome<()> {
    let least = Duration::from_secs_f64(options.seconds);
    for workload in &options.workloads {
        for &mode in &options.modes {
            let done = on_threads(options, |thread| {
                let mut worker = Worker::new(workload, mode, thread, options.scaling)?;
                for at in 0..workload.files.len().min(16) {
                    worker.once(mode, at)?;
                }
                let (began, busy) = (Instant::now(), busy()?);
                let mut made = 0;
                while made == 0 || began.elapsed() < least {
                    // Whole passes: files differ in size.
                    for at in 0..workload.files.len() {
                        made += worker.once(mode, at)?;
                    }
                }
                Ok(Done {
                    made,
                    seconds: began.elapsed().as_secs_f64(),
                    busy: self::busy()? - busy,
                })
            })?;
            let sum = |value: fn(&Done) -> f64| done.iter().map(value).sum::<f64>();
            println!(
                "{}",
                json!({
                    "workload": workload.name,
                    "size": workload.size,
                    "mode": mode.name(),
                    "threads": options.threads,
                    "scaling": options.scaling,
                    // A second of one core.
                    "rate": sum(|d| d.made as f64) / sum(|d| d.busy),
                    // A second of the clock.
                    "wall_rate": sum(|d| d.made as f64 / d.seconds),
                    "made": done.iter().map(|d| d.made).sum::<u64>(),
                    "peak_mib": memory_mib("VmHWM")?,
                })
            );
        }
    }
    Ok(())
}

/// Runs `work` on every thread, with the seed of its own stream.
fn on_threads<T: Send>(
    options: &Options,
    work: impl Fn(u64) -> Outcome<T> + Sync,
) -> Outcome<Vec<T>> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..options.threads as u64)
            .map(|thread| scope.spawn(move || work(options.seed.wrapping_add(thread))))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| "a thread panicked")?)
            .collect()
    })
}

fn memory(options: &Options) -> Outcome<()> {
    let [workload] = &options.workloads[..] else {
        return Err("give one workload".into());
    };
    let steps = 10;
    let each = options.views.div_ceil(steps * options.threads);
    let mut workers: Vec<(Worker<'_>, usize)> = (0..options.threads as u64)
        .map(|thread| {
            let seed = options.seed.wrapping_add(thread);
            Ok((Worker::new(workload, Mode::Each, seed, options.scaling)?, 0))
        })
        .collect::<Outcome<_>>()?;
    for step in 0..=steps {
        if step > 0 {
            thread::scope(|scope| {
                let threads: Vec<_> = workers
                    .iter_mut()
                    .map(|(worker, next)| {
                        scope.spawn(move || -> Outcome<()> {
                            for _ in 0..each {
                                worker.once(Mode::Each, *next)?;
                                *next = (*next + 1) % worker.files.len();
                            }
                            Ok(())
                        })
                    })
                    .collect();
                threads
                    .into_iter()
                    .try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
            })?;
        }
        println!(
            "{}",
            json!({
                "views": step * each * options.threads,
                "resident_mib": memory_mib("VmRSS")?,
                "peak_mib": memory_mib("VmHWM")?,
            })
        );
    }
    Ok(())
}

/// Seconds that this thread has spent on a processor; of the clock where Linux does not say.
fn busy() -> Outcome<f64> {
    match fs::read_to_string("/proc/thread-self/schedstat") {
        Ok(text) => {
            let nanoseconds = text.split_whitespace().next().unwrap_or_default();
            Ok(nanoseconds.parse::<u64>()? as f64 * 1e-9)
        }
        Err(_) => Ok(std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_secs_f64()),
    }
}

/// A line of `/proc/self/status`, in MiB.
fn memory_mib(field: &str) -> Outcome<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let value = line.and_then(|line| line.trim_start_matches(':').split_whitespace().next());
    let kib: f64 = value.ok_or_else(|| format!("no {field}"))?.parse()?;
    Ok(kib / 1024.0)
}

/// Writes FOLDER/474x392 and FOLDER/128: 200 pictures each of coloured discs, waves and noise, with
/// about a photograph's bytes at quality 90.
fn pictures(folder: &Path) -> Outcome<()> {
    for (name, width, height) in [("474x392", 474, 392), ("128", 128, 128)] {
        let folder = folder.join(name);
        fs::create_dir_all(&folder)?;
        let mut bytes = 0;
        let count = 200;
        for number in 0..count {
            let mut encoded = Vec::new();
            JpegEncoder::new_with_quality(&mut encoded, 90)
                .encode_image(&picture(number, width, height))?;
            bytes += encoded.len();
            fs::write(folder.join(format!("{number:04}.jpg")), encoded)?;
        }
        println!(
            "{}",
            json!({"folder": name, "pictures": count, "mean_bytes": bytes as f64 / count as f64})
        );
    }
    Ok(())
}

fn picture(number: u64, width: u32, height: u32) -> RgbImage {
    let mut rng = stream(1, &[number]);
    let mut draw = |low: f64, high: f64| uniform(&mut rng, low, high);
    let waves: [[f64; 3]; 3] =
        std::array::from_fn(|_| [draw(0.0, 0.2), draw(0.0, 0.2), draw(0.0, 6.0)]);
    let discs: Vec<([f64; 3], [f64; 3])> = (0..12)
        .map(|_| {
            let (w, h) = (f64::from(width), f64::from(height));
            let place = [draw(0.0, w), draw(0.0, h), draw(0.03, 0.2) * h];
            (place, std::array::from_fn(|_| draw(0.0, 255.0)))
        })
        .collect();
    let mut grain = stream(2, &[number]);
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (f64::from(x), f64::from(y));
        let disc = discs
            .iter()
            .rev()
            .find(|([cx, cy, r], _)| (x - cx).hypot(y - cy) < *r);
        let noise = (grain.next_u32() % 7) as f64 - 3.0;
        Rgb(std::array::from_fn(|c| {
            let [u, v, phase] = waves[c];
            let wave = 128.0 + 70.0 * (x * u + y * v + phase).sin();
            (disc.map_or(wave, |(_, color)| color[c]) + noise).clamp(0.0, 255.0) as u8
        }))
    })
}
