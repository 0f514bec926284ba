//! Other projects' weights into our modules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

use super::check::{Architecture, Norms, is_dead, refuse_bad_values};
use super::harmless;
use super::recognise::{Recognised, likely_prefixes, recognise};
use super::schemes::Part;
use super::{ImportReport, Layout, StateDict, Strictness, WeightFile, load_state_dict};
use crate::{ModelError, ResNet};

/// How to read a file of weights; the default recognises everything and takes nothing by halves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// Whose names the file has; `None` finds out.
    pub layout: Option<Layout>,
    /// What stands before the names, with or without the last dot; `None` finds out.
    pub prefix: Option<String>,
    /// Let tensors be missing; they keep their values.
    pub partial: bool,
    /// Let the predictors of a detector with another number of classes keep their values.
    pub other_classes: bool,
}

/// Puts a file's backbone into a ResNet: from torchvision, timm, MoCo, DenseCL, detectron2, any
/// encoder or detector with their names under a prefix, or a run of ours.
///
/// The path of the file is in every error.
///
/// # Errors
/// As [`import_weights`].
///
/// # Example
/// ```
/// use burn::tensor::Device;
/// use inscon_model::{ImportOptions, Naming, ResNetConfig, export_backbone, import_backbone, state_dict};
/// use rand_xoshiro::{Xoshiro256PlusPlus, rand_core::SeedableRng};
///
/// # let folder = std::env::temp_dir().join(format!("inscon-import-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// let path = folder.join("r18.safetensors");
/// let config = ResNetConfig { depth: 18, width: 0.125, output_stride: 32 };
/// let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
/// let trained = config.init(&mut rng, &Device::flex())?;
/// export_backbone(&trained, &path, Naming::Detectron2)?;
///
/// let resnet = config.init(&mut rng, &Device::flex())?;
/// let (resnet, report) = import_backbone(resnet, &path, &ImportOptions::default())?;
/// assert_eq!(state_dict(&resnet), state_dict(&trained));
/// assert_eq!(report.title, "detectron2 ResNet");
/// println!("{report}");
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), inscon_model::ModelError>(())
/// ```
pub fn import_backbone(
    resnet: ResNet,
    path: &Path,
    options: &ImportOptions,
) -> Result<(ResNet, ImportReport), ModelError> {
    import_weights(resnet, path, options)
}

/// Puts a file of weights into a module: a [`ResNet`], or one with a ResNet under `backbone.` (a
/// detector of ours, an [`Encoder`](crate::Encoder)).
///
/// A backbone's file fills a detector's backbone and leaves its heads as they are; a detector's
/// file fills a [`ResNet`] with its backbone. Values become `f32` and keep their device and whether
/// they are trained. `num_batches_tracked` is ignored.
///
/// # Errors
/// [`WeightFile::open`]'s; [`ModelError::File`] with the path and one of [`ModelError::NoMatch`],
/// [`ModelError::Architecture`] (depth or width), [`ModelError::Classes`], [`ModelError::Missing`],
/// [`ModelError::Shape`], [`ModelError::DType`], [`ModelError::Values`] (NaN, infinity, a negative
/// variance). The module is lost then: clone it first if it is still wanted.
pub fn import_weights<M: Module>(
    module: M,
    path: &Path,
    options: &ImportOptions,
) -> Result<(M, ImportReport), ModelError> {
    let file = WeightFile::open(path)?;
    let shapes = shapes(&module);
    let named = |error: ModelError| match error {
        // It names the file itself.
        error @ ModelError::Read { .. } => error,
        error => error.of_file(path),
    };
    let (dict, report) = read_wanted(&file, Some(&shapes), options).map_err(named)?;
    let (module, _) = load_state_dict(module, &dict, "", Strictness::Partial).map_err(named)?;
    Ok((module, report))
}

/// A file's network by our names, whatever network it is: a ResNet's, or a detector's.
///
/// # Errors
/// As [`import_weights`], without a model to compare with.
pub fn import_state_dict(
    path: &Path,
    options: &ImportOptions,
) -> Result<(StateDict, ImportReport), ModelError> {
    let file = WeightFile::open(path)?;
    read_wanted(&file, None, options).map_err(|error| match error {
        error @ ModelError::Read { .. } => error,
        error => error.of_file(path),
    })
}

/// Shapes of a module's tensors by path; nothing is read from the device.
fn shapes<M: Module>(module: &M) -> BTreeMap<String, Vec<usize>> {
    struct Shapes {
        found: BTreeMap<String, Vec<usize>>,
        path: Vec<String>,
    }

    impl ModuleVisitor for Shapes {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let shape = param.lazy_shape().to_vec();
            self.found.insert(self.path.join("."), shape);
        }
    }

    let mut shapes = Shapes {
        found: BTreeMap::new(),
        path: Vec::new(),
    };
    module.visit(&mut shapes);
    shapes.found
}

