// SPDX-License-Identifier: GPL-2.0-only
//! All that is kept of one image: facts, pictures of its failing cases, and the table of its cases.

use maud::{Markup, html};

use super::matrix::{state_class, state_sign};
use super::news::reason;
use super::space::{memory_class, memory_words, picture};
use super::text::shown;
use crate::case::MemoryKind;
use crate::oracle::Verdict;
use crate::record::{CaseRecord, Facts, Found, ImageRecord, State, Summary};
use crate::report::again;
use crate::report::judgement::brief;
use crate::report::plain::count;
use crate::report::size::size;

/// More findings of one case are only counted.
const MOST_FINDINGS: usize = 4;

/// The section of `image`, the one at `index` of its report, with at most `most` pictures.
pub fn section(seed: u64, index: usize, image: &ImageRecord, most: usize) -> Markup {
    let state = image.state();
    html! {
        section.image id=(format!("image-{index}")) data-image=(index) data-state=(state.name()) {
            h3 {
                span class=(state_class(state)) { (state_sign(state)) }
                " " (shown(&image.title()))
            }
            p.meta { (summary(image)) }
            @if state == State::CannotJudge { p { (reason(image)) } }
            @for found in image.facts.iter().flat_map(|facts| &facts.image_findings).take(MOST_FINDINGS) {
                p { "The image itself: " (finding(found)) }
            }
            (pictures(seed, index, image, most))
            @if let Some(facts) = &image.facts {
                details {
                    summary { "Facts and " (count(image.cases.len(), "case")) }
                    (facts_list(image, facts))
                    (cases(image))
                }
            }
        }
    }
}

fn summary(image: &ImageRecord) -> String {
    let Summary { cases, conforming, diverging, known, not_judged, fields, .. } = image.summary;
    let mut parts: Vec<String> = Vec::new();
    if let Some(facts) = &image.facts {
        let release = facts.release.as_deref().unwrap_or("release unknown");
        parts.push(format!("{}, {}-bit, {}", shown(release), facts.word_bits, facts.compression));
    }
    parts.push(format!("{conforming} of {} conform", count(cases, "case")));
    for (count, what) in [
        (diverging.saturating_sub(known), "diverging, new"),
        (known, "diverging, known"),
        (not_judged, "not judged"),
        (image.not_run, "not run"),
        (fields, "relocated fields verified"),
    ] {
        parts.extend((count > 0).then(|| format!("{count} {what}")));
    }
    parts.join(" · ")
}

fn finding(found: &Found) -> Markup {
    html! {
        (shown(&found.finding.to_string()))
        @if let Some(issue) = &found.known { " " span.s-known { "◆ known: " (shown(issue)) } }
    }
}

/// The memory of failing cases, news first; the rest is only counted.
fn pictures(seed: u64, index: usize, image: &ImageRecord, most: usize) -> Markup {
    let mut failing: Vec<&CaseRecord> =
        image.cases.iter().filter(|case| case.judgement.verdict == Verdict::Diverges).collect();
    failing.sort_by_key(|case| case.judgement.is_known());
    let rest = failing.len().saturating_sub(most);
    html! {
        @if !failing.is_empty() && most > 0 {
            (key())
            div.pictures {
                @for case in failing.iter().take(most) { (figure(seed, index, image, case)) }
            }
        }
        @if rest > 0 { p { (count(rest, "more failing case")) ", see the table." } }
    }
}

/// What colours stand for; the rest has its name beside it.
fn key() -> Markup {
    const KINDS: [MemoryKind; 7] = [
        MemoryKind::Usable,
        MemoryKind::Reserved,
        MemoryKind::Acpi,
        MemoryKind::Nvs,
        MemoryKind::Unusable,
        MemoryKind::Pmem,
        MemoryKind::Unlisted,
    ];
    html! {
        p.legend.key {
            "Physical memory, addresses growing downwards, not to scale. Strip on the left: "
            @for kind in KINDS {
                @let (word, meaning) = memory_words(kind);
                span class={ "swatch " (memory_class(kind)) } { (word) } " " (meaning) " · "
            }
            span.break { "≷" } " nothing there, shortened"
        }
    }
}

