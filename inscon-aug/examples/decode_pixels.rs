//! Decodes parts of image files for another program to compare: `compare_with_pil.py` beside the
//! tests' fixtures does, over whole folders.
//!
//! Each line of the standard input is `DENOMINATOR X0 Y0 X1 Y1 PATH`. Answers a line `X Y WIDTH
//! HEIGHT DENOMINATOR` with `3 · WIDTH · HEIGHT` bytes behind it, or a line `error: …`.

use std::fs;
use std::io::{self, BufRead, Write};

use inscon_aug::{BBox, Decoder};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut decoder = Decoder::new();
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let line = line?;
        let mut fields = line.splitn(6, ' ');
        let mut field = || fields.next().ok_or("a line has less than six fields");
        let denominator = field()?.parse()?;
        let mut edges = [0.0; 4];
        for edge in &mut edges {
            *edge = field()?.parse()?;
        }
        let bytes = fs::read(field()?)?;
        let [x0, y0, x1, y1] = edges;
        match decoder.decode_region(&bytes, &BBox::new(x0, y0, x1, y1), denominator) {
            Ok(r) => {
                let d = r.denominator;
                writeln!(out, "{} {} {} {} {d}", r.x, r.y, r.width, r.height)?;
                out.write_all(r.pixels)?;
            }
            Err(error) => writeln!(out, "error: {error}")?,
        }
        out.flush()?;
    }
    Ok(())
}
