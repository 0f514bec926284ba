//! `inscon-eval check`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use inscon_eval::{CocoDataset, Finding, Severity, check, read_detections};
use serde::Serialize;

use super::Failure;
use super::place::{Input, write};
use super::text::{counted, thousands};

const EXAMPLES: &str = "\
Examples:
  inscon-eval check instances_train2017.json
  inscon-eval check gt.json dt.json --limit 0
  inscon-eval check gt.json dt.json --format json --out findings.json
Exit code 1 if there is an error, 0 if there are only warnings and notes.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CheckArgs {
    /// Ground truth; `-` is standard input
    gt: PathBuf,
    /// Results; `-` is standard input
    dt: Option<PathBuf>,
    /// How the findings are printed
    #[arg(long, value_enum, default_value = "table")]
    format: CheckFormat,
    /// So many of each kind are printed in the table; 0 is all
    #[arg(long, default_value_t = 10, value_name = "N")]
    limit: usize,
    /// Print into a file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CheckFormat {
    /// To be read
    Table,
    /// All findings on one line
    Json,
}

#[derive(Serialize)]
struct Report<'a> {
    errors: usize,
    warnings: usize,
    notes: usize,
    findings: &'a [Finding],
}

pub(crate) fn run(args: &CheckArgs) -> Result<ExitCode, Failure> {
    let (gt, dt) = match &args.dt {
        Some(dt) => {
            let (gt, dt) = Input::pair(&args.gt, dt)?;
            (gt, Some(dt))
        }
        None => (Input(&args.gt), None),
    };
    let truth = CocoDataset::read_unlinked(gt.open()?, gt.name())?;
    let found = match &dt {
        Some(dt) => Some(read_detections(dt.open()?, dt.name())?),
        None => None,
    };
    let findings = check(&truth, found.as_deref());
    let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
    let report = Report {
        errors: count(Severity::Error),
        warnings: count(Severity::Warning),
        notes: count(Severity::Note),
        findings: &findings,
    };
    let mut checked = vec![
        counted(truth.images.len(), "image"),
        counted(truth.annotations.len(), "annotation"),
    ];
    checked.extend(found.map(|found| counted(found.len(), "detection")));
    write(args.out.as_deref(), |out| match args.format {
        CheckFormat::Table => report.table(out, args.limit, &checked.join(", ")),
        CheckFormat::Json => {
            serde_json::to_writer(&mut *out, &report)?;
            writeln!(out)
        }
    })?;
    Ok(ExitCode::from(u8::from(report.errors > 0)))
}

impl Report<'_> {
    fn table(&self, out: &mut dyn Write, limit: usize, checked: &str) -> io::Result<()> {
        for group in self.findings.chunk_by(|a, b| a.kind == b.kind) {
            let (severity, kind) = (group[0].severity, group[0].kind);
            let severity = match severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Note => "note",
            };
            writeln!(
                out,
                "{severity}: {} ({})",
                kind.title(),
                thousands(group.len())
            )?;
            let shown = if limit == 0 {
                group.len()
            } else {
                limit.min(group.len())
            };
            for finding in &group[..shown] {
                writeln!(out, "  {}: {}", finding.subject, finding.message)?;
            }
            if group.len() > shown {
                writeln!(out, "  ... and {} more", thousands(group.len() - shown))?;
            }
        }
        let counts = [
            counted(self.errors, "error"),
            counted(self.warnings, "warning"),
            counted(self.notes, "note"),
        ];
        writeln!(out, "{} in {checked}", counts.join(", "))
    }
}
