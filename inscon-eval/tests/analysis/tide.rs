//! TIDE's errors equal tidecv's; more cases by `fixtures/analysis.py`.

use inscon_eval::{
    CocoDataset, CocoParams, Detection, GroundTruth, IouType, Results, TideMain, TideParams, tide,
};
use serde::Deserialize;

use crate::common::fixture;
use crate::with_threads;

/// tidecv sums in another order, and in percent.
const TOLERANCE: f64 = 1e-9;

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    truth: CocoDataset,
    detections: Vec<Detection>,
    iou_type: IouType,
    tide: TideParams,
    expected: Expected,
}

/// AP in percent.
#[derive(Deserialize)]
struct Expected {
    ap: f64,
    main: TideMain<f64>,
    counts: TideMain<u64>,
    special: Special,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Special {
    false_pos: f64,
    false_neg: f64,
}

fn values(main: &TideMain<f64>) -> [f64; 6] {
    [
        main.cls, main.loc, main.both, main.dupe, main.bkg, main.miss,
    ]
}

#[test]
fn errors_equal_tidecv() {
    let Cases { cases } = fixture("tide.json");
    let mut seen = TideMain::<u64>::default();
    for case in &cases {
        let truth = GroundTruth::from_dataset(&case.truth, case.iou_type);
        let results = Results::from_detections(&case.detections, case.iou_type);
        let params = CocoParams::new(case.iou_type);
        let run = || tide(&truth, &results, &params, &case.tide).unwrap();
        let [found, other] = with_threads(run);
        assert_eq!(found, other, "{}: threads", case.name);
        let expected = &case.expected;
        assert_eq!(found.counts, expected.counts, "{}", case.name);
        let close = |what: &str, found: f64, expected: f64| {
            assert!(
                (100.0 * found - expected).abs() <= TOLERANCE,
                "{}: {what} is {found}, expected {expected} %",
                case.name
            );
        };
        close("AP", found.ap, expected.ap);
        close(
            "FalsePos",
            found.false_positives,
            expected.special.false_pos,
        );
        close(
            "FalseNeg",
            found.false_negatives,
            expected.special.false_neg,
        );
        let names = ["Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"];
        let pairs = values(&found.main).into_iter().zip(values(&expected.main));
        for (name, (found, expected)) in names.into_iter().zip(pairs) {
            close(name, found, expected);
        }
        let c = &found.counts;
        for (sum, count) in [
            (&mut seen.cls, c.cls),
            (&mut seen.loc, c.loc),
            (&mut seen.both, c.both),
            (&mut seen.dupe, c.dupe),
            (&mut seen.bkg, c.bkg),
            (&mut seen.miss, c.miss),
        ] {
            *sum += count;
        }
    }
    println!("{} cases equal to tidecv: {seen:?}", cases.len());
    // The cases show every kind.
    let least = [
        seen.cls, seen.loc, seen.both, seen.dupe, seen.bkg, seen.miss,
    ];
    assert!(least.into_iter().all(|count| count > 0), "{seen:?}");
}
