//! Lists of records read block by block, several blocks at once.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::cursor::Bad;
use super::{Cursor, Stop};
use crate::EvalError;

/// Bytes that one thread parses at a time; few when fuzzing, so that small inputs are cut too.
const PIECE: usize = if cfg!(fuzzing) { 64 } else { 512 << 10 };

/// Records of one kind, column by column.
pub(crate) trait Columns: Send + Sync + Sized {
    /// An empty one that reads its records in the same way.
    fn another(&self) -> Self;
    /// Reads one record and adds it, or adds nothing.
    fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop>;
    /// Adds `other`'s records after its own.
    fn append(&mut self, other: Self);
}

/// JSON from a reader. What it holds in memory is the block being parsed ([`PIECE`] bytes for one
/// thread, four of them a thread for several), or up to four times the largest record with the
/// white space around it if that is more. What is skipped is held, record by record, but not copied.
pub(crate) struct Source<R> {
    reader: R,
    /// For messages.
    path: PathBuf,
    buffer: Vec<u8>,
    /// Read up to here.
    at: usize,
    /// Filled up to here.
    end: usize,
    /// Position in the file of the buffer's first byte.
    offset: u64,
    finished: bool,
    pieces: usize,
}

/// How a block's records ended.
enum Ended {
    /// With the bytes: so many were whole records, and the comma after the last one is missing
    /// (`after`) or not.
    Cut { count: usize, after: bool },
    /// With the list's `]`: this many bytes.
    Closed(usize),
    /// With an error.
    Bad(Bad),
}

impl Ended {
    /// As seen from `start` bytes before.
    fn from(self, start: usize) -> Self {
        match self {
            Self::Cut { count, after } => Self::Cut {
                count: start + count,
                after,
            },
            Self::Closed(count) => Self::Closed(start + count),
            Self::Bad(bad) => Self::Bad(Bad {
                at: start + bad.at,
                ..bad
            }),
        }
    }
}

impl<R: Read> Source<R> {
    pub(crate) fn new(reader: R, path: &Path) -> Self {
        let pieces = rayon::current_num_threads();
        // Several a thread, so that uneven ones do not leave a thread waiting.
        let pieces = if pieces > 1 { pieces * 4 } else { 1 };
        Self {
            reader,
            path: path.into(),
            buffer: vec![0; pieces * PIECE],
            at: 0,
            end: 0,
            offset: 0,
            finished: false,
            pieces,
        }
    }

    /// The next byte that is not white space, not yet read.
    pub(crate) fn peek(&mut self) -> Result<u8, EvalError> {
        self.value(|cursor| cursor.peek())
    }

