//! `inscon-train`: the phases of an experiment behind flags.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use burn::tensor::Device;
use clap::{Args, Parser, Subcommand};
use inscon_model::Naming;
use inscon_train::bench::{self, Arch, Workload};
use inscon_train::config::ExperimentConfig;
use inscon_train::data::{resolve_data, scenes_dir};
use inscon_train::detect::{self, DetectArgs};
use inscon_train::import::{self, Conversion};
use inscon_train::pack::{self, PackArgs};
use inscon_train::{
    Interrupt, RunDir, evaluate, export, finetune, open_device, pretrain, probe, say, scenes,
};

/// InsCon-in-Rust: self-supervised pretraining for object detection, and what it is worth.
///
/// Every phase reads one recipe (TOML) and writes into one run folder, an arm with a seed. A phase
/// that was interrupted goes on where it was when it is called again; a finished one is skipped.
#[derive(Debug, Parser)]
#[command(name = "inscon-train", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Pretrain a backbone on unlabelled images: RUN/pretrain
    Pretrain(PretrainArgs),
    /// Train a detector on the pretrained backbone and evaluate it: RUN/finetune
    Finetune(RunArgs),
    /// Evaluate the trained detector again: RUN/finetune/eval.json
    Evaluate(EvaluateArgs),
    /// Detect objects on images: COCO results and pictures
    Detect(DetectArgs),
    /// Fit linear probes on the frozen backbone: RUN/probe
    Probe(RunArgs),
    /// Draw pictures of the views that pretraining sees, with the cells matched between them
    Views(ViewsArgs),
    /// Pack a folder of images into tar shards (WebDataset) for data.pretrain_shards
    Pack(PackArgs),
    /// Measure how fast batches are made, and whether the data or the device is the limit
    ProfileData(ProfileArgs),
    /// Write the backbone or the detector for other tools
    Export(ExportArgs),
    /// Look into a file of weights, or write it under other names
    #[command(subcommand)]
    Weights(WeightsCommand),
    /// Generate the embedded default data
    Scenes(ScenesArgs),
    /// Time a pretraining step, its convolutions or a detector's operations: JSON on stdout
    #[command(subcommand)]
    Bench(BenchCommand),
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Steps of MoCo v2, by phase, and the peak of memory: one line
    Step(BenchStepArgs),
    /// Each convolution of the network by itself: a line each, then the peak of a matrix product
    Convs(BenchConvsArgs),
    /// RoIAlign and NMS on boxes of a file: a line each
    Ops(BenchOpsArgs),
}

#[derive(Debug, Args)]
struct BenchStepArgs {
    #[command(flatten)]
    bench: BenchArgs,
    /// Steps to time
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = at_least_one)]
    steps: usize,
    /// Steps before them
    #[arg(long, default_value_t = 2, value_name = "N")]
    warmup: usize,
}

#[derive(Debug, Args)]
struct BenchConvsArgs {
    #[command(flatten)]
    bench: BenchArgs,
    /// Times each is run
    #[arg(long, default_value_t = 7, value_name = "N", value_parser = at_least_one)]
    repeat: usize,
}

#[derive(Debug, Args)]
struct BenchOpsArgs {
    /// Boxes, as `cargo xtask bench ops` writes them
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Times each is run
    #[arg(long, default_value_t = 7, value_name = "N", value_parser = at_least_one)]
    repeat: usize,
    /// cpu, wgpu, or cuda:N
    #[arg(long, default_value = "cpu", value_name = "NAME")]
    device: String,
}

#[derive(Debug, Args)]
struct BenchArgs {
    /// Network
    #[arg(long, value_enum, value_name = "NAME")]
    arch: Arch,
    /// Side of an image in pixels
    #[arg(long, value_name = "PX", value_parser = at_least_one)]
    size: usize,
    /// Images in a step
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    batch: usize,
    /// cpu, wgpu, or cuda:N
    #[arg(long, default_value = "cpu", value_name = "NAME")]
    device: String,
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Folder of the run: one arm, one seed
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// cpu, wgpu, or cuda:N
    #[arg(long, default_value = "cpu", value_name = "NAME")]
    device: String,
}

#[derive(Debug, Args)]
struct ViewsArgs {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Folder of a run: pictures go to RUN/views
    #[arg(long, value_name = "DIR", required_unless_present = "out")]
    run: Option<PathBuf>,
    /// Folder for the pictures, without a run
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Batch to draw, by its step
    #[arg(long, default_value_t = 0, value_name = "STEP")]
    step: u64,
    /// Query canvases to draw
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = at_least_one)]
    canvases: usize,
}

