//! A reader of JSON bytes that knows what it is looking for: no tree, no copy of what is skipped.

mod cursor;
mod pieces;
mod stream;

pub(crate) use cursor::{Cursor, Stop};
pub(crate) use stream::{Columns, Source};
