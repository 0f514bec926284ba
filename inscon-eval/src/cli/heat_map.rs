//! The confusion matrix as SVG.

use std::path::Path;

use inscon_eval::ConfusionMatrix;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Failure;
use super::plots::{failed, picture, save};
use super::text::class_name;

/// Beyond so many classes cells are small and have no numbers.
const NUMBERED: usize = 40;
/// Longer names are cut.
const LONGEST: usize = 18;
const TITLE: i32 = 58;
const MARGIN: i32 = 14;

/// `confusion_matrix.svg`: of the truths of a class, the share taken for each class.
pub(super) fn confusion(folder: &Path, matrix: &ConfusionMatrix) -> Result<(), Failure> {
    let classes = matrix.categories.len();
    let names: Vec<String> = matrix
        .categories
        .iter()
        .map(|(id, name)| shortened(&class_name(name, *id)))
        .collect();
    let label = |i: usize, background| names.get(i).map_or(background, String::as_str);
    let (cell, font) = if classes > NUMBERED {
        (13, 10)
    } else {
        (34, 12)
    };
    let longest = names.iter().map(|name| name.chars().count()).max();
    // Wide enough for the names in most typefaces.
    let letters = longest.unwrap_or(0).max("background".len()) as i32;
    let side = letters * font * 3 / 5 + 34;
    let across = (classes as i32 + 1) * cell;
    let left = side + MARGIN;
    let width = (left + across + MARGIN).max(470);
    let bottom = TITLE + across;
    let size = (width as u32, (bottom + side + MARGIN) as u32);
    let shares = matrix.normalized();
    let svg = picture(size, |area| {
        let style = |size: i32, horizontal, vertical| {
            TextStyle::from(("sans-serif", size).into_font()).pos(Pos::new(horizontal, vertical))
        };
        let write = |text: &str, style: &TextStyle<'_>, at: (i32, i32)| {
            area.draw(&Text::new(text, at, style.clone()))
                .map_err(failed)
        };
        let heading = style(16, HPos::Left, VPos::Center);
        write("confusion matrix", &heading, (MARGIN, 18))?;
        let thresholds = format!(
            "score >= {:.2}, IoU >= {:.2}; each row divided by its sum",
            matrix.score_threshold, matrix.iou_threshold
        );
        let note = style(12, HPos::Left, VPos::Center);
        write(&thresholds, &note, (MARGIN, 38))?;
        let row_name = style(font, HPos::Right, VPos::Center);
        // A turned text's anchor turns with it.
        let column_name = TextStyle::from(
            ("sans-serif", font)
                .into_font()
                .transform(FontTransform::Rotate270),
        )
        .pos(Pos::new(HPos::Right, VPos::Center));
        for (i, row) in shares.iter().enumerate() {
            let (x, y) = (left + i as i32 * cell, TITLE + i as i32 * cell);
            let (found, missed) = (label(i, "background"), label(i, "not found"));
            write(found, &row_name, (left - 5, y + cell / 2))?;
            write(missed, &column_name, (x + cell / 2, bottom + 5))?;
            // White as the paper: not drawn, or a thousand classes would be a million cells.
            let cells = row.iter().enumerate().filter(|(_, share)| **share > 0.0);
            for (j, &share) in cells {
                let x = left + j as i32 * cell;
                let corners = [(x, y), (x + cell, y + cell)];
                let fill = Rectangle::new(corners, shade(share).filled());
                area.draw(&fill).map_err(failed)?;
                let two = format!("{share:.2}");
                if classes <= NUMBERED && two != "0.00" {
                    let colour = if share > 0.5 { WHITE } else { BLACK };
                    let number = style(11, HPos::Center, VPos::Center).color(&colour);
                    let two = two.strip_prefix('0').unwrap_or(&two);
                    write(two, &number, (x + cell / 2, y + cell / 2))?;
                }
            }
        }
        let line = RGBColor(190, 190, 190);
        let frame = Rectangle::new([(left, TITLE), (left + across, bottom)], line);
        area.draw(&frame).map_err(failed)?;
        // Background apart from the classes.
        let edge = cell * classes as i32;
        for ends in [
            vec![(left, TITLE + edge), (left + across, TITLE + edge)],
            vec![(left + edge, TITLE), (left + edge, bottom)],
        ] {
            area.draw(&PathElement::new(ends, line)).map_err(failed)?;
        }
        let axis = style(13, HPos::Center, VPos::Center);
        let middle = (left + across / 2, bottom + side - 2);
        write("taken for", &axis, middle)?;
        let upright = TextStyle::from(
            ("sans-serif", 13)
                .into_font()
                .transform(FontTransform::Rotate270),
        )
        .pos(Pos::new(HPos::Center, VPos::Center));
        write("truth", &upright, (MARGIN + 2, TITLE + across / 2))
    })?;
    save(folder, "confusion_matrix.svg", svg)
}

/// White to blue; the square root lets small shares be seen.
fn shade(share: f64) -> RGBColor {
    let strength = share.clamp(0.0, 1.0).sqrt();
    let mix = |full: f64| (255.0 + (full - 255.0) * strength).round() as u8;
    RGBColor(mix(0.0), mix(84.0), mix(148.0))
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= LONGEST {
        return name.to_owned();
    }
    let start: String = name.chars().take(LONGEST - 1).collect();
    format!("{}…", start.trim_end())
}