#[derive(Debug, Args)]
struct ProfileArgs {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Folder of a run: its metrics say how fast the device is
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Images a second that the device takes, instead of what the run's metrics say
    #[arg(long, value_name = "RATE", value_parser = rate)]
    device_rate: Option<f64>,
    /// Numbers of loader threads to try; 1, 2, 4, … up to the cores without it
    #[arg(long, value_name = "N,N", value_delimiter = ',', value_parser = at_least_one)]
    workers: Vec<usize>,
    /// Seconds for each
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS")]
    seconds: f64,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ExportArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Names to write: torchvision, detectron2 or timm; without it torchvision's for the backbone
    /// and our own for the detector
    #[arg(long, value_name = "NAME")]
    naming: Option<Naming>,
}

#[derive(Debug, Subcommand)]
enum WeightsCommand {
    /// Say what a .safetensors, .pth or .pt file holds, and whether its values are finite
    Inspect {
        /// The file
        file: PathBuf,
    },
    /// Write a file of weights of any known layout as safetensors under other names
    Convert {
        /// File to read: .safetensors, .pth or .pt
        input: PathBuf,
        /// File to write: .safetensors
        output: PathBuf,
        /// Names to write: torchvision, detectron2 or timm
        #[arg(long, value_name = "NAME")]
        to: Naming,
        /// Depth that the ResNet must have
        #[arg(long, value_name = "LAYERS")]
        depth: Option<u32>,
        /// What stands before the names in the file; found out without it
        #[arg(long, value_name = "PREFIX")]
        prefix: Option<String>,
    },
}

#[derive(Debug, Args)]
struct PretrainArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Take the finished pretraining of another run folder, if its recipe's is the same
    #[arg(long, value_name = "RUN")]
    from: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct EvaluateArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Evaluate the best checkpoint instead of the last: RUN/finetune/best/eval.json
    #[arg(long)]
    best: bool,
}

