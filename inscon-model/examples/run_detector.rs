//! A detector on given weights, images and ground truth: `run_detector IN OUT`, both safetensors.
//!
//! What `tests/fixtures/torchvision_detectors.py --full` calls to compare whole detectors with
//! torchvision's. IN holds `weights.NAME`, `images`, `boxes.I`, `labels.I`, `masks.I`, `rois.I` and,
//! as the metadata `case`, the configuration; OUT gets the outputs by the script's names.

#[path = "../tests/common/dump.rs"]
mod dump;

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use burn::tensor::TensorData;
use dump::{Case, Inputs};
use inscon_model::detection::{BitMask, Roi, Target};
use inscon_model::{StateDict, read_safetensors, strip_prefix, write_safetensors};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(source), Some(found)) = (arguments.next(), arguments.next()) else {
        return Err("give two files: IN OUT".into());
    };
    let (given, metadata) = read_safetensors(Path::new(&source))?;
    let case = metadata.get("case").ok_or("no metadata `case`")?;
    let case: Case = serde_json::from_str(case)?;
    let inputs = inputs(&case, &given)?;
    let outputs = dump::run(&case, &strip_prefix(&given, "weights."), &inputs);
    let mut file = BufWriter::new(File::create(found)?);
    write_safetensors(&mut file, &outputs, &HashMap::new())?;
    Ok(())
}

fn inputs(case: &Case, given: &StateDict) -> Result<Inputs, Box<dyn Error>> {
    let get = |name: String| -> Result<&TensorData, Box<dyn Error>> {
        given
            .get(&name)
            .ok_or_else(|| format!("no tensor `{name}`").into())
    };
    let boxes = |name: String| -> Result<Vec<[f32; 4]>, Box<dyn Error>> {
        let values: Vec<f32> = get(name)?.iter::<f32>().collect();
        let rows = values.chunks_exact(4);
        Ok(rows.map(|b| [b[0], b[1], b[2], b[3]]).collect())
    };
    let (mut targets, mut rois) = (Vec::new(), Vec::new());
    for (image, &[height, width]) in case.sizes.iter().enumerate() {
        let pixels: Vec<u8> = get(format!("masks.{image}"))?.iter::<u8>().collect();
        let masks = pixels.chunks_exact(height * width).map(|data| BitMask {
            height,
            width,
            data: data.to_vec(),
        });
        let labels = get(format!("labels.{image}"))?.iter::<i64>();
        targets.push(Target {
            boxes: boxes(format!("boxes.{image}"))?,
            labels: labels.map(|label| label as usize).collect(),
            masks: Some(masks.collect()),
        });
        let of_image = boxes(format!("rois.{image}"))?;
        rois.extend(of_image.into_iter().map(|bbox| Roi { image, bbox }));
    }
    Ok(Inputs {
        images: get("images".into())?.clone(),
        targets,
        rois,
    })
}
