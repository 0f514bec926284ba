//! BMP and TIFF files with one thing wrong, or absurd.

use super::Expected::{Broken, Ok};
use super::jpeg::BOMB;
use super::{Variant, whole};

pub(super) fn bmps() -> Vec<Variant> {
    let (rgb, palette) = (whole("decode/rgb.bmp"), whole("corrupt/palette.bmp"));
    let set = |of: &[u8], changes: &[(usize, u32)]| {
        let mut bytes = of.to_vec();
        for &(at, value) in changes {
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        bytes
    };
    let bits = |bits: u32, compression| set(rgb, &[(28, bits), (30, compression)]);
    let huge = u32::from(BOMB);
    let all = vec![
        ("bomb", set(rgb, &[(18, huge), (22, huge)]), Broken),
        (
            "bomb_palette",
            set(palette, &[(18, huge), (22, huge)]),
            Broken,
        ),
        (
            "bomb_runs",
            set(palette, &[(18, huge), (22, huge), (30, 1)]),
            Broken,
        ),
        (
            "bomb_most",
            set(rgb, &[(18, i32::MAX as u32), (22, i32::MAX as u32)]),
            Broken,
        ),
        ("allowed", set(rgb, &[(18, 3000), (22, 1000)]), Broken),
        ("no_columns", set(rgb, &[(18, 0)]), Broken),
        ("no_rows", set(rgb, &[(22, 0)]), Broken),
        ("negative_columns", set(rgb, &[(18, -22i32 as u32)]), Broken),
        ("top_down", set(rgb, &[(22, -17i32 as u32)]), Ok),
        ("lowest_rows", set(rgb, &[(22, i32::MIN as u32)]), Broken),
        ("bits_7", bits(7, 0), Broken),
        ("bits_0", bits(0, 0), Broken),
        ("compression_99", bits(24, 99), Broken),
        ("runs_of_rgb", bits(24, 1), Broken),
        ("header_5", set(rgb, &[(14, 5)]), Broken),
        ("header_huge", set(rgb, &[(14, u32::MAX)]), Broken),
        ("data_beyond", set(rgb, &[(10, 0xffff_ff00)]), Broken),
        ("colours_4_billion", set(palette, &[(46, u32::MAX)]), Broken),
        ("planes_0", set(rgb, &[(26, 0x18_0000)]), Broken),
    ];
    let bmp = |(name, bytes, expected)| (format!("bmp_{name}.bmp"), bytes, expected);
    all.into_iter().map(bmp).collect()
}

/// An entry of an image file directory: tag, type (3 for 16 bits, 4 for 32), count, value.
type Entry = (u16, u16, u32, u32);

/// A little-endian TIFF of 22 x 17 grey pixels with some entries put in or replaced.
fn tiff(changes: &[Entry]) -> Vec<u8> {
    let mut entries = vec![
        (256, 3, 1, 22),
        (257, 3, 1, 17),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
        (278, 3, 1, 17),
        (279, 4, 1, 374),
    ];
    for change in changes {
        entries.retain(|e| e.0 != change.0);
        entries.push(*change);
    }
    entries.sort_by_key(|e| e.0);
    let mut file = b"II*\0".to_vec();
    file.extend(382u32.to_le_bytes());
    file.extend((0..374).map(|i| i as u8));
    file.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in entries {
        file.extend(tag.to_le_bytes());
        file.extend(kind.to_le_bytes());
        file.extend(count.to_le_bytes());
        file.extend(value.to_le_bytes());
    }
    file.extend([0; 4]);
    file
}

pub(super) fn tiffs() -> Vec<Variant> {
    let huge = u32::from(BOMB);
    let size = |side: u32, more: &[Entry]| {
        let mut entries = vec![(256, 4, 1, side), (257, 4, 1, side), (278, 4, 1, side)];
        entries.extend(more);
        tiff(&entries)
    };
    let raw = |at: usize, bytes: &[u8]| {
        let mut file = tiff(&[]);
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let end = tiff(&[]).len();
    let all = vec![
        ("alike", tiff(&[]), Ok),
        ("bomb", size(huge, &[]), Broken),
        ("bomb_deflate", size(huge, &[(259, 3, 1, 8)]), Broken),
        ("bomb_lzw", size(huge, &[(259, 3, 1, 5)]), Broken),
        ("bomb_packbits", size(huge, &[(259, 3, 1, 32773)]), Broken),
        ("bomb_jpeg", size(huge, &[(259, 3, 1, 7)]), Broken),
        ("bomb_bilevel", size(huge, &[(258, 3, 1, 1)]), Broken),
        ("bomb_most", size(u32::MAX, &[]), Broken),
        (
            "bomb_tiles",
            size(huge, &[(322, 4, 1, huge), (323, 4, 1, huge)]),
            Broken,
        ),
        ("allowed", size(1500, &[]), Broken),
        (
            "tiles_beyond_image",
            tiff(&[
                (322, 4, 1, 1 << 30),
                (323, 4, 1, 1 << 30),
                (324, 4, 1, 8),
                (325, 4, 1, 374),
            ]),
            Broken,
        ),
        (
            "tiles_of_nothing",
            tiff(&[(322, 4, 1, 0), (323, 4, 1, 0)]),
            Ok,
        ),
        ("strips_of_nothing", tiff(&[(278, 3, 1, 0)]), Broken),
        ("strips_missing", tiff(&[(278, 3, 1, 1)]), Broken),
        ("no_columns", tiff(&[(256, 3, 1, 0)]), Broken),
        ("bits_0", tiff(&[(258, 3, 1, 0)]), Broken),
        ("bits_65", tiff(&[(258, 3, 1, 65)]), Broken),
        ("samples_0", tiff(&[(277, 3, 1, 0)]), Broken),
        ("samples_65535", tiff(&[(277, 3, 1, 65535)]), Broken),
        ("compression_unknown", tiff(&[(259, 3, 1, 999)]), Broken),
        ("compression_fax", tiff(&[(259, 3, 1, 4)]), Broken),
        ("deflate_garbage", tiff(&[(259, 3, 1, 8)]), Broken),
        ("lzw_garbage", tiff(&[(259, 3, 1, 5)]), Broken),
        ("jpeg_garbage", tiff(&[(259, 3, 1, 7)]), Broken),
        ("colours_unknown", tiff(&[(262, 3, 1, 77)]), Broken),
        ("palette_missing", tiff(&[(262, 3, 1, 3)]), Broken),
        ("offset_beyond", tiff(&[(273, 4, 1, 0xffff_ff00)]), Broken),
        ("bytes_beyond", tiff(&[(279, 4, 1, 0xffff_ff00)]), Broken),
        ("bytes_few", tiff(&[(279, 4, 1, 20)]), Ok),
        ("count_of_width", tiff(&[(256, 4, u32::MAX, 8)]), Broken),
        (
            "count_of_offsets",
            tiff(&[(273, 4, 0x4000_0000, 8)]),
            Broken,
        ),
        ("type_of_width", tiff(&[(256, 77, 1, 22)]), Broken),
        ("orientation_9", tiff(&[(274, 3, 1, 9)]), Ok),
        ("orientation_count", tiff(&[(274, 3, u32::MAX, 9)]), Ok),
        ("icc_huge", tiff(&[(34675, 7, u32::MAX, 8)]), Ok),
        (
            "directory_loop",
            raw(end - 4, &382u32.to_le_bytes()),
            Broken,
        ),
        ("directory_beyond", raw(4, &u32::MAX.to_le_bytes()), Broken),
        ("directory_at_start", raw(4, &0u32.to_le_bytes()), Broken),
        ("directory_of_65535", raw(382, &[0xff, 0xff]), Broken),
        ("directory_empty", raw(382, &[0, 0]), Broken),
        ("big_tiff", raw(2, &[43]), Broken),
        ("magic", raw(2, &[99]), Broken),
    ];
    let tiff = |(name, bytes, expected)| (format!("tiff_{name}.tiff"), bytes, expected);
    all.into_iter().map(tiff).collect()
}
