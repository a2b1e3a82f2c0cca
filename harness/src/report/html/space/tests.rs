// SPDX-License-Identifier: GPL-2.0-only

use proptest::prelude::*;
use roxmltree::{Document, Node};

use super::*;
use crate::case::{MemoryEntry, SetupData, SetupDataKind, Span};
use crate::oracle::Rule;
use crate::record::samples::{conforming_image, diverging, machine, new};

fn facts() -> Facts {
    conforming_image("a", 0).facts.unwrap()
}

/// The picture of a case with findings at these addresses, as XML.
fn drawn(case: &Case, output: Option<u64>, wrong: &[u64]) -> String {
    let findings = wrong.iter().map(|address| {
        let mut found = new(Rule::Memory);
        found.finding.address = Some(*address);
        found
    });
    let mut record = diverging(3, findings.collect());
    record.judgement.output = output;
    let picture = picture("p", "Memory", &facts(), &record, case).into_string();
    format!("<figure>{picture}</figure>")
}

fn number(node: Node, name: &str) -> f64 {
    node.attribute(name).and_then(|text| text.parse().ok()).expect("a number")
}

/// Every text with its place, all lines of the same column together.
fn texts<'a>(document: &'a Document, class: &str) -> Vec<(f64, &'a str)> {
    let nodes = document.descendants().filter(|node| node.attribute("class") == Some(class));
    nodes.map(|node| (number(node, "y"), node.text().unwrap_or_default())).collect()
}

/// Nothing lies over another label, and nothing outside the picture.
fn check(svg: &str) {
    let document = Document::parse(svg).unwrap();
    let svg = document.descendants().find(|node| node.has_tag_name("svg")).unwrap();
    let view: Vec<f64> = svg
        .attribute("viewBox")
        .unwrap()
        .split(' ')
        .map(|number| number.parse().unwrap())
        .collect();
    let names = texts(&document, "name").into_iter().chain(texts(&document, "detail")).collect();
    for (mut lines, distance) in [(names, 11.0), (texts(&document, "tick"), 11.0)] {
        let lines: &mut Vec<(f64, &str)> = &mut lines;
        lines.sort_by(|a, b| a.0.total_cmp(&b.0));
        for pair in lines.windows(2) {
            assert!(pair[1].0 - pair[0].0 >= distance, "{pair:?}");
        }
    }
    // Characters of the bold name, of the monospaced detail, and of addresses on the left, in units of the picture.
    for (class, room, character) in [
        ("name", WIDTH - LABELS - 12.0, 7.5),
        ("detail", WIDTH - LABELS, 6.7),
        ("tick", TICKS, 6.4),
    ] {
        for (_, text) in texts(&document, class) {
            let extreme = text.contains(" + ") && text.len() > 18;
            let width = text.chars().count() as f64 * character;
            assert!(width <= room || extreme, "{text:?} is {width} wide");
        }
    }
    for node in document.descendants().filter(|node| node.has_attribute("y")) {
        let y = number(node, "y") + MARGIN;
        let height = node.attribute("height").map_or(0.0, |text| text.parse().unwrap());
        assert!(y >= 0.0 && y + height <= view[3], "{node:?} at {y} of {}", view[3]);
    }
    for node in document.descendants().filter(|node| node.has_tag_name("rect")) {
        assert!(number(node, "height") > 0.0);
        let right = number(node, "x") + number(node, "width");
        assert!(right <= WIDTH, "{node:?}");
    }
}

#[test]
fn everything_that_a_case_places_is_named_with_its_address() {
    let svg = drawn(&machine(), Some(0x4000_0000), &[0x4000_1234]);
    check(&svg);
    let document = Document::parse(&svg).unwrap();
    let names: Vec<&str> = texts(&document, "name").into_iter().map(|(_, name)| name).collect();
    for name in [
        "image as loaded",
        "kernel",
        "initrd",
        "boot_params",
        "command line",
        "setup_data",
        "✗ memory",
    ] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    let details: Vec<&str> = texts(&document, "detail").into_iter().map(|(_, text)| text).collect();
    for detail in ["0x4000_0000", "0x30000000 + 64 MiB", "0x1000000 + 8 MiB", "0x40001234"] {
        assert!(
            details.iter().any(|text| text.starts_with(&detail.replace('_', ""))),
            "{details:?}"
        );
    }
    let text = document.descendants().find(|node| node.has_tag_name("desc")).unwrap();
    assert!(text.text().unwrap().contains("wrong by rule memory at 0x40001234"));
}

#[test]
fn a_kernel_that_was_not_started_is_not_drawn() {
    let svg = drawn(&machine(), None, &[]);
    check(&svg);
    assert!(!svg.contains("k-kernel"));
}

#[test]
fn an_address_that_no_memory_has_is_beside_the_axis() {
    let svg = drawn(&machine(), None, &[0x5f95_0d1d_0002_0000]);
    check(&svg);
    assert!(svg.contains("0x5f950d1d00020000, no RAM"));
    assert!(!svg.contains("tip"), "no arrow on the axis");
}

#[test]
fn things_that_overlap_are_beside_each_other() {
    let svg = drawn(&machine(), Some(0x100_0000), &[]);
    check(&svg);
    let document = Document::parse(&svg).unwrap();
    let x = |class| {
        let mut nodes = document.descendants().filter(|node| node.has_tag_name("rect"));
        number(nodes.find(|node| node.attribute("class") == Some(class)).unwrap(), "x")
    };
    let (stub, window, kernel) = (x("k-stub"), x("k-window"), x("k-kernel"));
    assert!(stub != window && window != kernel && stub != kernel);
}

#[test]
fn extremes_can_be_drawn() {
    let edge = 1u64 << 52;
    let all = MemoryEntry::usable(0, edge);
    let mut extreme = Case { load: edge - 4096, memory: vec![all; 200], ..machine() };
    extreme.initrd = Some(Span { start: u64::MAX, end: 0 });
    extreme.setup_data = vec![
        SetupData {
            address: u64::MAX - 1,
            kind: SetupDataKind::Dtb,
            len: u32::MAX,
            points_to: Vec::new(),
        };
        1024
    ];
    let wrong: Vec<u64> =
        (0..50).map(|bit| 1u64 << bit).chain([edge - 1, edge, u64::MAX]).collect();
    let svg = drawn(&extreme, Some(u64::MAX - 7), &wrong);
    check(&svg);
    assert!(svg.len() < 40_000, "{} bytes", svg.len());
    assert!(svg.contains("1020 nodes of setup_data"));
    assert!(svg.contains("186 regions of the memory map"));
}

proptest! {
    #[test]
    fn labels_never_overlap(
        load in any::<u64>(),
        output in any::<Option<u64>>(),
        spans in proptest::collection::vec((any::<u64>(), any::<u64>()), 0..8),
        wrong in proptest::collection::vec(any::<u64>(), 0..6),
        places in (any::<u64>(), any::<u64>()),
    ) {
        let mut case = Case { load, ..machine() };
        case.places.boot_params = places.0;
        case.places.command_line = places.1;
        case.initrd = spans.first().map(|(start, end)| Span { start: *start, end: *end });
        case.memory =
            spans.iter().map(|(start, end)| MemoryEntry::usable(*start >> 12, *end >> 12)).collect();
        check(&drawn(&case, output, &wrong));
    }
}
