//! JPEGs with one thing wrong, or absurd.

use super::Expected::{Broken, Ok, Partly};
use super::{Variant, parts, whole};

/// A side of the decompression bombs, in pixels.
pub(super) const BOMB: u16 = 50_000;

/// A marker segment and the entropy-coded data behind it.
#[derive(Clone)]
struct Segment {
    marker: u8,
    body: Vec<u8>,
    /// The length that the file states, if it lies.
    length: Option<u16>,
    data: Vec<u8>,
}

impl Segment {
    fn new(marker: u8, body: &[u8]) -> Self {
        Self {
            marker,
            body: body.to_vec(),
            length: None,
            data: Vec::new(),
        }
    }
}

/// The segments between start and end of image.
fn split(file: &[u8]) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut at = 2;
    while file[at + 1] != 0xd9 {
        let length = usize::from(u16::from_be_bytes([file[at + 2], file[at + 3]]));
        let mut segment = Segment::new(file[at + 1], &file[at + 4..at + 2 + length]);
        at += 2 + length;
        let start = at;
        while file[at] != 0xff || matches!(file[at + 1], 0 | 0xd0..=0xd7) {
            at += 1;
        }
        segment.data = file[start..at].to_vec();
        segments.push(segment);
    }
    segments
}

fn join(segments: &[Segment]) -> Vec<u8> {
    let mut file = vec![0xff, 0xd8];
    for segment in segments {
        let length = segment.length.unwrap_or(segment.body.len() as u16 + 2);
        file.extend([0xff, segment.marker]);
        file.extend(length.to_be_bytes());
        file.extend(&segment.body);
        file.extend(&segment.data);
    }
    file.extend([0xff, 0xd9]);
    file
}

/// A file whose segments with one of these markers are changed.
fn changed(file: &[u8], markers: &[u8], change: impl Fn(&mut Segment)) -> Vec<u8> {
    let mut segments = split(file);
    for segment in &mut segments {
        if markers.contains(&segment.marker) {
            change(segment);
        }
    }
    join(&segments)
}

/// A file with a segment behind its first one.
fn with(file: &[u8], segment: Segment) -> Vec<u8> {
    let mut segments = split(file);
    segments.insert(1, segment);
    join(&segments)
}

fn without(file: &[u8], marker: u8) -> Vec<u8> {
    let mut segments = split(file);
    segments.retain(|s| s.marker != marker);
    join(&segments)
}

/// Exif data around an image file directory of one entry: its tag, type, count and value, and where
/// the next directory is.
pub(crate) fn exif(tag: u16, kind: u16, count: u32, value: u32, next: u32) -> Vec<u8> {
    let mut data = b"II*\0\x08\0\0\0\x01\0".to_vec();
    data.extend(tag.to_le_bytes());
    data.extend(kind.to_le_bytes());
    for number in [count, value, next] {
        data.extend(number.to_le_bytes());
    }
    data
}

/// Exif data that say nothing sensible.
pub(super) fn absurd_exifs() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("exif_loop", exif(0x0100, 3, 1, 8, 8)),
        ("exif_self", exif(0x8769, 4, 1, 8, 0)),
        ("exif_count", exif(0x0112, 3, u32::MAX, 8, 0)),
        ("exif_beyond", exif(0x0112, 3, 9, 0xffff_fff0, u32::MAX)),
        ("exif_orientation_0", exif(0x0112, 3, 1, 0, 0)),
        ("exif_orientation_9", exif(0x0112, 3, 1, 9, 0)),
        ("exif_type", exif(0x0112, 77, 1, 6, 0)),
        ("exif_empty", vec![]),
        ("exif_entries", b"II*\0\x08\0\0\0\xff\xff".to_vec()),
        ("exif_garbage", vec![0xa5; 300]),
        ("exif_offset", b"MM\0*\xff\xff\xff\xff".to_vec()),
    ]
}

