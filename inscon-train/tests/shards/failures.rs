//! A store that fails: everything arrives, once, or the error says what to do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use inscon_train::data::{RetryPolicy, SampleError, SampleSource, ShardOptions, ShardSource};

use crate::fixture::{Fixture, buffered, open, quick, text};
use crate::server::{Fault, Server};

/// Two epochs from a server whose requests meet `faults`, and what they cost.
fn survives(
    faults: impl Fn(usize, &str) -> Fault + Send + Sync + 'static,
) -> (Server, ShardSource, u64) {
    let fixture = Fixture::new(150, 30_000, 50);
    let server = Server::start(fixture.shards(), faults);
    let source = open(&server.url("train-{000000..000002}.tar"), &quick(4 << 20));
    for epoch in 0..2 {
        let order = buffered(&source, epoch, 40);
        source.plan(order.clone());
        fixture.read_all(&source, &order, 3);
    }
    assert_eq!(source.statistics().samples, 300);
    let shards = std::fs::read_dir(fixture.shards()).unwrap();
    let bytes = shards.map(|shard| shard.unwrap().metadata().unwrap().len());
    (server, source, bytes.sum())
}

#[test]
fn connections_cut_in_the_middle() {
    let (server, source, shard_bytes) = survives(|n, path| match (n % 3, path.ends_with("tar")) {
        (0 | 1, true) => Fault::Cut(100_000 + 777 * n),
        _ => Fault::None,
    });
    let statistics = source.statistics();
    let cut = server
        .asked()
        .iter()
        .filter(|a| a.fault != Fault::None)
        .count();
    assert!(
        cut > 5 && statistics.retries as usize <= cut,
        "{cut}, {statistics:?}"
    );
    // Each goes on where it was: no byte comes twice but for what was under way.
    let index = "train.index.jsonl";
    let mut reached = std::collections::BTreeMap::new();
    let mut resumed = 0;
    for asked in server.asked().into_iter().filter(|a| a.path != index) {
        let range = asked.range.unwrap();
        let end = (asked.path, range.end);
        let before = reached.insert(end, range.start);
        resumed += usize::from(before.is_some_and(|before| before < range.start));
    }
    assert!(resumed > 3, "{resumed}");
    assert!(
        statistics.bytes <= 2 * shard_bytes + 100_000,
        "{statistics:?}"
    );
}

#[test]
fn servers_in_trouble() {
    let (server, source, _) = survives(|n, _| match n % 4 {
        0 => Fault::Status(500),
        1 => Fault::Status(503),
        2 => Fault::Status(429),
        _ => Fault::None,
    });
    let statistics = source.statistics();
    let failed = server
        .asked()
        .iter()
        .filter(|a| a.fault != Fault::None)
        .count() as u64;
    assert_eq!(statistics.retries, failed);
    assert_eq!(statistics.requests, server.asked().len() as u64);
}

#[test]
fn connections_closed_without_an_answer() {
    let (_, source, _) = survives(|n, _| if n % 2 == 0 { Fault::Hang } else { Fault::None });
    assert!(source.statistics().retries > 3);
}

#[test]
fn bodies_that_end_early() {
    let (_, source, _) = survives(|n, path| match path.ends_with("tar") && n % 2 == 0 {
        true => Fault::Short(70_000),
        false => Fault::None,
    });
    assert!(source.statistics().retries > 3);
}

#[test]
fn connections_that_fall_silent() {
    let (_, source, _) = survives(|n, path| match path.ends_with("tar") && n % 5 == 1 {
        true => Fault::Stall(200_000),
        false => Fault::None,
    });
    assert!(source.statistics().retries >= 1);
}

#[test]
fn a_slow_server_is_no_failure() {
    let (_, source, _) = survives(|_, _| Fault::Slow(Duration::from_millis(5)));
    let statistics = source.statistics();
    assert_eq!(statistics.retries, 0);
    assert!(
        statistics.waited > 0.1 && statistics.waits > 0,
        "{statistics:?}"
    );
}

#[test]
fn scans_go_on_after_failures() {
    let fixture = Fixture::new(150, 30_000, 50);
    fixture.drop_index();
    let server = Server::start(fixture.shards(), |n, path| match path.ends_with("tar") {
        true if n % 2 == 0 => Fault::Cut(300_000),
        _ => Fault::None,
    });
    let source = open(&server.url("train-{000000..000002}.tar"), &quick(0));
    assert_eq!(source.groups(), [50, 50, 50]);
    fixture.read_all(&source, &(0..150).collect::<Vec<_>>(), 2);
    assert!(source.statistics().retries > 0);
}

#[test]
fn nobody_there_is_said_after_a_while() {
    let fixture = Fixture::new(10, 1000, 5);
    let server = Server::start(fixture.shards(), |_, _| Fault::None);
    let url = server.url("train-{000000..000001}.tar");
    let options = ShardOptions {
        retry: RetryPolicy {
            give_up: Duration::from_millis(300),
            give_up_opening: Duration::from_millis(300),
            ..quick(0).retry
        },
        ..quick(1 << 20)
    };
    let source = open(&url, &options);
    drop(server);
    let order = buffered(&source, 0, 4);
    source.plan(order.clone());
    let started = Instant::now();
    let mut bytes = Vec::new();
    for _ in 0..2 {
        let error = source.read(order[0] as usize, &mut bytes).unwrap_err();
        let SampleError::Source(said) = &error else {
            panic!("{error:?}")
        };
        assert!(
            said.contains("gave up on http://127.0.0.1") && said.contains("tries"),
            "{said}"
        );
        assert!(
            said.to_lowercase().contains("refused") || said.contains("connect"),
            "{said}"
        );
        assert!(said.contains("it goes on where it was"), "{said}");
    }
    assert!(started.elapsed() < Duration::from_secs(3));
    let error = ShardSource::open(&url, &options).unwrap_err().to_string();
    assert!(error.contains("gave up on"), "{error}");
}

