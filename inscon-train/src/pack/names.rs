//! Names of images in shards.

use std::collections::HashSet;

use crate::fnv::fnv1a;

/// Gives each image a name whose key no other has.
///
/// WebDataset takes what stands before the first dot of a file name for the key of a sample, and
/// members with one key for parts of one sample. Further dots become `_`, and of images that so get
/// one key (`a.jpg` and `a.png`) the later ones get a number.
#[derive(Debug, Default)]
pub(super) struct MemberNames {
    /// Hashes of keys; two keys of one hash cost a needless number.
    taken: HashSet<u64>,
}

impl MemberNames {
    /// The name of the next image.
    pub(super) fn next(&mut self, name: &str) -> String {
        let base = name.rfind('/').map_or(0, |slash| slash + 1);
        let (stem, extension) = match name[base..].rfind('.') {
            Some(dot) => (&name[base..base + dot], &name[base + dot..]),
            None => (&name[base..], ""),
        };
        let plain = format!("{}{}", &name[..base], stem.replace('.', "_"));
        let mut key = plain.clone();
        let mut number = 1;
        while !self.taken.insert(fnv1a(key.as_bytes())) {
            number += 1;
            key = format!("{plain}_{number}");
        }
        key + extension
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tar_key;

    #[test]
    fn keys_are_webdatasets_and_differ() {
        let mut names = MemberNames::default();
        let given = [
            ("a.jpg", "a.jpg"),
            ("a.png", "a_2.png"),
            ("a.b.jpg", "a_b.jpg"),
            ("a_b.JPG", "a_b_2.JPG"),
            ("v1.2/a.jpg", "v1.2/a.jpg"),
            ("a_2.jpg", "a_2_2.jpg"),
        ];
        let mut keys = HashSet::new();
        for (name, member) in given {
            assert_eq!(names.next(name), member);
            assert!(keys.insert(tar_key(member).unwrap().0.to_owned()));
        }
    }
}
