//! What is in a file of weights, for people.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::check::{Architecture, is_dead, refuse_bad_values};
use super::recognise::{likely_prefixes, recognise};
use super::report::list;
use super::{Container, ImportOptions, WeightFile};
use crate::ModelError;

/// A look into a file of weights; every floating-point value has been read.
///
/// [`Display`](fmt::Display) prints it in lines, a line for each group of tensors with one beginning.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// The file.
    pub path: PathBuf,
    /// How it stores tensors.
    pub container: Container,
    /// The layout and its prefix; `None` if it is not a known one.
    pub layout: Option<(&'static str, String)>,
    /// The network, such as `a ResNet-50 of width 1`.
    pub architecture: Option<String>,
    /// Number of tensors.
    pub tensors: usize,
    /// Number of values in floating-point tensors.
    pub values: usize,
    /// Number of tensors of each type.
    pub types: BTreeMap<String, usize>,
    /// Tensors by the beginning of their names: how many, and the first with its shape.
    pub groups: BTreeMap<String, (usize, String, Vec<usize>)>,
    /// What is wrong with values, a sentence for each tensor.
    pub bad: Vec<String>,
    /// Weights of nothing but zeros.
    pub zeros: Vec<String>,
    /// Prefixes under which a network seems to lie.
    pub prefixes: Vec<String>,
}

/// Reads a whole file of weights and says what is in it. NaN is reported, not an error.
///
/// # Errors
/// As [`WeightFile::open`] and [`WeightFile::read`].
pub fn inspect_weights(path: &Path) -> Result<Inspection, ModelError> {
    let file = WeightFile::open(path)?;
    let found = recognise(file.tensors(), None, &ImportOptions::default());
    let architecture = found.as_ref().and_then(|found| {
        let inner = found.pairs.iter().filter_map(|(ours, (theirs, _))| {
            let name = ours.strip_prefix("backbone.").unwrap_or(ours);
            Some((name, file.tensors().get(theirs)?.shape.as_slice()))
        });
        Architecture::of(inner)
    });
    let mut inspection = Inspection {
        path: path.to_owned(),
        container: file.container(),
        layout: found.as_ref().map(|f| (f.scheme.title, f.prefix.clone())),
        architecture: architecture.map(|a| a.to_string()),
        tensors: file.tensors().len(),
        values: 0,
        types: BTreeMap::new(),
        groups: BTreeMap::new(),
        bad: Vec::new(),
        zeros: Vec::new(),
        prefixes: likely_prefixes(file.tensors()),
    };
    let depth = inspection
        .layout
        .as_ref()
        .map_or(1, |(_, prefix)| prefix.matches('.').count() + 1);
    for (name, info) in file.tensors() {
        *inspection.types.entry(info.dtype.clone()).or_default() += 1;
        let group = beginning(name, depth);
        let entry = inspection.groups.entry(group);
        entry
            .or_insert_with(|| (0, name.clone(), info.shape.clone()))
            .0 += 1;
        if !info.is_float() {
            continue;
        }
        let data = file.read(name)?;
        let values = data.as_slice::<f32>().unwrap_or_default();
        inspection.values += values.len();
        if let Err(ModelError::Values { name, what }) = refuse_bad_values(name, values) {
            inspection.bad.push(format!("`{name}` {what}"));
        }
        if is_dead(name, values) {
            inspection.zeros.push(name.clone());
        }
    }
    Ok(inspection)
}

/// The first so many segments of a name, never its last.
fn beginning(name: &str, segments: usize) -> String {
    let all: Vec<&str> = name.split('.').collect();
    let kept = segments.min(all.len().saturating_sub(1)).max(1);
    all.get(..kept).unwrap_or(&all).join(".")
}

const MAX_GROUPS: usize = 40;

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({})", self.path.display(), self.container)?;
        match &self.layout {
            Some((title, prefix)) if prefix.is_empty() => writeln!(f, "layout   {title}")?,
            Some((title, prefix)) => writeln!(f, "layout   {title} under `{prefix}`")?,
            None => writeln!(
                f,
                "layout   unknown: no ResNet or detector of a known project"
            )?,
        }
        if let Some(architecture) = &self.architecture {
            writeln!(f, "network  {architecture}")?;
        }
        let types = self.types.iter().map(|(t, n)| format!("{n} {t}"));
        let types: Vec<String> = types.collect();
        writeln!(
            f,
            "tensors  {} ({}), {} floating-point values",
            self.tensors,
            types.join(", "),
            self.values
        )?;
        if self.prefixes.len() > 1 {
            writeln!(f, "networks under {}", list(&self.prefixes))?;
        }
        for (name, (count, first, shape)) in self.groups.iter().take(MAX_GROUPS) {
            writeln!(f, "  {count:5}  {name}  ({first} {shape:?})")?;
        }
        if let Some(more) = self.groups.len().checked_sub(MAX_GROUPS).filter(|n| *n > 0) {
            writeln!(f, "  and {more} groups more")?;
        }
        if !self.zeros.is_empty() {
            writeln!(f, "zeros    {}", list(&self.zeros))?;
        }
        match self.bad.as_slice() {
            [] => write!(f, "values   all finite"),
            bad => write!(f, "BAD      {}", bad.join("\nBAD      ")),
        }
    }
}
