//! The boundary of a mask (Cheng et al., Boundary IoU, arXiv 2103.16562).

use super::Rle;

impl Rle {
    /// The pixels of the mask that are within `dilation_ratio` times the image's diagonal
    /// (rounded, at least one pixel, measured along the axes) of its edge or of the image's edge:
    /// `mask_to_boundary` of `boundary-iou-api`, whose ratio is 0.02.
    ///
    /// Takes two bytes for each pixel of the image, and time for each, however few runs there are.
    ///
    /// ```
    /// let square = inscon_eval::Rle::encode(&[1; 25], 5, 5);
    /// assert_eq!(square.boundary(0.02).area(), 16);
    /// ```
    #[must_use]
    pub fn boundary(&self, dilation_ratio: f64) -> Self {
        let (h, w) = (self.height() as usize, self.width() as usize);
        if h == 0 || w == 0 {
            return self.clone();
        }
        let diagonal = ((h * h + w * w) as f64).sqrt();
        let reach = (dilation_ratio * diagonal).round_ties_even().max(1.0);
        // Wider than the image is as good as wider still.
        let reach = (reach as usize).min(h.max(w));
        // Column by column: what is left after eroding along the column.
        let mut mask = vec![0_u8; h * w];
        let mut eroded = vec![0_u8; h * w];
        for (start, end) in self.foreground() {
            let (start, end) = (start as usize, end as usize);
            mask[start..end].fill(1);
        }
        for x in 0..w {
            let column = &mask[x * h..(x + 1) * h];
            let mut y = 0;
            while y < h {
                if column[y] == 0 {
                    y += 1;
                    continue;
                }
                let start = y;
                while y < h && column[y] == 1 {
                    y += 1;
                }
                if y - start > 2 * reach {
                    eroded[x * h + start + reach..x * h + y - reach].fill(1);
                }
            }
        }
        // Along the rows: how many columns in a row have been set up to here.
        let mut run = vec![0_usize; h];
        for x in 0..w {
            for y in 0..h {
                run[y] = if eroded[x * h + y] == 1 {
                    run[y] + 1
                } else {
                    0
                };
                // The centre of a window that is set throughout is not boundary.
                if run[y] > 2 * reach {
                    mask[(x - reach) * h + y] = 0;
                }
            }
        }
        let mut counts = Vec::new();
        let (mut inside, mut length) = (0, 0);
        for value in mask {
            if value != inside {
                counts.push(std::mem::take(&mut length));
                inside = value;
            }
            length += 1;
        }
        counts.push(length);
        Self::unchecked(self.height(), self.width(), counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the definition: eroded by a square, outside counting as background.
    fn naive(mask: &[u8], h: i64, w: i64, reach: i64) -> Vec<u8> {
        let at = |y: i64, x: i64| {
            (0..h).contains(&y) && (0..w).contains(&x) && mask[(y * w + x) as usize] != 0
        };
        let pixels = (0..h).flat_map(|y| (0..w).map(move |x| (y, x)));
        pixels
            .map(|(y, x)| {
                let whole =
                    (-reach..=reach).all(|dy| (-reach..=reach).all(|dx| at(y + dy, x + dx)));
                u8::from(at(y, x) && !whole)
            })
            .collect()
    }

    #[test]
    fn any_ratio_is_some_width() {
        let square = Rle::encode(&[1; 25], 5, 5);
        for (ratio, area) in [
            (f64::NAN, 16),
            (-1.0, 16),
            (0.3, 24),
            (f64::MAX, 25),
            (f64::INFINITY, 25),
        ] {
            assert_eq!(square.boundary(ratio).area(), area, "{ratio}");
        }
    }

    #[test]
    fn equals_the_definition() {
        let mut state = 7_u32;
        for (h, w, ratio, reach) in [(9, 12, 0.07, 1), (16, 11, 0.1, 2), (7, 7, 0.001, 1)] {
            for density in [2, 9, 40] {
                let mut next = || {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    u8::from(!(state >> 16).is_multiple_of(density))
                };
                let mask: Vec<u8> = (0..h * w).map(|_| next()).collect();
                let rle = Rle::encode(&mask, h as u32, w as u32);
                assert_eq!(rle.boundary(ratio).decode(), naive(&mask, h, w, reach));
            }
        }
    }
}