#[derive(Debug, Args)]
struct RecipeArgs {
    /// Recipe file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Arm of the recipe
    #[arg(long, value_name = "NAME")]
    arm: Option<String>,
    /// Lay a value over the recipe, e.g. pretrain.lr=0.06; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Args)]
struct ScenesArgs {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Folder to fill; without it data.scenes_dir of the recipe
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl RecipeArgs {
    fn load(&self) -> anyhow::Result<ExperimentConfig> {
        Ok(ExperimentConfig::load(
            &self.config,
            self.arm.as_deref(),
            &self.set,
        )?)
    }
}

/// Exit status of a process that a signal stopped after it saved its state.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let interrupt = Interrupt::from_signals();
    match dispatch(Cli::parse().command, &interrupt) {
        Ok(()) if interrupt.is_raised() => ExitCode::from(INTERRUPTED),
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command, interrupt: &Interrupt) -> anyhow::Result<()> {
    match command {
        Command::Scenes(args) => generate_scenes(&args),
        Command::Pretrain(args) => match &args.from {
            Some(from) => adopt(&args.run, from),
            None => phase(&args.run, interrupt, pretrain::run),
        },
        Command::Finetune(args) => phase(&args, interrupt, finetune::run),
        Command::Evaluate(args) if args.best => phase(&args.run, interrupt, evaluate::run_best),
        Command::Evaluate(args) => phase(&args.run, interrupt, evaluate::run),
        Command::Detect(args) => detect::run(&args, interrupt),
        Command::Probe(args) => phase(&args, interrupt, probe::run),
        Command::Views(args) => views(&args),
        Command::Pack(args) => pack(&args, interrupt),
        Command::ProfileData(args) => profile_data(&args, interrupt),
        Command::Export(args) => phase(&args.run, interrupt, |config, run, _, _| {
            export::run(config, run, args.naming)
        }),
        Command::Weights(command) => weights(command),
        Command::Bench(BenchCommand::Step(args)) => bench_step(&args, interrupt),
        Command::Bench(BenchCommand::Convs(args)) => bench_convs(&args, interrupt),
        Command::Bench(BenchCommand::Ops(args)) => {
            let input = bench::OpsInput::read(&args.input)?;
            let device = open_device(&args.device)?;
            bench::ops(&input, args.repeat, &device, interrupt, print_line)
        }
    }
}

/// Reads the recipe, claims the run folder for it, finds the data, opens the device and goes.
fn phase(
    args: &RunArgs,
    interrupt: &Interrupt,
    run: impl FnOnce(&ExperimentConfig, &Path, &Device, &Interrupt) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut config = args.recipe.load()?;
    let device = open_device(&args.device)?;
    RunDir::create(&args.run)?.claim(&config.to_toml())?;
    config.data = resolve_data(&config.data, &args.run)?;
    run(&config, &args.run, &device, interrupt)
}

/// Pictures of a batch. They are no part of a run, so that its recipe is not claimed.
fn views(args: &ViewsArgs) -> anyhow::Result<()> {
    let mut config = args.recipe.load()?;
    let out = match (&args.out, &args.run) {
        (Some(out), _) => out.clone(),
        (None, Some(run)) => run.join("views"),
        (None, None) => anyhow::bail!("give --out DIR or --run DIR"),
    };
    let run = args.run.as_ref().unwrap_or(&out);
    config.data = resolve_data(&config.data, run)?;
    pretrain::draw_views(&config, args.step, args.canvases, &out)
}

fn pack(args: &PackArgs, interrupt: &Interrupt) -> anyhow::Result<()> {
    let packed = pack::pack(args, interrupt)?;
    say(&format!(
        "{}{} images in {} shards, {:.1} MB, in {}",
        if packed.is_complete {
            ""
        } else {
            "interrupted: "
        },
        packed.images,
        packed.shards,
        packed.bytes as f64 / 1e6,
        args.out.display()
    ));
    Ok(())
}

fn profile_data(args: &ProfileArgs, interrupt: &Interrupt) -> anyhow::Result<()> {
    let mut config = args.recipe.load()?;
    // First: a mistyped run is to be told before scenes are made beside it.
    let device_rate = match (args.device_rate, &args.run) {
        (Some(rate), _) => Some(rate),
        (None, Some(run)) => pretrain::device_rate(run, config.pretrain.batch)?,
        (None, None) => None,
    };
    let here = PathBuf::from(".");
    let run = args.run.as_ref().unwrap_or(&here);
    config.data = resolve_data(&config.data, run)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = match args.workers.is_empty() {
        true => std::iter::successors(Some(1), |n| Some(2 * n))
            .take_while(|n| *n <= cores)
            .collect(),
        false => args.workers.clone(),
    };
    let time = Duration::try_from_secs_f64(args.seconds).context("--seconds")?;
    let options = pretrain::ProfileOptions {
        workers,
        time,
        device_rate,
    };
    let profile = pretrain::profile_data(&config, &options, interrupt)?;
    if args.json {
        return print_line(&profile);
    }
    writeln!(io::stdout(), "{profile}").context("cannot write to stdout")
}

/// Claims the run folder and takes over another run's pretraining.
fn adopt(args: &RunArgs, from: &Path) -> anyhow::Result<()> {
    let config = args.recipe.load()?;
    RunDir::create(&args.run)?.claim(&config.to_toml())?;
    pretrain::adopt(&config, from, &args.run)
}

fn weights(command: WeightsCommand) -> anyhow::Result<()> {
    match command {
        WeightsCommand::Inspect { file } => {
            let found = import::inspect(&file)?;
            writeln!(io::stdout(), "{found}").context("cannot write to stdout")?;
            match found.bad.first() {
                None => Ok(()),
                Some(bad) => anyhow::bail!("{}: {bad}", file.display()),
            }
        }
        WeightsCommand::Convert {
            input,
            output,
            to,
            depth,
            prefix,
        } => import::convert(&input, &output, &Conversion { to, depth, prefix }),
    }
}

fn generate_scenes(args: &ScenesArgs) -> anyhow::Result<()> {
    let config = args.recipe.load()?;
    let out = match (&args.out, config.data.scenes_dir.as_os_str().is_empty()) {
        (Some(out), _) => out.clone(),
        (None, false) => scenes_dir(&config.data, &PathBuf::new()),
        (None, true) => anyhow::bail!("give --out DIR: the recipe sets no data.scenes_dir"),
    };
    let paths = scenes::generate(&config.data.scenes, config.data.scenes_seed, &out)?;
    say(&format!("scenes are in {}", out.display()));
    say(&format!("  unlabelled  {}", paths.unlabelled.display()));
    say(&format!("  labelled    {}", paths.train_json.display()));
    say(&format!("  test        {}", paths.test_json.display()));
    Ok(())
}

impl BenchArgs {
    fn workload(&self) -> Workload {
        let &Self {
            arch, size, batch, ..
        } = self;
        Workload { arch, size, batch }
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(error.to_string()),
    }
}

/// Images a second.
fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        Ok(_) => Err("must be a finite number above 0".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn bench_step(args: &BenchStepArgs, interrupt: &Interrupt) -> anyhow::Result<()> {
    let device = open_device(&args.bench.device)?;
    let counts = [args.warmup, args.steps];
    print_line(&bench::step(
        args.bench.workload(),
        counts,
        &device,
        interrupt,
    )?)
}

fn bench_convs(args: &BenchConvsArgs, interrupt: &Interrupt) -> anyhow::Result<()> {
    let device = open_device(&args.bench.device)?;
    let workload = args.bench.workload();
    bench::convs(&workload, args.repeat, &device, interrupt, |times| {
        print_line(times)
    })?;
    let peak = bench::peak_gflops(7, &device)?;
    print_line(&serde_json::json!({ "peak_gflops": peak }))
}

/// One line of JSON.
fn print_line(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let line = serde_json::to_string(value)?;
    writeln!(io::stdout(), "{line}").context("cannot write to stdout")
}
