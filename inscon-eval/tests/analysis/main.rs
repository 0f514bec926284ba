//! The analysis against pycocotools, tidecv, naive counting and real copies of images.
#![expect(clippy::unwrap_used, reason = "a test may stop at a surprise")]

mod bootstrap;
#[path = "../common/mod.rs"]
mod common;
mod confusion;
mod matches;
mod scenes;
mod tide;

/// Runs with one thread and with four, which must make no difference.
fn with_threads<T>(run: impl Fn() -> T + Sync) -> [T; 2]
where
    T: Send,
{
    [1, 4].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(&run)
    })
}
