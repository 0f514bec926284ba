//! Patterns of shards: `train-{000000..000146}.tar`, as WebDataset writes them.

use super::ShardError;

/// More shards than anybody has.
const MOST: usize = 1_000_000;

/// All strings that a pattern with braces stands for, in order: `{a,b}`, `{08..11}`, `{0..8..2}`,
/// `{a..e}`, nested and side by side, as in bash and in WebDataset. Patterns joined by `::` follow
/// one another.
///
/// ```
/// use inscon_train::data::expand_braces;
/// let urls = expand_braces("s3://b/{train,val}-{08..10}.tar::x.tar")?;
/// assert_eq!(urls.len(), 7);
/// assert_eq!(urls[5], "s3://b/val-10.tar");
/// # Ok::<(), inscon_train::data::ShardError>(())
/// ```
///
/// # Errors
/// [`ShardError::Pattern`] for braces without their other half, and for more than a million
/// strings.
pub fn expand_braces(pattern: &str) -> Result<Vec<String>, ShardError> {
    let mut all = Vec::new();
    for part in pattern.split("::").map(str::trim).filter(|p| !p.is_empty()) {
        expand(part, pattern, &mut all)?;
    }
    Ok(all)
}

fn wrong(pattern: &str, what: &str) -> ShardError {
    ShardError::Pattern {
        pattern: pattern.to_owned(),
        what: what.to_owned(),
    }
}

fn expand(part: &str, pattern: &str, all: &mut Vec<String>) -> Result<(), ShardError> {
    let Some(open) = part.find('{') else {
        if part.contains('}') {
            return Err(wrong(pattern, "it has a `}` without a `{`"));
        }
        if all.len() == MOST {
            return Err(wrong(pattern, "it stands for more than a million names"));
        }
        all.push(part.to_owned());
        return Ok(());
    };
    let (before, rest) = (&part[..open], &part[open + 1..]);
    if before.contains('}') {
        return Err(wrong(pattern, "it has a `}` without a `{`"));
    }
    let mut depth = 1;
    let (mut commas, mut close) = (Vec::new(), None);
    for (at, c) in rest.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => commas.push(at),
            _ => {}
        }
        if depth == 0 {
            close = Some(at);
            break;
        }
    }
    let close = close.ok_or_else(|| wrong(pattern, "it has a `{` without a `}`"))?;
    let (inner, after) = (&rest[..close], &rest[close + 1..]);
    let choices: Vec<String> = if commas.is_empty() {
        range(inner).ok_or_else(|| {
            let what = format!("`{{{inner}}}` is neither a range such as {{000..146}} nor a list");
            wrong(pattern, &what)
        })?
    } else {
        let mut choices = Vec::new();
        let mut from = 0;
        for to in commas.into_iter().chain([inner.len()]) {
            choices.push(inner[from..to].to_owned());
            from = to + 1;
        }
        choices
    };
    for choice in choices {
        expand(&format!("{before}{choice}{after}"), pattern, all)?;
    }
    Ok(())
}

/// `0..10`, `010..000`, `0..10..2`, `a..e`.
fn range(inner: &str) -> Option<Vec<String>> {
    let mut parts = inner.split("..");
    let (from, to, step) = (parts.next()?, parts.next()?, parts.next());
    if parts.next().is_some() {
        return None;
    }
    let step = match step {
        None => 1,
        Some(step) => step.parse::<i64>().ok()?.checked_abs()?.max(1),
    };
    let letters = [from, to].map(|s| {
        s.chars()
            .next()
            .filter(|c| s.len() == 1 && c.is_ascii_alphabetic())
    });
    if let [Some(a), Some(b)] = letters {
        let values = steps(i64::from(u32::from(a)), i64::from(u32::from(b)), step);
        let letter = |v: i64| char::from(u8::try_from(v).unwrap_or(b'?')).to_string();
        return Some(values.into_iter().map(letter).collect());
    }
    let padded = |s: &str| {
        let digits = s.trim_start_matches('-');
        digits.len() > 1 && digits.starts_with('0')
    };
    let width = match padded(from) || padded(to) {
        true => from.len().max(to.len()),
        false => 0,
    };
    let values = steps(from.parse().ok()?, to.parse().ok()?, step);
    Some(values.into_iter().map(|v| format!("{v:0width$}")).collect())
}

fn steps(from: i64, to: i64, step: i64) -> Vec<i64> {
    // One more than the most is enough to be refused.
    let count = (from.abs_diff(to) / step.unsigned_abs()).min(MOST as u64) + 1;
    let step = if to < from { -step } else { step };
    (0..count as i64).map(|i| from + i * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_expand_as_in_webdataset() {
        // The right sides are what `braceexpand` 0.1.7, which WebDataset calls, and bash give.
        for (pattern, all) in [
            ("a.tar", "a.tar"),
            ("x-{8..11}.tar", "x-8.tar x-9.tar x-10.tar x-11.tar"),
            ("{008..010}", "008 009 010"),
            ("{2..0}", "2 1 0"),
            ("{0..10..5}{a,b}", "0a 0b 5a 5b 10a 10b"),
            ("{a..c}/{1,2}", "a/1 a/2 b/1 b/2 c/1 c/2"),
            ("t{r{0..1},v}x", "tr0x tr1x tvx"),
            ("{-1..1}", "-1 0 1"),
            ("{a,}b", "ab b"),
            (" a::b{1,2} ", "a b1 b2"),
        ] {
            let expanded = expand_braces(pattern).unwrap().join(" ");
            assert_eq!(expanded, all, "{pattern}");
        }
    }

    #[test]
    fn lopsided_braces_are_named() {
        for (pattern, said) in [
            ("a{0..3", "without a `}`"),
            ("a0..3}", "without a `{`"),
            ("a}{0..3}", "without a `{`"),
            ("a{0}", "neither a range"),
            ("a{0..1..2..3}", "neither a range"),
            ("{0..999999}{0..9}", "more than a million"),
            ("{0..9999999}", "more than a million"),
        ] {
            let error = expand_braces(pattern).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains(pattern), "{error}");
        }
    }
}
