//! Names in recipe files, and what they refuse.

use inscon_loss::{CellLossConfig, InsConLossConfig, LossConfigError, Matching, Negatives};

#[test]
fn a_full_file_reads_and_writes_back() {
    let text = r#"temperature = 0.1
negatives = "queue+batch"
lambda = 0.25

[cell]
matching = "densecl"
positive_below = 0.6
negative_from = 1.5
pull = 2.0
push = 0.0
far_cells = false
other_tiles = false
queue = true
"#;
    let config: InsConLossConfig = toml::from_str(text).unwrap();
    let want = InsConLossConfig {
        temperature: 0.1,
        negatives: Negatives::QueueAndBatch,
        lambda: 0.25,
        cell: CellLossConfig {
            matching: Matching::Densecl,
            positive_below: 0.6,
            negative_from: 1.5,
            pull: 2.0,
            push: 0.0,
            far_cells: false,
            other_tiles: false,
            queue: true,
        },
    };
    assert_eq!(config, want);
    assert_eq!(toml::to_string(&config).unwrap(), text);
}

#[test]
fn an_empty_file_is_inscon() {
    let config: InsConLossConfig = toml::from_str("").unwrap();
    assert_eq!(config, InsConLossConfig::default());
    assert_eq!((config.temperature, config.lambda), (0.2, 0.5));
    assert_eq!(config.negatives, Negatives::QueueAndBatch);
    let cell = config.cell;
    assert_eq!((cell.positive_below, cell.negative_from), (0.7, 1.0));
    assert_eq!((cell.pull, cell.push), (1.0, 1.0));
    assert!(cell.far_cells && cell.other_tiles && cell.queue);
    assert_eq!(cell.matching, Matching::Distance);
}

#[test]
fn every_name_reads() {
    let negatives = |name| toml::from_str::<InsConLossConfig>(&format!("negatives = \"{name}\""));
    assert_eq!(negatives("queue").unwrap().negatives, Negatives::Queue);
    assert_eq!(
        negatives("queue+batch").unwrap().negatives,
        Negatives::QueueAndBatch
    );
    assert_eq!(negatives("batch").unwrap().negatives, Negatives::Batch);
    assert!(negatives("Queue").is_err());
    let matching = |name| toml::from_str::<CellLossConfig>(&format!("matching = \"{name}\""));
    assert_eq!(matching("distance").unwrap().matching, Matching::Distance);
    assert_eq!(matching("densecl").unwrap().matching, Matching::Densecl);
}

#[test]
fn an_unknown_key_is_refused_by_name() {
    let error = toml::from_str::<InsConLossConfig>("[cell]\nposition_below = 0.7").unwrap_err();
    assert!(error.to_string().contains("position_below"), "{error}");
    let error = toml::from_str::<InsConLossConfig>("temprature = 0.7").unwrap_err();
    assert!(error.to_string().contains("temprature"), "{error}");
}

#[test]
fn values_out_of_range_are_refused() {
    let with = |change: fn(&mut InsConLossConfig)| {
        let mut config = InsConLossConfig::default();
        change(&mut config);
        config.validate()
    };
    assert_eq!(with(|_| ()), Ok(()));
    assert_eq!(
        with(|c| c.temperature = 0.0),
        Err(LossConfigError::Temperature(0.0))
    );
    assert_eq!(with(|c| c.lambda = 1.5), Err(LossConfigError::Lambda(1.5)));
    assert_eq!(
        with(|c| c.cell.positive_below = 0.0),
        Err(LossConfigError::PositiveBelow(0.0))
    );
    assert_eq!(
        with(|c| c.cell.push = -1.0),
        Err(LossConfigError::Weight {
            name: "push",
            value: -1.0
        })
    );
    let error = with(|c| c.cell.negative_from = 0.5).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cell.negative_from must be at least cell.positive_below (0.7), but is 0.5"
    );
    for bad in [f64::NAN, f64::INFINITY] {
        let config = InsConLossConfig {
            temperature: bad,
            ..InsConLossConfig::default()
        };
        assert!(matches!(
            config.validate(),
            Err(LossConfigError::Temperature(_))
        ));
        let config = CellLossConfig {
            pull: bad,
            ..CellLossConfig::default()
        };
        assert!(matches!(
            config.validate(),
            Err(LossConfigError::Weight { name: "pull", .. })
        ));
    }
    let nan = CellLossConfig {
        negative_from: f64::NAN,
        ..CellLossConfig::default()
    };
    assert!(nan.validate().is_err());
}

#[test]
fn collapse_is_foreseen() {
    assert!(!CellLossConfig::default().can_collapse());
    assert!(!CellLossConfig::densecl().can_collapse());
    assert!(
        CellLossConfig {
            push: 0.0,
            ..CellLossConfig::default()
        }
        .can_collapse()
    );
    assert!(
        CellLossConfig {
            queue: false,
            ..CellLossConfig::densecl()
        }
        .can_collapse()
    );
}
