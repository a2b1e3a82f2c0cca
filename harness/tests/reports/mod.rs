// SPDX-License-Identifier: GPL-2.0-only
//! Reports to try commands on.

use std::path::Path;

use relocheck::record::{Campaign, Partition, Report};

/// The report that is kept as an example.
pub fn example() -> Report {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../reports/example.json");
    Report::read(&path).expect("the example is a report")
}

/// Part `part` of a campaign in two parts that runs the example's image in each.
pub fn part(part: u32) -> Report {
    let mut report = example();
    report.campaign = Some(Campaign {
        name: "everything".into(),
        plan: "0".repeat(64),
        date: "2026-11-23".into(),
        partition: Some(Partition { parts: vec![part], of: 2 }),
    });
    report.images[0].number = part as usize - 1;
    report
}

/// Writes a report into `dir`.
pub fn write(dir: &Path, name: &str, report: &Report) -> std::io::Result<()> {
    std::fs::write(dir.join(name), report.to_json()?)
}
