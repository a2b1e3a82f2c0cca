// SPDX-License-Identifier: GPL-2.0-only
//! Nothing outside the permitted memory was written: RAM is compared with its fill and with what the
//! loader put there.

use super::{Finding, Rule, Subject};
use crate::machine::{Outcome, PAGE, Placed, Setup};
use crate::range::Range;
use crate::reference::Placement;

/// So many ranges are told apart by what lies there; behind that they are only counted.
const SHOWN: usize = 8;

/// Judges all of RAM. `also` may be written too: the kernel where KASLR put it, the screen.
pub fn judge(
    subject: &Subject,
    setup: &Setup,
    outcome: &Outcome,
    placement: &Placement,
    also: &[Range],
) -> Vec<Finding> {
    let permitted = permitted(subject, setup, placement, also);
    let mut findings: Vec<Finding> = Vec::new();
    let mut last: Option<(u64, usize)> = None;
    for page in outcome.ram.written_pages() {
        let whole = Range::sized(page, PAGE);
        if permitted.iter().any(|range| range.covers(whole)) {
            continue;
        }
        let expected = before(setup, page);
        let Some(actual) = outcome.ram.slice(page, PAGE as usize) else { continue };
        if expected == actual {
            continue;
        }
        let differing = (0..PAGE as usize).filter(|&i| {
            expected[i] != actual[i] && !permitted.iter().any(|r| r.contains(page + i as u64))
        });
        for i in differing {
            let address = page + i as u64;
            let what = owner(setup, address);
            if let Some((end, index)) = last
                && address <= end + 8
                && findings[index].place == what
            {
                findings[index].bytes += 1;
                last = Some((address, index));
                continue;
            }
            let index = match findings.iter().position(|f| f.place == what) {
                Some(index) => {
                    findings[index].ranges += 1;
                    index
                }
                None if findings.len() < SHOWN => {
                    findings.push(Finding {
                        address: Some(address),
                        ..Finding::new(
                            Rule::Footprint,
                            what,
                            format!("{:02x}, as the loader left it", expected[i]),
                            format!("{:02x}", actual[i]),
                        )
                    });
                    findings.len() - 1
                }
                None => findings.len() - 1,
            };
            findings[index].bytes += 1;
            last = Some((address, index));
        }
    }
    findings
}

/// Where the stub may write: its own image and bss as loaded, the `init_size` window into which it moves,
/// boot_params, and what this case permits besides.
fn permitted(
    subject: &Subject,
    setup: &Setup,
    placement: &Placement,
    also: &[Range],
) -> Vec<Range> {
    let loaded = setup.stub.range();
    // The stub with its bss fits into the window, whatever its size.
    let size = subject.image.startup().end.unwrap_or(u64::MAX).min(placement.window.len());
    let mut ranges = vec![
        Range::sized(loaded.start, size.max(loaded.len())),
        placement.window,
        boot_params(setup),
    ];
    ranges.extend(also);
    ranges
}

fn boot_params(setup: &Setup) -> Range {
    Range::sized(setup.boot_params, PAGE)
}

/// What the page held when the stub was entered.
fn before(setup: &Setup, page: u64) -> [u8; PAGE as usize] {
    let mut bytes = setup.fill.page(page);
    let whole = Range::sized(page, PAGE);
    for placed in std::iter::once(&setup.stub).chain(&setup.placed) {
        let range = placed.range();
        if range.overlaps(whole) {
            let (start, end) = (range.start.max(page), range.end.min(whole.end));
            let source =
                &placed.bytes[(start - range.start) as usize..(end - range.start) as usize];
            bytes[(start - page) as usize..(end - page) as usize].copy_from_slice(source);
        }
    }
    bytes
}

/// Whose bytes lie at `address`.
fn owner(setup: &Setup, address: u64) -> String {
    let holds = |placed: &&Placed| placed.range().contains(address);
    match setup.placed.iter().find(holds) {
        Some(placed) => format!("the loader's {}", placed.what),
        None => "RAM outside the permitted memory".into(),
    }
}
