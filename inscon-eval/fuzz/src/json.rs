//! The readers of truth and results.

use std::io::{self, Read};
use std::sync::LazyLock;

use inscon_eval::{CocoDataset, Detection, EvalError, GroundTruth, IouType, Results};
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde_json::Value;

const ALL: [IouType; 4] = [
    IouType::Bbox,
    IouType::Segm,
    IouType::Boundary,
    IouType::Keypoints,
];

/// The thread that fuzzes as the only one of a pool, which spares handing over, and a pool of 3: a
/// block is cut into pieces by the number of threads.
static POOLS: LazyLock<[ThreadPool; 2]> = LazyLock::new(|| {
    let pool = |builder: ThreadPoolBuilder| builder.build().expect("a thread pool");
    let builder = ThreadPoolBuilder::new;
    [
        pool(builder().num_threads(1).use_current_thread()),
        pool(builder().num_threads(3)),
    ]
});

/// Hands out a few bytes at a time.
struct Drip<'a>(&'a [u8]);

impl Read for Drip<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let count = 7.min(self.0.len()).min(to.len());
        let (head, rest) = self.0.split_at(count);
        to[..count].copy_from_slice(head);
        self.0 = rest;
        Ok(count)
    }
}

/// `GroundTruth::read` of every kind: the same columns, or the same message with a byte of the
/// file, from one thread and from three, out of
/// a reader of few bytes; and the columns that serde's
/// reading gives, if serde accepts the text.
pub fn truth_json(text: &[u8]) {
    let data = serde_json::from_slice::<CocoDataset>(text).ok();
    let data = data.filter(|_| is_plain(text, false));
    for iou_type in ALL {
        let truth = agreed(text, |reader| GroundTruth::read(reader, "x", iou_type));
        if let Some(data) = &data {
            let expected = GroundTruth::from_dataset(data, iou_type);
            assert_eq!(truth, Ok(shown(&expected)), "serde accepts it");
        }
    }
}

/// `Results::read` of every kind, as [`truth_json`].
pub fn results_json(text: &[u8]) {
    let found = serde_json::from_slice::<Vec<Detection>>(text).ok();
    let found = found.filter(|_| is_plain(text, true));
    for iou_type in ALL {
        let results = agreed(text, |reader| Results::read(reader, "x", iou_type));
        if let Some(found) = &found {
            let expected = Results::from_detections(found, iou_type);
            assert_eq!(results, Ok(shown(&expected)), "serde accepts it");
        }
    }
}

/// What all three ways of reading say.
fn agreed<T: std::fmt::Debug + Send>(
    text: &[u8],
    read: impl Fn(Drip<'_>) -> Result<T, EvalError> + Sync,
) -> Result<String, String> {
    // Three threads take their time to wake up: for every eighth text only.
    let sum: usize = text.iter().map(|&byte| usize::from(byte)).sum();
    let pools = if sum.is_multiple_of(8) { 2 } else { 1 };
    let mut told = POOLS.iter().take(pools).map(|pool| {
        let result = pool.install(|| read(Drip(text)));
        if let Err(EvalError::Json { offset, .. }) = &result {
            assert!(
                *offset <= text.len() as u64,
                "{result:?} of {} bytes",
                text.len()
            );
        }
        result
            .map(|columns| shown(&columns))
            .map_err(|error| error.to_string())
    });
    let first = told.next().expect("a pool");
    assert!(
        told.all(|other| other == first),
        "threads disagree: {first:?}"
    );
    first
}

/// All the columns, without the vector that reading works in.
fn shown(columns: &impl std::fmt::Debug) -> String {
    let text = format!("{columns:?}");
    match text.split_once("scratch: [") {
        None => text,
        Some((front, rest)) => {
            let rest = rest.split_once(']').map_or("", |(_, rest)| rest);
            format!("{front}{rest}")
        }
    }
}

/// Whether the text has nothing in which serde is the laxer one: structs written as lists, the
/// quoted `"NaN"` that our serde reading makes of Python's, and fields that are null.
fn is_plain(text: &[u8], results: bool) -> bool {
    fn no_odd_text(value: &Value) -> bool {
        match value {
            Value::Null => false,
            Value::String(text) => !matches!(text.as_str(), "NaN" | "Infinity" | "-Infinity"),
            Value::Array(list) => list.iter().all(no_odd_text),
            Value::Object(fields) => fields.values().all(no_odd_text),
            _ => true,
        }
    }
    let objects = |value: &Value| {
        let list = value.as_array();
        list.is_none_or(|list| list.iter().all(Value::is_object))
    };
    // `Value` refuses what is beyond f64 although serde skips it.
    let Ok(value) = serde_json::from_slice::<Value>(text) else {
        return false;
    };
    let lists = match &value {
        Value::Object(fields) if !results => ["images", "annotations", "categories"]
            .iter()
            .all(|name| fields.get(*name).is_none_or(objects)),
        value => results && objects(value),
    };
    lists && no_odd_text(&value)
}
