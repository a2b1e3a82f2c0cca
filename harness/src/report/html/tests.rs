// SPDX-License-Identifier: GPL-2.0-only

use roxmltree::{Document, Node};

use super::{ALL_PICTURES, MOST_PICTURES, html};
use crate::case::{Loader, Protocol};
use crate::history::{Failing, Past, Since};
use crate::oracle::{Rule, Verdict};
use crate::record::samples::{
    conforming, conforming_image, diverging, image_of, known, new, report,
};
use crate::record::{Expected, ImageRecord, RegressionRecord, Report, Standing, State};

/// The body, which has to be well-formed: an XML parser forgives nothing.
fn body(page: &str) -> &str {
    let start = page.find("<body>").expect("the page has a body");
    let end = page.rfind("</html>").expect("the page ends");
    &page[start..end]
}

fn page(report: &Report) -> String {
    html(report, &Past::default())
}

fn mixed() -> Report {
    let mut doubtful = image_of("doubtful", vec![conforming(0), conforming(1)]);
    doubtful.cases[1].judgement.verdict = Verdict::CannotJudge;
    doubtful.cases[1].judgement.not_judged = vec!["the engine has no such instruction".into()];
    doubtful.conclude();
    let news = vec![
        conforming(0),
        diverging(1, vec![new(Rule::Memory), known(Rule::Fault)]),
        diverging(2, vec![new(Rule::Memory), new(Rule::HandOff)]),
    ];
    let mut own = conforming_image("own", 3);
    own.facts.as_mut().unwrap().image_findings = vec![new(Rule::Loader)];
    own.conclude();
    let mut broken = ImageRecord::new(5, "broken".into(), "broken".into());
    broken.error = Some("no bzImage".into());
    report(vec![
        conforming_image("fine", 4),
        image_of("news", news),
        image_of("known", vec![diverging(0, vec![known(Rule::Fault)])]),
        doubtful,
        own,
        broken,
    ])
}

fn with_attribute<'a>(node: Node<'a, 'a>, name: &'a str) -> impl Iterator<Item = Node<'a, 'a>> {
    node.descendants().filter(move |node| node.has_attribute(name))
}

fn number(node: Node, name: &str) -> usize {
    node.attribute(name).and_then(|text| text.parse().ok()).expect("a number")
}

#[test]
fn the_numbers_are_those_of_the_report() {
    let report = mixed();
    let page = page(&report);
    let document = Document::parse(body(&page)).unwrap();
    let totals = report.totals();
    let count = |key: &str| {
        let mut tiles = with_attribute(document.root(), "data-count");
        let tile = tiles.find(|tile| tile.attribute("data-count") == Some(key)).unwrap();
        let text: String = tile.text().unwrap().chars().filter(char::is_ascii_digit).collect();
        assert_eq!(text, tile.attribute("data-value").unwrap());
        number(tile, "data-value")
    };
    assert_eq!(count("conforming"), totals.conforming);
    assert_eq!(count("new"), totals.new);
    assert_eq!(count("known"), totals.known);
    assert_eq!(count("not-judged"), totals.not_judged);
    assert_eq!(count("cases"), report.images.iter().map(|image| image.cases.len()).sum::<usize>());
    assert_eq!(count("fields"), totals.fields);
    assert_eq!([totals.conforming, totals.new, totals.known, totals.not_judged], [1, 2, 1, 2]);
}

