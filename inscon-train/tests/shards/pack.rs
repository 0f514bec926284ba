//! Packing: the same bytes everywhere, nothing overwritten, gone on with after a stop.

use std::collections::BTreeMap;
use std::path::Path;

use inscon_train::Interrupt;
use inscon_train::data::{SampleSource, tar_key};
use inscon_train::pack::{PackArgs, PackError, ShardSize, pack};

use crate::fixture::{Fixture, open, quick, text};

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let file = |path: std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, std::fs::read(path).unwrap())
    };
    entries.map(file).collect()
}

#[test]
fn shards_are_what_tar_reads() {
    let fixture = Fixture::new(40, 3000, 15);
    let mut at = 0;
    for (name, bytes) in files(&fixture.shards())
        .iter()
        .filter(|f| f.0.ends_with("tar"))
    {
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let (member, known) = &fixture.images[at];
            assert_eq!(entry.path().unwrap().to_str().unwrap(), member, "{name}");
            let header = entry.header();
            assert_eq!((header.mtime().unwrap(), header.uid().unwrap()), (0, 0));
            let mut image = Vec::new();
            std::io::copy(&mut entry, &mut image).unwrap();
            assert_eq!(image, *known);
            assert!(tar_key(member).is_some());
            at += 1;
        }
    }
    assert_eq!(at, 40);
}

#[test]
fn the_index_is_the_scan() {
    let fixture = Fixture::new(40, 3000, 15);
    let indexed = open(&text(&fixture.shards()), &quick(0));
    fixture.drop_index();
    let scanned = open(&text(&fixture.shards()), &quick(0));
    assert_eq!(indexed.groups(), scanned.groups());
    assert!((0..40).all(|i| indexed.name(i) == scanned.name(i)));
    fixture.read_all(&scanned, &(0..40).collect::<Vec<_>>(), 1);
}

#[test]
fn packing_again_changes_nothing_and_elsewhere_gives_the_same() {
    let fixture = Fixture::new(40, 3000, 15);
    let before = files(&fixture.shards());
    assert_eq!(before.len(), 4);
    let again = pack(&fixture.args(15), &Interrupt::default()).unwrap();
    assert_eq!(
        (again.shards, again.images, again.is_complete),
        (3, 40, true)
    );
    assert_eq!(files(&fixture.shards()), before);
    let elsewhere = PackArgs {
        out: fixture.dir.path().join("more/shards"),
        ..fixture.args(15)
    };
    pack(&elsewhere, &Interrupt::default()).unwrap();
    assert_eq!(files(&elsewhere.out), before);
}

#[test]
fn a_stopped_packing_goes_on() {
    let fixture = Fixture::new(40, 3000, 15);
    let whole = files(&fixture.shards());
    let args = PackArgs {
        out: fixture.dir.path().join("stopped"),
        ..fixture.args(15)
    };
    let stop = Interrupt::manual();
    stop.raise();
    let none = pack(&args, &stop).unwrap();
    assert_eq!((none.shards, none.is_complete), (0, false));
    // Stopped within the second shard, by an image that is not there for a while.
    let missing = fixture
        .dir
        .path()
        .join("photos")
        .join(&fixture.images[20].0);
    let aside = fixture.dir.path().join("aside");
    std::fs::create_dir(&aside).unwrap();
    std::fs::rename(&missing, aside.join("x.jpg")).unwrap();
    std::os::unix::fs::symlink(aside.join("gone"), &missing).unwrap();
    let error = pack(&args, &Interrupt::default()).unwrap_err();
    assert!(
        matches!(&error, PackError::Image { path, .. } if *path == missing),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("goes on after the last whole shard"),
        "{error}"
    );
    let part = files(&args.out);
    assert_eq!(
        part.keys().collect::<Vec<_>>(),
        ["train-000000.tar", "train.index.jsonl.part"]
    );
    // A crash leaves half a shard, or a line whose shard has not got its name, and half a line.
    let log = args.out.join("train.index.jsonl.part");
    let lines = String::from_utf8(whole["train.index.jsonl"].clone()).unwrap();
    let second = lines.lines().nth(2).unwrap();
    let mut torn = part["train.index.jsonl.part"].clone();
    torn.extend(format!("{second}\n{{\"shard\":\"train-0000").bytes());
    std::fs::write(&log, torn).unwrap();
    std::fs::write(args.out.join("train-000001.tar.tmp"), b"half").unwrap();
    std::fs::remove_file(&missing).unwrap();
    std::fs::rename(aside.join("x.jpg"), &missing).unwrap();
    let first = std::fs::metadata(args.out.join("train-000000.tar"))
        .unwrap()
        .modified()
        .unwrap();
    assert!(pack(&args, &Interrupt::default()).unwrap().is_complete);
    assert_eq!(files(&args.out), whole);
    let still = std::fs::metadata(args.out.join("train-000000.tar"))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(first, still, "the first shard was not packed again");
}