    /// Reads one value with `read`, which is tried again with more bytes if they end too early.
    pub(crate) fn value<T>(
        &mut self,
        mut read: impl FnMut(&mut Cursor<'_>) -> Result<T, Stop>,
    ) -> Result<T, EvalError> {
        loop {
            let mut cursor = Cursor::new(&self.buffer[self.at..self.end]);
            match read(&mut cursor) {
                Ok(value) => {
                    self.at += cursor.at();
                    return Ok(value);
                }
                Err(Stop::End) => self.more()?,
                Err(Stop::Bad(bad)) => return Err(self.error(self.at, bad)),
            }
        }
    }

    /// [`value`](Self::value) of what comes next, which stays unread.
    pub(crate) fn look<T>(
        &mut self,
        read: impl FnMut(&mut Cursor<'_>) -> Result<T, Stop>,
    ) -> Result<T, EvalError> {
        // The buffer may have moved.
        let before = self.offset + self.at as u64;
        let value = self.value(read)?;
        self.at = (before - self.offset) as usize;
        Ok(value)
    }

    /// Reads an object; `read` gets each key with the source at its value, which it must read.
    pub(crate) fn object(
        &mut self,
        mut read: impl FnMut(&mut Self, &[u8]) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        self.value(|cursor| cursor.expect(b'{'))?;
        if self.value(|cursor| cursor.eat(b'}'))? {
            return Ok(());
        }
        loop {
            let key = self.value(|cursor| {
                let key = cursor.string()?.into_owned();
                cursor.expect(b':')?;
                Ok(key)
            })?;
            read(self, &key)?;
            if self.value(|cursor| cursor.eat(b'}'))? {
                return Ok(());
            }
            self.value(|cursor| cursor.expect(b','))?;
        }
    }

    /// Reads any value and forgets it.
    pub(crate) fn skip(&mut self) -> Result<(), EvalError> {
        match self.peek()? {
            b'[' => self.records(&mut Skipped),
            _ => self.value(|cursor| cursor.skip()),
        }
    }

    /// Reads a list of records into `columns`.
    pub(crate) fn records<T: Columns>(&mut self, columns: &mut T) -> Result<(), EvalError> {
        self.value(|cursor| cursor.expect(b'['))?;
        if self.value(|cursor| cursor.eat(b']'))? {
            return Ok(());
        }
        let mut after = false;
        loop {
            let text = &self.buffer[self.at..self.end];
            let ended = if self.pieces > 1 && text.len() >= PIECE {
                parallel(text, self.pieces, after, columns)
            } else {
                block(text, after, columns)
            };
            match ended {
                Ended::Closed(count) => {
                    self.at += count;
                    return Ok(());
                }
                Ended::Bad(bad) => return Err(self.error(self.at, bad)),
                Ended::Cut { count, after: cut } => {
                    self.at += count;
                    after = cut;
                    self.more()?;
                }
            }
        }
    }

    /// Nothing but white space may follow.
    pub(crate) fn finish(&mut self) -> Result<(), EvalError> {
        loop {
            let mut cursor = Cursor::new(&self.buffer[self.at..self.end]);
            match cursor.peek() {
                Ok(_) => {
                    let problem = format!("nothing may follow here, found {}", cursor.describe());
                    let (at, field) = (cursor.at(), None);
                    return Err(self.error(self.at, Bad { at, field, problem }));
                }
                Err(_) if self.finished => return Ok(()),
                Err(_) => {
                    self.at = self.end;
                    self.fill()?;
                }
            }
        }
    }

    /// More bytes; that there are none is an error.
    fn more(&mut self) -> Result<(), EvalError> {
        let before = self.end - self.at;
        if !self.finished {
            self.fill()?;
        }
        if self.end - self.at == before && self.finished {
            let problem = "the file ends too early".into();
            let (at, field) = (self.end - self.at, None);
            return Err(self.error(self.at, Bad { at, field, problem }));
        }
        Ok(())
    }

    /// Moves what is unread to the front and fills the buffer, doubling it if it is full.
    fn fill(&mut self) -> Result<(), EvalError> {
        self.buffer.copy_within(self.at..self.end, 0);
        self.offset += self.at as u64;
        self.end -= self.at;
        self.at = 0;
        if self.end > self.buffer.len() / 2 {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        while self.end < self.buffer.len() {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.finished = true;
                    break;
                }
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(EvalError::Read {
                        path: self.path.clone(),
                        source,
                    });
                }
            }
        }
        Ok(())
    }

    fn error(&self, at: usize, bad: super::cursor::Bad) -> EvalError {
        EvalError::Json {
            path: self.path.clone(),
            offset: self.offset + (at + bad.at) as u64,
            field: bad.field,
            problem: bad.problem,
        }
    }
}

/// A list that is of no interest.
struct Skipped;

impl Columns for Skipped {
    fn another(&self) -> Self {
        Self
    }

    fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        cursor.skip()
    }

    fn append(&mut self, _: Self) {}
}

/// Records of `text` by several threads. The text is cut where records seem to begin; a cut counts
/// only if the records before it end just there, so a cut within a text or a nested object costs
/// time and nothing else.
fn parallel<T: Columns>(text: &[u8], pieces: usize, after: bool, columns: &mut T) -> Ended {
    let mut cuts = vec![0];
    for i in 1..pieces {
        let start = record_start(text, text.len() * i / pieces);
        cuts.extend(start.filter(|start| cuts.last().is_some_and(|last| start > last)));
    }
    cuts.push(text.len());
    let parts: Vec<(T, Ended)> = cuts
        .par_windows(2)
        .enumerate()
        .with_max_len(1)
        .map(|(i, cut)| {
            let mut part = columns.another();
            let ended = block(&text[cut[0]..cut[1]], after && i == 0, &mut part);
            (part, ended)
        })
        .collect();
    for (i, (part, ended)) in parts.into_iter().enumerate() {
        columns.append(part);
        match ended.from(cuts[i]) {
            Ended::Cut {
                count,
                after: false,
            } if count == cuts[i + 1] && count < text.len() => {}
            // A wrong cut: the rest again, in one go.
            Ended::Cut { count, after } if i + 2 < cuts.len() => {
                return block(&text[count..], after, columns).from(count);
            }
            ended => return ended,
        }
    }
    Ended::Cut {
        count: text.len(),
        after: false,
    }
}

/// Where, from `from` on, something looks like the start of a record: the brace of `}, {`.
fn record_start(text: &[u8], from: usize) -> Option<usize> {
    let space = |b: &u8| matches!(b, b' ' | b'\n' | b'\r' | b'\t');
    for close in memchr::memchr_iter(b'}', &text[from..]).take(64) {
        let rest = &text[from + close + 1..];
        let comma = rest.iter().position(|b| !space(b))?;
        if rest[comma] != b',' {
            continue;
        }
        let open = rest[comma + 1..].iter().position(|b| !space(b))?;
        if rest[comma + 1 + open] == b'{' {
            return Some(from + close + 1 + comma + 1 + open);
        }
    }
    None
}