#[test]
fn answers_that_stay_are_said_at_once() {
    for (fault, said) in [
        (Fault::Status(404), "there is no http"),
        (Fault::Status(403), "not allowed to read"),
        (Fault::Status(401), "AWS_ACCESS_KEY_ID"),
        (Fault::Status(400), "400"),
        (Fault::NoRange, "no HTTP ranges"),
    ] {
        let fixture = Fixture::new(10, 1000, 5);
        let server = Server::start(fixture.shards(), move |_, path| {
            match path.ends_with("tar") {
                true => fault,
                false => Fault::None,
            }
        });
        let source = open(&server.url("train-{000000..000001}.tar"), &quick(1 << 20));
        let order = buffered(&source, 0, 4);
        source.plan(order.clone());
        let started = Instant::now();
        let error = source
            .read(order[0] as usize, &mut Vec::new())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(said) && error.contains("/train-00000"),
            "{error}"
        );
        assert!(started.elapsed() < Duration::from_secs(3));
        assert_eq!(source.statistics().retries, 0, "{fault:?}");
    }
    let fixture = Fixture::new(10, 1000, 5);
    let server = Server::start(fixture.shards(), |_, _| Fault::None);
    let error = ShardSource::open(&server.url("val-{0..1}.tar"), &quick(0))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("there is no") && error.contains("val-0.tar"),
        "{error}"
    );
    let error = ShardSource::open(&server.url("*.tar"), &quick(0))
        .unwrap_err()
        .to_string();
    assert!(error.contains("train-{000000..000146}.tar"), "{error}");
}

#[test]
fn a_shard_that_changed_is_noticed() {
    let fixture = Fixture::new(30, 3000, 10);
    let server = Server::start(fixture.shards(), |_, _| Fault::None);
    let url = server.url("train-{000000..000002}.tar");
    let files = text(&fixture.shards());
    let read = |pattern: &str| {
        let source = open(pattern, &quick(1 << 20));
        let order: Arc<[u32]> = (0..30).collect();
        source.plan(order.clone());
        let mut bytes = Vec::new();
        let read = order.iter().map(|&s| source.read(s as usize, &mut bytes));
        read.collect::<Result<Vec<()>, _>>()
            .unwrap_err()
            .to_string()
    };
    // Other members, as many bytes.
    let shard = fixture.shards().join("train-000001.tar");
    let whole = std::fs::read(&shard).unwrap();
    let mut moved = whole.clone();
    moved.rotate_left(512);
    std::fs::write(&shard, &moved).unwrap();
    for pattern in [&url, &files] {
        let error = read(pattern);
        assert!(
            error.contains("train-000001.tar is not the shard of its index"),
            "{error}"
        );
        assert!(error.contains("no member at byte"), "{error}");
    }
    std::fs::write(&shard, &whole[..whole.len() - 512]).unwrap();
    let error = read(&url);
    assert!(
        error.contains(&format!(
            "{} bytes instead of {}",
            whole.len() - 512,
            whole.len()
        )),
        "{error}"
    );
    let error = ShardSource::open(&files, &quick(0))
        .unwrap_err()
        .to_string();
    assert!(error.contains("bytes instead of"), "{error}");
}

/// A shard of this machine that is written again while a run reads it.
#[test]
fn a_file_that_changes_under_a_run_is_noticed() {
    for read_ahead in [0, 1 << 20] {
        let fixture = Fixture::new(30, 3000, 10);
        let source = open(&text(&fixture.shards()), &quick(read_ahead));
        let shard = fixture.shards().join("train-000001.tar");
        let whole = std::fs::read(&shard).unwrap();
        // Longer: every image would still be where it was.
        let mut longer = whole.clone();
        longer.extend([0; 512]);
        std::fs::write(&shard, &longer).unwrap();
        source.plan((0..30).collect());
        let error = source.read(12, &mut Vec::new()).unwrap_err().to_string();
        let said = format!("{} bytes instead of {}", longer.len(), whole.len());
        assert!(
            error.contains(&said) && error.contains("train-000001.tar"),
            "{error}"
        );
        std::fs::remove_file(&shard).unwrap();
        let source = ShardSource::open(&text(&shard), &quick(read_ahead));
        let error = source.unwrap_err().to_string();
        assert!(error.contains("data.pretrain_shards"), "{error}");
    }
}

#[test]
fn broken_shards_name_the_place() {
    let fixture = Fixture::new(30, 3000, 10);
    fixture.drop_index();
    let shard = fixture.shards().join("train-000001.tar");
    let whole = std::fs::read(&shard).unwrap();
    std::fs::write(&shard, &whole[..whole.len() / 2]).unwrap();
    let server = Server::start(fixture.shards(), |_, _| Fault::None);
    for pattern in [
        text(&fixture.shards()),
        server.url("train-{000000..000002}.tar"),
    ] {
        let error = ShardSource::open(&pattern, &quick(0))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("train-000001.tar is broken at byte"),
            "{error}"
        );
        assert!(error.contains("copy it again"), "{error}");
    }
}
