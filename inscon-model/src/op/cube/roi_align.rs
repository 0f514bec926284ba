//! RoIAlign in CubeCL: a thread for each output of the forward, and for each cell of the gradient.
//!
//! The gradient gathers: the thread of a cell walks through the RoIs that read its row, in order.
//! There are no atomics, which WGSL does not have for floats, and the sums are the same every time.

use burn::backend::TensorMetadata;
use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, cubecl};
use cubecl::{calculate_cube_count_elemwise, prelude::*};

use crate::op::roi::Taps;
use crate::op::roi::backend::{Plan, RoiBackend};

impl RoiBackend for CubeBackend {
    fn roi_align(x: CubeTensor, plan: Plan) -> CubeTensor {
        forward([x], &plan)
    }

    fn roi_align_pyramid(
        x0: CubeTensor,
        x1: CubeTensor,
        x2: CubeTensor,
        x3: CubeTensor,
        plan: Plan,
    ) -> CubeTensor {
        forward([x0, x1, x2, x3], &plan)
    }

    fn roi_align_gradient(dy: CubeTensor, plan: Plan, level: usize) -> CubeTensor {
        let shape = plan.map(&dy.shape(), level);
        let dy = into_contiguous(dy);
        let dx = empty_like(&dy, shape.clone());
        let mut lists = Lists::default();
        let [height, _] = plan.maps()[level].size;
        // For each row of each image: the RoIs that read it, and where its weights lie.
        let (mut rows, mut entries) = (vec![0], Vec::new());
        for group in plan.groups_of(level) {
            for row in 0..height {
                for &roi in plan.members(group) {
                    let span = plan.y.cells_of(roi as usize);
                    if span.contains(&row) {
                        let at = plan.y.spans[roi as usize] as usize + row - span.start;
                        let [first, end] = [plan.y.cells[at], plan.y.cells[at + 1]];
                        entries.extend([roi, first, end]);
                    }
                }
                rows.push(entries.len() as u32 / 3);
            }
        }
        let rows = lists.add(&rows);
        let entries = lists.add(&entries);
        let first = lists.add(&plan.x.first);
        let spans = lists.add(&plan.x.spans);
        let cells = lists.add(&plan.x.cells);
        let [x_taps, y_taps] = [&plan.x, &plan.y].map(|taps| {
            let taps = || taps.by_cell.iter();
            lists.add_taps(taps().map(|tap| tap.at), taps().map(|tap| tap.weight))
        });
        let (index, weights) = lists.upload(&dy);
        let count = shape.num_elements();
        let dim = CubeDim::new(&dy.client, count);
        gradient_kernel::launch(
            &dx.client,
            calculate_cube_count_elemwise(&dy.client, count, dim),
            dim,
            dy.into_tensor_arg(),
            index.into_tensor_arg(),
            weights.into_tensor_arg(),
            dx.clone().into_tensor_arg(),
            rows,
            entries,
            first,
            spans,
            cells,
            x_taps,
            y_taps,
        );
        dx
    }
}

fn forward<const LEVELS: usize>(x: [CubeTensor; LEVELS], plan: &Plan) -> CubeTensor {
    let y = empty_like(&x[0], plan.pooled(&x[0].shape()));
    for (level, x) in x.into_iter().enumerate() {
        let x = into_contiguous(x);
        let mut lists = Lists::default();
        // Image and row of the output of each RoI on this level.
        let groups = plan.groups_of(level).enumerate();
        let rois: Vec<u32> = groups
            .flat_map(|(image, group)| {
                let members = plan.members(group).iter();
                members.flat_map(move |&roi| [image as u32, roi])
            })
            .collect();
        if rois.is_empty() {
            continue;
        }
        let count = rois.len() / 2 * y.shape().num_elements() / plan.rois();
        let rois = lists.add(&rois);
        let x_bins = lists.add(&plan.x.bins);
        let y_bins = lists.add(&plan.y.bins);
        let [x_taps, y_taps] = [&plan.x, &plan.y].map(|taps: &Taps| {
            let taps = || taps.by_bin.iter();
            lists.add_taps(taps().map(|tap| tap.at), taps().map(|tap| tap.weight))
        });
        let (index, weights) = lists.upload(&x);
        let dim = CubeDim::new(&x.client, count);
        forward_kernel::launch(
            &y.client,
            calculate_cube_count_elemwise(&x.client, count, dim),
            dim,
            x.into_tensor_arg(),
            index.into_tensor_arg(),
            weights.into_tensor_arg(),
            y.clone().into_tensor_arg(),
            count as u32,
            rois,
            x_bins,
            y_bins,
            x_taps,
            y_taps,
        );
    }
    y
}

fn empty_like(x: &CubeTensor, shape: Shape) -> CubeTensor {
    empty_device_contiguous_dtype(x.client.clone(), x.device.clone(), shape, x.dtype)
}

/// Lists of a plan, end to end: of whole numbers, and of weights beside them.
#[derive(Default)]
struct Lists {
    index: Vec<u32>,
    weights: Vec<f32>,
}

impl Lists {
    /// Where the list begins.
    fn add(&mut self, list: &[u32]) -> u32 {
        let first = self.index.len() as u32;
        self.index.extend(list);
        first
    }