pub(super) fn files() -> Vec<Variant> {
    let mut all = frames();
    all.extend(tables());
    all.extend(scans());
    all.extend(applications());
    all.extend(bombs());
    all
}

/// What a frame header can say.
fn frames() -> Vec<Variant> {
    let rgb = whole("decode/rgb.jpg");
    let frame = |change: &dyn Fn(&mut Vec<u8>)| changed(rgb, &[0xc0], |s| change(&mut s.body));
    let process = |marker| changed(rgb, &[0xc0], |s| s.marker = marker);
    let second = with(rgb, split(rgb)[3].clone());
    let mut twice = rgb.to_vec();
    twice.splice(20..20, [0xff, 0xd8]);
    let mut all = vec![
        ("frame_arithmetic", process(0xc9), Broken),
        ("frame_arithmetic_progressive", process(0xca), Broken),
        ("frame_lossless", process(0xc3), Broken),
        ("frame_hierarchical", process(0xc5), Broken),
        ("frame_hierarchical_lossless", process(0xcf), Broken),
        ("frame_extended", process(0xc1), Ok),
        ("frame_reserved", process(0xc8), Broken),
        ("frame_12_bits", frame(&|b| b[0] = 12), Broken),
        ("frame_16_bits", frame(&|b| b[0] = 16), Broken),
        ("frame_0_bits", frame(&|b| b[0] = 0), Broken),
        ("frame_no_rows", frame(&|b| b[1..3].fill(0)), Broken),
        ("frame_no_columns", frame(&|b| b[3..5].fill(0)), Broken),
        ("frame_taller", frame(&|b| b[2] = 200), Partly),
        ("frame_0_components", frame(&|b| b[5] = 0), Broken),
        ("frame_2_components", frame(&|b| b[5] = 2), Broken),
        ("frame_4_components", frame(&|b| b[5] = 4), Broken),
        ("frame_255_components", frame(&|b| b[5] = 255), Broken),
        ("frame_sampling_0", frame(&|b| b[7] = 0x20), Broken),
        ("frame_sampling_5", frame(&|b| b[7] = 0x51), Broken),
        ("frame_sampling_15", frame(&|b| b[10] = 0xff), Broken),
        (
            "frame_sampling_3_of_2",
            frame(&|b| (b[7], b[10]) = (0x31, 0x21)),
            Broken,
        ),
        ("frame_18_blocks", frame(&|b| b[7] = 0x44), Broken),
        ("frame_short", frame(&|b| b.truncate(3)), Broken),
        ("frame_long", frame(&|b| b.extend([0; 90])), Broken),
        ("frame_table_3", frame(&|b| b[8] = 3), Broken),
        ("frame_table_200", frame(&|b| b[8] = 200), Broken),
        ("frame_same_ids", frame(&|b| (b[9], b[12]) = (1, 1)), Broken),
        ("frame_second", second, Broken),
        ("frame_missing", without(rgb, 0xc0), Broken),
        ("second_start", twice, Broken),
    ];
    // The sampling of the second one fits nothing that the first has had made room for.
    let cmyk = whole("decode/cmyk.jpg");
    let mut again = split(cmyk);
    let mut frame = again.iter().find(|s| s.marker == 0xc0).cloned();
    if let Some(frame) = &mut frame {
        frame.body[16] = 0x41;
        let rest = again.clone();
        again.push(frame.clone());
        again.extend(rest.into_iter().filter(|s| s.marker == 0xda));
    }
    all.push(("frame_second_of_cmyk", join(&again), Broken));
    let end_only = vec![0xff, 0xd8, 0xff, 0xd9];
    all.push(("end_only", end_only, Broken));
    all.into_iter().map(named).collect()
}

