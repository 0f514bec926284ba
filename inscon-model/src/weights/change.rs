//! Rows that move between torchvision's detectors and ours.

use burn::tensor::TensorData;

/// What happens to the values of a tensor whose name changes. Rows are along the first dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// Theirs has background's row first, ours last.
    BackgroundFirst,
    /// Theirs has so many rows of background first, ours has none.
    NoBackground(usize),
}

impl Change {
    /// Our shape of a tensor of their `shape`; `None` if it has too few rows.
    pub(super) fn our_shape(self, shape: &[usize]) -> Option<Vec<usize>> {
        let mut shape = shape.to_vec();
        let rows = match self {
            Self::None => return Some(shape),
            Self::BackgroundFirst => 1,
            Self::NoBackground(rows) => rows,
        };
        let first = shape.first_mut().filter(|first| **first >= rows)?;
        if let Self::NoBackground(rows) = self {
            *first -= rows;
        }
        Some(shape)
    }

    /// Our values of their tensor, which [`Change::our_shape`] has accepted.
    pub(super) fn to_ours(self, theirs: TensorData) -> TensorData {
        match self {
            Self::None => theirs,
            Self::BackgroundFirst => rows(theirs, |values, row| values.rotate_left(row)),
            Self::NoBackground(count) => rows(theirs, |values, row| {
                values.drain(..count * row);
            }),
        }
    }

    /// Their values of our tensor; background's box and mask rows are zeros.
    pub(super) fn to_theirs(self, ours: TensorData) -> TensorData {
        match self {
            Self::None => ours,
            Self::BackgroundFirst => rows(ours, |values, row| values.rotate_right(row)),
            Self::NoBackground(count) => rows(ours, |values, row| {
                values.splice(..0, std::iter::repeat_n(0.0, count * row));
            }),
        }
    }
}

/// Edits the values, given the length of a row, and counts the rows again.
fn rows(data: TensorData, edit: impl FnOnce(&mut Vec<f32>, usize)) -> TensorData {
    let mut shape = data.shape().to_vec();
    let row: usize = shape.iter().skip(1).product();
    let mut values: Vec<f32> = data.iter::<f32>().collect();
    edit(&mut values, row);
    if let (Some(first), true) = (shape.first_mut(), row > 0) {
        *first = values.len() / row;
    }
    TensorData::new(values, shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(values: &[f32], shape: [usize; 2]) -> TensorData {
        TensorData::new(values.to_vec(), shape)
    }

    #[test]
    fn background_goes_last() {
        let theirs = data(&[9., 9., 1., 2., 3., 4.], [3, 2]);
        let ours = Change::BackgroundFirst.to_ours(theirs.clone());
        assert_eq!(ours, data(&[1., 2., 3., 4., 9., 9.], [3, 2]));
        assert_eq!(Change::BackgroundFirst.to_theirs(ours), theirs);
    }

    #[test]
    fn background_goes_away_and_comes_back_as_zeros() {
        let change = Change::NoBackground(1);
        let ours = change.to_ours(data(&[9., 9., 1., 2., 3., 4.], [3, 2]));
        assert_eq!(ours, data(&[1., 2., 3., 4.], [2, 2]));
        assert_eq!(
            change.to_theirs(ours),
            data(&[0., 0., 1., 2., 3., 4.], [3, 2])
        );
        assert_eq!(change.our_shape(&[3, 2]), Some(vec![2, 2]));
        assert_eq!(Change::NoBackground(4).our_shape(&[3]), None);
        assert_eq!(Change::BackgroundFirst.our_shape(&[]), None);
    }
}
