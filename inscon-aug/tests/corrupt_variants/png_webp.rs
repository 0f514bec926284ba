//! PNG and WebP files with one thing wrong, or absurd.

use super::Expected::{Broken, Ok};
use super::jpeg::{BOMB, absurd_exifs, exif};
use super::{Variant, whole};

type Chunk = ([u8; 4], Vec<u8>);

/// CRC-32 as PNG has it.
fn crc(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(u32::MAX, |mut crc, byte| {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
        }
        crc
    })
}

fn png(chunks: &[Chunk]) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, data) in chunks {
        file.extend((data.len() as u32).to_be_bytes());
        file.extend(name);
        file.extend(data);
        file.extend(crc(name.iter().chain(data).copied()).to_be_bytes());
    }
    file
}

fn png_chunks(file: &[u8]) -> Vec<Chunk> {
    let mut rest = &file[8..];
    let mut chunks = Vec::new();
    while let Some((&[a, b, c, d], after)) = rest.split_first_chunk() {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let name = [after[0], after[1], after[2], after[3]];
        chunks.push((name, after[4..4 + length].to_vec()));
        rest = &after[8 + length..];
    }
    chunks
}

/// A zlib stream of `length` zeros in a hundredth of the bytes: a literal, then copies of 258 from
/// one byte before, in the fixed code.
fn zeros(length: usize) -> Vec<u8> {
    let (mut bytes, mut bits, mut count) = (vec![0x78, 0x9c], 0u32, 0);
    let mut put = |value: u32, length: u32| {
        bits |= value << count;
        count += length;
        while count >= 8 {
            bytes.push(bits as u8);
            bits >>= 8;
            count -= 8;
        }
    };
    put(0b011, 3);
    put(0x30u32.reverse_bits() >> 24, 8);
    let copies = (length - 1) / 258;
    for _ in 0..copies {
        put(0b1100_0101u32.reverse_bits() >> 24, 8);
        put(0, 5);
    }
    for _ in 0..(length - 1) % 258 {
        put(0x30u32.reverse_bits() >> 24, 8);
    }
    put(0, 7);
    put(0, 7);
    // Adler-32 of zeros.
    let adler = (length as u32 % 65521) << 16 | 1;
    bytes.extend(adler.to_be_bytes());
    bytes
}

