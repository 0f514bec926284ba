//! JPEGs whose structure is sound and whose contents are not.

use libfuzzer_sys::arbitrary::{self, Arbitrary};

use crate::decode;

/// What a JPEG is made of.
#[derive(Debug, Arbitrary)]
pub struct Jpeg {
    marker: u8,
    width: u8,
    height: u8,
    sampling: [u8; 3],
    grey: bool,
    /// Steps of the quantisation tables.
    steps: [u16; 2],
    orientation: Option<u8>,
    scans: Vec<Scan>,
}

/// A scan and what is defined before it.
#[derive(Debug, Arbitrary)]
struct Scan {
    interval: Option<u8>,
    /// Lengths of codes, and symbols: for DC and for AC.
    tables: [Option<([u8; 8], Vec<u8>)>; 2],
    /// A bit for each component; none for all.
    components: u8,
    band: [u8; 2],
    bits: u8,
    data: Vec<u8>,
    /// Data go on behind each of these many restart markers.
    restarts: Vec<Vec<u8>>,
}

/// As [`decode`], of a file put together from `input`.
pub fn jpeg(input: &Jpeg) {
    decode(&input.file());
}

impl Jpeg {
    fn file(&self) -> Vec<u8> {
        let mut file = vec![0xff, 0xd8];
        if let Some(orientation) = self.orientation {
            let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
            exif.extend([orientation % 10, 0, 0, 0, 0, 0, 0, 0]);
            segment(&mut file, 0xe1, &exif);
        }
        for (number, step) in self.steps.into_iter().enumerate() {
            let mut table = vec![0x10 | number as u8];
            table.extend(step.to_be_bytes().repeat(64));
            segment(&mut file, 0xdb, &table);
        }
        let count = if self.grey { 1 } else { 3 };
        let sides = [self.height, self.width].map(|side| 1 + side % 80);
        let mut frame = vec![8, 0, sides[0], 0, sides[1], count];
        for id in 0..count {
            // Factors out of 1..=4 say nothing new after the first time.
            let sampling = self.sampling[usize::from(id)] & 0x33;
            frame.extend([id, sampling + 0x11, id.min(1)]);
        }
        segment(&mut file, 0xc0 + self.marker % 3, &frame);
        for scan in self.scans.iter().take(24) {
            scan.put(&mut file, count);
        }
        file.extend([0xff, 0xd9]);
        file
    }
}

impl Scan {
    fn put(&self, file: &mut Vec<u8>, count: u8) {
        if let Some(interval) = self.interval {
            segment(file, 0xdd, &[0, interval]);
        }
        for (class, table) in self.tables.iter().enumerate() {
            let Some((lengths, symbols)) = table else {
                continue;
            };
            let mut body = vec![(class << 4) as u8];
            // At most as many codes as there is room for.
            let (mut free, mut codes) = (1usize, 0);
            for length in 0..16 {
                free *= 2;
                let wanted = usize::from(lengths[length / 2] >> (4 * (length % 2)) & 15);
                let given = wanted.min(free.saturating_sub(1)).min(256 - codes);
                free -= given;
                codes += given;
                body.push(given as u8);
            }
            let all = (0..=255).cycle().skip(1);
            body.extend(symbols.iter().copied().chain(all).take(codes));
            segment(file, 0xc4, &body);
        }
        let chosen: Vec<u8> = (0..count)
            .filter(|i| self.components >> i & 1 == 1)
            .collect();
        let chosen = if chosen.is_empty() {
            (0..count).collect()
        } else {
            chosen
        };
        let mut body = vec![chosen.len() as u8];
        for id in chosen {
            body.extend([id, 0]);
        }
        body.extend([self.band[0] % 65, self.band[1] % 65, self.bits]);
        segment(file, 0xda, &body);
        stuffed(file, &self.data);
        for (i, data) in self.restarts.iter().take(99).enumerate() {
            file.extend([0xff, 0xd0 | i as u8 & 7]);
            stuffed(file, data);
        }
    }
}

fn segment(file: &mut Vec<u8>, marker: u8, body: &[u8]) {
    file.extend([0xff, marker]);
    file.extend((body.len() as u16 + 2).to_be_bytes());
    file.extend(body);
}

fn stuffed(file: &mut Vec<u8>, data: &[u8]) {
    for &byte in data {
        file.push(byte);
        if byte == 0xff {
            file.push(0);
        }
    }
}
