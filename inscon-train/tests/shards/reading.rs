//! What is read is what was packed, from everywhere, in every order.

use std::sync::Arc;

use inscon_train::data::{
    Ranks, SampleError, SampleSource, ShardOptions, ShardSource, Shuffle, epoch_order,
};

use crate::fixture::{Fixture, buffered, open, quick, text};
use crate::server::{Fault, Server};

#[test]
fn shards_read_as_the_folder_does() {
    let fixture = Fixture::new(100, 9000, 30);
    for read_ahead in [0, 1 << 20] {
        let options = quick(read_ahead);
        let source = open(&text(&fixture.shards()), &options);
        assert_eq!(source.groups(), [30, 30, 30, 10]);
        assert_eq!(source.name(31), "train-000001.tar/a/00031.jpg");
        for threads in [1, 2, 8] {
            let order = buffered(&source, threads as u64, 16);
            source.plan(order.clone());
            fixture.read_all(&source, &order, threads);
        }
        let statistics = source.statistics();
        assert_eq!(statistics.samples, 300);
        assert_eq!(statistics.dropped, 0);
        if read_ahead > 0 {
            // Three epochs of four ranges, and not a request a sample.
            assert!(statistics.requests < 30, "{statistics:?}");
        }
    }
}

#[test]
fn patterns_name_the_same_shards() {
    let fixture = Fixture::new(20, 300, 6);
    let dir = text(&fixture.shards());
    let all = open(&dir, &quick(0));
    for pattern in [
        format!("{dir}/train-{{000000..000003}}.tar"),
        format!("{dir}/*.tar"),
        format!("{dir}/train-??????.tar"),
        format!("file://{dir}/train-00000{{0,1,2,3}}.tar"),
        format!("{dir}/train-000000.tar::{dir}/train-00000[123].tar"),
    ] {
        let source = open(&pattern, &quick(0));
        assert_eq!(source.groups(), all.groups(), "{pattern}");
        assert_eq!(source.place(), pattern);
        fixture.read_all(&source, &(0..20).collect::<Vec<_>>(), 1);
    }
    // The index beside them, and half a shard of a packing that goes on, are none.
    std::fs::write(fixture.shards().join("train-000004.tar.tmp"), b"half").unwrap();
    let source = open(&format!("{dir}/*"), &quick(0));
    assert_eq!(source.groups(), all.groups());
    let some = open(&format!("{dir}/train-00000{{2,0}}.tar"), &quick(0));
    assert_eq!(some.name(0), "train-000002.tar/b.1/00012.jpg");
    for (pattern, said) in [
        (format!("{dir}/val-*.tar"), "names no shards"),
        (format!("{dir}/train-000000.tar::{dir}/*.tar"), "twice"),
        (
            format!("{dir}/train-000000.tar::{dir}/../shards/train-000000.tar"),
            "twice",
        ),
        (format!("{dir}/train-{{7..7}}.tar"), "No such file"),
        (text(&fixture.dir.path().join("photos")), "names no shards"),
        (String::new(), "is empty"),
        ("ftp://a/b.tar".to_owned(), "s3://"),
    ] {
        let error = ShardSource::open(&pattern, &quick(0))
            .unwrap_err()
            .to_string();
        let named = pattern.replace("{7..7}", "7");
        assert!(error.contains(said) && error.contains(&named), "{error}");
    }
}

#[test]
fn an_index_is_made_once_and_kept() {
    let fixture = Fixture::new(50, 4000, 20);
    fixture.drop_index();
    let cache = fixture.dir.path().join("cache");
    let options = ShardOptions {
        cache: Some(cache.clone()),
        ..quick(1 << 20)
    };
    let server = Server::start(fixture.shards(), |_, _| Fault::None);
    let url = server.url("train-{000000..000002}.tar");
    for pattern in [text(&fixture.shards()), url.clone()] {
        for _ in 0..2 {
            let source = open(&pattern, &options);
            assert_eq!(source.groups(), [20, 20, 10]);
            let order = buffered(&source, 0, 8);
            source.plan(order.clone());
            fixture.read_all(&source, &order, 2);
        }
    }
    assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 6);
    let heads = |server: &Server| server.asked().iter().filter(|a| a.method == "HEAD").count();
    // Twice for an index and three lengths.
    assert_eq!(heads(&server), 8);
    let asked = server.asked().len();
    let again = open(&url, &options);
    let more = server.asked().split_off(asked);
    assert!(
        more.iter()
            .all(|a| a.method == "HEAD" || a.path.ends_with("jsonl")),
        "{more:?}"
    );
    drop(again);

    // A shard that was written again is looked into again.
    let shard = fixture.shards().join("train-000002.tar");
    let mut bytes = std::fs::read(&shard).unwrap();
    bytes.extend([0; 512]);
    std::fs::write(&shard, bytes).unwrap();
    let asked = server.asked().len();
    assert_eq!(open(&url, &options).len(), 50);
    let more = server.asked().split_off(asked);
    let scans = more.iter().filter(|a| a.range.is_some());
    assert!(scans.clone().count() > 0 && scans.clone().all(|a| a.path.ends_with("2.tar")));
}

