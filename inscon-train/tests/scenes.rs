//! The embedded data: the same bytes from the same seed, and labels that are true of the pixels.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use inscon_eval::CocoDataset;
use inscon_train::scenes::{
    Category, PictureFormat, Scene, ScenesConfig, ScenesError, ScenesPaths, generate,
};

fn small() -> ScenesConfig {
    ScenesConfig {
        size: 64,
        unlabelled: 5,
        labelled: 6,
        test: 3,
        ..ScenesConfig::default()
    }
}

/// Every file below `dir` with its bytes.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().display().to_string();
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

fn drawn_with(threads: usize, config: &ScenesConfig, seed: u64) -> BTreeMap<String, Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    pool.install(|| generate(config, seed, dir.path())).unwrap();
    files(dir.path())
}

#[test]
fn threads_do_not_matter_and_seeds_do() {
    let one = drawn_with(1, &small(), 3);
    assert_eq!(one.len(), 5 + 6 + 3 + 3, "{:?}", one.keys());
    assert!(one == drawn_with(2, &small(), 3));
    let other = drawn_with(1, &small(), 4);
    for (name, bytes) in one.iter().filter(|(name, _)| name.ends_with("jpg")) {
        assert!(&other[name] != bytes, "{name} is the same for two seeds");
    }
}

#[test]
fn counts_do_not_change_images() {
    let few = drawn_with(2, &small(), 3);
    let many = drawn_with(
        2,
        &ScenesConfig {
            unlabelled: 7,
            labelled: 2,
            ..small()
        },
        3,
    );
    let common: Vec<_> = few
        .keys()
        .filter(|n| n.ends_with("jpg") && many.contains_key(*n))
        .collect();
    assert_eq!(common.len(), 5 + 2 + 3);
    for name in common {
        assert!(few[name] == many[name], "{name} changed with the counts");
    }
}

#[test]
fn labels_load_and_fit_their_masks() {
    let dir = tempfile::tempdir().unwrap();
    let config = ScenesConfig {
        format: PictureFormat::Png,
        ..small()
    };
    let paths = generate(&config, 1, dir.path()).unwrap();
    assert_eq!(paths, ScenesPaths::new(dir.path()));
    assert_eq!(fs::read_dir(&paths.unlabelled).unwrap().count(), 5);
    for (json, images, count) in [
        (&paths.train_json, &paths.train_images, 6),
        (&paths.test_json, &paths.test_images, 3),
    ] {
        let data = CocoDataset::load(json).unwrap();
        assert_eq!((data.images.len(), data.categories.len()), (count, 8));
        assert!(
            data.annotations.len() >= count,
            "{} objects",
            data.annotations.len()
        );
        for image in &data.images {
            let size = image::image_dimensions(images.join(&image.file_name)).unwrap();
            assert_eq!(size, (image.width, image.height));
        }
        for a in &data.annotations {
            let rle = a.segmentation.as_ref().unwrap().to_rle(64, 64).unwrap();
            assert_eq!(f64::from(rle.area()), a.area);
            assert_eq!(
                rle.bbox(),
                a.bbox,
                "the box of annotation {} is not tight",
                a.id
            );
            assert!(a.area > 0.0 && a.bbox[0] + a.bbox[2] <= 64.0 && a.bbox[1] + a.bbox[3] <= 64.0);
        }
    }
}

