//! `inscon-train pack`'s flags.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

/// What `inscon-train pack` was asked for.
#[derive(Debug, Clone, Args)]
pub struct PackArgs {
    /// Folder of images, searched recursively
    #[arg(long, value_name = "DIR")]
    pub images: PathBuf,
    /// Folder for the shards and their index
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// What the shards' names begin with
    #[arg(long, value_name = "NAME", default_value = "train")]
    pub name: String,
    /// Images of a shard (1000), or its size (100MiB)
    #[arg(long, value_name = "SIZE", default_value = "1000")]
    pub shard_size: ShardSize,
    /// Pack the images in a random order, that of this seed, and not by path
    #[arg(long, value_name = "SEED")]
    pub shuffle: Option<u64>,
}

/// When a shard is full.
///
/// ```
/// use inscon_train::pack::ShardSize;
/// assert_eq!("500".parse(), Ok(ShardSize::Images(500)));
/// assert_eq!("64MiB".parse(), Ok(ShardSize::Bytes(64 << 20)));
/// assert!("64 apples".parse::<ShardSize>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardSize {
    /// After so many images.
    Images(usize),
    /// Before it has more bytes than this, if it has an image.
    Bytes(u64),
}

impl FromStr for ShardSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is neither a number of images (1000) nor a size (100MiB, 1GiB)");
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        let unit = match text[digits.len()..].trim() {
            "" => {
                let images = usize::try_from(number).map_err(|_| wrong())?;
                return match images {
                    0 => Err("a shard holds at least one image".to_owned()),
                    images => Ok(Self::Images(images)),
                };
            }
            "MiB" | "MB" | "M" => 1 << 20,
            "GiB" | "GB" | "G" => 1 << 30,
            _ => return Err(wrong()),
        };
        match number.checked_mul(unit) {
            None | Some(0) => Err(wrong()),
            Some(bytes) => Ok(Self::Bytes(bytes)),
        }
    }
}

impl std::fmt::Display for ShardSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Images(images) => write!(f, "{images}"),
            Self::Bytes(bytes) if bytes.is_multiple_of(1 << 20) => write!(f, "{}MiB", bytes >> 20),
            // Exact: what is packed is told from what is asked for by it.
            Self::Bytes(bytes) => write!(f, "{bytes} bytes"),
        }
    }
}
