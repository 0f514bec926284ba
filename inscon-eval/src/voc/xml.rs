//! One of VOC's annotation files.

use std::path::Path;

use quick_xml::events::Event;
use quick_xml::{Reader, escape::resolve_predefined_entity};

use crate::EvalError;

/// What evaluation needs of an `Annotations/*.xml`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct XmlImage {
    /// Empty if the file does not say.
    pub(super) filename: String,
    /// 0 if the file does not say.
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) objects: Vec<XmlObject>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct XmlObject {
    pub(super) name: String,
    pub(super) difficult: bool,
    /// `[xmin, ymin, xmax, ymax]`: 1-based pixels, both ends included.
    pub(super) corners: [f64; 4],
}

const CORNERS: [&str; 4] = ["xmin", "ymin", "xmax", "ymax"];

/// An object that is being read.
#[derive(Default)]
struct Partial {
    name: Option<String>,
    difficult: bool,
    corners: [Option<f64>; 4],
}

/// Reads the text of a file; `path` is for messages. The parts of an object (a person's head) are
/// not objects.
pub(super) fn parse(text: &str, path: &Path) -> Result<XmlImage, EvalError> {
    let fail = |at: u64, field, problem| {
        let before = &text.as_bytes()[..text.len().min(at as usize)];
        EvalError::Line {
            path: path.into(),
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
            field,
            problem,
        }
    };
    let mut reader = Reader::from_str(text);
    let mut image = XmlImage::default();
    let mut open: Vec<String> = Vec::new();
    let mut content = String::new();
    let mut object = Partial::default();
    let mut rooted = false;
    loop {
        let at = reader.buffer_position();
        let event = reader
            .read_event()
            .map_err(|error| fail(reader.error_position(), None, format!("not XML: {error}")))?;
        match event {
            Event::Start(tag) => {
                let name = String::from_utf8_lossy(tag.name().as_ref()).into_owned();
                if open.is_empty() {
                    rooted = name == "annotation";
                }
                open.push(name);
                content.clear();
                if is(&open, &["annotation", "object"]) {
                    object = Partial::default();
                }
            }
            Event::Text(part) => content.push_str(&String::from_utf8_lossy(&part)),
            Event::CData(part) => content.push_str(&String::from_utf8_lossy(&part)),
            Event::GeneralRef(name) => {
                let char = name.resolve_char_ref().ok().flatten().map(String::from);
                let name = String::from_utf8_lossy(&name).into_owned();
                let known = || resolve_predefined_entity(&name).map(str::to_owned);
                content.push_str(&char.or_else(known).ok_or_else(|| {
                    fail(at, None, format!("&{name}; is not one of XML's characters"))
                })?);
            }
            Event::End(_) => {
                take(&open, content.trim(), &mut image, &mut object)
                    .map_err(|(field, problem)| fail(at, Some(field), problem))?;
                open.pop();
                content.clear();
            }
            Event::Eof if !open.is_empty() => {
                return Err(fail(at, None, "the file ends too early".into()));
            }
            Event::Eof if !rooted => {
                let problem = "expected an <annotation>; is this one of VOC's Annotations?";
                return Err(fail(0, None, problem.into()));
            }
            Event::Eof => return Ok(image),
            _ => {}
        }
    }
}

fn is(open: &[String], path: &[&str]) -> bool {
    open.iter().map(String::as_str).eq(path.iter().copied())
}