#[test]
fn a_server_gives_each_byte_once() {
    let fixture = Fixture::new(120, 20_000, 40);
    let server = Server::start(fixture.shards(), |_, _| Fault::None);
    let source = open(&server.url("train-{000000..000002}.tar"), &quick(4 << 20));
    assert_eq!(server.asked().len(), 2, "the index");
    let order = buffered(&source, 0, 30);
    source.plan(order.clone());
    fixture.read_all(&source, &order, 3);
    let mut covered: Vec<(String, u64, u64)> = Vec::new();
    for asked in server.asked().into_iter().skip(2) {
        let range = asked.range.unwrap();
        covered.push((asked.path, range.start, range.end));
    }
    covered.sort();
    for pair in covered.windows(2) {
        assert!(pair[0].0 != pair[1].0 || pair[0].2 <= pair[1].1, "{pair:?}");
    }
    let bytes: u64 = covered.iter().map(|c| c.2 - c.1).sum();
    let statistics = source.statistics();
    let index = std::fs::metadata(fixture.shards().join("train.index.jsonl"))
        .unwrap()
        .len();
    assert_eq!(statistics.bytes, bytes + index);
    assert_eq!((statistics.samples, statistics.retries), (120, 0));
    assert_eq!(statistics.requests, covered.len() as u64 + 2);
}

#[test]
fn a_resumed_epoch_reads_the_rest_of_the_order() {
    let fixture = Fixture::new(90, 5000, 16);
    let server = Server::start(fixture.shards(), |_, _| Fault::None);
    let url = server.url("train-{000000..000005}.tar");
    let order = buffered(&open(&url, &quick(1 << 20)), 3, 20);
    for start in [1, 37, 89] {
        let source = open(&url, &quick(1 << 20));
        assert_eq!(buffered(&source, 3, 20), order);
        let rest: Arc<[u32]> = order[start..].into();
        source.plan(rest.clone());
        fixture.read_all(&source, &rest, 4);
        assert_eq!(source.statistics().samples, 90 - start as u64);
    }
}

#[test]
fn ranks_read_disjoint_parts() {
    let fixture = Fixture::new(64, 5000, 16);
    let server = Server::start(fixture.shards(), |_, _| Fault::None);
    let mut seen = Vec::new();
    for rank in 0..3 {
        let source = open(&server.url("train-{000000..000003}.tar"), &quick(1 << 20));
        let order = epoch_order(1, 0, source.groups(), Shuffle::Buffer { size: 20 });
        let mine: Arc<[u32]> = Ranks::new(rank, 3).order(&order, 12, 0).into();
        source.plan(mine.clone());
        fixture.read_all(&source, &mine, 2);
        seen.extend(mine.iter().copied());
        assert_eq!(source.statistics().samples, 20);
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 60, "five whole batches of twelve");
}

#[test]
fn a_full_shuffle_reads_samples_one_by_one() {
    let fixture = Fixture::new(80, 20_000, 20);
    let server = Server::start(fixture.shards(), |_, _| Fault::None);
    let source = open(&server.url("train-{000000..000003}.tar"), &quick(100_000));
    for epoch in 0..2 {
        let order: Arc<[u32]> = epoch_order(2, epoch, source.groups(), Shuffle::Full).into();
        source.plan(order.clone());
        fixture.read_all(&source, &order, 4);
    }
    let statistics = source.statistics();
    assert_eq!(statistics.samples, 160);
    assert_eq!(statistics.requests, 162);
    assert!(statistics.peak_held <= 100_000, "{statistics:?}");
}

/// One that is too long is unreadable, is not fetched, and keeps none of the others from coming.
#[test]
fn samples_may_be_bounded() {
    let fixture = Fixture::new(60, 300_000, 20);
    let server = Server::start(fixture.shards(), |_, _| Fault::None);
    for (pattern, read_ahead) in [
        (server.url("train-{000000..000002}.tar"), 4 << 20),
        (server.url("train-{000000..000002}.tar"), 100_000),
        (text(&fixture.shards()), 0),
    ] {
        let options = ShardOptions {
            max_sample: 200_000,
            ..quick(read_ahead)
        };
        let source = open(&pattern, &options);
        let order = buffered(&source, 0, 10);
        source.plan(order.clone());
        let mut bytes = Vec::new();
        let mut short = 0;
        for &sample in order.iter() {
            let known = &fixture.images[sample as usize].1;
            match source.read(sample as usize, &mut bytes) {
                Ok(()) => {
                    assert!(known.len() <= 200_000 && bytes == *known);
                    short += 1;
                }
                Err(SampleError::Unreadable(said)) => {
                    assert!(known.len() > 200_000 && said.contains("data.max_image_mib"));
                }
                Err(error) => panic!("{error}"),
            }
        }
        // Of sixty, those from the 26th to the 37th are long, but for two that are blocks.
        assert_eq!(short, 50);
        let statistics = source.statistics();
        assert_eq!((statistics.samples, statistics.dropped), (short, 0));
    }
}
