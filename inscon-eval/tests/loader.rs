//! The block reader against serde: one answer however the text is written, cut into reads and
//! shared out to threads; and of a broken text, a message with a byte of it.
#![expect(clippy::unwrap_used, reason = "a test may stop at a surprise")]

use std::io::{self, Read};

use inscon_eval::{
    CocoDataset, CocoParams, EvalError, GroundTruth, IouType, Results, evaluate, read_detections,
};
use proptest::prelude::*;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

const ALL: [IouType; 4] = [
    IouType::Bbox,
    IouType::Segm,
    IouType::Boundary,
    IouType::Keypoints,
];

/// Hands out at most so many bytes at a time.
struct Drip<'a>(&'a [u8], usize);

impl Read for Drip<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let count = self.1.min(self.0.len()).min(to.len());
        let (head, rest) = self.0.split_at(count);
        to[..count].copy_from_slice(head);
        self.0 = rest;
        Ok(count)
    }
}

/// Writes JSON as oddly as it may be written.
struct Writer {
    rng: Xoshiro256PlusPlus,
    /// Whether there may be many and long extra fields.
    chatty: bool,
}

impl Writer {
    fn new(seed: u64) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let chatty = rng.random_bool(0.5);
        Self { rng, chatty }
    }

    fn below(&mut self, end: usize) -> usize {
        self.rng.random_range(0..end)
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn space(&mut self) -> &'static str {
        self.pick(&["", "", "", " ", "\n", "\t", "\r\n", "    "])
    }

    fn text(&mut self) -> String {
        let parts = [
            "}, {",
            "],",
            "NaN",
            "\\\"",
            "\\\\",
            "\\n",
            "é",
            "\\u00e9",
            "\\ud83d\\ude00",
            "\\/",
            "[",
            "a long text of no interest ",
        ];
        let inner: String = (0..self.below(4)).map(|_| self.pick(&parts)).collect();
        format!("\"{inner}\"")
    }

    fn list(&mut self, parts: &[String]) -> String {
        let mut out = String::from("[");
        for (i, part) in parts.iter().enumerate() {
            out += if i > 0 { "," } else { "" };
            out += self.space();
            out += part;
            out += self.space();
        }
        out + "]"
    }

    /// Fields in any order, with others between them and letters of the keys escaped.
    fn object(&mut self, mut fields: Vec<(String, String)>, depth: u32) -> String {
        let extra = if self.chatty { 4 } else { 2 };
        for i in 0..self.below(extra) {
            let value = self.anything(depth);
            fields.push((format!("extra{i}"), value));
        }
        fields.shuffle(&mut self.rng);
        let mut parts = Vec::new();
        for (mut key, value) in fields {
            if self.below(12) == 0 {
                let letter = key.remove(0);
                key = format!("\\u{:04x}{key}", u32::from(letter));
            }
            parts.push(format!("\"{key}\"{}:{}{value}", self.space(), self.space()));
        }
        let list = self.list(&parts);
        format!("{{{}}}", &list[1..list.len() - 1])
    }

    fn anything(&mut self, depth: u32) -> String {
        match self.below(if depth == 0 { 5 } else { 7 }) {
            0 => self.text(),
            1 => self.float(),
            2 => self.pick(&["null", "true", "false", "-0"]).into(),
            3 | 4 => self.below(1000).to_string(),
            5 => {
                let parts: Vec<String> = (0..self.below(4))
                    .map(|_| self.anything(depth - 1))
                    .collect();
                self.list(&parts)
            }
            _ => {
                let value = self.anything(depth - 1);
                self.object(vec![("id".into(), value)], depth - 1)
            }
        }
    }

    /// A number, or Python's idea of one.
    fn float(&mut self) -> String {
        match self.below(12) {
            0 => self.pick(&["NaN", "Infinity", "-Infinity"]).into(),
            1 => format!(
                "{:e}",
                f64::from_bits(self.rng.random::<u64>() & !(1 << 62))
            ),
            _ => self.finite(),
        }
    }

    fn finite(&mut self) -> String {
        let value = self.rng.random_range(-50.0..700.0_f64);
        match self.below(5) {
            0 => format!("{value}"),
            1 => format!("{value:.0}"),
            2 => format!("{value:E}"),
            3 => format!("{value:.19}"),
            _ => format!("{value:.2}"),
        }
    }

    fn floats(&mut self, count: usize) -> String {
        let parts: Vec<String> = (0..count).map(|_| self.float()).collect();
        self.list(&parts)
    }

    fn mask(&mut self) -> String {
        if self.below(2) == 0 {
            let polygons: Vec<String> = (0..self.below(3))
                .map(|_| {
                    let corners: Vec<String> = (0..self.below(12)).map(|_| self.finite()).collect();
                    self.list(&corners)
                })
                .collect();
            return self.list(&polygons);
        }
        let counts = if self.below(2) == 0 {
            let runs: Vec<String> = (0..self.below(9))
                .map(|_| self.rng.random::<u32>().to_string())
                .collect();
            self.list(&runs)
        } else {
            // In JSON the alphabet's backslash is escaped.
            self.pick(&["\"488\"", "\"\"", "\"51\\\\0o\"", "\"\\u0034oP1\""])
                .into()
        };
        let size = self.list(&["4".into(), "5".into()]);
        self.object(vec![("size".into(), size), ("counts".into(), counts)], 1)
    }

    /// The fields that truth and results share.
    fn shared(&mut self, images: u64) -> Vec<(String, String)> {
        let mut fields = vec![
            (
                "image_id".into(),
                self.rng.random_range(0..images).to_string(),
            ),
            (
                "category_id".into(),
                self.rng.random_range(1..4).to_string(),
            ),
        ];
        if self.below(2) == 0 {
            fields.push(("segmentation".into(), self.mask()));
        }
        if self.below(3) == 0 {
            fields.push(("keypoints".into(), self.floats(6)));
        }
        fields
    }

    fn truth(&mut self, count: u64) -> String {
        let images: Vec<String> = (0..count / 4 + 1)
            .map(|id| {
                let fields = [("id", id), ("width", 40), ("height", 30)];
                let mut fields: Vec<_> = fields
                    .iter()
                    .map(|(k, v)| ((*k).into(), v.to_string()))
                    .collect();
                fields.push(("file_name".into(), self.text()));
                self.object(fields, 2)
            })
            .collect();
        let annotations: Vec<String> = (0..count)
            .map(|id| {
                let mut fields = self.shared(count / 4 + 1);
                fields.push(("id".into(), id.to_string()));
                fields.push(("bbox".into(), self.floats(4)));
                fields.push(("area".into(), self.float()));
                for (name, values) in [
                    ("iscrowd", ["0", "1", "true"]),
                    ("difficult", ["false", "null", "1"]),
                    ("num_keypoints", ["0", "17", "null"]),
                ] {
                    if self.below(2) == 0 {
                        fields.push((name.into(), self.pick(&values).into()));
                    }
                }
                self.object(fields, 2)
            })
            .collect();
        let categories: Vec<String> = (1..4)
            .map(|id: u64| {
                let mut fields = vec![("id".into(), id.to_string())];
                if self.below(2) == 0 {
                    fields.push(("name".into(), self.text()));
                    fields.push(("supercategory".into(), "null".into()));
                }
                self.object(fields, 2)
            })
            .collect();
        let fields = vec![
            ("images".into(), self.list(&images)),
            ("annotations".into(), self.list(&annotations)),
            ("categories".into(), self.list(&categories)),
        ];
        let object = self.object(fields, 3);
        format!("{}{object}{}", self.space(), self.space())
    }

    fn results(&mut self, count: usize) -> String {
        let found: Vec<String> = (0..count)
            .map(|_| {
                let mut fields = self.shared(9);
                fields.push(("score".into(), self.float()));
                if self.below(2) == 0 {
                    fields.push(("bbox".into(), self.floats(4)));
                }
                self.object(fields, 2)
            })
            .collect();
        format!("{}{}{}", self.space(), self.list(&found), self.space())
    }
}