pub(super) fn pngs() -> Vec<Variant> {
    let rgb = png_chunks(whole("corrupt/rgb_interlaced.png"));
    let palette = png_chunks(whole("corrupt/palette4.png"));
    let header = |at: usize, bytes: &[u8]| {
        let mut chunks = rgb.clone();
        chunks[0].1[at..at + bytes.len()].copy_from_slice(bytes);
        png(&chunks)
    };
    let with = |name: &[u8; 4], data: Vec<u8>| {
        let mut chunks = rgb.clone();
        chunks.insert(1, (*name, data));
        png(&chunks)
    };
    let edited = |of: &[Chunk], change: &dyn Fn(&mut Vec<Chunk>)| {
        let mut chunks = of.to_vec();
        change(&mut chunks);
        png(&chunks)
    };
    let raw = |at: usize, value: u8| {
        let mut bytes = png(&rgb);
        bytes[at] ^= value;
        bytes
    };
    let image = |size: [u32; 2], bits: u8, kind: u8, interlaced: u8, data: Vec<u8>| {
        let mut body = size.map(u32::to_be_bytes).concat();
        body.extend([bits, kind, 0, 0, interlaced]);
        let mut chunks = vec![(*b"IHDR", body)];
        if kind == 3 {
            chunks.push((*b"PLTE", vec![9; 6]));
        }
        chunks.push((*b"IDAT", data));
        chunks.push((*b"IEND", vec![]));
        png(&chunks)
    };
    let bomb = [u32::from(BOMB); 2];
    let much = zeros(24 << 20);
    let text = |head: &[u8]| [head, &much].concat();
    let of = |size: [u32; 2], bits, kind| image(size, bits, kind, 0, zeros(4000));
    let mut all = vec![
        ("no_columns", header(0, &[0; 4]), Broken),
        ("no_rows", header(4, &[0; 4]), Broken),
        ("negative", header(0, &[0xff; 4]), Broken),
        ("bits_3", header(8, &[3]), Broken),
        ("bits_4_of_rgb", header(8, &[4]), Broken),
        ("kind_1", header(9, &[1]), Broken),
        ("kind_palette_without", header(9, &[3]), Broken),
        ("compression", header(10, &[9]), Broken),
        ("filter_method", header(11, &[5]), Broken),
        ("interlace_2", header(12, &[2]), Broken),
        ("not_interlaced", header(12, &[0]), Broken),
        ("larger", header(0, &[0, 0, 0, 99]), Broken),
        ("header_crc", raw(29, 1), Broken),
        ("header_name", raw(12, 0x20), Broken),
        ("header_length", raw(11, 1), Broken),
        ("signature", raw(3, 1), Broken),
        ("data_crc", raw(png(&rgb).len() - 14, 1), Broken),
        ("no_data", edited(&rgb, &|c| drop(c.remove(1))), Broken),
        (
            "data_twice",
            edited(&rgb, &|c| c.insert(1, c[1].clone())),
            Ok,
        ),
        (
            "header_twice",
            edited(&rgb, &|c| c.insert(1, c[0].clone())),
            Broken,
        ),
        ("no_header", edited(&rgb, &|c| drop(c.remove(0))), Broken),
        ("no_end", edited(&rgb, &|c| drop(c.pop())), Broken),
        ("zlib_header", edited(&rgb, &|c| c[1].1[0] = 0), Broken),
        (
            "zlib_dictionary",
            edited(&rgb, &|c| c[1].1[1] |= 0x20),
            Broken,
        ),
        (
            "data_of_zeros",
            edited(&rgb, &|c| c[1].1[2..].fill(0)),
            Broken,
        ),
        (
            "first_passes_only",
            edited(&rgb, &|c| c[1].1.truncate(40)),
            Broken,
        ),
        (
            "data_in_1_byte_chunks",
            edited(&rgb, &|c| {
                let data = c.remove(1).1;
                c.splice(1..1, data.into_iter().map(|b| (*b"IDAT", vec![b])));
            }),
            Ok,
        ),
        (
            "10000_empty_data",
            edited(&rgb, &|c| {
                c.splice(1..1, std::iter::repeat_n((*b"IDAT", vec![]), 10_000));
            }),
            Ok,
        ),
        (
            "no_palette",
            edited(&palette, &|c| drop(c.remove(1))),
            Broken,
        ),
        (
            "palette_of_5_bytes",
            edited(&palette, &|c| c[1].1.truncate(5)),
            Broken,
        ),
        // Colours beyond the palette are black.
        (
            "palette_too_short",
            edited(&palette, &|c| c[1].1.truncate(6)),
            Ok,
        ),
        (
            "palette_too_long",
            edited(&palette, &|c| c[1].1.resize(900, 1)),
            Broken,
        ),
        (
            "transparency_too_long",
            edited(&palette, &|c| {
                c.insert(2, (*b"tRNS", vec![7; 300]));
            }),
            Ok,
        ),
        ("unknown_critical", with(b"JUNK", vec![1, 2, 3]), Broken),
        ("unknown_ancillary", with(b"juNk", vec![1, 2, 3]), Ok),
        (
            "icc_garbage",
            with(b"iCCP", b"name\0\0garbage".to_vec()),
            Ok,
        ),
        ("icc_bomb", with(b"iCCP", text(b"name\0\0")), Ok),
        ("text_bomb", with(b"zTXt", text(b"name\0\0")), Ok),
        ("unicode_bomb", with(b"iTXt", text(b"name\0\x01\0\0\0")), Ok),
        ("gamma_0", with(b"gAMA", vec![0; 4]), Ok),
        ("animation", with(b"acTL", vec![0xff; 8]), Ok),
        ("bomb", of(bomb, 8, 2), Broken),
        ("bomb_grey", of(bomb, 8, 0), Broken),
        ("bomb_bilevel", of(bomb, 1, 0), Broken),
        ("bomb_palette", of(bomb, 1, 3), Broken),
        ("bomb_16_bits", of(bomb, 16, 6), Broken),
        ("bomb_interlaced", image(bomb, 8, 2, 1, zeros(4000)), Broken),
        ("bomb_most", of([0x7fff_ffff; 2], 16, 6), Broken),
        ("bomb_tall", of([1, 0x7fff_ffff], 8, 2), Broken),
        ("bomb_wide", of([0x7fff_ffff, 1], 8, 2), Broken),
        ("allowed_without_data", of([3000, 1000], 8, 2), Broken),
        ("allowed_bilevel", of([3000, 1000], 1, 0), Broken),
        (
            "allowed",
            image([3000, 1000], 8, 2, 0, zeros(9001 * 1000)),
            Ok,
        ),
        (
            "allowed_grey",
            image([3000, 1000], 1, 0, 0, zeros(376 * 1000)),
            Ok,
        ),
        // Within the limits as grey, but not as RGB.
        (
            "too_large_as_rgb",
            image([3000, 3000], 8, 0, 0, zeros(3001 * 3000)),
            Broken,
        ),
        (
            "filter_9",
            image([4, 4], 8, 0, 0, {
                let mut data = zeros(20);
                // Nine instead of zero is the first literal.
                data[2] = 0b011 | (0x39u32.reverse_bits() >> 24 << 3) as u8;
                data[3] = (0x39u32.reverse_bits() >> 24 >> 5) as u8 | data[3] & 0xf8;
                data
            }),
            Broken,
        ),
    ];
    for (name, data) in absurd_exifs() {
        all.push((name, with(b"eXIf", data), Ok));
    }
    let png = |(name, bytes, expected)| (format!("png_{name}.png"), bytes, expected);
    all.into_iter().map(png).collect()
}

