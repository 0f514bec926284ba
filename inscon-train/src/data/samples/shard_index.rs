//! Which images a shard holds, and where.

use serde::{Deserialize, Serialize};

use super::ShardError;

/// Bytes of a tar block and of a member's header.
pub(super) const BLOCK: u64 = 512;

/// The images of a shard: names and where their bytes lie.
///
/// As JSON, a line of an index: `{"shard":"train-000000.tar","bytes":10240,"stamp":null,"samples":[["a/b.jpg",
/// 512,4321],…]}` with the member's name, the offset of its first byte and its length.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardIndex {
    /// File name of the shard.
    pub shard: String,
    /// Bytes of the shard.
    pub bytes: u64,
    /// What tells this shard from another of the same name and length: its ETag, or the time of its
    /// last change. Not set in an index that lies beside the shards.
    #[serde(default)]
    pub stamp: Option<String>,
    /// Members that are not the image of a sample: labels, further images.
    #[serde(default)]
    pub others: u64,
    /// Name, offset and length in bytes of each sample's image.
    pub samples: Vec<(String, u64, u32)>,
}

impl ShardIndex {
    /// Checks that the images lie in the shard one after another.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        let mut end = 0;
        for (name, offset, length) in &self.samples {
            let next = offset.checked_add(u64::from(*length));
            let header = offset.checked_sub(BLOCK);
            match (header, next) {
                (Some(header), Some(next)) if header >= end && next <= self.bytes => end = next,
                _ => {
                    return Err(format!(
                        "its index puts {name} where it cannot be ({offset})"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// First line of the index beside shards; [`ShardIndex`] on each further line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexHeader {
    /// `"inscon-shards"`.
    pub format: String,
    /// Of this format.
    pub version: u32,
    /// What they were packed from and how; other options do not go on with them.
    #[serde(default)]
    pub packed: Option<String>,
}

/// [`IndexHeader::format`].
pub const INDEX_FORMAT: &str = "inscon-shards";
/// [`IndexHeader::version`].
pub const INDEX_VERSION: u32 = 1;

/// Name of the index of `train-000003.tar` and its like: `train.index.jsonl`. `None` for names that
/// do not end in a number and `.tar`.
///
/// ```
/// use inscon_train::data::index_name;
/// assert_eq!(index_name("train-000003.tar").as_deref(), Some("train.index.jsonl"));
/// assert_eq!(index_name("000003.tar").as_deref(), Some("shards.index.jsonl"));
/// assert_eq!(index_name("photos.tar"), None);
/// ```
#[must_use]
pub fn index_name(shard: &str) -> Option<String> {
    let stem = shard.strip_suffix(".tar")?;
    let name = stem.trim_end_matches(|c: char| c.is_ascii_digit());
    if name.len() == stem.len() {
        return None;
    }
    match name.trim_end_matches(['-', '_', '.']) {
        "" => Some("shards.index.jsonl".to_owned()),
        name => Some(format!("{name}.index.jsonl")),
    }
}

/// Reads the index beside shards.
///
/// # Errors
/// What is wrong with it, and in which line; [`ShardError::Refused`].
pub(super) fn parse_index(url: &str, text: &[u8]) -> Result<Vec<ShardIndex>, ShardError> {
    let refused = |line: usize, what: String| ShardError::Refused {
        url: url.to_owned(),
        said: format!(
            "line {line}: {what}; it is the index of the shards beside it: pack them again, or \
             delete it to have the shards indexed"
        ),
    };
    let mut lines = text
        .split(|&b| b == b'\n')
        .enumerate()
        .map(|(n, l)| (n + 1, l));
    let (_, first) = lines.next().unwrap_or((1, b""));
    let header: IndexHeader =
        serde_json::from_slice(first).map_err(|e| refused(1, e.to_string()))?;
    if header.format != INDEX_FORMAT || header.version != INDEX_VERSION {
        let IndexHeader {
            format, version, ..
        } = header;
        return Err(refused(
            1,
            format!("it is {format} {version}, not {INDEX_FORMAT} {INDEX_VERSION}"),
        ));
    }
    let mut shards = Vec::new();
    for (number, line) in lines.filter(|(_, line)| !line.is_empty()) {
        let shard: ShardIndex =
            serde_json::from_slice(line).map_err(|e| refused(number, e.to_string()))?;
        shard
            .check()
            .map_err(|what| refused(number, format!("{}: {what}", shard.shard)))?;
        shards.push(shard);
    }
    Ok(shards)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(samples: &str) -> String {
        format!(r#"{{"shard":"a-0.tar","bytes":4096,"samples":{samples}}}"#)
    }

    fn parse(lines: &[&str]) -> Result<Vec<ShardIndex>, String> {
        parse_index("s3://b/a.index.jsonl", lines.join("\n").as_bytes()).map_err(|e| e.to_string())
    }

    const HEADER: &str = r#"{"format":"inscon-shards","version":1}"#;

    #[test]
    fn an_index_goes_there_and_back() {
        let index = ShardIndex {
            shard: "ü-1.tar".into(),
            bytes: 9000,
            stamp: Some("\"etag\"".into()),
            others: 2,
            samples: vec![("a b/ß.jpg".into(), 512, 3), ("c.png".into(), 2048, 0)],
        };
        let json = serde_json::to_string(&index).unwrap();
        assert_eq!(parse(&[HEADER, &json, ""]).unwrap(), [index]);
    }

    #[test]
    fn broken_indices_name_line_and_fault() {
        for (lines, said) in [
            (vec!["x"], "line 1"),
            (
                vec![r#"{"format":"inscon-shards","version":9}"#],
                "inscon-shards 9",
            ),
            (vec![HEADER, "", "{"], "line 3"),
            (vec![HEADER, &line(r#"[["a",511,1]]"#)], "puts a where"),
            (vec![HEADER, &line(r#"[["a",512,9000]]"#)], "puts a where"),
            (
                vec![HEADER, &line(r#"[["a",512,100],["b",1023,1]]"#)],
                "puts b where",
            ),
            (
                vec![HEADER, &line(r#"[["a",18446744073709551615,2]]"#)],
                "puts a where",
            ),
        ] {
            let error = parse(&lines).unwrap_err();
            assert!(
                error.contains(said) && error.contains("a.index.jsonl"),
                "{error}"
            );
        }
    }
}
