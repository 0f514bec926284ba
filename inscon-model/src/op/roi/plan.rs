//! The weights of all RoIs, and which map and image each reads.

use std::ops::Range;

use burn::tensor::Tensor;

use super::{Roi, RoiAlign};

/// A feature map that RoIs are pooled from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoiMap {
    /// Images of the batch.
    pub images: usize,
    /// Height and width in cells.
    pub size: [usize; 2],
    /// How it is pooled.
    pub align: RoiAlign,
}

impl RoiMap {
    pub(super) fn of(map: &Tensor<4>, align: RoiAlign) -> Self {
        let [images, _, height, width] = map.dims();
        Self {
            images,
            size: [height, width],
            align,
        }
    }

    /// Cells of a plane.
    #[cfg(feature = "flex")]
    pub(in crate::op) fn plane(&self) -> usize {
        self.size[0] * self.size[1]
    }
}

/// A weight, and the cell or the bin that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::op) struct Tap {
    pub(in crate::op) at: u32,
    pub(in crate::op) weight: f32,
}

/// The weights of one axis of all RoIs, ordered both ways.
#[derive(Debug, Default)]
pub(in crate::op) struct Taps {
    /// Where the weights of each (RoI, bin) begin, and where the last end.
    pub(in crate::op) bins: Vec<u32>,
    /// Cells and weights, bin after bin.
    pub(in crate::op) by_bin: Vec<Tap>,
    /// Where the cells of each RoI begin in `cells`, and where the last end.
    pub(in crate::op) spans: Vec<u32>,
    /// The first cell of each RoI.
    pub(in crate::op) first: Vec<u32>,
    /// Where the weights of each (RoI, cell) begin, and where the last end.
    pub(in crate::op) cells: Vec<u32>,
    /// Bins and weights, cell after cell.
    pub(in crate::op) by_cell: Vec<Tap>,
}

impl Taps {
    fn new() -> Self {
        Self {
            bins: vec![0],
            spans: vec![0],
            cells: vec![0],
            ..Self::default()
        }
    }

    /// Adds a RoI that reaches from `start` to `end` over an axis of `cells` cells.
    fn push(&mut self, align: &RoiAlign, [start, end]: [f32; 2], cells: usize) {
        let begin = self.by_bin.len();
        let mut open = 0;
        let mut bounds = (u32::MAX, 0);
        align.taps(start, end, cells, |bin, cell, weight| {
            for _ in open..bin {
                self.bins.push(self.by_bin.len() as u32);
            }
            open = bin;
            let at = cell as u32;
            bounds = (bounds.0.min(at), bounds.1.max(at + 1));
            // Neighbouring samples share a cell.
            let of_bin = self.bins.last().map_or(0, |&first| first as usize);
            let recent = of_bin.max(self.by_bin.len().saturating_sub(2));
            match self.by_bin[recent..].iter_mut().find(|tap| tap.at == at) {
                Some(tap) => tap.weight += weight,
                None => self.by_bin.push(Tap { at, weight }),
            }
        });
        for _ in open..align.output {
            self.bins.push(self.by_bin.len() as u32);
        }
        self.turn(begin, bounds.0.min(bounds.1)..bounds.1, align.output);
    }

    /// Orders the weights from `begin` on by cell.
    fn turn(&mut self, begin: usize, cells: Range<u32>, output: usize) {
        let first = self.cells.len() - 1;
        let mut place: Vec<u32> = vec![0; cells.len()];
        for tap in &self.by_bin[begin..] {
            place[(tap.at - cells.start) as usize] += 1;
        }
        let mut end = begin as u32;
        for place in &mut place {
            (*place, end) = (end, end + *place);
            self.cells.push(end);
        }
        let empty = Tap { at: 0, weight: 0.0 };
        self.by_cell.resize(self.by_bin.len(), empty);
        let starts = &self.bins[self.bins.len() - 1 - output..];
        for (bin, range) in starts.windows(2).enumerate() {
            for tap in &self.by_bin[range[0] as usize..range[1] as usize] {
                let place = &mut place[(tap.at - cells.start) as usize];
                self.by_cell[*place as usize] = Tap {
                    at: bin as u32,
                    weight: tap.weight,
                };
                *place += 1;
            }
        }
        self.first.push(cells.start);
        self.spans.push((first + cells.len()) as u32);
    }

    /// Cells and weights of a bin; `bin` counts over all RoIs.
    #[cfg(feature = "flex")]
    #[inline(always)]
    pub(in crate::op) fn of_bin(&self, bin: usize) -> &[Tap] {
        &self.by_bin[self.bins[bin] as usize..self.bins[bin + 1] as usize]
    }

    /// Cells that a RoI reads, from the first to the last.
    #[inline(always)]
    pub(in crate::op) fn cells_of(&self, roi: usize) -> Range<usize> {
        let first = self.first[roi] as usize;
        first..first + (self.spans[roi + 1] - self.spans[roi]) as usize
    }

