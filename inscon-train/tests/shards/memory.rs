//! Memory stays within its bound, whatever is read of what was planned.

use std::sync::Arc;

use inscon_train::data::SampleSource;

use crate::fixture::{Fixture, buffered, open, quick};
use crate::server::{Fault, Server};

const BUDGET: u64 = 512 << 10;

#[test]
fn reading_ahead_stays_within_its_bound() {
    let fixture = Fixture::new(300, 20_000, 60);
    let server = Server::start(fixture.shards(), |_, _| Fault::None);
    let source = open(&server.url("train-{000000..000004}.tar"), &quick(BUDGET));
    for epoch in 0..2 {
        // About 20 × 10 kB wait in the buffer.
        let order = buffered(&source, epoch, 20);
        source.plan(order.clone());
        fixture.read_all(&source, &order, 4);
    }
    let statistics = source.statistics();
    assert!(
        statistics.peak_held <= BUDGET && statistics.peak_held > BUDGET / 4,
        "{statistics:?}"
    );
    assert_eq!(statistics.dropped, 0);
    assert!(statistics.requests < 200, "{statistics:?}");
}

#[test]
fn samples_that_nobody_takes_give_way() {
    let fixture = Fixture::new(300, 20_000, 60);
    let server = Server::start(fixture.shards(), |_, _| Fault::None);
    let source = open(&server.url("train-{000000..000004}.tar"), &quick(BUDGET));
    let order = buffered(&source, 0, 20);
    source.plan(order.clone());
    // Only every third: as if the others were kept decoded.
    let some: Vec<u32> = order.iter().copied().step_by(3).collect();
    fixture.read_all(&source, &some, 2);
    let statistics = source.statistics();
    assert!(
        statistics.dropped > 0 && statistics.peak_held <= BUDGET,
        "{statistics:?}"
    );

    // And those that were dropped, unplanned, or taken already can still be had.
    fixture.read_all(&source, &order, 2);
    assert_eq!(source.statistics().samples, 400);
}

#[test]
fn any_order_of_reading_ends() {
    let fixture = Fixture::new(300, 20_000, 60);
    let server = Server::start(fixture.shards(), |_, _| Fault::None);
    let source = open(&server.url("train-{000000..000004}.tar"), &quick(BUDGET));
    let order = buffered(&source, 0, 20);
    source.plan(order.clone());
    // Backwards: the last that will be fetched is wanted first.
    let backwards: Vec<u32> = order.iter().rev().copied().collect();
    fixture.read_all(&source, &backwards, 3);
    assert!(source.statistics().peak_held <= BUDGET);
}

#[test]
fn one_sample_may_be_larger_than_the_bound() {
    let fixture = Fixture::new(9, 400_000, 3);
    let server = Server::start(fixture.shards(), |_, _| Fault::None);
    let source = open(&server.url("train-{000000..000002}.tar"), &quick(1 << 10));
    let order: Arc<[u32]> = (0..9).collect();
    source.plan(order.clone());
    fixture.read_all(&source, &order, 1);
    assert_eq!(source.statistics().samples, 9);
}

#[test]
fn a_source_ends_in_the_middle_of_reading() {
    let fixture = Fixture::new(100, 30_000, 50);
    let server = Server::start(fixture.shards(), |n, _| match n {
        0 => Fault::None,
        _ => Fault::Slow(std::time::Duration::from_millis(50)),
    });
    let source = open(&server.url("train-{000000..000001}.tar"), &quick(4 << 20));
    source.plan(buffered(&source, 0, 10));
    let started = std::time::Instant::now();
    drop(source);
    assert!(started.elapsed() < std::time::Duration::from_secs(1));
}
