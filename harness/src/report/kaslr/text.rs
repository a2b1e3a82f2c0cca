// SPDX-License-Identifier: GPL-2.0-only
//! A survey for people.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};

use super::KaslrReport;
use crate::campaign::kaslr::{Draw, Fit, Histogram, Surveyed, free};
use crate::oracle::Finding;
use crate::report::size::size;
use crate::report::text::color;

/// Columns and lines of a histogram.
const COLUMNS: usize = 80;
const LINES: u64 = 3;
/// More lines of one kind than this are only counted.
const SHOWN: usize = 8;
const SHOWN_FINDINGS: usize = 4;

/// The whole report.
pub fn render(report: &KaslrReport) -> String {
    let mut text = String::new();
    head(&mut text, report);
    let surveyed = report.surveyed;
    match surveyed.off {
        Some(why) => off(&mut text, surveyed, why),
        None => on(&mut text, report),
    }
    runs(&mut text, surveyed);
    text
}

fn head(text: &mut String, report: &KaslrReport) {
    let KaslrReport { name, subject, surveyed, seed, .. } = report;
    let release = subject.image.release().map_or("?".to_owned(), |release| release.to_string());
    let bold = Style::new().bold();
    let _ = writeln!(text, "{bold}{name}{bold:#}: {release} {}", subject.word);
    let case = &surveyed.case;
    let usable = free(case).iter().map(|range| range.len()).fold(0, u64::saturating_add);
    let _ = writeln!(
        text,
        "  machine   {} of free memory, loaded at {:#x}, {}-bit entry",
        size(usable),
        case.load,
        case.protocol
    );
    if let Some(line) = case.command_line.as_deref().filter(|line| !line.is_empty()) {
        let _ = writeln!(text, "  command   {}", shortened(line));
    }
    let _ = writeln!(
        text,
        "  kernel    needs {:#x} bytes ({}), aligned to {:#x} ({})",
        surveyed.needed,
        size(surveyed.needed),
        surveyed.alignment,
        size(surveyed.alignment)
    );
    if surveyed.off.is_none() {
        let _ = writeln!(text, "  samples   {}, seed {seed}", surveyed.physical.samples);
    }
}

/// A command line on one line of the report.
fn shortened(line: &str) -> String {
    const MOST: usize = 80;
    let shown: String = line.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    match shown.char_indices().nth(MOST) {
        None => shown,
        Some((end, _)) => format!("{}...", &shown[..end]),
    }
}

fn off(text: &mut String, surveyed: &Surveyed, why: &str) {
    let unmoved = surveyed.unmoved;
    let _ = writeln!(
        text,
        "\nKASLR does not choose: {why}\n  the kernel goes to {:#x}, virtual base {:#x}",
        unmoved.output, unmoved.virt
    );
}

fn on(text: &mut String, report: &KaslrReport) {
    let surveyed = report.surveyed;
    let physical = &surveyed.physical;
    let title = if surveyed.virtual_base.is_some() { "physical address" } else { "address" };
    heading(text, title, physical);
    if physical.places.slots == 0 {
        let _ = writeln!(
            text,
            "  no free memory is large enough: the kernel goes to {:#x}",
            surveyed.unmoved.output
        );
    }
    let lines = physical.places.stretches.iter().map(|stretch| {
        let last = stretch.start + (stretch.count - 1) * physical.places.step;
        let twice = match stretch.weight {
            1 => String::new(),
            weight => format!(", each counted {weight} times"),
        };
        format!("{:#12x} to {last:<#12x} {:>8} places{twice}", stretch.start, stretch.count)
    });
    listed(text, "from", lines);
    details(text, physical);
    let lines = surveyed.unused.iter().map(|unused| {
        let range = unused.range;
        let range = format!("{:#12x} to {:<#12x}", range.start, range.end);
        format!("{range} {:>10}  {}", size(unused.range.len()), unused.why)
    });
    listed(text, "unused", lines);
    if let Some(draw) = &surveyed.virtual_base {
        heading(text, "virtual base", draw);
        let map = report.subject.link.map;
        if let Some((low, high)) = draw.places.ends() {
            let (low_text, high_text) = (map.wrapping_add(low), map.wrapping_add(high));
            let _ = writeln!(
                text,
                "  from      {low:#12x} to {high:<#12x} {low_text:#x} to {high_text:#x}"
            );
        }
        details(text, draw);
    }
}

fn heading(text: &mut String, title: &str, draw: &Draw) {
    let bold = Style::new().bold();
    let slots = draw.places.slots;
    let plural = if slots == 1 { "" } else { "s" };
    let _ = writeln!(text, "\n{bold}{title}{bold:#}: {slots} slot{plural}, {:.2} bits", draw.bits);
}