/// Quantisation and Huffman tables, and the restart interval.
fn tables() -> Vec<Variant> {
    let (rgb, progressive) = (whole("decode/rgb.jpg"), whole("decode/progressive.jpg"));
    let restart = whole("jpeg/restart_1.jpg");
    let of = |marker: u8, change: &dyn Fn(&mut Vec<u8>)| {
        changed(rgb, &[marker], |s| change(&mut s.body))
    };
    let interval = |bytes: &[u8]| with(rgb, Segment::new(0xdd, bytes));
    let markers = |change: &dyn Fn(&mut Vec<u8>, usize)| {
        changed(restart, &[0xda], |s| {
            let found = s.data.windows(2).position(|w| w == [0xff, 0xd1]);
            change(&mut s.data, found.unwrap_or(0));
        })
    };
    let all = vec![
        ("tables_no_quantisation", without(rgb, 0xdb), Broken),
        (
            "tables_no_quantisation_progressive",
            without(progressive, 0xdb),
            Broken,
        ),
        (
            "tables_quantisation_number",
            of(0xdb, &|b| b[0] = 7),
            Broken,
        ),
        (
            "tables_quantisation_short",
            of(0xdb, &|b| b.truncate(40)),
            Broken,
        ),
        (
            "tables_quantisation_bits",
            of(0xdb, &|b| b[0] |= 0x10),
            Broken,
        ),
        (
            "tables_quantisation_zeros",
            of(0xdb, &|b| b[1..].fill(0)),
            Ok,
        ),
        // The standard's tables, which the file has as well.
        ("tables_no_huffman", without(rgb, 0xc4), Ok),
        (
            "tables_no_huffman_progressive",
            without(progressive, 0xc4),
            Broken,
        ),
        (
            "tables_overfull",
            of(0xc4, &|b| {
                if b[0] < 0x10 {
                    b[1..17].fill(0);
                    b[1..5].fill(3);
                }
            }),
            Broken,
        ),
        ("tables_overfull_late", of(0xc4, &|b| b[1] = 2), Broken),
        ("tables_257_codes", of(0xc4, &|b| b[1..17].fill(17)), Broken),
        ("tables_huffman_class", of(0xc4, &|b| b[0] |= 0x20), Broken),
        ("tables_huffman_number", of(0xc4, &|b| b[0] |= 9), Broken),
        (
            "tables_huffman_short",
            of(0xc4, &|b| b.truncate(20)),
            Broken,
        ),
        (
            "tables_huffman_no_codes",
            of(0xc4, &|b| {
                b.truncate(17);
                b[1..].fill(0);
            }),
            Broken,
        ),
        ("restart_length", interval(&[0, 1, 0]), Broken),
        ("restart_missing", interval(&[0, 1]), Broken),
        ("restart_huge", interval(&[255, 255]), Ok),
        ("restart_zero", interval(&[0, 0]), Ok),
        ("restart_other", markers(&|d, at| d[at + 1] = 0xd5), Broken),
        (
            "restart_left_out",
            markers(&|d, at| drop(d.drain(at..at + 2))),
            Partly,
        ),
        (
            "restart_twice",
            markers(&|d, at| drop(d.splice(at..at, [0xff, 0xd1]))),
            Partly,
        ),
        (
            "restart_swapped",
            markers(&|d, at| {
                for byte in &mut d[at - 1..] {
                    if (0xd0..=0xd7).contains(byte) {
                        *byte ^= 1;
                    }
                }
            }),
            Broken,
        ),
    ];
    all.into_iter().map(named).collect()
}

