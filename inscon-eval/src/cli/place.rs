//! Where input comes from and output goes.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use inscon_eval::{EvalError, Owner};

use super::Failure;

/// A file, or standard input if it is called `-`.
pub(super) struct Input<'a>(pub(super) &'a Path);

impl<'a> Input<'a> {
    /// The two inputs of a command, of which one may be standard input.
    pub(super) fn pair(truth: &'a Path, found: &'a Path) -> Result<(Self, Self), Failure> {
        let (truth, found) = (Self(truth), Self(found));
        if truth.is_stdin() && found.is_stdin() {
            return Err("only one of GT and DT can be `-`, standard input".into());
        }
        Ok((truth, found))
    }

    pub(super) fn is_stdin(&self) -> bool {
        self.0 == Path::new("-")
    }

    pub(super) fn is_folder(&self) -> bool {
        !self.is_stdin() && self.0.is_dir()
    }

    /// What messages call it.
    pub(super) fn name(&self) -> &Path {
        if self.is_stdin() {
            Path::new("stdin")
        } else {
            self.0
        }
    }

    pub(super) fn open(&self) -> Result<Box<dyn Read>, EvalError> {
        if self.is_stdin() {
            return Ok(Box::new(io::stdin()));
        }
        let file = File::open(self.0).map_err(|source| EvalError::Read {
            path: self.0.into(),
            source,
        })?;
        Ok(Box::new(file))
    }
}

/// An error of evaluating with the file it is about in front.
pub(super) fn located(error: EvalError, truth: &Input<'_>, found: &Input<'_>) -> Failure {
    let owner = match &error {
        EvalError::DetectionImage { .. } | EvalError::MissingBox { .. } => Some(found),
        EvalError::MissingTruthBox { .. } => Some(truth),
        EvalError::Keypoints { owner, .. }
        | EvalError::MissingMask { owner }
        | EvalError::Mask { owner, .. } => match owner {
            Owner::Annotation(_) => Some(truth),
            Owner::Detection(_) => Some(found),
        },
        _ => None,
    };
    match owner {
        Some(input) => format!("{}: {error}", input.name().display()).into(),
        None => error.into(),
    }
}

/// Lets `print` write to a file, whole or not at all, or to standard output.
pub(super) fn write(
    file: Option<&Path>,
    print: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Failure> {
    let Some(path) = file else {
        let mut out = BufWriter::new(io::stdout().lock());
        print(&mut out)?;
        return Ok(out.flush()?);
    };
    let mut text = Vec::new();
    print(&mut text)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    fs::write(&temporary, text)
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(|source| {
            EvalError::Write {
                path: path.into(),
                source,
            }
            .into()
        })
}