type Shapes = BTreeMap<String, Vec<usize>>;

/// Recognises the file, checks it against the model's shapes, and reads what the model needs.
fn read_wanted(
    file: &WeightFile,
    model: Option<&Shapes>,
    options: &ImportOptions,
) -> Result<(StateDict, ImportReport), ModelError> {
    let names: Option<(BTreeSet<String>, Part)> = model.map(|shapes| {
        let detector = shapes.keys().any(|name| name.starts_with("backbone."));
        let part = if detector {
            Part::Detector
        } else {
            Part::Backbone
        };
        (shapes.keys().cloned().collect(), part)
    });
    let wanted = names.as_ref().map(|(names, part)| (names, *part));
    let found = recognise(file.tensors(), wanted, options).ok_or_else(|| ModelError::NoMatch {
        found: file.tensors().keys().cloned().collect(),
        expected: names
            .as_ref()
            .map_or_else(example_names, |(names, _)| names.iter().cloned().collect()),
        prefixes: likely_prefixes(file.tensors()),
    })?;
    let architecture = compare_architectures(file, &found, model)?;
    let mut report = ImportReport {
        path: file.path().to_owned(),
        container: file.container(),
        layout: found.scheme.layout,
        title: found.scheme.title,
        recognised_by: recognised_by(file, &found),
        prefix: found.prefix.clone(),
        other_prefixes: found.others.clone(),
        architecture: architecture.map(|a| a.to_string()),
        loaded: Vec::new(),
        types: BTreeMap::new(),
        left_out: BTreeMap::new(),
        kept: BTreeMap::new(),
        other_classes: Vec::new(),
        missing: Vec::new(),
        unexpected: Vec::new(),
        warnings: Vec::new(),
    };
    let dict = read_tensors(file, &found, model, options, &mut report)?;
    if let Some(shapes) = model {
        sort_missing(shapes, &found, options, &mut report)?;
    }
    sort_extra(file, &found, &mut report);
    Ok((dict, report))
}

fn example_names() -> Vec<String> {
    ["conv1.weight", "stem.conv1.weight", "backbone.conv1.weight"]
        .map(str::to_owned)
        .into()
}

fn recognised_by(file: &WeightFile, found: &Recognised) -> String {
    let stem = format!("{}{}", found.prefix, found.scheme.stem);
    match file.tensors().contains_key(&stem) {
        true => stem,
        false => found.known.values().next().cloned().unwrap_or_default(),
    }
}

/// The network in the file; an error if the model's is another.
fn compare_architectures(
    file: &WeightFile,
    found: &Recognised,
    model: Option<&Shapes>,
) -> Result<Option<Architecture>, ModelError> {
    let inner = |name: &'_ str| name.strip_prefix("backbone.").unwrap_or(name).to_owned();
    let theirs: Vec<(String, &[usize])> = found
        .pairs
        .iter()
        .filter_map(|(ours, (name, _))| {
            let info = file.tensors().get(name)?;
            Some((inner(ours), info.shape.as_slice()))
        })
        .collect();
    let theirs = Architecture::of(theirs.iter().map(|(name, shape)| (name.as_str(), *shape)));
    let Some(shapes) = model else {
        return Ok(theirs);
    };
    let ours: Vec<(String, &[usize])> = shapes
        .iter()
        .map(|(name, shape)| (inner(name), shape.as_slice()))
        .collect();
    let ours = Architecture::of(ours.iter().map(|(name, shape)| (name.as_str(), *shape)));
    match (theirs, ours) {
        (Some(theirs), Some(ours)) if theirs != ours => Err(ModelError::Architecture {
            found: theirs.to_string(),
            expected: ours.to_string(),
        }),
        _ => Ok(theirs),
    }
}

