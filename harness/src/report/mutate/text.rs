// SPDX-License-Identifier: GPL-2.0-only
//! The fates of mutants for people: a table by class and kind, then each mutant that nobody found out.

use std::collections::BTreeMap;
use std::fmt::Write;

use anstyle::Style;

use super::MutationReport;
use super::count::Count;
use crate::mutate::{Class, Fate, Mutant};
use crate::oracle::{Rule, Verdict};
use crate::report::text::color;

/// More differences of one mutant are only counted.
const SHOWN: usize = 3;

/// The whole report.
pub fn render(report: &MutationReport) -> String {
    let mut text = String::new();
    head(&mut text, report);
    table(&mut text, report);
    for class in Class::ALL {
        sums(&mut text, report, class);
    }
    survivors(&mut text, report);
    text
}

fn head(text: &mut String, report: &MutationReport) {
    let MutationReport { name, bench, seed, considered, .. } = report;
    let subject = bench.twin.subject();
    let release = subject.image.release().map_or("?".to_owned(), |release| release.to_string());
    let bold = Style::new().bold();
    let numbers: Vec<String> = bench.cases.iter().map(|case| case.number.to_string()).collect();
    let (reached, all) = bench.code.reached();
    let _ = writeln!(
        text,
        "{bold}{name}{bold:#}: {release} {} {}, seed {seed}",
        subject.word, subject.compression
    );
    let _ = writeln!(
        text,
        "  cases     {} of the first {considered} of `relocheck check`: {}",
        numbers.len(),
        numbers.join(", ")
    );
    let how = match bench.symbols.is_empty() {
        true => "told by how often it runs",
        false => "told by the stub's symbols",
    };
    let _ = writeln!(
        text,
        "  stub      {reached} of {all} instructions run in them; without the decompressor, {how}"
    );
    if bench.twin.cleared > 0 {
        let _ = writeln!(
            text,
            "  kernel    packed anew without the names of its sections, {} bytes",
            bench.twin.cleared
        );
    }
}

const HEADINGS: [&str; 12] = [
    "CLASS",
    "KIND",
    "MUTANTS",
    "KILLED",
    "REFUSED",
    "EQUIVALENT",
    "NOT REACHED",
    "SAME",
    "IDLE",
    "BELIEVED",
    "HOLES",
    "NOT JUDGED",
];

fn table(text: &mut String, report: &MutationReport) {
    let mut rows: Vec<Vec<String>> = vec![HEADINGS.map(str::to_owned).to_vec()];
    for class in Class::ALL {
        for kind in class.kinds() {
            let count = Count::of(report.results, class, Some(kind));
            if count.mutants > 0 {
                rows.push(row(class, kind, count));
            }
        }
        let all = Count::of(report.results, class, None);
        if all.mutants > 0 {
            rows.push(row(class, "all", all));
        }
    }
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
    text.push('\n');
    for (number, row) in rows.iter().enumerate() {
        let style = if number == 0 || row[1] == "all" { Style::new().bold() } else { Style::new() };
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let gap = if column == 0 { "" } else { "  " };
            let _ = match column {
                0 | 1 => write!(line, "{gap}{cell:<width$}"),
                _ => write!(line, "{gap}{cell:>width$}"),
            };
        }
        let _ = writeln!(text, "{style}{}{style:#}", line.trim_end());
    }
}

fn row(class: Class, kind: &str, count: Count) -> Vec<String> {
    let numbers = [
        count.mutants,
        count.killed,
        count.refused,
        count.equivalent,
        count.not_reached,
        count.same,
        count.idle,
        count.believed,
        count.holes,
        count.not_judged,
    ];
    let mut row = vec![class.name().to_owned(), kind.to_owned()];
    row.extend(numbers.map(|number| number.to_string()));
    row
}

/// What part was found out, and by which rules.
fn sums(text: &mut String, report: &MutationReport, class: Class) {
    let count = Count::of(report.results, class, None);
    let (Some(ratio), Some(strict)) = (count.ratio(), count.strict_ratio()) else { return };
    let mut rules: BTreeMap<Rule, usize> = BTreeMap::new();
    for (mutant, fate) in report.results {
        if let (true, Fate::Killed { finding, .. }) = (mutant.class == class, fate) {
            *rules.entry(finding.rule).or_default() += 1;
        }
    }
    let rules: Vec<String> = rules.iter().map(|(rule, count)| format!("{rule} {count}")).collect();
    let _ = writeln!(
        text,
        "\n{}: {:.1} % of those that change something are found out ({:.1} % if what nobody reads counts)\n  by {}",
        class.name(),
        100.0 * ratio,
        100.0 * strict,
        rules.join(", ")
    );
}

fn survivors(text: &mut String, report: &MutationReport) {
    type Chosen = fn(&Fate) -> bool;
    let parts: [(&str, Verdict, Chosen); 6] = [
        ("holes: something differs, and no oracle speaks", Verdict::Diverges, |fate| {
            matches!(fate, Fate::Differs(_))
        }),
        ("not judged", Verdict::CannotJudge, |fate| {
            matches!(fate, Fate::NotJudged(_) | Fate::NotBuilt(_))
        }),
        ("survived: only what nobody reads any more differs", Verdict::CannotJudge, |fate| {
            matches!(fate, Fate::Idle(_))
        }),
        ("survived: no difference in any case", Verdict::CannotJudge, |fate| {
            matches!(fate, Fate::Same)
        }),
        (
            "survived: a loader that believes the header gets what it has to get",
            Verdict::CannotJudge,
            |fate| matches!(fate, Fate::Believed),
        ),
        ("equivalent", Verdict::Conforms, |fate| matches!(fate, Fate::Equivalent(_))),
    ];
    for (title, verdict, chosen) in parts {
        let of_kind: Vec<_> = report.results.iter().filter(|(_, fate)| chosen(fate)).collect();
        if of_kind.is_empty() {
            continue;
        }
        let style = color(verdict);
        let _ = writeln!(text, "\n{style}{title}{style:#}:");
        for (mutant, fate) in of_kind {
            let Mutant { class, kind, place, before, after, .. } = mutant;
            let _ = writeln!(text, "  {}, {kind}: {place}: {before} -> {after}", class.name());
            if let Some(reason) = reason(fate) {
                let _ = writeln!(text, "    {reason}");
            }
        }
    }
}

/// Why a mutant that was not found out has its fate.
pub fn reason(fate: &Fate) -> Option<String> {
    Some(match fate {
        Fate::Refused(why)
        | Fate::Equivalent(why)
        | Fate::NotLoadable(why)
        | Fate::NotJudged(why)
        | Fate::NotBuilt(why) => why.clone(),
        Fate::Idle(what) | Fate::Differs(what) => {
            let more = what.len().saturating_sub(SHOWN);
            let shown = what.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("; ");
            if more == 0 { shown } else { format!("{shown}; and {more} more") }
        }
        Fate::Killed { .. } | Fate::NotReached | Fate::Same | Fate::Believed => return None,
    })
}
