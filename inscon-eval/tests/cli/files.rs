//! A folder of small files, and the binary run in it.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Two classes on three images; no detection of `dog` is right.
pub(crate) const TRUTH: &str = r#"{
    "images": [{"id": 1, "width": 100, "height": 80, "file_name": "a.jpg"},
               {"id": 2, "width": 100, "height": 80, "file_name": "b.jpg"},
               {"id": 3, "width": 100, "height": 80, "file_name": "c.jpg"}],
    "categories": [{"id": 7, "name": "cat, small"}, {"id": 9, "name": "dog"}, {"id": 11, "name": "cow"}],
    "annotations": [
      {"id": 1, "image_id": 1, "category_id": 7, "bbox": [10, 10, 20, 20], "area": 400,
       "num_keypoints": 1, "keypoints": [12, 12, 2, 0, 0, 0],
       "segmentation": [[10, 10, 30, 10, 30, 30, 10, 30]]},
      {"id": 2, "image_id": 2, "category_id": 7, "bbox": [0, 0, 50, 40], "area": 2000,
       "num_keypoints": 1, "keypoints": [40, 40, 2, 0, 0, 0],
       "segmentation": [[0, 0, 50, 0, 50, 40, 0, 40]]},
      {"id": 3, "image_id": 2, "category_id": 9, "bbox": [60, 10, 20, 20], "area": 400,
       "num_keypoints": 1, "keypoints": [70, 12, 2, 0, 0, 0],
       "segmentation": [[60, 10, 80, 10, 80, 30, 60, 30]]}]}"#;

pub(crate) const FOUND: &str = r#"[
    {"image_id": 1, "category_id": 7, "score": 0.9, "bbox": [10, 10, 20, 20], "keypoints": [12, 12, 1, 0, 0, 1],
     "segmentation": {"size": [80, 100], "counts": "[2000"}},
    {"image_id": 2, "category_id": 7, "score": 0.8, "bbox": [0, 0, 50, 28], "keypoints": [40, 40, 1, 0, 0, 1]},
    {"image_id": 3, "category_id": 7, "score": 0.85, "bbox": [0, 0, 50, 28], "keypoints": [40, 40, 1, 0, 0, 1]},
    {"image_id": 2, "category_id": 9, "score": 0.7, "bbox": [0, 60, 20, 20], "keypoints": [0, 60, 1, 0, 0, 1]}]"#;

pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        fs::write(files.path("gt.json"), TRUTH).unwrap();
        fs::write(files.path("dt.json"), FOUND).unwrap();
        files
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs the binary in the folder.
    pub(crate) fn run(&self, arguments: &str) -> Output {
        self.feed(arguments, "", "2")
    }

    pub(crate) fn feed(&self, arguments: &str, input: &str, threads: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_inscon-eval"))
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .env("RAYON_NUM_THREADS", threads)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    }

    pub(crate) fn stdout(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn json(&self, arguments: &str) -> Value {
        serde_json::from_str(&self.stdout(arguments)).unwrap()
    }

    /// The message of a call that must end with exit code 2.
    pub(crate) fn failure(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments}");
        assert!(output.stdout.is_empty(), "{arguments}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(message.lines().count(), 1, "{message}");
        message
    }
}