/// Reads and checks what the model needs, or everything that is known.
fn read_tensors(
    file: &WeightFile,
    found: &Recognised,
    model: Option<&Shapes>,
    options: &ImportOptions,
    report: &mut ImportReport,
) -> Result<StateDict, ModelError> {
    let mut dict = StateDict::new();
    let (mut norms, mut dead) = (Norms::default(), Vec::new());
    for (ours, (theirs, change)) in &found.pairs {
        let expected = match model {
            None => None,
            Some(shapes) => match shapes.get(ours) {
                Some(expected) => Some(expected),
                None => continue,
            },
        };
        let Some(info) = file.tensors().get(theirs) else {
            continue;
        };
        if !info.is_float() {
            return Err(ModelError::DType {
                name: theirs.clone(),
                dtype: info.dtype.clone(),
            });
        }
        let shape = change.our_shape(&info.shape);
        if let (Some(shape), Some(expected)) = (&shape, expected)
            && let Some([classes, model_classes]) = other_classes(ours, shape, expected)
        {
            if !options.other_classes {
                return Err(ModelError::Classes {
                    name: ours.clone(),
                    found: classes,
                    expected: model_classes,
                });
            }
            report.other_classes.push(ours.clone());
            continue;
        }
        if shape.is_none() || expected.is_some_and(|expected| shape.as_ref() != Some(expected)) {
            return Err(ModelError::Shape {
                name: theirs.clone(),
                found: shape.unwrap_or_else(|| info.shape.clone()),
                expected: expected.cloned().unwrap_or_default(),
            });
        }
        let data = file.read(theirs)?;
        let values = data.as_slice::<f32>().unwrap_or_default();
        refuse_bad_values(theirs, values)?;
        norms.add(ours, values);
        if is_dead(ours, values) {
            dead.push(theirs.clone());
        }
        *report.types.entry(info.dtype.clone()).or_default() += 1;
        dict.insert(ours.clone(), change.to_ours(data));
        report.loaded.push(ours.clone());
    }
    report.warnings.extend(norms.suspicion().map(str::to_owned));
    if !dead.is_empty() {
        report.warnings.push(format!(
            "nothing but zeros in {}: never trained?",
            super::report::list(&dead)
        ));
    }
    Ok(dict)
}

/// Classes in the file and in the model if a predictor differs in them alone.
fn other_classes(ours: &str, shape: &[usize], expected: &[usize]) -> Option<[usize; 2]> {
    let inner = ours.strip_prefix("roi_heads.")?;
    let classes = |rows: usize| match inner.rsplit_once('.')?.0 {
        "box_head.cls_score" => rows.checked_sub(1),
        "box_head.bbox_pred" => Some(rows / 4),
        "mask_head.predictor" => Some(rows),
        _ => None,
    };
    let (&rows, rest) = shape.split_first()?;
    let (&model_rows, model_rest) = expected.split_first()?;
    (rows != model_rows && rest == model_rest)
        .then(|| Some([classes(rows)?, classes(model_rows)?]))?
}

/// Sorts the model's tensors that were not loaded into those that such a file never holds and the
/// others.
fn sort_missing(
    shapes: &Shapes,
    found: &Recognised,
    options: &ImportOptions,
    report: &mut ImportReport,
) -> Result<(), ModelError> {
    let loaded: BTreeSet<&String> = report.loaded.iter().chain(&report.other_classes).collect();
    let missing: Vec<String> = shapes
        .keys()
        .filter(|name| !loaded.contains(name))
        .cloned()
        .collect();
    let whole = shapes.keys().any(|name| name.starts_with("backbone."));
    let headless = whole && found.scheme.part == Part::Backbone;
    for name in missing {
        if headless && !name.starts_with("backbone.") {
            let part = harmless::part_of_detector(&name);
            report.kept.entry(part).or_default().push(name);
        } else {
            report.missing.push(name);
        }
    }
    if !options.partial && !report.missing.is_empty() {
        return Err(ModelError::Missing {
            names: std::mem::take(&mut report.missing),
        });
    }
    Ok(())
}

/// Sorts the file's tensors that were not used into those that are no loss and the others.
fn sort_extra(file: &WeightFile, found: &Recognised, report: &mut ImportReport) {
    let loaded: BTreeSet<&String> = report.loaded.iter().chain(&report.other_classes).collect();
    let used: BTreeSet<&String> = found
        .pairs
        .iter()
        .filter(|(ours, _)| loaded.contains(ours))
        .map(|(_, (theirs, _))| theirs)
        .collect();
    let ours: BTreeMap<&String, &String> = found
        .known
        .iter()
        .map(|(ours, name)| (name, ours))
        .collect();
    let (mut left_out, mut unexpected) = (BTreeMap::<_, Vec<String>>::new(), Vec::new());
    for name in file.tensors().keys().filter(|name| !used.contains(name)) {
        let reason = match ours.get(name) {
            // Only a part as a whole may be left out: a tensor too many inside a part that the
            // model has is another network's.
            Some(ours) => {
                let part = harmless::part_of_detector(ours);
                let has_part = loaded.iter().any(|l| harmless::part_of_detector(l) == part);
                (!has_part && !ours.starts_with("backbone.")).then_some(part)
            }
            None if found
                .others
                .iter()
                .any(|other| name.starts_with(other.as_str())) =>
            {
                harmless::reason(name).or(Some("the same network once more"))
            }
            None => harmless::reason(name),
        };
        match reason {
            Some(reason) => left_out.entry(reason).or_default().push(name.clone()),
            None => unexpected.push(name.clone()),
        }
    }
    report.left_out = left_out;
    report.unexpected = unexpected;
}