#[test]
fn masks_are_disjoint_tight_and_large_enough() {
    let config = ScenesConfig {
        min_objects: 10,
        max_objects: 14,
        ..ScenesConfig::default()
    };
    let mut seen = BTreeMap::new();
    let (mut truncated, mut hidden) = (0, 0);
    for index in 0..12 {
        let picture = Scene::sample(&config, &mut inscon_aug::stream(11, &[index])).render();
        let n = config.size as usize;
        let mut owners = vec![0; n * n];
        for instance in &picture.instances {
            *seen.entry(instance.category.name()).or_insert(0) += 1;
            let b = instance.bbox;
            truncated += usize::from(b.x0 == 0.0 || b.y0 == 0.0 || b.x1 == 128.0 || b.y1 == 128.0);
            let (mut rows, mut columns, mut area) = (vec![0; n], vec![0; n], 0);
            for (at, &set) in instance.mask.iter().enumerate().filter(|(_, m)| **m != 0) {
                assert_eq!(set, 1);
                owners[at] += 1;
                rows[at / n] += 1;
                columns[at % n] += 1;
                area += 1;
            }
            let span = |counts: &[i32]| {
                let first = counts.iter().position(|&c| c > 0).unwrap();
                let last = counts.iter().rposition(|&c| c > 0).unwrap();
                (first as f32, last as f32 + 1.0)
            };
            assert_eq!((span(&columns), span(&rows)), ((b.x0, b.x1), (b.y0, b.y1)));
            // Placement promises 24 pixels on the finer grid; rounding to pixels takes a few.
            assert!(area >= 16, "a {} of {area} px", instance.category.name());
            hidden += usize::from((area as f32) < 0.5 * b.area());
        }
        assert!(owners.iter().all(|&o| o <= 1), "masks overlap");
    }
    assert_eq!(
        seen.len(),
        Category::ALL.len(),
        "not every category: {seen:?}"
    );
    assert!(
        truncated > 5 && hidden > 5,
        "{truncated} truncated, {hidden} mostly hidden"
    );
}

#[test]
fn masks_follow_the_pixels() {
    // Without noise and blur the picture changes across the masks' borders far more than elsewhere.
    let config = ScenesConfig {
        noise: 0.0,
        blur: 0.0,
        camouflage: 0.0,
        ..ScenesConfig::default()
    };
    let (mut across, mut within) = ((0.0, 0), (0.0, 0));
    for index in 0..8 {
        let picture = Scene::sample(&config, &mut inscon_aug::stream(2, &[index])).render();
        let n = config.size as usize;
        for instance in &picture.instances {
            for at in (0..n * n - 1).filter(|at| at % n + 1 < n) {
                let pixel = |at: usize| picture.image.as_raw()[3 * at + 1] as f64;
                let step = (pixel(at) - pixel(at + 1)).abs();
                match (instance.mask[at], instance.mask[at + 1]) {
                    (0, 0) => {}
                    (1, 1) => within = (within.0 + step, within.1 + 1),
                    _ => across = (across.0 + step, across.1 + 1),
                }
            }
        }
    }
    let mean = |(sum, count): (f64, i32)| sum / f64::from(count);
    assert!(
        mean(across) > 1.8 * mean(within),
        "{} and {}",
        mean(across),
        mean(within)
    );
}

#[test]
fn a_finished_folder_is_kept_and_another_one_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = ScenesConfig {
        unlabelled: 1,
        labelled: 1,
        test: 1,
        ..small()
    };
    let paths = generate(&config, 5, dir.path()).unwrap();
    let picture = paths.train_images.join("000000.jpg");
    fs::write(&picture, b"marked").unwrap();
    generate(&config, 5, dir.path()).unwrap();
    assert_eq!(
        fs::read(&picture).unwrap(),
        b"marked",
        "a finished folder was drawn again"
    );

    let other = ScenesConfig {
        clutter: 1.0,
        ..config.clone()
    };
    let error = generate(&other, 5, dir.path()).unwrap_err().to_string();
    assert!(error.contains("clutter = 10.0 there, 1.0 now"), "{error}");
    assert!(error.contains("another folder"), "{error}");
    let error = generate(&config, 6, dir.path()).unwrap_err().to_string();
    assert!(error.contains("seed = 5 there, 6 now"), "{error}");
}

#[test]
fn an_interrupted_folder_is_drawn_again_and_foreign_files_are_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let config = ScenesConfig {
        unlabelled: 1,
        labelled: 1,
        test: 1,
        ..small()
    };
    let whole = drawn_with(1, &config, 5);
    fs::create_dir_all(dir.path().join("train")).unwrap();
    fs::write(dir.path().join("train/mine.jpg"), b"mine").unwrap();
    let error = generate(&config, 5, dir.path()).unwrap_err();
    assert!(matches!(error, ScenesError::Other { .. }), "{error}");
    assert!(dir.path().join("train/mine.jpg").exists());

    fs::write(dir.path().join("scenes.unfinished"), b"").unwrap();
    generate(&config, 5, dir.path()).unwrap();
    assert!(files(dir.path()) == whole);
}

#[test]
fn nonsense_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = ScenesConfig {
        max_objects: 0,
        ..small()
    };
    let error = generate(&config, 0, dir.path()).unwrap_err().to_string();
    assert!(error.contains("max_objects = 0"), "{error}");
}
