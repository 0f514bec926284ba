//! Line charts as SVG text.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

/// One line of a chart.
pub(crate) struct Series {
    pub(crate) name: String,
    /// `(x, y)` in order of x.
    pub(crate) points: Vec<(f64, f64)>,
    /// Which colour of the palette.
    pub(crate) colour: usize,
}

/// Colours that stay apart for colour-blind eyes (Okabe and Ito).
pub(crate) const PALETTE: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(120, 120, 120),
    RGBColor(0, 0, 0),
];

/// Draws `series` over `x`; `None` when there is nothing to draw.
pub(crate) fn lines(title: &str, x: &str, y: &str, series: &[Series]) -> Result<Option<String>> {
    let points = || {
        series
            .iter()
            .flat_map(|s| s.points.iter())
            .filter(|p| p.1.is_finite())
    };
    let (Some(x_range), Some(y_range)) = (
        range(points().map(|p| p.0), 0.0),
        range(points().map(|p| p.1), 0.05),
    ) else {
        return Ok(None);
    };
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (560, 320)).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 16))
            .margin(8)
            .x_label_area_size(34)
            .y_label_area_size(52)
            .build_cartesian_2d(x_range.0..x_range.1, y_range.0..y_range.1)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .x_desc(x)
            .y_desc(y)
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(228, 228, 228))
            .draw()
            .map_err(failed)?;
        for line in series {
            let colour = PALETTE[line.colour % PALETTE.len()];
            let drawn = line.points.iter().copied().filter(|p| p.1.is_finite());
            let element = chart
                .draw_series(LineSeries::new(drawn, colour.stroke_width(2)))
                .map_err(failed)?;
            if !line.name.is_empty() {
                element.label(&line.name).legend(move |(x, y)| {
                    PathElement::new(vec![(x, y), (x + 16, y)], colour.stroke_width(2))
                });
            }
        }
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.8))
            .border_style(RGBColor(200, 200, 200))
            .draw()
            .map_err(failed)?;
        area.present().map_err(failed)?;
    }
    Ok(Some(svg))
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw the chart: {error}")
}

/// Smallest and largest value, widened by `margin` of their distance on both sides.
fn range(values: impl Iterator<Item = f64>, margin: f64) -> Option<(f64, f64)> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| {
        (l.min(v), h.max(v))
    });
    if low > high {
        return None;
    }
    let pad = if high > low {
        (high - low) * margin
    } else {
        low.abs().max(1.0) * 0.1
    };
    Some((low - pad, high + pad))
}

/// Means of `width` consecutive points, so that a noisy loss reads as a curve.
pub(crate) fn smooth(points: &[(f64, f64)], width: usize) -> Vec<(f64, f64)> {
    let mean = |values: &[(f64, f64)]| {
        let n = values.len() as f64;
        let sum = values
            .iter()
            .fold((0.0, 0.0), |s, p| (s.0 + p.0, s.1 + p.1));
        (sum.0 / n, sum.1 / n)
    };
    points.chunks(width.max(1)).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_finite_points_and_names_the_lines() {
        let points = vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0)];
        let series = [Series {
            name: "inscon".into(),
            points,
            colour: 0,
        }];
        let svg = lines("loss", "step", "loss", &series).unwrap().unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("inscon"));
        assert!(!svg.contains("NaN"));
        assert!(lines("loss", "step", "loss", &[]).unwrap().is_none());
    }

    #[test]
    fn smoothing_keeps_the_mean() {
        let points: Vec<(f64, f64)> = (0..10).map(|i| (f64::from(i), 2.0)).collect();
        assert_eq!(smooth(&points, 4), [(1.5, 2.0), (5.5, 2.0), (8.5, 2.0)]);
    }
}
