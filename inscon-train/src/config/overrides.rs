//! Dotted keys into a TOML table, and errors that name the nearest valid key.

use toml::{Table, Value};

/// Sets `a.b.c` in `table`, creating tables on the way.
pub(super) fn set(table: &mut Table, key: &str, value: Value) -> Result<(), String> {
    let mut at = table;
    let mut parts = key.split('.').peekable();
    while let Some(part) = parts.next() {
        if part.is_empty() {
            return Err(format!("`{key}` is not a dotted key"));
        }
        if parts.peek().is_none() {
            at.insert(part.to_owned(), value);
            return Ok(());
        }
        let next = at.entry(part).or_insert_with(|| Value::Table(Table::new()));
        at = next
            .as_table_mut()
            .ok_or_else(|| format!("`{part}` in `{key}` is not a section"))?;
    }
    Err("an empty key".to_owned())
}

/// Splits `key=value`; a value that is not TOML (`--set data.train_json=/a/b.json`) is a string.
pub(super) fn parse(assignment: &str) -> Result<(String, Value), String> {
    let (key, text) = assignment
        .split_once('=')
        .ok_or_else(|| format!("`{assignment}` is not of the form key=value"))?;
    let parsed = format!("v = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut t| t.remove("v"));
    Ok((
        key.trim().to_owned(),
        parsed.unwrap_or_else(|| Value::String(text.to_owned())),
    ))
}

/// Appends the nearest valid key to serde's "unknown field" message.
pub(super) fn with_suggestion(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let is_unknown = message.contains("unknown field") || message.contains("unknown variant");
    let (true, Some(wrong)) = (is_unknown, unknown_name(message)) else {
        return message.to_owned();
    };
    let nearest = quoted
        .by_ref()
        .filter(|name| *name != wrong)
        .map(|name| (strsim::damerau_levenshtein(name, wrong), name))
        .min();
    match nearest {
        Some((distance, name)) if distance <= wrong.len().max(4) / 2 => {
            format!("{}; did you mean `{name}`?", message.trim_end())
        }
        _ => message.to_owned(),
    }
}

fn unknown_name(message: &str) -> Option<&str> {
    let after = message.split("unknown ").nth(1)?;
    after.split('`').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_nested_keys() {
        let mut table: Table = "a = 1\n[b]\nc = 2".parse().unwrap();
        set(&mut table, "b.d.e", Value::Boolean(true)).unwrap();
        set(&mut table, "b.c", Value::Integer(3)).unwrap();
        assert_eq!(table["b"]["c"].as_integer(), Some(3));
        assert_eq!(table["b"]["d"]["e"].as_bool(), Some(true));
        assert!(
            set(&mut table, "a.x", Value::Integer(0))
                .unwrap_err()
                .contains("not a section")
        );
    }

    #[test]
    fn values_are_toml_or_text() {
        assert_eq!(parse("a.b=3").unwrap(), ("a.b".into(), Value::Integer(3)));
        assert_eq!(
            parse("a=[1, 2]").unwrap().1.as_array().map(Vec::len),
            Some(2)
        );
        assert_eq!(parse("a=/x/y.json").unwrap().1.as_str(), Some("/x/y.json"));
        assert!(parse("novalue").is_err());
    }

    #[test]
    fn suggests_the_nearest() {
        let message = "unknown field `lamda`, expected one of `lr`, `lambda`, `queue`";
        assert!(with_suggestion(message).ends_with("did you mean `lambda`?"));
    }
}