/// Scan headers, their order and number.
fn scans() -> Vec<Variant> {
    let (rgb, progressive) = (whole("decode/rgb.jpg"), whole("decode/progressive.jpg"));
    let scan = |change: &dyn Fn(&mut Vec<u8>)| changed(rgb, &[0xda], |s| change(&mut s.body));
    let nth = |n: usize| {
        let all = split(progressive);
        let mut positions = (0..all.len()).filter(|&i| all[i].marker == 0xda);
        let at = positions.nth(n).unwrap_or(0);
        (all, at)
    };
    let edited = |n: usize, change: &dyn Fn(&mut Vec<Segment>, usize)| {
        let (mut all, at) = nth(n);
        change(&mut all, at);
        join(&all)
    };
    let of = |n: usize, at: usize, value: u8| edited(n, &|s, i| s[i].body[at] = value);
    let many = edited(1, &|s, i| {
        let scan = s[i].clone();
        s.splice(i..i, std::iter::repeat_n(scan, 10_000));
    });
    let twice = changed(rgb, &[0xda], |s| {
        s.data
            .extend([0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0, 0x55, 0x55]);
    });
    let all = vec![
        ("scan_no_components", scan(&|b| b[0] = 0), Broken),
        ("scan_4_components", scan(&|b| b[0] = 4), Broken),
        ("scan_unknown_component", scan(&|b| b[3] = 99), Broken),
        ("scan_same_component", scan(&|b| b[3] = 1), Broken),
        ("scan_table_numbers", scan(&|b| b[2] = 0xee), Broken),
        ("scan_short", scan(&|b| b.truncate(5)), Broken),
        ("scan_empty", scan(&|b| b.clear()), Broken),
        // libjpeg warns of a sequential scan's band and goes on.
        (
            "scan_band_of_sequential",
            scan(&|b| b[7..10].copy_from_slice(&[9, 3, 0x77])),
            Ok,
        ),
        ("scan_behind_the_last", twice, Broken),
        ("scan_missing", without(rgb, 0xda), Broken),
        (
            "scan_without_data",
            changed(rgb, &[0xda], |s| s.data.clear()),
            Broken,
        ),
        (
            "scan_of_zeros",
            changed(rgb, &[0xda], |s| s.data.fill(0)),
            Broken,
        ),
        (
            "scan_of_ones",
            changed(rgb, &[0xda], |s| s.data = [0xff, 0].repeat(99)),
            Broken,
        ),
        ("scans_band_backwards", of(1, 3, 9), Broken),
        ("scans_band_64", of(1, 4, 64), Broken),
        ("scans_bit_14", of(1, 5, 0x0e), Broken),
        ("scans_refined_first", of(1, 5, 0x21), Broken),
        ("scans_two_bits_at_once", of(5, 5, 0x20), Broken),
        (
            "scans_not_begun",
            edited(0, &|s, i| drop(s.remove(i))),
            Broken,
        ),
        // libjpeg makes up what these lack from the blocks around.
        (
            "scans_dc_only",
            edited(0, &|s, i| s.truncate(i + 1)),
            Broken,
        ),
        (
            "scans_without_last",
            edited(0, &|s, _| {
                let last = s.iter().rposition(|s| s.marker == 0xda);
                s.truncate(last.unwrap_or(0));
            }),
            Broken,
        ),
        (
            "scans_luma_only",
            edited(0, &|s, i| {
                s.truncate(i + 1);
                s[i].body = vec![1, 1, 0, 0, 0, 1];
            }),
            Broken,
        ),
        (
            "scans_twice",
            edited(1, &|s, i| {
                let scan = s[i].clone();
                s.insert(i, scan);
            }),
            Broken,
        ),
        ("scans_10000_alike", many, Broken),
        ("scans_high_mcus", high_mcus(65_500), Ok),
        ("scans_896_of_much", endless(2000), Broken),
    ];
    all.into_iter().map(named).collect()
}

/// A valid grey progressive JPEG of zeros in as many scans as there can be: each says in a few
/// bytes something of every block.
pub(crate) fn endless(side: u16) -> Vec<u8> {
    let mut segments = zeros_header(0xc2, [side; 2], &[0x11]);
    let blocks = usize::from(side.div_ceil(8)).pow(2);
    let ends = end_runs(blocks);
    for band in 0..64 {
        for low in (0..14).rev() {
            let high = if low == 13 { 0 } else { low + 1 };
            let mut scan = Segment::new(0xda, &[1, 1, 0, band, band, high << 4 | low]);
            scan.data = if band == 0 {
                vec![0; blocks.div_ceil(8)]
            } else {
                ends.clone()
            };
            segments.push(scan);
        }
    }
    join(&segments)
}

