//! The pictures of the report: files become data URIs, labels become SVG over them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::html::escape;

/// A PNG or JPEG as a data URI.
pub(crate) fn data_uri(file: &Path) -> Result<String> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let kind = if file.extension().is_some_and(|e| e == "png") {
        "png"
    } else {
        "jpeg"
    };
    Ok(format!(
        "data:image/{kind};base64,{}",
        STANDARD.encode(bytes)
    ))
}

/// The views of one arm: each query canvas with its key canvases and the matched cells.
pub(crate) fn views(folder: &Path) -> Result<Option<String>> {
    let file = folder.join("views.json");
    if !file.exists() {
        return Ok(None);
    }
    let record: Value = serde_json::from_str(&fs::read_to_string(&file)?)
        .with_context(|| format!("{} is not JSON", file.display()))?;
    let share = |key: &str| record[key].as_f64().unwrap_or(0.0) * 100.0;
    let cells = record["cells"].as_u64().unwrap_or(0);
    let mut out = format!(
        "<p>{cells}×{cells} cells a tile; {:.0} % of the query cells of this batch have a key cell \
         at the same place (closer than {} cell diagonals), {:.0} % of the tiles have none. Left: a \
         query canvas; right: the key canvases that hold the same images. Frames of one colour are \
         the two views of one image, lines join matched cells.</p>",
        share("matched_cells"),
        record["positive_below"],
        share("unmatched_tiles"),
    );
    for canvas in record["query"].as_array().into_iter().flatten() {
        let number = canvas["canvas"].as_u64().unwrap_or(0);
        let overview = folder.join(format!("overview_{number}.png"));
        if overview.exists() {
            out += &format!(
                "<img class=\"wide\" alt=\"canvas {number}\" src=\"{}\">",
                data_uri(&overview)?
            );
        }
    }
    Ok(Some(out))
}

/// Truth and detections of one run, side by side, with class names and scores.
pub(crate) fn detections(folder: &Path, most: usize) -> Result<Option<String>> {
    let file = folder.join("detections.json");
    if !file.exists() {
        return Ok(None);
    }
    let record: Value = serde_json::from_str(&fs::read_to_string(&file)?)
        .with_context(|| format!("{} is not JSON", file.display()))?;
    let colours: Vec<&str> = record["colours"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut out = String::from("<div class=\"pairs\">");
    for picture in record["pictures"]
        .as_array()
        .into_iter()
        .flatten()
        .take(most)
    {
        out += "<div class=\"pair\">";
        for (file, labels) in [("truth_file", "truth"), ("found_file", "found")] {
            if let Some(name) = picture[file].as_str() {
                let uri = data_uri(&folder.join(name))?;
                out += &labelled(&uri, &picture["size"], &picture[labels], &colours);
            }
        }
        out += "</div>";
    }
    out += "</div>";
    Ok(Some(out))
}

/// A picture with its labels as SVG text.
fn labelled(uri: &str, size: &Value, labels: &Value, colours: &[&str]) -> String {
    let (width, height) = (
        size[0].as_f64().unwrap_or(1.0),
        size[1].as_f64().unwrap_or(1.0),
    );
    let font = (width / 22.0).clamp(5.0, 24.0);
    let mut out = format!(
        "<svg viewBox=\"0 0 {width} {height}\"><image width=\"{width}\" height=\"{height}\" \
         href=\"{uri}\"/>"
    );
    for label in labels.as_array().into_iter().flatten() {
        let name = escape(label["name"].as_str().unwrap_or(""));
        let text = match label["score"].as_f64() {
            Some(score) => format!("{name} {score:.2}"),
            None => name,
        };
        let number = label["label"].as_u64().unwrap_or(0) as usize;
        let colour = colours.get(number).copied().unwrap_or("#ffffff");
        let x = label["bbox"][0].as_f64().unwrap_or(0.0) + 1.0;
        let y = (label["bbox"][1].as_f64().unwrap_or(0.0) + font).min(height - 1.0);
        out += &format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{font:.1}\" fill=\"{colour}\">{text}</text>"
        );
    }
    out + "</svg>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_inside() {
        let labels = serde_json::json!([{"label": 0, "name": "a<b", "score": 0.5, "bbox": [3.0, 95.0, 9.0, 99.0]}]);
        let svg = labelled(
            "data:,",
            &serde_json::json!([100, 100]),
            &labels,
            &["#ff0000"],
        );
        assert!(
            svg.contains("a&lt;b 0.50") && svg.contains("#ff0000"),
            "{svg}"
        );
        assert!(svg.contains("y=\"99.0\""), "{svg}");
    }

    #[test]
    fn a_run_without_pictures_has_none() {
        let dir = tempfile::tempdir().unwrap();
        assert!(views(dir.path()).unwrap().is_none());
        assert!(detections(dir.path(), 3).unwrap().is_none());
    }
}
