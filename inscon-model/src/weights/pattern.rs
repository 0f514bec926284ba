//! Patterns of tensor names, read in either direction.
//!
//! A pattern is a dotted name with numbers in braces and at most one `*`, the last segment:
//! `layer{s}.{b}.bn{c}.*`. A number may be shifted: `res{s+1}` matches `res2` with s = 1.

/// What a name had in the places of a pattern.
#[derive(Debug, PartialEq, Eq)]
struct Captures<'a> {
    numbers: Vec<(char, usize)>,
    leaf: Option<&'a str>,
}

/// `name`, which is written as `from`, written as `to`; `None` if it does not match.
pub(super) fn translate(from: &str, to: &str, name: &str) -> Option<String> {
    Some(render(to, &matches(from, name)?))
}

fn matches<'a>(pattern: &str, name: &'a str) -> Option<Captures<'a>> {
    let mut captures = Captures {
        numbers: Vec::new(),
        leaf: None,
    };
    let mut segments = name.split('.');
    for part in pattern.split('.') {
        let segment = segments.next()?;
        if part == "*" {
            captures.leaf = Some(segment);
            continue;
        }
        match Place::of(part) {
            None if part == segment => {}
            None => return None,
            Some(place) => {
                let digits = segment
                    .strip_prefix(place.before)?
                    .strip_suffix(place.after)?;
                captures.numbers.push((place.letter, place.read(digits)?));
            }
        }
    }
    segments.next().is_none().then_some(captures)
}

fn render(pattern: &str, captures: &Captures<'_>) -> String {
    let part = |part: &str| match (part, Place::of(part)) {
        ("*", _) => captures.leaf.unwrap_or_default().to_owned(),
        (_, None) => part.to_owned(),
        (_, Some(place)) => {
            let found = captures.numbers.iter().find(|(l, _)| *l == place.letter);
            let number = found.map_or(0, |(_, number)| *number) + place.shift;
            format!("{}{number}{}", place.before, place.after)
        }
    };
    pattern.split('.').map(part).collect::<Vec<_>>().join(".")
}

/// A segment with a number: `res{s+1}`.
struct Place<'a> {
    before: &'a str,
    letter: char,
    shift: usize,
    after: &'a str,
}

impl<'a> Place<'a> {
    fn of(segment: &'a str) -> Option<Self> {
        let (before, rest) = segment.split_once('{')?;
        let (inside, after) = rest.split_once('}')?;
        let (letter, shift) = match inside.split_once('+') {
            Some((letter, shift)) => (letter, shift.parse().ok()?),
            None => (inside, 0),
        };
        Some(Self {
            before,
            letter: letter.chars().next()?,
            shift,
            after,
        })
    }

    /// The number without the shift; `None` for anything but plain digits.
    fn read(&self, digits: &str) -> Option<usize> {
        let plain = digits.bytes().all(|b| b.is_ascii_digit());
        if !plain || (digits.len() > 1 && digits.starts_with('0')) {
            return None;
        }
        digits.parse::<usize>().ok()?.checked_sub(self.shift)
    }
}

#[cfg(test)]
mod tests {
    use super::translate;

    #[test]
    fn numbers_shift_and_leaves_are_kept() {
        let (ours, theirs) = ("layer{s}.{b}.bn{c}.*", "res{s+1}.{b}.conv{c}.norm.*");
        let name = "layer4.2.bn3.running_var";
        let other = translate(ours, theirs, name).unwrap();
        assert_eq!(other, "res5.2.conv3.norm.running_var");
        assert_eq!(translate(theirs, ours, &other).as_deref(), Some(name));
    }

    #[test]
    fn other_names_do_not_match() {
        for name in [
            "layer4.2.bn3",             // too short
            "layer4.2.bn3.norm.weight", // `*` is one segment
            "layer.2.bn3.weight",       // no number
            "layer04.2.bn3.weight",     // not how a number is written
            "layer4.x.bn3.weight",
            "layer99999999999999999999999.2.bn3.weight",
        ] {
            assert_eq!(translate("layer{s}.{b}.bn{c}.*", "x", name), None, "{name}");
        }
        assert_eq!(
            translate("fpn_lateral{i+2}.*", "{i}", "fpn_lateral1.weight"),
            None
        );
    }
}