/// Lines of one kind, the first behind its name.
fn listed(text: &mut String, name: &str, lines: impl ExactSizeIterator<Item = String>) {
    let more = lines.len().saturating_sub(SHOWN);
    for (number, line) in lines.take(SHOWN).enumerate() {
        let name = if number == 0 { name } else { "" };
        let _ = writeln!(text, "  {name:<9} {line}");
    }
    if more > 0 {
        let _ = writeln!(text, "  {:<9} and {more} more", "");
    }
}

fn details(text: &mut String, draw: &Draw) {
    if draw.places.slots > 1
        && let Some(histogram) = &draw.histogram
    {
        bars(text, &histogram.coarser(COLUMNS));
    }
    if let Some((low, high)) = draw.chosen {
        let _ = writeln!(text, "  chosen    {low:#12x} to {high:#x}");
    }
    if draw.elsewhere > 0 && draw.places.slots > 0 {
        let _ = writeln!(text, "  elsewhere {} samples are none of these places", draw.elsewhere);
    }
    if draw.never > 0 || draw.places.slots > 1 {
        let named: Vec<String> = draw.never_first.iter().map(|at| format!("{at:#x}")).collect();
        let named = match (draw.never, named.len() as u64) {
            (0, _) => String::new(),
            (never, all) if never == all && all <= 4 => format!(": {}", named.join(", ")),
            _ => format!(", the lowest {}", named[0]),
        };
        let expected = draw.never_expected;
        let _ = writeln!(
            text,
            "  missed    {} places, an even draw misses {expected:.1}{named}",
            draw.never
        );
    }
    if let Some(fit) = draw.fit {
        let _ = writeln!(text, "  entropy   {:.2} bits observed", draw.observed_bits);
        let _ = writeln!(text, "  even?     {}", judged(fit));
    }
}

fn judged(fit: Fit) -> String {
    let p = match fit.p {
        p if p < 1e-12 => "p < 1e-12".to_owned(),
        p if p < 1e-3 => format!("p = {p:.1e}"),
        p => format!("p = {p:.3}"),
    };
    let red = Style::new().fg_color(Some(AnsiColor::Red.into()));
    let verdict = if fit.is_even() { "yes".to_owned() } else { format!("{red}NO{red:#}") };
    format!("{verdict}: chi-square {:.1}, {} degrees of freedom, {p}", fit.statistic, fit.degrees)
}

/// A histogram in block characters, with its ends below.
fn bars(text: &mut String, histogram: &Histogram) {
    const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = histogram.columns.iter().map(|column| column.count).max().unwrap_or(0).max(1);
    let eighths = |count: u64| u128::from(count) * u128::from(LINES * 8) / u128::from(most);
    for line in (0..LINES).rev() {
        let blocks: String = histogram
            .columns
            .iter()
            .map(|column| match eighths(column.count).saturating_sub(u128::from(line * 8)) {
                0 if line == 0 && column.count > 0 => BLOCKS[1],
                height => BLOCKS[height.min(8) as usize],
            })
            .collect();
        let _ = writeln!(text, "            {}", blocks.trim_end());
    }
    let (start, end) = (size(histogram.start), size(histogram.end()));
    let gap = histogram.columns.len().saturating_sub(start.len() + end.len()).max(1);
    let _ = writeln!(text, "            {start}{:gap$}{end}", "");
}

fn runs(text: &mut String, surveyed: &Surveyed) {
    for finding in surveyed.image_findings.iter().take(SHOWN_FINDINGS) {
        let _ = writeln!(text, "\nthe image itself: {finding}");
    }
    let (all, agreeing) = (surveyed.runs.len(), surveyed.agreeing());
    if all == 0 {
        let _ = writeln!(text, "\nnothing was run");
        return;
    }
    let verdict = surveyed.verdict();
    let style = color(verdict);
    let _ = writeln!(
        text,
        "\n{style}{verdict}{style:#}: {agreeing} of {all} runs of the image put the kernel where the model says"
    );
    let own = surveyed.image_findings.len();
    let bad = surveyed.runs.iter().enumerate().filter(|(_, run)| {
        run.judgement.findings.len() > own || !run.judgement.not_judged.is_empty()
    });
    let more = bad.clone().count().saturating_sub(SHOWN);
    for (number, run) in bad.take(SHOWN) {
        let [physical, virtual_base] = run.answers;
        let _ = writeln!(text, "  run {number}, RDRAND {physical:#x}, {virtual_base:#x}:");
        let findings = run.judgement.findings.iter().skip(own);
        let hidden = findings.len().saturating_sub(SHOWN_FINDINGS);
        for line in findings.take(SHOWN_FINDINGS).map(Finding::to_string) {
            let _ = writeln!(text, "    {line}");
        }
        if hidden > 0 {
            let _ = writeln!(text, "    and {hidden} more findings");
        }
        for why in &run.judgement.not_judged {
            let _ = writeln!(text, "    cannot judge: {why}");
        }
    }
    if more > 0 {
        let _ = writeln!(text, "  and {more} more runs");
    }
}