/// A RIFF file; a chunk may state another length than it has.
fn webp(chunks: &[(&[u8; 4], Vec<u8>, Option<u32>)]) -> Vec<u8> {
    let mut body = b"WEBP".to_vec();
    for (name, data, length) in chunks {
        body.extend(*name);
        body.extend(length.unwrap_or(data.len() as u32).to_le_bytes());
        body.extend(data);
        body.resize(body.len().next_multiple_of(2), 0);
    }
    let mut file = b"RIFF".to_vec();
    file.extend((body.len() as u32).to_le_bytes());
    file.extend(body);
    file
}

/// What VP8X says: flags, and the size of the canvas less one.
fn canvas(flags: u8, width: u32, height: u32) -> Vec<u8> {
    let mut body = vec![flags, 0, 0, 0];
    body.extend(&width.to_le_bytes()[..3]);
    body.extend(&height.to_le_bytes()[..3]);
    body
}

pub(super) fn webps() -> Vec<Variant> {
    const EXIF: u8 = 8;
    const ICC: u8 = 32;
    const MOVING: u8 = 2;
    let lossless = whole("decode/lossless.webp")[20..].to_vec();
    let lossy = whole("corrupt/lossy.webp")[20..].to_vec();
    let vp8l = |width: u32, height: u32| {
        let mut data = lossless.clone();
        let version_and_alpha = data[4] & 0xf0;
        data[1..5].copy_from_slice(&((width - 1) | ((height - 1) << 14)).to_le_bytes());
        data[4] |= version_and_alpha;
        data
    };
    let vp8 = |width: u16, height: u16| {
        let mut data = lossy.clone();
        data[6..8].copy_from_slice(&width.to_le_bytes());
        data[8..10].copy_from_slice(&height.to_le_bytes());
        data
    };
    let one = |name: &'static [u8; 4], data| webp(&[(name, data, None)]);
    let extended = |flags, name: &'static [u8; 4], data, length| {
        webp(&[
            (b"VP8X", canvas(flags, 21, 16), None),
            (b"VP8L", lossless.clone(), None),
            (name, data, length),
        ])
    };
    let on = |canvas: Vec<u8>, data: &[u8]| {
        webp(&[(b"VP8X", canvas, None), (b"VP8 ", data.to_vec(), None)])
    };
    let frame = |x: u8, width: u32, height: u32, chunk: &[u8; 4], data: &[u8]| {
        let mut body = vec![x, 0, 0, 0, 0, 0];
        body.extend(&width.to_le_bytes()[..3]);
        body.extend(&height.to_le_bytes()[..3]);
        body.extend([9, 0, 0, 0]);
        body.extend(chunk);
        body.extend((data.len() as u32).to_le_bytes());
        body.extend(data);
        webp(&[
            (b"VP8X", canvas(MOVING, 21, 16), None),
            (b"ANIM", vec![0; 6], None),
            (b"ANMF", body, None),
        ])
    };
    let mut unknown_length = one(b"VP8L", lossless.clone());
    unknown_length[4..8].fill(0);
    let mut all = vec![
        ("alike_lossless", one(b"VP8L", lossless.clone()), Ok),
        ("alike_lossy", one(b"VP8 ", lossy.clone()), Ok),
        ("alike_extended", on(canvas(0, 21, 16), &lossy), Ok),
        ("alike_moving", frame(0, 21, 16, b"VP8 ", &lossy), Ok),
        ("riff_of_no_length", unknown_length, Broken),
        ("empty", webp(&[]), Broken),
        ("unknown_chunk", one(b"JUNK", vec![1; 20]), Broken),
        (
            "chunk_4_gib",
            webp(&[(b"VP8L", lossless.clone(), Some(u32::MAX))]),
            Broken,
        ),
        (
            "lossy_4_gib",
            webp(&[(b"VP8 ", lossy.clone(), Some(u32::MAX))]),
            Broken,
        ),
        (
            "exif_4_gib",
            extended(EXIF, b"EXIF", vec![1; 9], Some(u32::MAX)),
            Broken,
        ),
        (
            "exif_300_mib",
            extended(EXIF, b"EXIF", vec![1; 9], Some(300 << 20)),
            Broken,
        ),
        (
            "icc_4_gib",
            extended(ICC, b"ICCP", vec![1; 9], Some(u32::MAX)),
            Broken,
        ),
        (
            "exif_missing",
            extended(EXIF, b"JUNK", vec![], None),
            Broken,
        ),
        ("lossless_bomb", one(b"VP8L", vp8l(16383, 16383)), Broken),
        ("lossy_bomb", one(b"VP8 ", vp8(16383, 16383)), Broken),
        ("lossless_wider", one(b"VP8L", vp8l(300, 16)), Broken),
        ("lossy_wider", one(b"VP8 ", vp8(300, 16)), Broken),
        ("lossy_no_columns", one(b"VP8 ", vp8(0, 16)), Broken),
        (
            "canvas_bomb",
            on(canvas(0, BOMB.into(), BOMB.into()), &lossy),
            Broken,
        ),
        (
            "canvas_most",
            on(canvas(0, 0xff_ffff, 0xff_ffff), &lossy),
            Broken,
        ),
        ("canvas_wide", on(canvas(0, 0xff_ffff, 1), &lossy), Broken),
        ("canvas_other", on(canvas(0, 9, 9), &lossy), Broken),
        (
            "frame_bomb_on_small_canvas",
            on(canvas(0, 0, 0), &vp8(16383, 16383)),
            Broken,
        ),
        (
            "canvas_alone",
            webp(&[(b"VP8X", canvas(0, 9, 9), None)]),
            Broken,
        ),
        ("canvas_short", webp(&[(b"VP8X", vec![0; 3], None)]), Broken),
        (
            "moving_without_frames",
            webp(&[(b"VP8X", canvas(2, 9, 9), None)]),
            Broken,
        ),
        (
            "moving_outside",
            frame(200, 21, 16, b"VP8 ", &lossy),
            Broken,
        ),
        (
            "moving_bomb",
            frame(0, 0xff_ffff, 0xff_ffff, b"VP8 ", &lossy),
            Broken,
        ),
        (
            "moving_bomb_within",
            frame(0, 21, 16, b"VP8 ", &vp8(16383, 16383)),
            Broken,
        ),
        (
            "moving_lossless_within",
            frame(0, 21, 16, b"VP8L", &vp8l(16383, 16383)),
            Broken,
        ),
        (
            "moving_alpha_alone",
            frame(0, 21, 16, b"ALPH", &[1; 40]),
            Broken,
        ),
        (
            "moving_unknown",
            frame(0, 21, 16, b"JUNK", &[1; 40]),
            Broken,
        ),
        (
            "lossy_not_key",
            one(b"VP8 ", [&[lossy[0] | 1], &lossy[1..]].concat()),
            Broken,
        ),
        (
            "lossless_version",
            one(b"VP8L", [&lossless[..4], &[0xff; 99]].concat()),
            Broken,
        ),
        (
            "lossless_of_ones",
            one(b"VP8L", [&lossless[..5], &[0xff; 99]].concat()),
            Broken,
        ),
    ];
    for (name, data) in absurd_exifs() {
        all.push((name, extended(EXIF, b"EXIF", data, None), Ok));
    }
    let turned = extended(EXIF, b"EXIF", exif(0x0112, 3, 1, 3, 0), None);
    all.push(("exif_orientation_3", turned, Ok));
    let webp = |(name, bytes, expected)| (format!("webp_{name}.webp"), bytes, expected);
    all.into_iter().map(webp).collect()
}