#[test]
fn every_image_has_its_row_and_its_section_with_all_cases() {
    let report = mixed();
    let page = page(&report);
    let document = Document::parse(body(&page)).unwrap();
    for (index, image) in report.images.iter().enumerate() {
        let of_image = |name| {
            let mut nodes = with_attribute(document.root(), "data-image");
            nodes
                .find(|node| node.has_tag_name(name) && number(*node, "data-image") == index)
                .unwrap_or_else(|| panic!("{name} of {}", image.name))
        };
        let row = of_image("tr");
        let state = with_attribute(row, "data-state").next().unwrap().attribute("data-state");
        assert_eq!(state.and_then(State::named), Some(image.state()), "{}", image.name);
        let link = row.descendants().find(|node| node.has_tag_name("a")).unwrap();
        let section = of_image("section");
        assert_eq!(link.attribute("href").unwrap()[1..], *section.attribute("id").unwrap());
        let rows = section.descendants().filter(|node| node.has_tag_name("tr"));
        let numbers: Vec<usize> = rows
            .filter(|node| node.has_attribute("data-case"))
            .map(|node| number(node, "data-case"))
            .collect();
        assert_eq!(numbers, image.cases.iter().map(|case| case.number).collect::<Vec<_>>());
        let figures = section.descendants().filter(|node| node.has_tag_name("figure")).count();
        assert_eq!(figures, image.summary.diverging.min(MOST_PICTURES), "{}", image.name);
    }
}

#[test]
fn each_new_finding_comes_with_the_command_that_shows_it_again() {
    let mut report = mixed();
    report.images[1].cases[1].file = Some("cases/a b.toml".into());
    let page = page(&report);
    let document = Document::parse(body(&page)).unwrap();
    let news: Vec<(String, String)> = with_attribute(document.root(), "data-rule")
        .map(|node| {
            let code = node.descendants().rfind(|node| node.has_tag_name("code")).unwrap();
            let rule = node.attribute("data-rule").unwrap().to_owned();
            (rule, code.text().unwrap().to_owned())
        })
        .collect();
    let expected = [
        ("memory", "relocheck replay cases/a\\ b.toml"),
        ("hand-off", "relocheck check --bases 3 --seed 7 kernels/news"),
        ("loader", "relocheck check --bases 3 --seed 7 kernels/own"),
    ];
    let expected = expected.map(|(rule, command)| (rule.to_owned(), command.to_owned()));
    assert_eq!(news, expected, "and nothing that is known");
}

#[test]
fn a_regression_case_that_is_not_as_expected_is_told() {
    let mut report = mixed();
    let regression = |number, standing| RegressionRecord {
        number,
        case: format!("corpus/cases/{number}.toml"),
        image: "debian-cloud".into(),
        expected: Expected::Shows(Rule::Fault),
        standing,
        judgement: None,
        error: None,
        duration_ms: 1,
    };
    report.regressions =
        vec![regression(0, Standing::AsExpected), regression(1, Standing::NotShown)];
    let page = page(&report);
    assert!(page.contains("1 of 2 cases as expected"));
    assert!(page.contains("corpus/cases/1.toml"));
    assert!(!page.contains("corpus/cases/0.toml"));
    assert!(page.contains("1 of 2 regression cases is not as expected"), "in the verdict");
}

#[test]
fn nothing_from_outside_is_taken_for_markup() {
    const HOSTILE: &str =
        "</title></svg><script>alert(1)</script>\"'&amp;<!--\u{0}\u{1b}[31m\u{202e}]]>";
    let hostile = || HOSTILE.to_owned();
    let mut report = mixed();
    let campaign = report.campaign.as_mut().unwrap();
    campaign.name = hostile();
    campaign.date = hostile();
    campaign.plan = hostile();
    report.known_issues[0].id = hostile();
    report.known_issues[0].owner = hostile();
    report.known_issues[0].expires = hostile();
    report.known_issues[0].explanation = hostile();
    for image in &mut report.images {
        image.name = hostile();
        image.path = hostile();
        image.error = Some(hostile());
        if let Some(facts) = &mut image.facts {
            facts.sha256 = hostile();
            facts.release = Some(hostile());
            facts.compression = hostile();
            facts.kaslr_not_predicted = Some(hostile());
            facts.not_compared_with_vmlinux = Some(hostile());
        }
        for case in &mut image.cases {
            case.file = Some(hostile());
            case.judgement.not_judged = vec![hostile()];
            for found in &mut case.judgement.findings {
                found.finding.place = hostile();
                found.finding.expected = hostile();
                found.finding.actual = hostile();
                found.known = found.known.take().map(|_| hostile());
            }
        }
    }
    let page = page(&report);
    let document = Document::parse(body(&page)).unwrap();
    assert_eq!(document.descendants().filter(|node| node.has_tag_name("script")).count(), 0);
    assert_eq!(page.matches("<title>relocheck").count(), 1);
    assert!(!page.contains("<script") && !page.contains("<!--"));
    assert!(!page.contains(|c: char| c.is_control() && c != '\n'));
    assert!(!page.contains('\u{202e}'));
    // The head is not XML: it ends where it has to.
    let head = &page[..page.find("<body>").unwrap()];
    assert_eq!(head.matches("</title>").count(), 1);
}