#[test]
fn nothing_is_overwritten() {
    let fixture = Fixture::new(40, 3000, 15);
    let before = files(&fixture.shards());
    let refused = |args: &PackArgs| {
        let error = pack(args, &Interrupt::default()).unwrap_err().to_string();
        assert!(error.contains("nothing is overwritten"), "{error}");
        error
    };
    assert!(refused(&fixture.args(16)).contains("shard size 15, shuffle none there"));
    let shuffled = PackArgs {
        shuffle: Some(1),
        ..fixture.args(15)
    };
    assert!(refused(&shuffled).contains("shuffle 1 now"));
    std::fs::write(fixture.dir.path().join("photos/c.jpg"), b"more").unwrap();
    assert!(refused(&fixture.args(15)).contains("40 images"));
    std::fs::remove_file(fixture.dir.path().join("photos/c.jpg")).unwrap();
    assert_eq!(files(&fixture.shards()), before);
    fixture.drop_index();
    assert!(
        refused(&fixture.args(15)).contains("train-000000.tar is there already without its index")
    );
}

#[test]
fn shards_of_others_are_not_replaced() {
    let fixture = Fixture::new(40, 3000, 15);
    let out = fixture.dir.path().join("new");
    std::fs::create_dir(&out).unwrap();
    let args = PackArgs {
        out: out.clone(),
        ..fixture.args(15)
    };
    // Of another set: in nobody's way.
    std::fs::write(out.join("train-val-000000.tar"), b"other").unwrap();
    let theirs = out.join("train-000001.tar");
    std::fs::write(&theirs, b"theirs").unwrap();
    let error = pack(&args, &Interrupt::default()).unwrap_err().to_string();
    assert!(
        error.contains("train-000001.tar is there already without its index"),
        "{error}"
    );
    // Nor when it comes between a stop and the next call.
    std::fs::remove_file(&theirs).unwrap();
    let stop = Interrupt::manual();
    stop.raise();
    assert!(!pack(&args, &stop).unwrap().is_complete);
    std::fs::write(&theirs, b"theirs").unwrap();
    let error = pack(&args, &Interrupt::default()).unwrap_err().to_string();
    assert!(
        error.contains("train-000001.tar") && error.contains("would go on"),
        "{error}"
    );
    assert_eq!(std::fs::read(&theirs).unwrap(), b"theirs");
    std::fs::remove_file(&theirs).unwrap();
    assert!(pack(&args, &Interrupt::default()).unwrap().is_complete);
}

