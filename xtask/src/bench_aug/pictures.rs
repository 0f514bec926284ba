//! The pictures that all programs read.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;

use super::programs::Ours;
use crate::bench_step::processes::{output, parsed};

const SCRIPT: &str = include_str!("pictures.py");

/// What a program that writes pictures says of each folder.
#[derive(Deserialize)]
struct Written {
    folder: String,
    pictures: usize,
    mean_bytes: f64,
}

/// Fills `images` if it is empty: with photographs by one of the `pythons` that has Pillow, if
/// there are photographs in `shared`, else with generated pictures. Says what lies there.
pub(super) fn prepare(
    images: &Path,
    shared: &Path,
    pythons: &[PathBuf],
    ours: &Ours,
) -> Result<Vec<String>> {
    let said = images.join("pictures.txt");
    if let Ok(text) = fs::read_to_string(&said) {
        return Ok(text.lines().map(str::to_owned).collect());
    }
    fs::create_dir_all(images).with_context(|| format!("cannot make {}", images.display()))?;
    let has_pillow = |python: &&PathBuf| {
        let mut ask = Command::new(python);
        ask.args(["-c", "import PIL"]);
        output(ask, "").is_ok()
    };
    let photographs = match shared.join("facade320").is_dir() {
        true => pythons.iter().find(has_pillow),
        false => None,
    };
    let (printed, kind) = match photographs {
        Some(python) => {
            let script = images.join("pictures.py");
            fs::write(&script, SCRIPT)
                .with_context(|| format!("cannot write {}", script.display()))?;
            let mut command = Command::new(python);
            command.arg(&script).arg("--shared").arg(shared);
            command.arg("--out").arg(images);
            (output(command, ""), "photographs")
        }
        None => (
            output(ours.pictures(images), ""),
            "GENERATED pictures, no photographs",
        ),
    };
    let printed = printed.map_err(|error| anyhow!("cannot make the pictures: {error}"))?;
    let folders: Vec<Written> = parsed(&printed).map_err(|error| anyhow!("{error}"))?;
    let notes: Vec<String> = folders.iter().map(|written| written.note(kind)).collect();
    fs::write(&said, notes.join("\n"))?;
    Ok(notes)
}

impl Written {
    fn note(&self, kind: &str) -> String {
        format!(
            "{}: {} {kind}, {:.0} bytes each",
            self.folder, self.pictures, self.mean_bytes
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_described() {
        let line = r#"{"folder": "128", "pictures": 200, "mean_bytes": 5358.11}"#;
        let written: Vec<Written> = parsed(line).unwrap();
        assert_eq!(
            written[0].note("photographs"),
            "128: 200 photographs, 5358 bytes each"
        );
    }

    #[test]
    fn what_lies_there_is_not_made_again() {
        let images = tempfile::tempdir().unwrap();
        fs::write(images.path().join("pictures.txt"), "128: 3\n474x392: 4").unwrap();
        let ours = Ours::new(Some(Path::new("Cargo.toml"))).unwrap();
        let notes = prepare(images.path(), Path::new("/nowhere"), &[], &ours).unwrap();
        assert_eq!(notes, ["128: 3", "474x392: 4"]);
    }
}