/// A valid JPEG of zeros with the chroma of every second column and row, to be turned by a quarter.
pub(crate) fn turned_zeros([width, height]: [u16; 2], progressive: bool) -> Vec<u8> {
    let marker = if progressive { 0xc2 } else { 0xc0 };
    let mut segments = zeros_header(marker, [width, height], &[0x22, 0x11, 0x11]);
    let exif = exif(0x0112, 3, 1, 6, 0);
    segments.insert(0, Segment::new(0xe1, &[b"Exif\0\0", &exif[..]].concat()));
    let blocks = |of: u16| usize::from(width.div_ceil(of)) * usize::from(height.div_ceil(of));
    let bits = 6 * blocks(16) * if progressive { 1 } else { 2 };
    let last = if progressive { 0 } else { 63 };
    let mut all = Segment::new(0xda, &[3, 1, 0, 2, 0, 3, 0, 0, last, 0]);
    all.data = vec![0; bits.div_ceil(8)];
    segments.push(all);
    for component in if progressive { 1..4 } else { 0..0 } {
        let mut scan = Segment::new(0xda, &[1, component, 0, 1, 63, 0]);
        scan.data = end_runs(blocks(if component == 1 { 8 } else { 16 }));
        segments.push(scan);
    }
    join(&segments)
}

/// What stands before the first scan of an image of zeros: in Huffman tables 0, a code of one bit
/// for a difference of zero, and one for the end of a block, or of many in a progressive image.
fn zeros_header(marker: u8, [width, height]: [u16; 2], samplings: &[u8]) -> Vec<Segment> {
    let mut frame = vec![8];
    frame.extend(height.to_be_bytes());
    frame.extend(width.to_be_bytes());
    frame.push(samplings.len() as u8);
    for (id, &sampling) in (1..).zip(samplings) {
        frame.extend([id, sampling, 0]);
    }
    let huffman = |class: u8, symbol: u8| {
        let mut body = vec![class, 1];
        body.extend([0; 15]);
        body.push(symbol);
        Segment::new(0xc4, &body)
    };
    let mut quantisation = vec![0];
    quantisation.extend([1; 64]);
    vec![
        Segment::new(0xdb, &quantisation),
        Segment::new(marker, &frame),
        huffman(0x00, 0),
        huffman(0x10, if marker == 0xc2 { 0xe0 } else { 0 }),
    ]
}

/// Runs of ends of so many blocks: a code of a bit, and 14 bits of run.
fn end_runs(blocks: usize) -> Vec<u8> {
    let runs = blocks.div_ceil((1 << 15) - 1);
    let mut bits = "011111111111111".repeat(runs);
    bits.extend(std::iter::repeat_n('1', 7));
    let mut ends = Vec::new();
    for byte in bits.as_bytes().chunks_exact(8) {
        let byte = byte.iter().fold(0, |v, &b| v << 1 | (b - b'0'));
        ends.push(byte);
        if byte == 0xff {
            ends.push(0);
        }
    }
    ends
}