#[test]
fn the_page_needs_nothing_else() {
    let page = page(&mixed());
    for outside in ["http:", "https:", "src=", "@import", "url(", "<link", "<script"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let document = Document::parse(body(&page)).unwrap();
    let ids: Vec<&str> = document.descendants().filter_map(|node| node.attribute("id")).collect();
    let mut unique = ids.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), ids.len(), "an id stands for one thing");
    for link in document.descendants().filter_map(|node| node.attribute("href")) {
        assert!(ids.contains(&link.strip_prefix('#').unwrap()), "{link} leads nowhere");
    }
    for svg in document.descendants().filter(|node| node.has_tag_name("svg")) {
        assert!(svg.has_attribute("aria-label") || svg.has_attribute("aria-labelledby"));
    }
}

#[test]
fn a_page_of_many_images_stays_small() {
    const IMAGES: usize = 130;
    let names = |index| format!("debian-amd64-with-a-long-name-{index}");
    let cases = |every: usize| {
        (0..16).map(move |number| match number % every {
            1 => diverging(number, vec![new(Rule::Memory), new(Rule::Fault)]),
            _ => conforming(number),
        })
    };
    for every in [16, 2] {
        let images = (0..IMAGES).map(|index| image_of(&names(index), cases(every).collect()));
        let page = page(&report(images.collect()));
        let document = Document::parse(body(&page)).unwrap();
        let pictures = document.descendants().filter(|node| node.has_tag_name("figure")).count();
        assert!((IMAGES..=ALL_PICTURES).contains(&pictures), "{pictures} pictures");
        assert!(page.len() < 2_000_000, "{} bytes", page.len());
    }
}

#[test]
fn a_report_of_nothing_is_a_page() {
    let page = page(&Report::new(None, 1, Vec::new(), Vec::new(), Vec::new()));
    Document::parse(body(&page)).unwrap();
    assert!(page.contains("No image was checked."));
}

#[test]
fn a_finding_tells_since_when_it_is_there() {
    let report = mixed();
    let failing = |rule, date: &str, runs| Failing {
        image: "news".into(),
        rule,
        since: Since { date: date.into(), runs },
    };
    let past = Past {
        failing: vec![
            failing(Rule::Memory, "2026-11-20", 4),
            failing(Rule::HandOff, "2026-11-23", 1),
        ],
        ..Past::default()
    };
    let page = html(&report, &past);
    assert_eq!(page.matches("; since 2026-11-20, for 4 runs").count(), 1);
    assert_eq!(page.matches("; not in the run before").count(), 1);
}

#[test]
fn a_selection_is_part_of_the_command() {
    let mut image = image_of("some", vec![diverging(4, vec![new(Rule::Memory)])]);
    image.selection.protocol = Some(Protocol::Bits32);
    image.selection.loaders = vec![Loader::Kdump, Loader::Grub];
    let page = page(&report(vec![image]));
    let command =
        "relocheck check --bases 5 --seed 7 --protocol 32 --loader kdump,grub kernels/some";
    assert!(page.contains(command));
}
