//! The frame of `report.html`.

/// Text made safe for HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// A whole page; it loads nothing from anywhere.
pub(crate) fn page(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <style>{STYLE}</style></head>\n<body><h1>{title}</h1>\n{body}</body></html>\n"
    )
}

/// A table: the first row is the heading; cells are text.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let mut out = String::from("<div class=\"scroll\"><table>");
    for (number, row) in rows.iter().enumerate() {
        let tag = if number == 0 { "th" } else { "td" };
        out += "<tr>";
        for cell in row {
            out += &format!("<{tag}>{}</{tag}>", escape(cell));
        }
        out += "</tr>";
    }
    out + "</table></div>"
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:1200px;margin:2em auto;padding:0 1em;color:#222}\
h1,h2,h3{line-height:1.2}h2{margin-top:2em;border-bottom:1px solid #ddd}\
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:13px;white-space:nowrap}\
th,td{padding:.25em .7em;border-bottom:1px solid #eee;text-align:right}\
th:first-child,td:first-child{text-align:left}th{border-bottom:2px solid #999}\
.charts{display:flex;flex-wrap:wrap;gap:12px}.charts svg{max-width:100%}\
img.wide{max-width:100%;display:block;margin:.5em 0}\
.pairs{display:grid;grid-template-columns:repeat(auto-fill,minmax(380px,1fr));gap:12px}\
.pair{display:flex;gap:4px}.pair svg{flex:1;min-width:0}\
.pair text{font-family:system-ui,sans-serif;font-weight:600;paint-order:stroke;stroke:#000;stroke-width:.12em}\
code,pre{background:#f5f5f5;padding:.1em .3em}pre{padding:.8em;overflow-x:auto}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_escaped() {
        let html = table(&[vec!["a".into()], vec!["<b>".into()]]);
        assert!(html.contains("<th>a</th>") && html.contains("<td>&lt;b&gt;</td>"));
    }

    #[test]
    fn the_page_is_self_contained() {
        let html = page("t", "x");
        assert!(!html.contains("http") && !html.contains("src="));
    }
}