/// All the columns, without the vector that reading works in.
fn shown(columns: &impl std::fmt::Debug) -> String {
    let text = format!("{columns:?}");
    let Some((front, rest)) = text.split_once("scratch: [") else {
        return text;
    };
    format!("{front}{}", rest.split_once(']').unwrap().1)
}

/// What `read` says on so many threads: columns or message.
fn on<T: std::fmt::Debug + Send>(
    threads: usize,
    read: impl FnOnce() -> Result<T, EvalError> + Send,
) -> Result<String, String> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let result = pool.unwrap().install(read);
    result
        .map(|columns| shown(&columns))
        .map_err(|error| error.to_string())
}

/// An error with a byte of the file, or none.
fn placed<T>(result: Result<T, EvalError>, text: &[u8]) -> Result<(), TestCaseError> {
    match result {
        Ok(_) => Ok(()),
        Err(EvalError::Json {
            offset, problem, ..
        }) => {
            prop_assert!(offset <= text.len() as u64, "{offset}: {problem}");
            Ok(())
        }
        Err(other) => Err(TestCaseError::fail(other.to_string())),
    }
}

proptest! {
    #[test]
    fn truth_is_what_serde_reads(seed: u64, count in 0..12_u64, bytes in 1..40_usize) {
        let text = Writer::new(seed).truth(count);
        let data = CocoDataset::read(text.as_bytes(), "x");
        prop_assert!(data.is_ok(), "{:?} in {text}", data.err());
        for iou_type in ALL {
            let read = GroundTruth::read(Drip(text.as_bytes(), bytes), "x", iou_type);
            prop_assert!(read.is_ok(), "{:?} in {text}", read.err());
            let expected = GroundTruth::from_dataset(data.as_ref().unwrap(), iou_type);
            prop_assert_eq!(shown(&read.unwrap()), shown(&expected), "{}", text);
        }
    }

    #[test]
    fn results_are_what_serde_reads(seed: u64, count in 0..12_usize, bytes in 1..40_usize) {
        let text = Writer::new(seed).results(count);
        let found = read_detections(text.as_bytes(), "x");
        prop_assert!(found.is_ok(), "{:?} in {text}", found.err());
        for iou_type in ALL {
            let read = Results::read(Drip(text.as_bytes(), bytes), "x", iou_type);
            prop_assert!(read.is_ok(), "{:?} in {text}", read.err());
            let expected = Results::from_detections(found.as_ref().unwrap(), iou_type);
            prop_assert_eq!(shown(&read.unwrap()), shown(&expected), "{}", text);
        }
    }

    #[test]
    fn a_cut_is_found_and_a_flip_is_no_panic(
        seed: u64,
        cut in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        bytes in 1..40_usize,
    ) {
        let mut writer = Writer::new(seed);
        let (truth, results) = (writer.truth(5).into_bytes(), writer.results(5).into_bytes());
        for iou_type in ALL {
            for (text, is_truth) in [(&truth, true), (&results, false)] {
                // White space is no loss.
                let cut = &text[..cut.index(text.trim_ascii_end().len())];
                let drip = Drip(cut, bytes);
                let error = if is_truth {
                    GroundTruth::read(drip, "x", iou_type).map(|_| ())
                } else {
                    Results::read(drip, "x", iou_type).map(|_| ())
                };
                match error {
                    Err(EvalError::Json { offset, .. }) => prop_assert_eq!(offset, cut.len() as u64),
                    other => return Err(TestCaseError::fail(format!("{other:?}"))),
                }
            }
            let flipped = |text: &[u8]| {
                let mut text = text.to_vec();
                for (at, byte) in &flips {
                    let at = at.index(text.len());
                    text[at] = *byte;
                }
                text
            };
            let (truth, results) = (flipped(&truth), flipped(&results));
            placed(GroundTruth::read(Drip(&truth, bytes), "x", iou_type), &truth)?;
            placed(Results::read(Drip(&results, bytes), "x", iou_type), &results)?;
            if let Ok(truth) = GroundTruth::read(&truth[..], "x", iou_type)
                && let Ok(results) = Results::read(&results[..], "x", iou_type)
                // A boundary takes memory for every pixel that a flipped size claims.
                && iou_type != IouType::Boundary
            {
                _ = evaluate(&truth, &results, &CocoParams::new(iou_type)).map(|e| e.summary());
            }
        }
    }
}

