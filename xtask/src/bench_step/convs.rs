//! Each convolution by itself: GFLOP/s forward and both ways back, beside PyTorch.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::processes::{Processes, parsed};
use super::{Workload, cell};
use crate::measured::median;
use crate::shell;

/// The ways through a convolution, as both programs name their times.
const WAYS: [&str; 3] = ["forward_ms", "input_gradient_ms", "weight_gradient_ms"];

/// A line of `inscon-train bench convs`.
#[derive(Deserialize)]
#[serde(untagged)]
enum OurLine {
    Convolution {
        #[serde(flatten)]
        convolution: Convolution,
        #[serde(flatten)]
        times: Times,
    },
    Peak {
        peak_gflops: f64,
    },
}

/// A line of `torch_step.py convs`.
#[derive(Deserialize)]
#[serde(untagged)]
enum PeerLine {
    Peak { peak_gflops: f64 },
    Convolution(BTreeMap<String, Times>),
}

#[derive(Clone, Deserialize, PartialEq, Serialize)]
struct Convolution {
    kernel: usize,
    stride: usize,
    input: usize,
    output: usize,
    side: usize,
    count: usize,
    gflop: f64,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
struct Times {
    forward_ms: f64,
    input_gradient_ms: f64,
    weight_gradient_ms: f64,
}

impl Times {
    fn ways(self) -> [f64; 3] {
        [
            self.forward_ms,
            self.input_gradient_ms,
            self.weight_gradient_ms,
        ]
    }
}

/// A convolution's times, of every run.
#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    convolution: Convolution,
    ours: Vec<Times>,
    /// By layout.
    pytorch: BTreeMap<String, Vec<Times>>,
}

impl Row {
    fn ours(&self) -> [f64; 3] {
        medians(&self.ours)
    }

    /// PyTorch in the layout that is faster for the way.
    fn peer(&self) -> [f64; 3] {
        let layouts = self.pytorch.values().map(|runs| medians(runs));
        layouts.fold([f64::NAN; 3], |least, times| {
            [0, 1, 2].map(|way| least[way].min(times[way]))
        })
    }

    fn name(&self) -> String {
        let Convolution {
            kernel,
            stride,
            input,
            output,
            side,
            ..
        } = self.convolution;
        let stride = if stride == 1 {
            String::new()
        } else {
            format!(", stride {stride}")
        };
        format!("{kernel}×{kernel} {input}→{output} @{side}²{stride}")
    }
}

fn medians(runs: &[Times]) -> [f64; 3] {
    [0, 1, 2].map(|way| median(runs.iter().map(|times| times.ways()[way])))
}

/// All convolutions of one network.
#[derive(Serialize)]
pub(super) struct Section {
    workload: Workload,
    /// GFLOP/s of a large matrix product by burn, the best of all runs.
    peak: f64,
    /// The same by PyTorch.
    peak_pytorch: f64,
    rows: Vec<Row>,
    errors: Vec<String>,
}

/// Runs both `runs` times, in turns.
pub(super) fn measure(processes: &Processes, workload: &Workload, runs: usize) -> Section {
    let mut section = Section {
        workload: *workload,
        peak: f64::NAN,
        peak_pytorch: f64::NAN,
        rows: Vec::new(),
        errors: Vec::new(),
    };
    for round in 0..runs {
        if let Err(error) = section.round(processes) {
            section.errors.push(error);
            break;
        }
        let name = workload.name;
        shell::say(&format!(
            "{name}, convolutions: round {} of {runs}",
            round + 1
        ));
    }
    section
}

impl Section {
    fn round(&mut self, processes: &Processes) -> Result<(), String> {
        let printed = processes
            .our_convolutions(&self.workload)
            .map_err(|error| format!("ours: {error}"))?;
        self.add_ours(&printed)?;
        if processes.peer.is_none() {
            return Ok(());
        }
        let printed = processes
            .peer_convolutions(&printed)
            .map_err(|error| format!("PyTorch: {error}"))?;
        self.add_peer(&printed)
    }

    fn add_ours(&mut self, printed: &str) -> Result<(), String> {
        for line in parsed(printed)? {
            match line {
                OurLine::Peak { peak_gflops } => self.peak = self.peak.max(peak_gflops),
                OurLine::Convolution { convolution, times } => {
                    let known = |row: &&mut Row| row.convolution == convolution;
                    match self.rows.iter_mut().find(known) {
                        Some(row) => row.ours.push(times),
                        None => self.rows.push(Row {
                            convolution,
                            ours: vec![times],
                            pytorch: BTreeMap::new(),
                        }),
                    }
                }
            }
        }
        Ok(())
    }