fn figure(seed: u64, index: usize, image: &ImageRecord, record: &CaseRecord) -> Markup {
    let findings = &record.judgement.findings;
    let more = findings.len().saturating_sub(MOST_FINDINGS);
    html! {
        figure data-case=(record.number) {
            figcaption {
                b { "Case " (record.number) }
                @if let Some(case) = &record.case { ": " (shown(&brief(case))) }
                @if let (Some(output), Some(virt)) = (record.judgement.output, record.judgement.virt) {
                    "; kernel at " (format!("{output:#x}")) ", relocated for " (format!("{virt:#x}"))
                }
                ul {
                    @for found in findings.iter().take(MOST_FINDINGS) { li { (finding(found)) } }
                    @if more > 0 { li { "and " (count(more, "more finding")) } }
                }
                pre { code { (again::case(seed, image, record)) } }
            }
            @if let (Some(facts), Some(case)) = (&image.facts, &record.case) {
                @let id = format!("p{index}-{}", record.number);
                @let title = format!("Memory in case {} of {}", record.number, shown(&image.title()));
                (picture(&id, &title, facts, record, case))
            }
        }
    }
}

fn facts_list(image: &ImageRecord, facts: &Facts) -> Markup {
    let protocols: Vec<String> = facts.protocols.iter().map(|one| format!("{one}-bit")).collect();
    let rows = [
        ("path", shown(&image.path)),
        ("SHA-256", shown(&facts.sha256)),
        ("entry", protocols.join(", ")),
        ("relocation table", count(facts.table_entries, "field")),
        ("loaded", size(facts.loaded_size)),
        ("init_size", size(facts.init_size)),
        ("kernel", size(facts.kernel_size)),
    ];
    html! {
        dl.facts {
            @for (name, value) in rows { div { dt { (name) } dd { (value) } } }
            @if let Some(why) = &facts.kaslr_not_predicted {
                div { dt { "KASLR not predicted" } dd { (shown(why)) } }
            }
            @if let Some(equal) = facts.entries_equal_to_vmlinux {
                div { dt { "equal in vmlinux" } dd { (count(equal, "field")) } }
            }
            @if let Some(why) = &facts.not_compared_with_vmlinux {
                div { dt { "not compared with vmlinux" } dd { (shown(why)) } }
            }
            @if let Some(shrunk) = &image.shrunk {
                div {
                    dt { "simplest failing case" }
                    dd {
                        (shown(&brief(&shrunk.case)))
                        @if let Some(file) = &shrunk.file { " · " code { (again::replay(file)) } }
                    }
                }
            }
        }
    }
}

fn cases(image: &ImageRecord) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Cases" {
            table.cases {
                thead { tr {
                    @for name in [
                        "case", "entry", "load", "KASLR", "loader", "output", "virt", "fields", "verdict", "ms",
                    ] { th scope="col" { (name) } }
                } }
                tbody { @for case in &image.cases { (case_row(case)) } }
            }
        }
    }
}

fn case_row(case: &CaseRecord) -> Markup {
    let judgement = &case.judgement;
    let address = |address: Option<u64>| address.map_or("–".to_owned(), |at| format!("{at:#x}"));
    let (class, sign) = match judgement.verdict {
        Verdict::Conforms => ("s-ok", "✓"),
        Verdict::CannotJudge => ("s-doubt", "?"),
        Verdict::Diverges if judgement.is_known() => ("s-known", "◆"),
        Verdict::Diverges => ("s-new", "✗"),
    };
    html! {
        tr data-case=(case.number) {
            td { (case.number) }
            td { (case.protocol) }
            td { (format!("{:#x}", case.load)) }
            td { (if case.kaslr { "on" } else { "off" }) }
            td { (case.loader) }
            td { (address(judgement.output)) }
            td { (address(judgement.virt)) }
            td { (judgement.fields_relocated) }
            td class=(class) { (sign) (words(case)) }
            td { (case.duration_ms) }
        }
    }
}

/// What the sign of a verdict leaves open.
fn words(case: &CaseRecord) -> String {
    let judgement = &case.judgement;
    let mut rules: Vec<&str> =
        judgement.findings.iter().map(|found| found.finding.rule.name()).collect();
    rules.sort_unstable();
    rules.dedup();
    let why = judgement.not_judged.first().map(|why| shown(why));
    let refused = judgement.refused.then(|| "refused, as it must".to_owned());
    let rules = (!rules.is_empty()).then(|| rules.join(", "));
    match rules.or(why).or(refused) {
        Some(words) => format!(" {words}"),
        None => String::new(),
    }
}