/// Images of the same names and other contents are other images.
#[test]
fn images_that_changed_are_not_taken_for_packed() {
    let fixture = Fixture::new(40, 3000, 15);
    let photo = |at: usize| {
        fixture
            .dir
            .path()
            .join("photos")
            .join(&fixture.images[at].0)
    };
    let (path, bytes) = (photo(20), &fixture.images[20].1);
    let packed = std::fs::metadata(&path).unwrap().modified().unwrap();
    let set = |bytes: &[u8], time| {
        std::fs::write(&path, bytes).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(time).unwrap();
    };
    let again = || pack(&fixture.args(15), &Interrupt::default());
    for (bytes, time) in [
        (&b"shorter"[..], packed),
        (bytes, packed + std::time::Duration::from_secs(1)),
    ] {
        set(bytes, time);
        let error = again().unwrap_err().to_string();
        assert!(
            error.contains("images in train-000001.tar have changed"),
            "{error}"
        );
    }
    set(bytes, packed);
    assert!(again().unwrap().is_complete);

    // What is not packed yet may change.
    let (index, part) = ("train.index.jsonl", "train.index.jsonl.part");
    let lines = std::fs::read_to_string(fixture.shards().join(index)).unwrap();
    let two: Vec<&str> = lines.lines().take(3).collect();
    fixture.drop_index();
    std::fs::write(fixture.shards().join(part), two.join("\n") + "\n").unwrap();
    std::fs::remove_file(fixture.shards().join("train-000002.tar")).unwrap();
    std::fs::write(photo(39), b"another").unwrap();
    assert_eq!(again().unwrap().shards, 3);
    let source = open(&text(&fixture.shards()), &quick(0));
    let mut read = Vec::new();
    source.read(39, &mut read).unwrap();
    assert_eq!(read, b"another");
}

#[test]
fn sizes_in_bytes_are_told_apart() {
    let sizes = [1, 2, 1 << 20, (1 << 20) + 1, 5 << 20].map(|n| ShardSize::Bytes(n).to_string());
    assert_eq!(
        sizes,
        ["1 bytes", "2 bytes", "1MiB", "1048577 bytes", "5MiB"]
    );
}

#[test]
fn shards_may_be_shuffled_and_sized_in_bytes() {
    let fixture = Fixture::new(60, 40_000, 15);
    let args = PackArgs {
        out: fixture.dir.path().join("mixed"),
        name: "mixed".into(),
        shard_size: ShardSize::Bytes(1 << 20),
        shuffle: Some(5),
        ..fixture.args(0)
    };
    let packed = pack(&args, &Interrupt::default()).unwrap();
    let shards = files(&args.out);
    assert!(shards.contains_key("mixed-000000.tar") && packed.shards >= 2);
    let most = shards
        .iter()
        .filter(|f| f.0.ends_with("tar"))
        .map(|f| f.1.len());
    assert!(most.clone().all(|bytes| bytes <= 1 << 20) && most.clone().max() > Some(1_000_000));
    let source = open(&text(&args.out), &quick(0));
    let mut names: Vec<_> = (0..60).map(|i| source.name(i)).collect();
    assert!(!names.is_sorted());
    names
        .iter_mut()
        .for_each(|name| *name = name.split_once('/').unwrap().1.to_owned());
    names.sort();
    assert!(names.iter().eq(fixture.images.iter().map(|image| &image.0)));
}

#[test]
fn keys_that_would_meet_are_kept_apart() {
    let dir = tempfile::tempdir().unwrap();
    let photos = dir.path().join("photos");
    std::fs::create_dir(&photos).unwrap();
    for name in ["a.jpg", "a.png", "a.b.jpg", "ü.webp"] {
        std::fs::write(photos.join(name), name).unwrap();
    }
    let args = PackArgs {
        images: photos.clone(),
        out: dir.path().join("out"),
        name: "t".into(),
        shard_size: ShardSize::Images(100),
        shuffle: None,
    };
    pack(&args, &Interrupt::default()).unwrap();
    std::fs::remove_file(args.out.join("t.index.jsonl")).unwrap();
    // Found again without the index: each is a sample of its own.
    let source = open(&text(&args.out), &quick(0));
    let names: Vec<_> = (0..source.len()).map(|i| source.name(i)).collect();
    assert_eq!(
        names,
        ["a_b.jpg", "a.jpg", "a_2.png", "ü.webp"].map(|name| format!("t-000000.tar/{name}"))
    );
    let wrong = PackArgs {
        name: "a/b".into(),
        ..args
    };
    let error = pack(&wrong, &Interrupt::default()).unwrap_err().to_string();
    assert!(error.contains("--name \"a/b\""), "{error}");
}