    /// PyTorch answers in the order in which it was asked.
    fn add_peer(&mut self, printed: &str) -> Result<(), String> {
        let mut rows = self.rows.iter_mut();
        for line in parsed(printed)? {
            match (line, &mut rows) {
                (PeerLine::Peak { peak_gflops }, _) => {
                    self.peak_pytorch = self.peak_pytorch.max(peak_gflops);
                }
                (PeerLine::Convolution(layouts), rows) => {
                    let row = rows.next().ok_or("PyTorch: more lines than convolutions")?;
                    for (layout, times) in layouts {
                        row.pytorch.entry(layout).or_default().push(times);
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn failures(&self) -> Vec<String> {
        let name = self.workload.name;
        let failure = |error| format!("{name}, convolutions, {error}");
        self.errors.iter().map(failure).collect()
    }

    pub(super) fn markdown(&self) -> String {
        let peak = self.peak.max(self.peak_pytorch);
        let mut text = format!(
            "\n### Convolutions of {}\n\nGFLOP/s. The peak is the faster 1536³ product of matrices \
             (burn {}, PyTorch {}), not the processor's own: a convolution can pass it. \
             The sum takes each as often as it occurs, the gradient of the image left out.\n\n| convolution | × |",
            self.workload.described(),
            cell(self.peak, 0),
            cell(self.peak_pytorch, 0),
        );
        for way in WAYS {
            let way = way.trim_end_matches("_ms").replace('_', " ");
            let _ = write!(text, " {way}: ours | PyTorch | ÷ | of peak |");
        }
        text += "\n|---|---|";
        text += &"---|".repeat(4 * WAYS.len());
        text += "\n";
        for row in &self.rows {
            let _ = write!(text, "| {} | {} |", row.name(), row.convolution.count);
            let gflop = [row.convolution.gflop; 3];
            text += &cells(gflop, row.ours(), row.peer(), peak);
        }
        let (mut gflop, mut ours, mut peer) = ([0.0; 3], [0.0; 3], [0.0; 3]);
        for row in &self.rows {
            let (ms, peer_ms) = (row.ours(), row.peer());
            for way in 0..WAYS.len() {
                let image = row.convolution.input == 3 && WAYS[way] == "input_gradient_ms";
                let count = if image { 0 } else { row.convolution.count } as f64;
                gflop[way] += count * row.convolution.gflop;
                ours[way] += count * ms[way];
                peer[way] += count * peer_ms[way];
            }
        }
        text += "| sum | |";
        text += &cells(gflop, ours, peer, peak);
        for failure in self.failures() {
            let _ = writeln!(text, "\n- failed: {failure}");
        }
        text
    }
}

/// The rest of a line: ours, PyTorch's, ratio and share of the peak, each way.
fn cells(gflop: [f64; 3], ours: [f64; 3], peer: [f64; 3], peak: f64) -> String {
    let mut text = String::new();
    for way in 0..WAYS.len() {
        let rate = |ms: f64| gflop[way] / ms * 1e3;
        let (ours, peer) = (rate(ours[way]), rate(peer[way]));
        let share = ours / peak;
        let share = if share.is_finite() {
            format!("{:.0} %", share * 100.0)
        } else {
            String::new()
        };
        let (ratio, ours, peer) = (cell(ours / peer, 2), cell(ours, 0), cell(peer, 0));
        let _ = write!(text, " {ours} | {peer} | {ratio} | {share} |");
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::super::WORKLOADS;
    use super::*;

    const OURS: &str = r#"{"kernel":7,"stride":2,"padding":3,"input":3,"output":64,"side":64,"batch":32,"count":1,"gflop":0.6,"forward_ms":6.0,"input_gradient_ms":60.0,"weight_gradient_ms":12.0}
{"kernel":3,"stride":1,"padding":1,"input":64,"output":64,"side":16,"batch":32,"count":4,"gflop":0.6,"forward_ms":4.0,"input_gradient_ms":4.0,"weight_gradient_ms":6.0}
{"peak_gflops":200.0}
"#;
    const PEER: &str = r#"{"contiguous":{"forward_ms":12.0,"input_gradient_ms":9.0,"weight_gradient_ms":9.0},"channels_last":{"forward_ms":15.0,"input_gradient_ms":6.0,"weight_gradient_ms":9.0}}
{"contiguous":{"forward_ms":6.0,"input_gradient_ms":9.0,"weight_gradient_ms":9.0},"channels_last":{"forward_ms":5.0,"input_gradient_ms":8.0,"weight_gradient_ms":9.0}}
{"peak_gflops":150.0,"version":"2"}
"#;

    #[test]
    fn each_way_is_held_to_the_faster_layout() {
        let mut section = Section {
            workload: WORKLOADS[0],
            peak: f64::NAN,
            peak_pytorch: f64::NAN,
            rows: Vec::new(),
            errors: Vec::new(),
        };
        for _ in 0..2 {
            section.add_ours(OURS).unwrap();
        }
        assert_eq!((section.rows.len(), section.rows[0].ours.len()), (2, 2));
        let alone = section.markdown();
        assert!(alone.contains("| 4 | 150 |  |  | 75 % |"), "{alone}");
        section.add_peer(PEER).unwrap();
        let text = section.markdown();
        let stem =
            "| 7×7 3→64 @64², stride 2 | 1 | 100 | 50 | 2.00 | 50 % | 10 | 100 | 0.10 | 5 % |";
        assert!(text.contains(stem), "{text}");
        // 3.0 GFLOP in 6 + 4·4 ms, against 12 + 4·5 ms; without the image, 2.4 in 16 against 32.
        let sum = "| sum | | 136 | 94 | 1.45 | 68 % | 150 | 75 | 2.00 | 75 % |";
        assert!(text.contains(sum), "{text}");
        let error = section
            .add_peer(&format!("{PEER}{PEER}{PEER}"))
            .unwrap_err();
        assert!(error.contains("more lines"), "{error}");
    }
}
