//! Which layout a file has, and under which prefix.

use std::collections::{BTreeMap, BTreeSet};

use super::change::Change;
use super::file::TensorInfo;
use super::harmless;
use super::import::ImportOptions;
use super::schemes::{Part, SCHEMES, Scheme};

/// What a file was recognised as.
#[derive(Debug)]
pub(super) struct Recognised {
    pub(super) scheme: &'static Scheme,
    /// What stands before the layout's names; empty or with a dot at the end.
    pub(super) prefix: String,
    /// By our name, in the terms of the part that was asked for: the name in the file.
    pub(super) pairs: BTreeMap<String, (String, Change)>,
    /// Names under the prefix that the layout knows, whether asked for or not, by our names.
    pub(super) known: BTreeMap<String, String>,
    /// Other prefixes with as much of the network under them.
    pub(super) others: Vec<String>,
}

/// The layout and prefix that explain most of what is `wanted` (our names of `part`), or, with
/// nothing wanted, most of the file.
pub(super) fn recognise(
    tensors: &BTreeMap<String, TensorInfo>,
    wanted: Option<(&BTreeSet<String>, Part)>,
    options: &ImportOptions,
) -> Option<Recognised> {
    let mut found: Vec<(usize, Recognised)> = Vec::new();
    let schemes = SCHEMES
        .iter()
        .filter(|scheme| options.layout.is_none_or(|layout| layout == scheme.layout));
    for scheme in schemes {
        let prefixes = match &options.prefix {
            Some(prefix) => BTreeSet::from([with_dot(prefix)]),
            None => prefixes(tensors, scheme),
        };
        for prefix in prefixes {
            let recognised = explain(tensors, scheme, prefix, wanted.map(|(_, part)| part));
            let matched = match wanted {
                Some((names, _)) => recognised
                    .pairs
                    .keys()
                    .filter(|name| names.contains(*name))
                    .count(),
                None => recognised.pairs.len(),
            };
            if matched > 0 {
                found.push((matched, recognised));
            }
        }
    }
    let best = found.iter().map(|(matched, _)| *matched).max()?;
    found.retain(|(matched, _)| *matched == best);
    // A stable sort: of equals the layout that is listed first.
    found.sort_by_key(|(_, r)| {
        let copies = harmless::copies(&r.prefix);
        (copies, std::cmp::Reverse(r.known.len()), r.prefix.len())
    });
    let mut found = found.into_iter().map(|(_, recognised)| recognised);
    let mut first = found.next()?;
    let places = |r: &Recognised| r.pairs.values().next().map(|(name, _)| name.clone());
    let own = places(&first);
    first.others = found
        .filter(|other| places(other) != own)
        .map(|other| other.prefix)
        .filter(|prefix| *prefix != first.prefix)
        .collect();
    Some(first)
}

/// Prefixes under which something like a ResNet begins, in any layout.
pub(super) fn likely_prefixes(tensors: &BTreeMap<String, TensorInfo>) -> Vec<String> {
    let all = SCHEMES.iter().flat_map(|scheme| prefixes(tensors, scheme));
    let all: BTreeSet<String> = all.filter(|prefix| !prefix.is_empty()).collect();
    all.into_iter().collect()
}

/// What precedes the first convolution (of three input channels) of a layout.
fn prefixes(tensors: &BTreeMap<String, TensorInfo>, scheme: &Scheme) -> BTreeSet<String> {
    tensors
        .iter()
        .filter(|(_, info)| matches!(info.shape[..], [_, 3, _, _]))
        .filter_map(|(name, _)| name.strip_suffix(scheme.stem))
        .filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))
        // `stem.conv1.weight` is not torchvision's `conv1.weight` under `stem.`.
        .filter(|prefix| !prefix.ends_with("stem."))
        .map(str::to_owned)
        .collect()
}

fn explain(
    tensors: &BTreeMap<String, TensorInfo>,
    scheme: &'static Scheme,
    prefix: String,
    part: Option<Part>,
) -> Recognised {
    let (mut pairs, mut known) = (BTreeMap::new(), BTreeMap::new());
    for theirs in tensors.keys() {
        let Some(inner) = theirs.strip_prefix(&prefix) else {
            continue;
        };
        let Some((ours, change)) = scheme.to_ours(inner) else {
            continue;
        };
        if ours.ends_with("num_batches_tracked") {
            continue;
        }
        let asked = match (part, scheme.part) {
            (Some(Part::Backbone), Part::Detector) => {
                ours.strip_prefix("backbone.").map(str::to_owned)
            }
            (Some(Part::Detector), Part::Backbone) => Some(format!("backbone.{ours}")),
            _ => Some(ours.clone()),
        };
        if let Some(asked) = asked {
            pairs.insert(asked, (theirs.clone(), change));
        }
        known.insert(ours, theirs.clone());
    }
    Recognised {
        scheme,
        prefix,
        pairs,
        known,
        others: Vec::new(),
    }
}

fn with_dot(prefix: &str) -> String {
    match prefix.is_empty() || prefix.ends_with('.') {
        true => prefix.to_owned(),
        false => format!("{prefix}."),
    }
}
