//! Repository rules that no compiler checks.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell;

const MAX_LINES: usize = 600;

/// What each member may import of the workspace.
const EDGES: [(&str, &[&str]); 6] = [
    ("inscon-aug", &[]),
    ("inscon-eval", &[]),
    ("inscon-loss", &[]),
    ("inscon-model", &[]),
    (
        "inscon-train",
        &["inscon-aug", "inscon-eval", "inscon-loss", "inscon-model"],
    ),
    ("xtask", &[]),
];

/// What may lie at the top level beside dot-files.
const TOP: [&str; 13] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "clippy.toml",
    "inscon-aug",
    "inscon-eval",
    "inscon-loss",
    "inscon-model",
    "inscon-train",
    "rustfmt.toml",
    "xtask",
];

pub(crate) fn run() -> Result<()> {
    let findings = findings(&shell::root())?;
    if findings.is_empty() {
        shell::say("tidy: nothing found");
        return Ok(());
    }
    for finding in &findings {
        shell::say(finding);
    }
    bail!("tidy: {} findings", findings.len());
}

/// Every broken rule below `root`, one line each.
fn findings(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (member, allowed) in EDGES {
        let dir = root.join(member);
        let manifest = fs::read_to_string(dir.join("Cargo.toml"))
            .with_context(|| format!("cannot read {member}/Cargo.toml"))?;
        found.extend(manifest_findings(member, allowed, &manifest)?);
        for file in sources(&dir)? {
            let text = fs::read_to_string(&file)?;
            let shown = file
                .strip_prefix(root)
                .unwrap_or(&file)
                .display()
                .to_string();
            found.extend(source_findings(&shown, &text));
        }
    }
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let ignored = ["target", "runs"].contains(&name.as_str());
        if !name.starts_with('.') && !TOP.contains(&name.as_str()) && !ignored {
            found.push(format!("{name}: does not belong at the top level"));
        }
    }
    Ok(found)
}

fn manifest_findings(member: &str, allowed: &[&str], manifest: &str) -> Result<Vec<String>> {
    let table: toml::Table = manifest
        .parse()
        .with_context(|| format!("{member}/Cargo.toml is not TOML"))?;
    let mut found = Vec::new();
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let Some(dependencies) = table.get(section).and_then(toml::Value::as_table) else {
            continue;
        };
        for (name, value) in dependencies {
            if name.starts_with("inscon-") && !allowed.contains(&name.as_str()) {
                found.push(format!(
                    "{member}/Cargo.toml: [{section}] must not import {name}"
                ));
            }
            if member == "xtask" && name.starts_with("burn") {
                found.push(format!("{member}/Cargo.toml: xtask links no burn"));
            }
            let from_workspace =
                value.get("workspace").and_then(toml::Value::as_bool) == Some(true);
            if !from_workspace {
                found.push(format!(
                    "{member}/Cargo.toml: [{section}] {name} must take its version from the workspace"
                ));
            }
        }
    }
    if table
        .get("lints")
        .and_then(|l| l.get("workspace"))
        .and_then(toml::Value::as_bool)
        != Some(true)
    {
        found.push(format!(
            "{member}/Cargo.toml: [lints] workspace = true is missing"
        ));
    }
    Ok(found)
}

fn source_findings(file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if !text.starts_with("//!") {
        found.push(format!("{file}:1: must open with `//!`"));
    }
    let lines = text.lines().count();
    if lines > MAX_LINES {
        found.push(format!(
            "{file}: {lines} lines, more than {MAX_LINES}: split it"
        ));
    }
    for (number, line) in text.lines().enumerate() {
        if line.ends_with(' ') || line.ends_with('\t') {
            found.push(format!("{file}:{}: ends in white space", number + 1));
        }
    }
    found
}

fn sources(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|n| n != "target") {
                files.extend(sources(&path)?);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_must_not_import_another() {
        let manifest = "[lints]\nworkspace = true\n[dependencies]\ninscon-aug.workspace = true\n";
        let found = manifest_findings("inscon-loss", &[], manifest).unwrap();
        assert_eq!(
            found,
            ["inscon-loss/Cargo.toml: [dependencies] must not import inscon-aug"]
        );
        assert!(
            manifest_findings("inscon-train", &["inscon-aug"], manifest)
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn versions_and_lints_come_from_the_workspace() {
        let found = manifest_findings("xtask", &[], "[dependencies]\nburn = \"1\"\n").unwrap();
        assert_eq!(found.len(), 3, "{found:?}");
    }

    #[test]
    fn files_open_with_their_purpose() {
        assert_eq!(
            source_findings("a.rs", "use x;\n"),
            ["a.rs:1: must open with `//!`"]
        );
        assert!(source_findings("a.rs", "//! x\n").is_empty());
        let long = format!("//! x\n{}", "a\n".repeat(MAX_LINES));
        assert!(source_findings("a.rs", &long)[0].contains("split it"));
    }

    #[test]
    fn this_repository_is_tidy() {
        assert_eq!(findings(&shell::root()).unwrap(), Vec::<String>::new());
    }
}
