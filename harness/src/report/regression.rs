// SPDX-License-Identifier: GPL-2.0-only
//! The regression report: what a reviewer compares from one kernel to the next. It leaves out what changes
//! with every build (release, sizes, addresses, times), so that it changes only when behaviour does.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::record::ImageRecord;

/// The report on one image.
pub fn regression(seed: u64, image: &ImageRecord) -> String {
    let mut text = String::new();
    let summary = image.summary;
    let _ = writeln!(text, "verdict: {}", image.verdict);
    match (&image.facts, &image.error) {
        (None, error) => {
            let _ = writeln!(text, "error: {}", error.as_deref().unwrap_or("unknown"));
        }
        (Some(facts), _) => {
            let protocols: Vec<String> =
                facts.protocols.iter().map(|protocol| protocol.to_string()).collect();
            let _ = writeln!(text, "kernel: {}-bit, {}", facts.word_bits, facts.compression);
            let _ = writeln!(text, "protocols: {}", protocols.join(", "));
            let predicted =
                if facts.kaslr_not_predicted.is_none() { "predicted" } else { "not predicted" };
            let _ = writeln!(text, "KASLR: {predicted}");
        }
    }
    let _ = writeln!(text, "seed {}, {} cases:", seed, summary.cases);
    // How many depends on KASLR's luck, which changes with the version string that it hashes.
    let relocated = if summary.relocated > 0 { "some" } else { "none" };
    for (name, count) in [
        ("32-bit entry", summary.protocol_32),
        ("64-bit entry", summary.protocol_64),
        ("KASLR on", summary.kaslr),
        ("KASLR's choice predicted", summary.kaslr_predicted),
        ("as a particular loader would", summary.by_loader),
        ("above 4 GiB", summary.above_4g),
        ("refused as they must be", summary.refused),
        ("conforming", summary.conforming),
        ("diverging", summary.diverging),
        ("not judged", summary.not_judged),
    ] {
        let _ = writeln!(text, "  {name}: {count}");
    }
    let _ = writeln!(text, "  relocated and verified: {relocated}");
    let mut rules: BTreeMap<String, usize> = BTreeMap::new();
    for found in image.cases.iter().flat_map(|case| &case.judgement.findings) {
        *rules.entry(found.finding.rule.to_string()).or_default() += 1;
    }
    let _ = writeln!(text, "findings:{}", if rules.is_empty() { " none" } else { "" });
    for (rule, count) in rules {
        let _ = writeln!(text, "  {rule}: {count}");
    }
    text
}
