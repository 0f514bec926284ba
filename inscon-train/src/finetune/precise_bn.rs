//! Batch norm statistics taken anew over many batches, with the weights as they are.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use inscon_aug::stream;
use inscon_model::detection::GeneralizedRcnn;
use inscon_model::{BatchNorm2d, is_buffer};

use crate::detection_data::{Ahead, DetectionDataError, TrainBatches};
use crate::{Interrupt, Progress};

/// The model with the running statistics of every norm that takes the batch's in training replaced
/// by the average of those of `iterations` training batches: fvcore's `update_bn_stats`, which
/// detectron2's `PreciseBN` calls before each evaluation. `None` when `interrupt` is raised before
/// the end.
///
/// The batches are always the same ones of the seed, whatever was trained on before, and the
/// running statistics have no part in them: calling it twice gives the same bits as once. Frozen
/// norms keep theirs.
///
/// # Errors
/// As [`TrainBatches::make`].
pub fn precise_bn(
    model: &GeneralizedRcnn,
    batches: &TrainBatches,
    iterations: u64,
    workers: usize,
    device: &Device,
    interrupt: &Interrupt,
) -> Result<Option<GeneralizedRcnn>, DetectionDataError> {
    let own = precise_bn_batches(batches);
    let plan = own.plan(iterations)?;
    let seed = own.seed;
    let loader = Ahead::new(0..iterations, workers, workers, move |i| {
        own.make(i, &plan[i as usize])
    });
    let device = device.clone().inner();
    let mut progress = Progress::new("batch norm statistics", "batches", 0, iterations);
    let mut average = Average::of(model.valid());
    for (i, batch) in (0..iterations).zip(loader) {
        if interrupt.is_raised() {
            progress.finish();
            return Ok(None);
        }
        let batch = batch?;
        average.add(|model| {
            let mut rng = stream(seed, &[4, i, SAMPLER]);
            let _ = model.forward_train(
                batch.tensor(&device),
                &batch.sizes,
                &batch.targets,
                &mut rng,
            );
        });
        progress.update(i + 1, "");
    }
    progress.finish();
    Ok(Some(average.put_into(model.clone())))
}

/// The batches of [`precise_bn`]: drawn as those of training, but others.
#[must_use]
pub fn precise_bn_batches(batches: &TrainBatches) -> TrainBatches {
    TrainBatches {
        seed: batches.seed ^ BATCHES,
        ..batches.clone()
    }
}

/// Makes other batches than training has.
const BATCHES: u64 = 0x5072_6563_6973_6542;
/// Last element of the stream path of the detector's sampling.
const SAMPLER: u64 = u64::MAX;

/// The average of the statistics of batches, by the path of each running statistic.
#[derive(Debug)]
struct Average<M> {
    model: M,
    /// Share of a batch in the running statistics.
    momentum: f64,
    /// Sums over the batches of the norms that take batch statistics; unknown before the first.
    sums: Option<BTreeMap<String, Vec<f64>>>,
    batches: u64,
}

impl<M: Module> Average<M> {
    fn of(model: M) -> Self {
        Self {
            model,
            // That of every norm here: none changes it.
            momentum: BatchNorm2d::new(1, &Device::default()).momentum,
            sums: None,
            batches: 0,
        }
    }

    /// Adds the statistics that `forward`, a pass in training mode, meets.
    ///
    /// A norm takes the batch's statistics if it moves its running ones. Those are set to 0, so that
    /// after the pass they are the batch's times the momentum.
    fn add(&mut self, forward: impl Fn(&M)) {
        let sums = match self.sums.take() {
            Some(sums) => sums,
            None => {
                let before = buffers(&self.model);
                forward(&self.model);
                let after = buffers(&self.model);
                let moved = after
                    .into_iter()
                    .filter(|(path, value)| before[path] != *value);
                moved
                    .map(|(path, value)| (path, vec![0.0; value.len()]))
                    .collect()
            }
        };
        let zeros = sums
            .iter()
            .map(|(path, sum)| (path.clone(), vec![0.0; sum.len()]));
        self.model = set_buffers(self.model.clone(), zeros.collect());
        forward(&self.model);
        let found = buffers(&self.model);
        let mut sums = sums;
        for (path, sum) in &mut sums {
            for (sum, value) in sum.iter_mut().zip(&found[path]) {
                *sum += f64::from(*value) / self.momentum;
            }
        }
        self.sums = Some(sums);
        self.batches += 1;
    }