/// Segments that say nothing of the pixels.
fn applications() -> Vec<Variant> {
    let rgb = whole("decode/rgb.jpg");
    let length = |length| changed(rgb, &[0xe0], |s| s.length = Some(length));
    let mut all = vec![
        ("app_length_0", length(0), Broken),
        ("app_length_1", length(1), Broken),
        ("app_length_2", length(2), Ok),
        ("app_length_20", length(20), Broken),
        ("app_length_65535", length(65535), Broken),
        (
            "app_long",
            with(rgb, Segment::new(0xef, &[0x11; 65_000])),
            Ok,
        ),
        (
            "app_comment",
            with(rgb, Segment::new(0xfe, b"\xff\xd9\xff\xda")),
            Ok,
        ),
        (
            "app_adobe",
            with(rgb, Segment::new(0xee, b"Adobe\0\x64\0\0\0\0\x77")),
            Ok,
        ),
        (
            "app_adobe_short",
            with(rgb, Segment::new(0xee, b"Adobe\0")),
            Ok,
        ),
        (
            "app_icc",
            with(rgb, Segment::new(0xe2, b"ICC_PROFILE\0\x09\x02garbage")),
            Ok,
        ),
        (
            "app_icc_empty",
            with(rgb, Segment::new(0xe2, b"ICC_PROFILE\0")),
            Ok,
        ),
        ("app_lines", with(rgb, Segment::new(0xdc, &[0, 0])), Ok),
        (
            "app_unknown_marker",
            with(rgb, Segment::new(0x02, &[1, 2, 3])),
            Broken,
        ),
        (
            "app_garbage_between",
            with(rgb, {
                let mut segment = Segment::new(0xfe, b"");
                segment.data = vec![0x42; 500];
                segment
            }),
            Ok,
        ),
        (
            "app_2000_segments",
            {
                let mut segments = split(rgb);
                segments.splice(1..1, std::iter::repeat_n(Segment::new(0xe5, b"x"), 2000));
                join(&segments)
            },
            Ok,
        ),
    ];
    for (name, data) in absurd_exifs() {
        let body = [b"Exif\0\0", data.as_slice()].concat();
        all.push((name, with(rgb, Segment::new(0xe1, &body)), Ok));
    }
    all.into_iter().map(named).collect()
}

/// Files of little data that claim many pixels.
fn bombs() -> Vec<Variant> {
    let mut all = Vec::new();
    let (huge, most) = (BOMB.to_be_bytes(), [255, 255]);
    for path in [
        "decode/rgb.jpg",
        "decode/progressive.jpg",
        "decode/grey.jpg",
        "decode/cmyk.jpg",
        "jpeg/restart_1.jpg",
        "jpeg/separate_scans.jpg",
        "corrupt/cmyk_progressive.jpg",
        "corrupt/arithmetic.jpg",
        "corrupt/arithmetic_progressive.jpg",
    ] {
        for (name, height, width) in [
            ("bomb", huge, huge),
            ("bomb_most", most, most),
            ("bomb_tall", most, [0, 1]),
            ("bomb_wide", [0, 1], most),
            // 3000 x 1000 px, which the limits of the tests allow.
            ("allowed", [11, 184], [3, 232]),
        ] {
            let frames = [0xc0, 0xc1, 0xc2, 0xc9, 0xca];
            let bytes = changed(whole(path), &frames, |s| {
                s.body[1..3].copy_from_slice(&height);
                s.body[3..5].copy_from_slice(&width);
            });
            let stem = parts(path).0;
            // Where four components are decoded, what is missing is made up, as libjpeg does.
            let expected = match (stem, name) {
                ("arithmetic" | "arithmetic_progressive", _) => Broken,
                ("cmyk" | "cmyk_progressive", "bomb_tall" | "bomb_wide") => Ok,
                (_, "bomb_tall") => Partly,
                _ => Broken,
            };
            all.push((format!("{stem}_{name}.jpg"), bytes, expected));
        }
    }
    all
}

/// A wide and low JPEG whose MCUs are four blocks high: a row of them is six times the pixels.
fn high_mcus(width: u16) -> Vec<u8> {
    let mut segments = zeros_header(0xc0, [width, 5], &[0x14, 0x14, 0x12]);
    let mut scan = Segment::new(0xda, &[3, 1, 0, 2, 0, 3, 0, 0, 63, 0]);
    scan.data = vec![0; 20 * usize::from(width).div_ceil(64)];
    segments.push(scan);
    join(&segments)
}

fn named((name, bytes, expected): (&str, Vec<u8>, super::Expected)) -> Variant {
    (format!("jpeg_{name}.jpg"), bytes, expected)
}
