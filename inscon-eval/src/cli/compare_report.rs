//! Two results side by side, as a table, as JSON and as CSV.

use std::io::{self, Write};

use inscon_eval::{Bootstrap, Comparison, Interval, IouType, Paired};
use serde::Serialize;

use super::text;

/// Everything that JSON shows; all in 0..1, -1 where there is nothing to find.
#[derive(Serialize)]
pub(super) struct Report {
    iou_type: IouType,
    /// The difference, A's less B's.
    #[serde(flatten)]
    comparison: Comparison,
    /// Each on its own, on the same resamples.
    a: Bootstrap,
    b: Bootstrap,
    /// The sentence at the end of the table.
    verdict: String,
}

impl Report {
    pub(super) fn new(
        iou_type: IouType,
        comparison: Comparison,
        a: Bootstrap,
        b: Bootstrap,
    ) -> Self {
        Self {
            iou_type,
            verdict: verdict(&comparison.ap, comparison.params.confidence),
            comparison,
            a,
            b,
        }
    }

    pub(super) fn json(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        writeln!(out)
    }

    pub(super) fn csv(&self, out: &mut dyn Write) -> io::Result<()> {
        let header = [
            "category_id",
            "name",
            "a",
            "b",
            "difference",
            "low",
            "high",
            "a_better",
            "p_value",
        ];
        text::csv(out, &header.map(String::from))?;
        for class in &self.comparison.per_class {
            let (ap, by) = (&class.ap, &class.ap.difference);
            let mut cells = vec![class.category_id.to_string(), class.name.clone()];
            let numbers = [
                ap.a,
                ap.b,
                by.value,
                by.low,
                by.high,
                ap.a_better,
                ap.p_value,
            ];
            cells.extend(numbers.map(|number| number.to_string()));
            text::csv(out, &cells)?;
        }
        Ok(())
    }

    /// AP in per cent.
    pub(super) fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        let (a, b, all) = (&self.a, &self.b, &self.comparison);
        let mut rows = vec![header("")];
        rows.push(row("AP".into(), &a.ap, &b.ap, &all.ap));
        rows.push(row("AP50".into(), &a.ap50, &b.ap50, &all.ap50));
        rows.push(row("AP75".into(), &a.ap75, &b.ap75, &all.ap75));
        text::columns(out, &rows)?;
        if !all.per_class.is_empty() {
            let mut rows = vec![header("class")];
            let each = a.per_class.iter().zip(&b.per_class).zip(&all.per_class);
            rows.extend(each.map(|((a, b), both)| {
                let name = text::class_name(&both.name, both.category_id);
                row(name, &a.ap, &b.ap, &both.ap)
            }));
            writeln!(out)?;
            text::columns(out, &rows)?;
        }
        writeln!(
            out,
            "\n{:.0} % intervals; {} of {}, seed {}",
            100.0 * all.params.confidence,
            text::counted(all.params.resamples, "resample"),
            text::counted(all.images, "image"),
            all.params.seed
        )?;
        writeln!(out, "{}", self.verdict)
    }
}

fn header(first: &str) -> Vec<String> {
    [first, "A", "", "B", "", "A - B", "", "A > B", "p"]
        .map(String::from)
        .to_vec()
}

fn row(name: String, a: &Interval, b: &Interval, both: &Paired) -> Vec<String> {
    let by = &both.difference;
    let mut cells = vec![name];
    for (interval, decimals) in [(a, 1), (b, 1), (by, 2)] {
        if interval.resamples == 0 {
            cells.extend(["-".into(), String::new()]);
            continue;
        }
        let number = |value: f64| format!("{:.decimals$}", 100.0 * value);
        let (low, high) = (number(interval.low), number(interval.high));
        cells.extend([number(interval.value), format!("({low} to {high})")]);
    }
    if by.resamples == 0 {
        cells.extend(["-".into(), "-".into()]);
    } else {
        cells.push(format!("{:.0} %", 100.0 * both.a_better));
        cells.push(format!("{:.3}", both.p_value));
    }
    cells
}

/// Which is ahead, in AP, as far as the images can tell: the interval is to one side of 0, and p
/// is as small as the interval is sure.
fn verdict(ap: &Paired, confidence: f64) -> String {
    let by = &ap.difference;
    if by.resamples == 0 {
        return "There is nothing to find: A and B cannot be compared.".into();
    }
    let points = |value: f64| format!("{:.2}", 100.0 * value);
    let sure = format!("{:.0} % interval", 100.0 * confidence);
    let rare = ap.p_value <= 1.0 - confidence;
    if rare && by.low > 0.0 {
        let (value, low, high) = (points(by.value), points(by.low), points(by.high));
        format!("A is ahead of B by {value} AP ({sure} {low} to {high}).")
    } else if rare && by.high < 0.0 {
        let (value, low, high) = (points(-by.value), points(-by.high), points(-by.low));
        format!("B is ahead of A by {value} AP ({sure} {low} to {high}).")
    } else {
        let (value, low, high) = (points(by.value), points(by.low), points(by.high));
        format!("No difference can be seen: A - B is {value} AP ({sure} {low} to {high}).")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        let paired = |value, low, high, p_value| Paired {
            a: 0.4,
            b: 0.4 - value,
            a_better: 0.5,
            p_value,
            difference: Interval {
                value,
                low,
                high,
                standard_error: 0.01,
                resamples: 100,
            },
        };
        let say = |paired: Paired| verdict(&paired, 0.95);
        assert_eq!(
            say(paired(0.012, 0.004, 0.02, 0.01)),
            "A is ahead of B by 1.20 AP (95 % interval 0.40 to 2.00)."
        );
        assert_eq!(
            say(paired(-0.012, -0.02, -0.004, 0.01)),
            "B is ahead of A by 1.20 AP (95 % interval 0.40 to 2.00)."
        );
        let none = "No difference can be seen: A - B is 1.20 AP (95 % interval -0.40 to 2.00).";
        assert_eq!(say(paired(0.012, -0.004, 0.02, 0.2)), none);
        // Too few resamples to be sure.
        assert!(say(paired(0.012, 0.004, 0.02, 0.2)).starts_with("No difference"));
        let mut nothing = paired(-1.0, -1.0, -1.0, 1.0);
        nothing.difference.resamples = 0;
        assert!(say(nothing).starts_with("There is nothing"));
    }
}