    /// Puts the averages into a module of the same paths.
    fn put_into<N: Module>(self, model: N) -> N {
        let count = self.batches as f64;
        let mean = |sum: Vec<f64>| sum.iter().map(|v| (v / count) as f32).collect();
        let means = self.sums.unwrap_or_default().into_iter();
        set_buffers(model, means.map(|(path, sum)| (path, mean(sum))).collect())
    }
}

/// Running means and variances by path.
fn buffers<M: Module>(module: &M) -> BTreeMap<String, Vec<f32>> {
    struct Collect {
        path: Vec<String>,
        found: BTreeMap<String, Vec<f32>>,
    }

    impl ModuleVisitor for Collect {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let path = self.path.join(".");
            if is_buffer(&path) {
                let values = param.val().into_data().iter::<f32>().collect();
                self.found.insert(path, values);
            }
        }
    }

    let mut collect = Collect {
        path: Vec::new(),
        found: BTreeMap::new(),
    };
    module.visit(&mut collect);
    collect.found
}

/// The module with these values in its buffers.
fn set_buffers<M: Module>(module: M, values: BTreeMap<String, Vec<f32>>) -> M {
    struct Set {
        path: Vec<String>,
        values: BTreeMap<String, Vec<f32>>,
    }

    impl ModuleMapper for Set {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some(values) = self.values.remove(&self.path.join(".")) else {
                return param;
            };
            param.map(|held| {
                let data = TensorData::new(values, held.dims());
                Tensor::from_data(data, &held.device())
            })
        }
    }

    module.map(&mut Set {
        path: Vec::new(),
        values,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use inscon_model::NormMode;

    #[derive(Module, Debug)]
    struct Two {
        trained: BatchNorm2d,
        frozen: BatchNorm2d,
    }

    impl Two {
        fn forward(&self, x: Tensor<4>) -> Tensor<4> {
            let x = self.frozen.forward(x, NormMode::Frozen, 1);
            self.trained.forward(x, NormMode::Train, 1)
        }
    }

    fn batch(i: usize) -> Vec<f32> {
        let value = |j: usize| ((i * 31 + j * 17) % 23) as f32 * 0.3 - (i as f32) + 100.0;
        (0..2 * 2 * 2 * 3).map(value).collect()
    }

    fn tensor(i: usize) -> Tensor<4> {
        let data = TensorData::new(batch(i), [2, 2, 2, 3]);
        Tensor::from_data(data, &Device::flex())
    }

    /// Mean and unbiased variance of each channel of a batch `[2, 2, 2, 3]`.
    fn by_hand(i: usize) -> [[f64; 2]; 2] {
        let batch = batch(i);
        let mut out = [[0.0; 2]; 2];
        for channel in 0..2 {
            let of = |n: usize| &batch[(n * 2 + channel) * 6..][..6];
            let values: Vec<f64> = of(0).iter().chain(of(1)).map(|v| f64::from(*v)).collect();
            let mean = values.iter().sum::<f64>() / 12.0;
            out[0][channel] = mean;
            out[1][channel] = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 11.0;
        }
        out
    }

    /// Against the average of the batches' own statistics, from running ones that are far away.
    #[test]
    fn statistics_are_the_average_of_the_batches() {
        let device = Device::flex();
        let model = Two {
            trained: BatchNorm2d::new(2, &device),
            frozen: BatchNorm2d::new(2, &device),
        };
        let far = BTreeMap::from([
            ("trained.running_mean".to_owned(), vec![-3e3, 7e3]),
            ("trained.running_var".to_owned(), vec![1e6, 1e-3]),
            ("frozen.running_mean".to_owned(), vec![0.0, 0.0]),
            (
                "frozen.running_var".to_owned(),
                vec![1.0 - 1e-5, 1.0 - 1e-5],
            ),
        ]);
        let model = set_buffers(model, far.clone());
        let mut average = Average::of(model.clone());
        for i in 0..5 {
            average.add(|model: &Two| drop(model.forward(tensor(i))));
        }
        let found = buffers(&average.put_into(model));
        for (part, name) in ["trained.running_mean", "trained.running_var"]
            .iter()
            .enumerate()
        {
            for (channel, got) in found[*name].iter().enumerate() {
                let expected = (0..5).map(|i| by_hand(i)[part][channel]).sum::<f64>() / 5.0;
                assert!(
                    (f64::from(*got) - expected).abs() < 2e-5 * expected.abs(),
                    "{name}[{channel}]: {got} against {expected}"
                );
            }
        }
        for name in ["frozen.running_mean", "frozen.running_var"] {
            assert_eq!(found[name], far[name]);
        }
    }
}