/// Records from the front of `text`, which starts with one, or with what follows one (`after`).
fn block<T: Columns>(text: &[u8], mut after: bool, columns: &mut T) -> Ended {
    let mut cursor = Cursor::new(text);
    let mut count = 0;
    loop {
        if !after {
            match columns.read(&mut cursor) {
                Ok(()) => count = cursor.at(),
                Err(Stop::End) => return Ended::Cut { count, after },
                Err(Stop::Bad(bad)) => return Ended::Bad(bad),
            }
        }
        after = true;
        match cursor.peek() {
            Ok(b',') => after = false,
            Ok(b']') => return Ended::Closed(cursor.at() + 1),
            Ok(_) => {
                return Ended::Bad(Bad {
                    at: cursor.at(),
                    field: None,
                    problem: format!("expected `,` or `]`, found {}", cursor.describe()),
                });
            }
            Err(_) => return Ended::Cut { count, after },
        }
        _ = cursor.eat(b',');
        // White space belongs to what was read, so that pieces meet.
        _ = cursor.peek();
        count = cursor.at();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers under the key `n`.
    #[derive(Default, Debug, PartialEq)]
    struct Numbers(Vec<u64>);

    impl Columns for Numbers {
        fn another(&self) -> Self {
            Self::default()
        }
        fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
            let mut number = 0;
            cursor.object(|cursor, key| match key {
                b"n" => cursor.id().map(|n| number = n),
                _ => cursor.skip(),
            })?;
            self.0.push(number);
            Ok(())
        }
        fn append(&mut self, other: Self) {
            self.0.extend(other.0);
        }
    }

    /// Hands out a few bytes at a time.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(to.len());
            to[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn text(count: u64) -> String {
        // Every fourth record holds what looks like the border of two records.
        let record = |n| match n % 4 {
            0 => format!(r#"{{"s":"}}, {{\"n\":7}},{{","n":{n}}}"#),
            1 => format!(r#"{{ "l": [{{"n":1}}, {{"n":2}}] , "n" : {n} }}"#),
            _ => format!(r#"{{"n":{n}}}"#),
        };
        let records: Vec<String> = (0..count).map(record).collect();
        format!(" [{}\n]\n", records.join(" ,\n"))
    }

    #[test]
    fn any_buffer_any_number_of_pieces() {
        let count = 400;
        let text = text(count);
        for (pieces, buffer) in [
            (1, 1),
            (1, 64),
            (1, 1 << 20),
            (8, 64),
            (8, 1 << 20),
            (50, 997),
        ] {
            let mut source = Source::new(Drip(text.as_bytes(), 61), Path::new("x"));
            source.pieces = pieces;
            source.buffer = vec![0; buffer];
            let mut numbers = Numbers::default();
            source.records(&mut numbers).unwrap();
            source.finish().unwrap();
            assert!(numbers.0.iter().copied().eq(0..count), "{pieces} {buffer}");
        }
        for pieces in [2, 3, 5, 16, 100] {
            for shift in 0..40 {
                let (mut numbers, bytes) = (Numbers::default(), text.as_bytes());
                let ended = parallel(&bytes[2..bytes.len() - shift], pieces, false, &mut numbers);
                match ended {
                    Ended::Bad(bad) => panic!("{bad:?}"),
                    Ended::Closed(_) => assert_eq!(numbers.0.len() as u64, count),
                    Ended::Cut { .. } => assert!(shift > 1),
                }
                assert!(numbers.0.iter().copied().eq(0..numbers.0.len() as u64));
            }
        }
    }

    #[test]
    fn errors_are_found_at_their_place() {
        let good = text(50);
        for at in (0..good.len())
            .filter(|&at| good.as_bytes()[at] == b':')
            .step_by(7)
        {
            let mut bad = good.clone().into_bytes();
            bad[at] = b';';
            let mut messages = Vec::new();
            for (pieces, buffer) in [(1, 64), (1, 1 << 20), (8, 300)] {
                let mut source = Source::new(Drip(&bad, 1 << 20), Path::new("x"));
                source.pieces = pieces;
                source.buffer = vec![0; buffer];
                let result = source.records(&mut Numbers::default());
                let result = result.and_then(|()| source.finish());
                messages.push(result.err().map(|error| error.to_string()));
            }
            assert!(messages.iter().all(|m| *m == messages[0]), "{messages:?}");
            if let Some(message) = &messages[0] {
                assert!(message.contains(&format!("byte {at}:")), "{at}: {message}");
            }
        }
        let cut = &good[..good.len() - 3];
        let mut source = Source::new(cut.as_bytes(), Path::new("x"));
        let error = source
            .records(&mut Numbers::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains("ends too early"), "{error}");
    }
}