proptest! {
    // Only texts beyond half a megabyte are shared out.
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn threads_agree(
        seed: u64,
        flip in any::<prop::sample::Index>(),
        byte in prop::sample::select(b"{}[],:\"\\x0".to_vec()),
    ) {
        let mut writer = Writer::new(seed);
        let mut truth = writer.truth(6000).into_bytes();
        let mut results = writer.results(8000).into_bytes();
        let least = truth.len().min(results.len());
        prop_assert!(least > 600_000, "{least} bytes are read in one go");
        let data = CocoDataset::read(&truth[..], "x").unwrap();
        let expected = Ok(shown(&GroundTruth::from_dataset(&data, IouType::Segm)));
        for threads in [1, 2, 5] {
            let read = on(threads, || GroundTruth::read(&truth[..], "x", IouType::Segm));
            prop_assert!(read == expected, "{threads} threads");
        }
        let found = read_detections(&results[..], "x").unwrap();
        let expected = Ok(shown(&Results::from_detections(&found, IouType::Keypoints)));
        for threads in [1, 2, 5] {
            let read = on(threads, || Results::read(&results[..], "x", IouType::Keypoints));
            prop_assert!(read == expected, "{threads} threads");
        }
        let at = flip.index(truth.len());
        truth[at] = byte;
        let at = flip.index(results.len());
        results[at] = byte;
        let one = [
            on(1, || GroundTruth::read(&truth[..], "x", IouType::Bbox)),
            on(1, || Results::read(&results[..], "x", IouType::Segm)),
        ];
        for threads in [2, 5] {
            let more = [
                on(threads, || GroundTruth::read(&truth[..], "x", IouType::Bbox)),
                on(threads, || Results::read(&results[..], "x", IouType::Segm)),
            ];
            prop_assert!(more == one, "{threads} threads, byte {at}");
        }
    }
}