    /// Bins and weights of a cell within [`Self::cells_of`] the RoI.
    #[cfg(feature = "flex")]
    #[inline(always)]
    pub(in crate::op) fn of_cell(&self, roi: usize, cell: usize) -> &[Tap] {
        let at = self.spans[roi] as usize + cell - self.first[roi] as usize;
        &self.by_cell[self.cells[at] as usize..self.cells[at + 1] as usize]
    }
}

/// RoIs on maps, with the weights of all their bins: what the kernels of RoIAlign read.
#[derive(Debug)]
pub struct RoiPlan {
    output: usize,
    maps: Vec<RoiMap>,
    /// RoIs of each (map, image), in order.
    members: Vec<Vec<u32>>,
    /// The (map, image) of each RoI.
    groups: Vec<u32>,
    /// Horizontal weights.
    pub(in crate::op) x: Taps,
    /// Vertical weights.
    pub(in crate::op) y: Taps,
}

impl RoiPlan {
    /// The weights of RoIs, each with the index of its map.
    ///
    /// # Panics
    /// If there is no map, the maps differ in their number of bins, a RoI is of a map or an image
    /// that is not there, or the number of weights does not fit 32 bits.
    #[must_use]
    pub fn new(maps: Vec<RoiMap>, rois: impl IntoIterator<Item = (usize, Roi)>) -> Self {
        let output = maps.first().map_or(0, |map| map.align.output);
        assert!(
            output > 0 && maps.iter().all(|map| map.align.output == output),
            "RoIAlign: maps {maps:?}"
        );
        let images: usize = maps.iter().map(|map| map.images).sum();
        let mut plan = Self {
            output,
            maps,
            members: vec![Vec::new(); images],
            groups: Vec::new(),
            x: Taps::new(),
            y: Taps::new(),
        };
        for (index, (level, roi)) in rois.into_iter().enumerate() {
            let map = plan.maps[level];
            assert!(
                roi.image < map.images,
                "RoI {index} of image {} of {}",
                roi.image,
                map.images
            );
            let group = plan.groups_of(level).start + roi.image;
            plan.members[group].push(index as u32);
            plan.groups.push(group as u32);
            let ([x0, y0, x1, y1], [height, width]) = (roi.bbox, map.size);
            plan.x.push(&map.align, [x0, x1], width);
            plan.y.push(&map.align, [y0, y1], height);
        }
        let taps = plan.x.by_bin.len().max(plan.y.by_bin.len());
        assert!(u32::try_from(taps).is_ok(), "RoIAlign: {taps} weights");
        plan
    }

    /// Bins along a side.
    #[must_use]
    pub fn output(&self) -> usize {
        self.output
    }

    /// Number of RoIs.
    #[must_use]
    pub fn rois(&self) -> usize {
        self.groups.len()
    }

    /// The maps.
    #[must_use]
    pub fn maps(&self) -> &[RoiMap] {
        &self.maps
    }

    /// The (map, image) pairs of a map: image after image, map after map.
    pub(in crate::op) fn groups_of(&self, level: usize) -> Range<usize> {
        let first = self.maps[..level].iter().map(|map| map.images).sum();
        first..first + self.maps[level].images
    }

    /// The (map, image) of a RoI.
    #[cfg(feature = "flex")]
    pub(in crate::op) fn group(&self, roi: usize) -> usize {
        self.groups[roi] as usize
    }

    /// RoIs of a (map, image), in order.
    pub(in crate::op) fn members(&self, group: usize) -> &[u32] {
        &self.members[group]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both orders hold what [`RoiAlign::taps`] says.
    #[test]
    fn both_orders_hold_all_weights() {
        let spans = [
            [0.0, 9.0],
            [5.0, 2.0],
            [-4.0, 30.0],
            [2.2, 2.5],
            [40.0, 50.0],
        ];
        for (sampling_ratio, output) in [(0, 3), (2, 4), (5, 1)] {
            let align = RoiAlign {
                output,
                spatial_scale: 0.5,
                sampling_ratio,
                aligned: true,
            };
            let cells = 7;
            let mut taps = Taps::new();
            for span in spans {
                taps.push(&align, span, cells);
            }
            for (roi, [start, end]) in spans.into_iter().enumerate() {
                let mut expected = vec![0.0; output * cells];
                align.taps(start, end, cells, |bin, cell, weight| {
                    expected[bin * cells + cell] += weight
                });
                let (mut by_bin, mut by_cell) = (vec![0.0; output * cells], expected.clone());
                for bin in 0..output {
                    for tap in taps.of_bin(roi * output + bin) {
                        by_bin[bin * cells + tap.at as usize] += tap.weight;
                    }
                }
                for cell in taps.cells_of(roi) {
                    for tap in taps.of_cell(roi, cell) {
                        by_cell[tap.at as usize * cells + cell] -= tap.weight;
                    }
                }
                let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6;
                assert!(by_bin.iter().zip(&expected).all(close), "{align:?} {roi}");
                assert!(by_cell.iter().all(|rest| rest.abs() < 1e-6), "{align:?}");
            }
        }
    }
}
