// SPDX-License-Identifier: GPL-2.0-only
//! The schema by which Jenkins validates JUnit files, as rules for a test: junit-10.xsd of its xunit-plugin
//! (src/main/resources/org/jenkinsci/plugins/xunit/types/model/xsd), without the elements for tests that ran again. It
//! is stricter where the schema says `xs:string` and a number is meant.

use std::collections::BTreeMap;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// An element: its name, its children, its required attributes, its other ones; whether it holds text.
type Rule =
    (&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str], bool);

const RULES: [Rule; 10] = [
    ("testsuites", &["testsuite"], &[], &["name", "time", "tests", "failures", "errors"], false),
    (
        "testsuite",
        &["testsuite", "properties", "testcase", "system-out", "system-err"],
        &["name", "tests", "failures", "errors"],
        &[
            "group",
            "time",
            "skipped",
            "timestamp",
            "hostname",
            "id",
            "package",
            "file",
            "log",
            "url",
        ],
        false,
    ),
    ("properties", &["property"], &[], &[], false),
    ("property", &[], &["name", "value"], &[], false),
    (
        "testcase",
        &["skipped", "error", "failure", "system-out", "system-err"],
        &["name"],
        &["time", "classname", "group"],
        false,
    ),
    ("failure", &[], &[], &["type", "message"], true),
    ("error", &[], &[], &["type", "message"], true),
    ("skipped", &[], &[], &["type", "message"], true),
    ("system-out", &[], &[], &[], true),
    ("system-err", &[], &[], &[], true),
];

/// An element as it was read.
#[derive(Debug, Default)]
pub struct Element {
    pub name: String,
    pub attributes: BTreeMap<String, String>,
    pub children: Vec<Element>,
    pub text: String,
}

impl Element {
    /// The children of this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The attribute of this name.
    pub fn get(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

/// Reads a document and holds it against the rules.
pub fn validate(xml: &str) -> Result<Element, String> {
    if let Some(c) = xml.chars().find(|c| !is_xml(*c)) {
        return Err(format!("{c:?} cannot be in XML 1.0"));
    }
    let mut reader = Reader::from_str(xml);
    reader.config_mut().check_end_names = true;
    let mut open = vec![Element::default()];
    loop {
        let top = open.last_mut().ok_or("more ends than starts")?;
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(tag) => open.push(element(&tag)?),
            Event::Empty(tag) => top.children.push(element(&tag)?),
            Event::End(_) => {
                let done = open.pop().ok_or("more ends than starts")?;
                open.last_mut().ok_or("more ends than starts")?.children.push(done);
            }
            Event::Text(text) => top.text += &text.decode().map_err(|error| error.to_string())?,
            Event::GeneralRef(name) => top.text += &format!("&{};", name.decode().unwrap()),
            Event::Decl(_) => {}
            Event::Eof => break,
            other => return Err(format!("unexpected {other:?}")),
        }
    }
    let [document] = &mut open[..] else { return Err("an element is not closed".into()) };
    let [root] = &document.children[..] else { return Err("expected one root".into()) };
    if !["testsuites", "testsuite"].contains(&&root.name[..]) {
        return Err(format!("<{}> as the root", root.name));
    }
    check(root)?;
    Ok(document.children.remove(0))
}

/// Characters that XML 1.0 can hold (section 2.2).
pub fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

fn element(tag: &BytesStart<'_>) -> Result<Element, String> {
    let name = String::from_utf8(tag.name().as_ref().to_vec()).map_err(|e| e.to_string())?;
    let mut element = Element { name, ..Element::default() };
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let key = String::from_utf8(attribute.key.as_ref().to_vec()).map_err(|e| e.to_string())?;
        let raw = std::str::from_utf8(&attribute.value).map_err(|error| error.to_string())?;
        let value = quick_xml::escape::unescape(raw).map_err(|error| error.to_string())?;
        if element.attributes.insert(key.clone(), value.into_owned()).is_some() {
            return Err(format!("<{}>: {key} twice", element.name));
        }
    }
    Ok(element)
}

fn check(element: &Element) -> Result<(), String> {
    let name = &element.name[..];
    let rule = RULES.iter().find(|(rule, ..)| *rule == name);
    let (_, children, required, other, text) = rule.ok_or(format!("<{name}>: unknown"))?;
    for attribute in *required {
        if !element.attributes.contains_key(*attribute) {
            return Err(format!("<{name}>: no {attribute}"));
        }
    }
    for (attribute, value) in &element.attributes {
        let attribute = &attribute[..];
        if !required.contains(&attribute) && !other.contains(&attribute) {
            return Err(format!("<{name}>: unexpected {attribute}"));
        }
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
        let fine = match attribute {
            "tests" | "failures" | "errors" | "skipped" => digits(value),
            // Seconds, to a thousandth.
            "time" => value
                .split_once('.')
                .is_some_and(|(seconds, rest)| digits(seconds) && digits(rest) && rest.len() == 3),
            _ => true,
        };
        if !fine {
            return Err(format!("<{name}>: {attribute}={value:?}"));
        }
    }
    if !text && !element.text.trim().is_empty() {
        return Err(format!("<{name}>: text {:?}", element.text));
    }
    for child in &element.children {
        if !children.contains(&&child.name[..]) {
            return Err(format!("<{}> inside <{name}>", child.name));
        }
        check(child)?;
    }
    Ok(())
}
