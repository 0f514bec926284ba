//! Files of weights from elsewhere: looked into, and written under other names.

use std::path::Path;

use anyhow::{Result, bail};
use inscon_model::{
    ImportOptions, Inspection, ModelError, Naming, ResNet, StateDict, import_state_dict,
    import_weights, inspect_weights, rename,
};
use serde_json::json;

use crate::{say, write_weights};

/// Looks into a file of weights: `.safetensors`, `.pth` or `.pt`.
///
/// # Errors
/// A file that is none of these, is damaged or cannot be read safely. With NaN or infinity in it
/// the inspection is whole, and [`Inspection::bad`] says where.
pub fn inspect(path: &Path) -> Result<Inspection, ModelError> {
    inspect_weights(path)
}

/// What to write, and from what.
#[derive(Debug, Clone)]
pub struct Conversion {
    /// The names to write.
    pub to: Naming,
    /// The depth that the network must have.
    pub depth: Option<u32>,
    /// Where in the file the network lies; `None` finds out.
    pub prefix: Option<String>,
}

/// Reads a file of weights of any known layout and writes it as safetensors under other names:
/// a ResNet as a ResNet, a detector as a detector. Says what was found on stderr.
///
/// # Errors
/// As [`import_state_dict`] and [`rename`]; a network of another depth; `output` that is `input` or
/// does not end in `.safetensors`.
pub fn convert(input: &Path, output: &Path, conversion: &Conversion) -> Result<()> {
    if output.extension().is_none_or(|e| e != "safetensors") {
        bail!(
            "{}: the output is safetensors; give it a name that ends in .safetensors",
            output.display()
        );
    }
    if let (Ok(a), Ok(b)) = (input.canonicalize(), output.canonicalize())
        && a == b
    {
        bail!(
            "{} would be overwritten: give another output",
            input.display()
        );
    }
    let options = ImportOptions {
        prefix: conversion.prefix.clone(),
        ..ImportOptions::default()
    };
    let (dict, report) = import_state_dict(input, &options)?;
    if let Some(depth) = conversion.depth {
        check_depth(input, report.architecture.as_deref(), depth)?;
    }
    say(&report.to_string());
    let renamed: StateDict = rename(&dict, conversion.to)?;
    let about = json!({ "naming": conversion.to, "network": report.architecture });
    write_weights(output, &renamed, &about.to_string())?;
    say(&format!(
        "{} tensors in {}",
        renamed.len(),
        output.display()
    ));
    Ok(())
}

fn check_depth(input: &Path, found: Option<&str>, depth: u32) -> Result<()> {
    let found = found.unwrap_or("an unknown network");
    if !found.starts_with(&format!("a ResNet-{depth} ")) {
        bail!(
            "{} holds {found}, not a ResNet-{depth}: leave --depth out, or choose another file",
            input.display()
        );
    }
    Ok(())
}

/// The weights that a recipe's key `weights` names, in a ResNet; says on stderr what was loaded.
///
/// # Errors
/// As [`import_weights`].
pub fn initial_weights(resnet: ResNet, path: &Path) -> Result<ResNet, ModelError> {
    let (resnet, report) = import_weights(resnet, path, &ImportOptions::default())?;
    say(&report.to_string());
    Ok(resnet)
}
