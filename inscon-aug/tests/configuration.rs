//! The augmentation as a piece of a file, and its draws over many views.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use image::RgbImage;
use inscon_aug::{
    AugError, BBox, BlurKernel, ColorOp, DetectionAugmentation, DetectionTransform, SampledView,
    ViewAugmentation, decode_rgb, stream,
};

#[test]
fn the_default_is_moco_v2() {
    let a = ViewAugmentation::default();
    assert_eq!(a, ViewAugmentation::moco_v2(224));
    let json = serde_json::to_value(&a).unwrap();
    let expected: serde_json::Value = serde_json::from_str(
        r#"{
            "size": 224, "scale": [0.2, 1.0], "ratio": [0.75, 1.3333333333333333],
            "jitter": { "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1, "p": 0.8 },
            "grayscale_p": 0.2, "blur": { "sigma": [0.1, 2.0], "p": 0.5, "kernel": "pil" },
            "solarize": { "threshold": 128, "p": 0.0 }, "flip_p": 0.5
        }"#,
    )
    .unwrap();
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&json[name], value, "{name}");
    }
    a.validate().unwrap();
}

#[test]
fn a_part_of_a_file_is_filled_up_and_a_typo_refused() {
    let a: ViewAugmentation =
        serde_json::from_str(r#"{ "size": 64, "blur": { "p": 0 }, "jitter": { "hue": 0.2 } }"#)
            .unwrap();
    assert_eq!((a.size, a.blur.p, a.blur.sigma), (64, 0.0, [0.1, 2.0]));
    assert_eq!((a.jitter.hue, a.jitter.p), (0.2, 0.8));
    for typo in [
        r#"{ "grayscale": 0.2 }"#,
        r#"{ "jitter": { "strength": 1 } }"#,
    ] {
        let error = serde_json::from_str::<ViewAugmentation>(typo).unwrap_err();
        assert!(error.to_string().contains("unknown field"), "{error}");
    }
}

#[test]
fn values_out_of_range_are_named() {
    let check = |change: fn(&mut ViewAugmentation), name: &str| {
        let mut a = ViewAugmentation::default();
        change(&mut a);
        let error = a.validate().unwrap_err();
        assert!(
            matches!(error, AugError::Config { field, .. } if field == name),
            "{error}"
        );
    };
    check(|a| a.size = 0, "size");
    check(|a| a.scale = [0.5, 0.2], "scale");
    check(|a| a.scale = [0.2, 1.5], "scale");
    check(|a| a.ratio = [0.0, 1.0], "ratio");
    check(|a| a.jitter.contrast = -0.1, "jitter.contrast");
    check(|a| a.jitter.hue = 0.6, "jitter.hue");
    check(|a| a.blur.sigma = [0.0, 1.0], "blur.sigma");
    check(|a| a.blur.sigma = [0.1, 448.1], "blur.sigma");
    check(|a| a.blur.sigma[1] = f64::INFINITY, "blur.sigma");
    let exact = |size| {
        let mut a = ViewAugmentation::default();
        a.blur.kernel = BlurKernel::Exact { size };
        a.validate()
    };
    exact(447).unwrap();
    for size in [0, 22, 449, u32::MAX] {
        let error = exact(size).unwrap_err().to_string();
        assert!(
            error.contains("blur.kernel.exact.size must be odd"),
            "{error}"
        );
    }
    check(|a| a.grayscale_p = 1.2, "grayscale_p");
    check(|a| a.flip_p = f64::NAN, "flip_p");
    check(|a| a.std[1] = 0.0, "std");
    check(|a| a.mean[0] = f32::INFINITY, "mean");
}

#[test]
fn a_detection_policy_is_a_piece_of_a_file_too() {
    let parse = |text: &str| serde_json::from_str::<DetectionAugmentation>(text);
    let policy = parse(r#"{ "short_edge_length": [640, 800], "sample_style": "range" }"#).unwrap();
    policy.validate().unwrap();
    assert_eq!((policy.max_size, policy.flip_p), (1333, 0.5));
    assert!(parse(r#"{ "min_size": 800 }"#).is_err());
    for (text, name) in [
        (r#"{ "short_edge_length": [] }"#, "short_edge_length"),
        (r#"{ "short_edge_length": [0] }"#, "short_edge_length"),
        (
            r#"{ "short_edge_length": [800, 640], "sample_style": "range" }"#,
            "short_edge_length",
        ),
        (
            r#"{ "short_edge_length": [800], "sample_style": "range" }"#,
            "short_edge_length",
        ),
        (r#"{ "max_size": 0 }"#, "max_size"),
        (r#"{ "flip_p": -0.5 }"#, "flip_p"),
    ] {
        let error = parse(text).unwrap().validate().unwrap_err();
        assert!(
            matches!(error, AugError::Config { field, .. } if field == name),
            "{error}"
        );
    }
    // A drawn transform can be written down and applied again.
    let drawn = policy.sample(&mut stream(0, &[2]), 640, 427);
    let text = serde_json::to_string(&drawn).unwrap();
    assert_eq!(
        serde_json::from_str::<DetectionTransform>(&text).unwrap(),
        drawn
    );
}

#[test]
fn draws_have_the_recipes_frequencies() {
    let a = ViewAugmentation::moco_v2(64);
    let n = 4000;
    let views: Vec<SampledView> = (0..n)
        .map(|i| a.sample(&mut stream(5, &[i]), 128, 96))
        .collect();
    let share =
        |f: &dyn Fn(&SampledView) -> bool| views.iter().filter(|v| f(v)).count() as f64 / n as f64;
    let near = |value: f64, expected: f64| {
        assert!((value - expected).abs() < 0.03, "{value}, not {expected}")
    };
    near(share(&|v| v.flip), 0.5);
    near(share(&|v| v.grayscale), 0.2);
    near(share(&|v| v.blur.is_some()), 0.5);
    near(share(&|v| v.colors.len() == 4), 0.8);
    near(share(&|v| v.colors.is_empty()), 0.2);
    // Each operation comes first equally often.
    near(
        share(&|v| matches!(v.colors.first(), Some(ColorOp::Hue(_)))),
        0.2,
    );
    near(
        share(&|v| matches!(v.colors.first(), Some(ColorOp::Brightness(_)))),
        0.2,
    );
    for view in &views {
        for color in &view.colors {
            let ok = match *color {
                ColorOp::Hue(h) => h.abs() <= 0.1,
                ColorOp::Solarize(_) | ColorOp::Grayscale => false,
                ColorOp::Brightness(f) | ColorOp::Contrast(f) | ColorOp::Saturation(f) => {
                    (0.6..=1.4).contains(&f)
                }
            };
            assert!(ok, "{color:?}");
        }
        assert!(view.blur.is_none_or(|s| (0.1..=2.0).contains(&s)));
    }
}

#[test]
fn a_drawn_view_can_be_written_down() {
    let view = ViewAugmentation::moco_v2(64).sample(&mut stream(0, &[3]), 128, 96);
    let text = serde_json::to_string(&view).unwrap();
    assert_eq!(serde_json::from_str::<SampledView>(&text).unwrap(), view);
}

/// What cannot be rendered is named, and what passes can be.
#[test]
fn views_from_files_are_checked() {
    let images = [[128, 96], [1, 1], [7, 400]];
    for (i, source) in images.into_iter().cycle().take(300).enumerate() {
        let side = 1 + i as u32 % 40;
        let policies = ViewAugmentation::byol(side);
        let view = policies[i % 2].sample(&mut stream(1, &[i as u64]), source[0], source[1]);
        view.validate().unwrap();
        let pixels = view.apply_rgb(&RgbImage::new(source[0], source[1]));
        assert_eq!(pixels.dimensions(), (side, side));
    }
    let good = ViewAugmentation::moco_v2(64).sample(&mut stream(0, &[3]), 128, 96);
    good.validate().unwrap();
    let check = |change: &dyn Fn(&mut SampledView), name: &str| {
        let mut view = good.clone();
        change(&mut view);
        let error = view.validate().unwrap_err();
        assert!(
            matches!(error, AugError::Config { field, .. } if field == name),
            "{error}"
        );
    };
    for crop in [
        [0.0, 0.0, 128.5, 96.0],
        [-0.5, 0.0, 9.0, 9.0],
        [9.0, 9.0, 9.0, 12.0],
        [9.0, 12.0, 20.0, 9.0],
        [f32::NAN, 0.0, 9.0, 9.0],
        [0.0, 0.0, 9.0, f32::INFINITY],
    ] {
        check(
            &|v| v.crop = BBox::new(crop[0], crop[1], crop[2], crop[3]),
            "crop",
        );
    }
    check(&|v| v.source_size = [9, 9], "crop");
    check(&|v| v.size = [0, 64], "size");
    check(&|v| v.size = [64, u32::MAX], "size");
    check(&|v| v.colors = vec![ColorOp::Contrast(f32::NAN)], "colors");
    check(&|v| v.colors = vec![ColorOp::Brightness(-0.1)], "colors");
    check(&|v| v.colors.push(ColorOp::Hue(0.6)), "colors");
    for sigma in [0.0, -1.0, 1e30, f32::NAN] {
        check(&|v| v.blur = Some(sigma), "blur");
    }
    let even = BlurKernel::Exact { size: 4 };
    check(&|v| v.blur_kernel = even, "blur_kernel.exact.size");
}

#[test]
#[should_panic(expected = "the view was drawn for [128, 96] px, but the image is 96 x 128 px")]
fn a_view_of_another_image_is_refused() {
    let view = ViewAugmentation::moco_v2(64).sample(&mut stream(0, &[]), 128, 96);
    view.apply_rgb(&RgbImage::new(96, 128));
}

#[test]
fn public_types_cross_threads() {
    fn check<T: Send + Sync + Unpin + 'static>() {}
    check::<ViewAugmentation>();
    check::<SampledView>();
    check::<inscon_aug::Stitching>();
    check::<inscon_aug::TileRecord>();
    check::<inscon_aug::DetectionTransform>();
    check::<AugError>();
}

/// Real photographs, where they are at hand: all decode, and views of them are no longer than they
/// should be.
#[test]
fn real_photographs_decode() {
    let folder = std::path::Path::new("/work/shared/data/imagenette128");
    let Ok(classes) = std::fs::read_dir(folder) else {
        println!("skipped: {} is not here", folder.display());
        return;
    };
    let augmentation = ViewAugmentation::moco_v2(64);
    let mut seen = 0;
    for class in classes.flatten().filter(|c| c.path().is_dir()) {
        for file in std::fs::read_dir(class.path()).unwrap().flatten().take(20) {
            let img = decode_rgb(&std::fs::read(file.path()).unwrap())
                .unwrap_or_else(|e| panic!("{}: {e}", file.path().display()));
            let view = augmentation.sample(&mut stream(0, &[seen]), img.width(), img.height());
            assert_eq!(view.apply_rgb(&img).dimensions(), (64, 64));
            seen += 1;
        }
    }
    assert!(seen >= 100, "only {seen} photographs");
}
