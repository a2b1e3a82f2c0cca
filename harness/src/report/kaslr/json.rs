// SPDX-License-Identifier: GPL-2.0-only
//! A survey as JSON: the same to the byte for the same image and arguments.

use serde::Serialize;

use super::KaslrReport;
use crate::campaign::kaslr::{Draw, Observed, Stretch};
use crate::case::Case;
use crate::oracle::{Finding, Verdict};
use crate::range::Range;
use crate::record::JudgementRecord;
use crate::reference::Prediction;

/// Version of the format.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    name: &'a str,
    path: String,
    sha256: String,
    release: Option<String>,
    word_bits: u32,
    seed: u64,
    verdict: Verdict,
    case: &'a Case,
    needed: String,
    alignment: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kaslr_off: Option<&'static str>,
    unmoved: Place,
    physical: DrawReport,
    #[serde(rename = "virtual")]
    virtual_base: Option<DrawReport>,
    kept: Vec<KeptReport>,
    unused: Vec<UnusedReport<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    image_findings: &'a [Finding],
    agreeing: usize,
    runs: Vec<RunReport>,
}

#[derive(Serialize)]
struct Place {
    output: String,
    virt: String,
}

#[derive(Serialize)]
struct KeptReport {
    what: &'static str,
    #[serde(flatten)]
    range: RangeReport,
}

#[derive(Serialize)]
struct UnusedReport<'a> {
    why: &'a str,
    #[serde(flatten)]
    range: RangeReport,
}

#[derive(Serialize)]
struct RangeReport {
    start: String,
    end: String,
}

#[derive(Serialize)]
struct DrawReport {
    slots: u64,
    areas: Vec<AreaReport>,
    samples: u64,
    elsewhere: u64,
    lowest: Option<String>,
    highest: Option<String>,
    never: u64,
    never_expected: f64,
    never_first: Vec<String>,
    bits: f64,
    observed_bits: f64,
    chi_square: Option<FitReport>,
    histogram: Option<HistogramReport>,
}

#[derive(Serialize)]
struct AreaReport {
    start: String,
    places: u64,
    listed: u64,
}

#[derive(Serialize)]
struct FitReport {
    statistic: f64,
    degrees_of_freedom: u64,
    p: f64,
    even: bool,
}

#[derive(Serialize)]
struct HistogramReport {
    start: String,
    width: String,
    counts: Vec<u64>,
    slots: Vec<u64>,
}

#[derive(Serialize)]
struct RunReport {
    number: usize,
    rdrand: [String; 2],
    expected: Place,
    agrees: bool,
    #[serde(flatten)]
    judgement: JudgementRecord,
}

/// The whole document.
pub fn render(report: &KaslrReport) -> serde_json::Result<String> {
    let KaslrReport { name, path, subject, seed, surveyed } = *report;
    let range = |range: Range| RangeReport { start: hex(range.start), end: hex(range.end) };
    let kept = surveyed.kept.iter();
    let unused = surveyed.unused.iter();
    let document = Document {
        version: VERSION,
        name,
        path: path.display().to_string(),
        sha256: subject.image.sha256(),
        release: subject.image.release().map(|release| release.to_string()),
        word_bits: subject.word.bits(),
        seed,
        verdict: surveyed.verdict(),
        case: &surveyed.case,
        needed: hex(surveyed.needed),
        alignment: hex(surveyed.alignment),
        kaslr_off: surveyed.off,
        unmoved: place(surveyed.unmoved),
        physical: draw(&surveyed.physical),
        virtual_base: surveyed.virtual_base.as_ref().map(draw),
        kept: kept.map(|k| KeptReport { what: k.what, range: range(k.range) }).collect(),
        unused: unused.map(|u| UnusedReport { why: &u.why, range: range(u.range) }).collect(),
        image_findings: &surveyed.image_findings,
        agreeing: surveyed.agreeing(),
        runs: surveyed.runs.iter().enumerate().map(run).collect(),
    };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn hex(value: u64) -> String {
    format!("{value:#x}")
}

/// Six significant digits: more would differ between mathematical libraries.
fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

fn place(at: Prediction) -> Place {
    Place { output: hex(at.output), virt: hex(at.virt) }
}

fn draw(draw: &Draw) -> DrawReport {
    let area = |stretch: &Stretch| AreaReport {
        start: hex(stretch.start),
        places: stretch.count,
        listed: stretch.weight,
    };
    DrawReport {
        slots: draw.places.slots,
        areas: draw.places.stretches.iter().map(area).collect(),
        samples: draw.samples,
        elsewhere: draw.elsewhere,
        lowest: draw.chosen.map(|(low, _)| hex(low)),
        highest: draw.chosen.map(|(_, high)| hex(high)),
        never: draw.never,
        never_expected: rounded(draw.never_expected),
        never_first: draw.never_first.iter().map(|address| hex(*address)).collect(),
        bits: rounded(draw.bits),
        observed_bits: rounded(draw.observed_bits),
        chi_square: draw.fit.map(|fit| FitReport {
            statistic: rounded(fit.statistic),
            degrees_of_freedom: fit.degrees,
            p: rounded(fit.p),
            even: fit.is_even(),
        }),
        histogram: draw.histogram.as_ref().map(|histogram| HistogramReport {
            start: hex(histogram.start),
            width: hex(histogram.width),
            counts: histogram.columns.iter().map(|column| column.count).collect(),
            slots: histogram.columns.iter().map(|column| column.slots).collect(),
        }),
    }
}

fn run((number, observed): (usize, &Observed)) -> RunReport {
    RunReport {
        number,
        rdrand: observed.answers.map(hex),
        expected: place(observed.expected),
        agrees: observed.agrees(),
        judgement: JudgementRecord::new(&observed.judgement),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_digits_are_enough() {
        assert_eq!(rounded(11.964_341_83), 11.9643);
        assert_eq!(rounded(0.0), 0.0);
        assert_eq!(rounded(1.234_567_8e-30), 1.23457e-30);
    }
}