/// What to do at the end of the innermost of the elements `open`.
fn take(
    open: &[String],
    content: &str,
    image: &mut XmlImage,
    object: &mut Partial,
) -> Result<(), (&'static str, String)> {
    let path: Vec<&str> = open.iter().map(String::as_str).collect();
    let ["annotation", path @ ..] = path.as_slice() else {
        return Ok(());
    };
    let pixels = |field| {
        let number = content.parse();
        number.map_err(|_| (field, format!("`{content}` is not a number of pixels")))
    };
    match path {
        ["filename"] => image.filename = content.into(),
        ["size", "width"] => image.width = pixels("width")?,
        ["size", "height"] => image.height = pixels("height")?,
        ["object", "name"] => object.name = Some(content.into()),
        ["object", "difficult"] => {
            object.difficult = match content {
                "0" => false,
                "1" => true,
                _ => return Err(("difficult", format!("expected 0 or 1, found `{content}`"))),
            }
        }
        ["object", "bndbox", side] => {
            if let Some(i) = CORNERS.iter().position(|name| name == side) {
                let number = content
                    .parse()
                    .ok()
                    .filter(|number: &f64| number.is_finite());
                let wrong = || (CORNERS[i], format!("`{content}` is not a number"));
                object.corners[i] = Some(number.ok_or_else(wrong)?);
            }
        }
        ["object"] => {
            let done = std::mem::take(object);
            let mut corners = [0.0; 4];
            for ((corner, found), name) in corners.iter_mut().zip(done.corners).zip(CORNERS) {
                let missing = || (name, "the object that ends here has none".into());
                *corner = found.ok_or_else(missing)?;
            }
            let missing = || ("name", "the object that ends here has none".into());
            image.objects.push(XmlObject {
                name: done
                    .name
                    .filter(|name| !name.is_empty())
                    .ok_or_else(missing)?,
                difficult: done.difficult,
                corners,
            });
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<XmlImage, String> {
        parse(text, Path::new("a.xml")).map_err(|error| error.to_string())
    }

    const OBJECT: &str = "<object><name>cat</name><bndbox><xmin>1</xmin><ymin>2</ymin>\
        <xmax>3.5</xmax><ymax>4</ymax></bndbox></object>";

    #[test]
    fn parts_are_not_objects_and_entities_are_text() {
        let text =
            "<?xml version=\"1.0\"?><!-- x -->\n<annotation>\n<filename>a&amp;b.jpg</filename>
            <size><width>10</width><height> 20 </height><depth>3</depth></size>
            <object><name>c&#97;t</name><pose/><difficult>1</difficult>
              <part><name>head</name><bndbox><xmin>7</xmin><ymin>7</ymin><xmax>8</xmax>
              <ymax>8</ymax></bndbox></part>
              <bndbox><xmin>1</xmin><xmax>3.5</xmax><ymin>2</ymin><ymax>4</ymax></bndbox></object>
            </annotation>";
        let image = read(text).unwrap();
        let object = XmlObject {
            name: "cat".into(),
            difficult: true,
            corners: [1.0, 2.0, 3.5, 4.0],
        };
        assert_eq!(image.objects, [object]);
        assert_eq!(
            (image.filename.as_str(), image.width, image.height),
            ("a&b.jpg", 10, 20)
        );
    }

    #[test]
    fn errors_name_line_and_field() {
        let wrap = |inner: &str| format!("<annotation>\n\n{inner}\n</annotation>");
        assert_eq!(read(&wrap(OBJECT)).unwrap().objects.len(), 1);
        for (text, message) in [
            (
                wrap(&OBJECT.replace(">2<", ">two<")),
                "a.xml, line 3: `ymin`: `two` is not a number",
            ),
            (wrap(&OBJECT.replace(">2<", ">NaN<")), "line 3: `ymin`"),
            (
                wrap(&OBJECT.replace("<xmax>3.5</xmax>", "")),
                "line 3: `xmax`: the object that ends here has none",
            ),
            (wrap(&OBJECT.replace("cat", "")), "line 3: `name`"),
            (
                wrap("<object><difficult>?</difficult>"),
                "`difficult`: expected 0 or 1, found `?`",
            ),
            (wrap("<size><width>-3</width></size>"), "`width`"),
            (
                "<annotation>\n<object>".into(),
                "line 2: the file ends too early",
            ),
            ("<annotation>\n\n</object>".into(), "line 3: not XML"),
            ("<html></html>".into(), "expected an <annotation>"),
            (String::new(), "expected an <annotation>"),
            ("<annotation>&x;</annotation>".into(), "&x;"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(message), "{error} - {message}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