    /// Where the list begins; the weight of entry i lies at i of the weights.
    fn add_taps(
        &mut self,
        at: impl Iterator<Item = u32>,
        weights: impl Iterator<Item = f32>,
    ) -> u32 {
        let first = self.index.len();
        self.index.extend(at);
        self.weights.resize(first, 0.0);
        self.weights.extend(weights);
        first as u32
    }

    fn upload(mut self, beside: &CubeTensor) -> (CubeTensor, CubeTensor) {
        // No buffer may be empty.
        self.index.push(0);
        self.weights.push(0.0);
        let upload = |bytes: &[u8], len: usize, dtype| {
            let handle = beside.client.create_from_slice(bytes);
            let (client, device) = (beside.client.clone(), beside.device.clone());
            CubeTensor::new_contiguous(client, device, [len].into(), handle, dtype)
        };
        let index = bytemuck::cast_slice(&self.index);
        let weights = bytemuck::cast_slice(&self.weights);
        (
            upload(index, self.index.len(), DType::U32),
            upload(weights, self.weights.len(), DType::F32),
        )
    }
}

/// `y[r, c, i, j] = Σ_v Σ_u Wy[r, i, v] · Wx[r, j, u] · x[image(r), c, v, u]`; the last six
/// arguments say how many outputs there are and where the lists begin.
#[cube(launch)]
#[allow(clippy::too_many_arguments)] // one for each list
fn forward_kernel(
    x: &Tensor<f32>,
    index: &Tensor<u32>,
    weights: &Tensor<f32>,
    y: &mut Tensor<f32>,
    count: u32,
    rois: u32,
    x_bins: u32,
    y_bins: u32,
    x_taps: u32,
    y_taps: u32,
) {
    let at = ABSOLUTE_POS;
    if at >= count as usize {
        terminate!();
    }
    let side = y.shape(3);
    let channels = y.shape(1);
    let bin_x = at % side;
    let bin_y = at / side % side;
    let channel = at / (side * side) % channels;
    let member = rois as usize + at / (side * side * channels) * 2;
    let image = index[member] as usize;
    let roi = index[member + 1] as usize;

    let of_x = x_bins as usize + roi * side + bin_x;
    let of_y = y_bins as usize + roi * side + bin_y;
    let first_x = x_taps as usize + index[of_x] as usize;
    let end_x = x_taps as usize + index[of_x + 1] as usize;
    let first_y = y_taps as usize + index[of_y] as usize;
    let end_y = y_taps as usize + index[of_y + 1] as usize;
    let plane = (image * channels + channel) * x.shape(2);
    let mut sum = 0.0f32;
    for tap_y in first_y..end_y {
        let row = (plane + index[tap_y] as usize) * x.shape(3);
        let mut of_row = 0.0f32;
        for tap_x in first_x..end_x {
            of_row += weights[tap_x] * x[row + index[tap_x] as usize];
        }
        sum += weights[tap_y] * of_row;
    }
    y[((roi * channels + channel) * side + bin_y) * side + bin_x] = sum;
}

/// `dx[n, c, v, u] = Σ_r Σ_i Σ_j Wy[r, i, v] · Wx[r, j, u] · dy[r, c, i, j]` over the RoIs of
/// image n; the last seven arguments say where the lists begin.
#[cube(launch)]
#[allow(clippy::too_many_arguments)] // one for each list
fn gradient_kernel(
    dy: &Tensor<f32>,
    index: &Tensor<u32>,
    weights: &Tensor<f32>,
    dx: &mut Tensor<f32>,
    rows: u32,
    entries: u32,
    first: u32,
    spans: u32,
    cells: u32,
    x_taps: u32,
    y_taps: u32,
) {
    let at = ABSOLUTE_POS;
    let channels = dx.shape(1);
    let height = dx.shape(2);
    let width = dx.shape(3);
    if at >= dx.shape(0) * channels * height * width {
        terminate!();
    }
    let column = at % width;
    let row = at / width % height;
    let channel = at / (width * height) % channels;
    let image = at / (width * height * channels);
    let side = dy.shape(3);

    let of_row = rows as usize + image * height + row;
    let first_entry = index[of_row] as usize;
    let end_entry = index[of_row + 1] as usize;
    let mut sum = 0.0f32;
    for entry in first_entry..end_entry {
        let entry = entries as usize + entry * 3;
        let roi = index[entry] as usize;
        let left = index[first as usize + roi] as usize;
        let span = index[spans as usize + roi] as usize;
        let len = index[spans as usize + roi + 1] as usize - span;
        if column >= left && column < left + len {
            let of_cell = cells as usize + span + column - left;
            let first_x = x_taps as usize + index[of_cell] as usize;
            let end_x = x_taps as usize + index[of_cell + 1] as usize;
            let first_y = y_taps as usize + index[entry + 1] as usize;
            let end_y = y_taps as usize + index[entry + 2] as usize;
            let plane = (roi * channels + channel) * side;
            for tap_y in first_y..end_y {
                let line = (plane + index[tap_y] as usize) * side;
                let mut of_line = 0.0f32;
                for tap_x in first_x..end_x {
                    of_line += weights[tap_x] * dy[line + index[tap_x] as usize];
                }
                sum += weights[tap_y] * of_line;
            }
        }
    }
    dx[at] = sum;
}
