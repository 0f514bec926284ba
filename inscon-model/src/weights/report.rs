//! What an import did, in at most fifteen lines.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::{Container, Layout};

/// What [`import_weights`](super::import_weights) found in a file and did with it.
///
/// [`Display`](fmt::Display) prints at most fifteen lines: what may be harmful first, in capitals,
/// then a line for each kind of tensor that is no loss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportReport {
    /// The file.
    pub path: PathBuf,
    /// How it stores tensors.
    pub container: Container,
    /// Whose names it has.
    pub layout: Layout,
    /// The layout in words: `detectron2 Faster or Mask R-CNN with FPN`.
    pub title: &'static str,
    /// The tensor that gave the layout away.
    pub recognised_by: String,
    /// What stands before the layout's names.
    pub prefix: String,
    /// Other prefixes with as much of the network under them.
    pub other_prefixes: Vec<String>,
    /// The network, such as `a ResNet-50 of width 1`.
    pub architecture: Option<String>,
    /// Tensors taken, by our names.
    pub loaded: Vec<String>,
    /// How many of them had which type in the file.
    pub types: BTreeMap<String, usize>,
    /// Tensors of the file that the model does not need, by what they are; no loss.
    pub left_out: BTreeMap<&'static str, Vec<String>>,
    /// Tensors of the model that such a file never holds, by part; they keep their values.
    pub kept: BTreeMap<&'static str, Vec<String>>,
    /// Predictors of another number of classes, which keep their values
    /// ([`ImportOptions::other_classes`](super::ImportOptions)).
    pub other_classes: Vec<String>,
    /// Tensors of the model that the file should hold and does not; empty unless the import was
    /// [`partial`](super::ImportOptions).
    pub missing: Vec<String>,
    /// Tensors of the file that nobody knows.
    pub unexpected: Vec<String>,
    /// What looks wrong although it could be loaded.
    pub warnings: Vec<String>,
}

const MAX_LINES: usize = 15;

impl ImportReport {
    /// Whether nothing is missing, unexpected or suspicious.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.warnings.is_empty()
    }

    fn lines(&self) -> Vec<String> {
        let under = match self.prefix.as_str() {
            "" => String::new(),
            prefix => format!(" under `{prefix}`{}", known_source(prefix)),
        };
        let mut lines = vec![format!(
            "weights {} ({}): {}{under}, recognised by `{}`",
            self.path.display(),
            self.container,
            self.title,
            self.recognised_by
        )];
        let of = match &self.architecture {
            Some(architecture) => format!(" of {architecture}"),
            None => String::new(),
        };
        let types: Vec<String> = self
            .types
            .iter()
            .map(|(dtype, count)| format!("{count} {dtype}"))
            .collect();
        let loaded = self.loaded.len();
        lines.push(format!(
            "  loaded {loaded} tensors{of} ({})",
            types.join(", ")
        ));
        for warning in &self.warnings {
            lines.push(format!("  WARNING: {warning}"));
        }
        if !self.missing.is_empty() {
            lines.push(format!(
                "  MISSING, keep their values: {}",
                list(&self.missing)
            ));
        }
        if !self.unexpected.is_empty() {
            lines.push(format!(
                "  UNEXPECTED, not used: {}",
                list(&self.unexpected)
            ));
        }
        if !self.other_classes.is_empty() {
            lines.push(format!(
                "  of another number of classes, keep their values: {}",
                list(&self.other_classes)
            ));
        }
        for (part, names) in &self.kept {
            lines.push(format!(
                "  not in such files, keeps its values: {part} ({} tensors)",
                names.len()
            ));
        }
        for (what, names) in &self.left_out {
            lines.push(format!("  not needed: {what} ({} tensors)", names.len()));
        }
        if !self.other_prefixes.is_empty() {
            lines.push(format!(
                "  the same network also lies under {}: choose it by its prefix",
                list(&self.other_prefixes)
            ));
        }
        lines
    }
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = self.lines();
        if lines.len() > MAX_LINES {
            let more = lines.len() - (MAX_LINES - 1);
            lines.truncate(MAX_LINES - 1);
            lines.push(format!("  and {more} lines more"));
        }
        f.write_str(&lines.join("\n"))
    }
}

/// Who saves networks under such a prefix.
fn known_source(prefix: &str) -> &'static str {
    const SOURCES: [(&str, &str); 6] = [
        ("module.encoder_q.", " (the query encoder of MoCo)"),
        (
            "encoder_q.0.",
            " (the query encoder of OpenSelfSup: MoCo, DenseCL)",
        ),
        ("base_encoder.", " (the base encoder of MoCo v3)"),
        ("query.backbone.", " (the query encoder of inscon-train)"),
        ("teacher.backbone.", " (the teacher of DINO)"),
        ("teacher.module.backbone.", " (the teacher of DINO)"),
    ];
    SOURCES
        .iter()
        .find(|(end, _)| prefix.ends_with(end))
        .map_or("", |(_, source)| source)
}

/// A count and the first names.
pub(super) fn list(names: &[String]) -> String {
    let mut shown: Vec<String> = names.iter().take(4).map(|n| format!("`{n}`")).collect();
    if names.len() > 4 {
        shown.push(format!("… ({} in all)", names.len()));
    }
    shown.join(", ")
}
