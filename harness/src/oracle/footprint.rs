// SPDX-License-Identifier: GPL-2.0-only
//! Nothing outside the permitted memory was written: RAM is compared with its fill and with what the
//! loader put there.

use super::landing::Landing;
use super::scene::Scene;
use super::{Finding, Rule, placement, trampoline};
use crate::case::{SCREEN, objects};
use crate::machine::{End, PAGE, Placed, Setup};
use crate::range::Range;

/// So many ranges are told apart by what lies there; behind that they are only counted.
const SHOWN: usize = 8;

/// Judges all of RAM, with the kernel where it was found at the end.
pub fn judge(scene: &Scene, landing: Option<Landing>) -> Vec<Finding> {
    let Scene { setup, outcome, .. } = scene;
    let permitted = permitted(scene, landing);
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
            let what = owner(scene, address);
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
                            rule(scene, address),
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
/// boot_params, the screen if there is one, and where the kernel went.
fn permitted(scene: &Scene, landing: Option<Landing>) -> Vec<Range> {
    let Scene { subject, setup, placement, .. } = scene;
    let loaded = setup.stub.range();
    // The stub with its bss fits into the window, whatever its size.
    let size = subject.image.stub_size().unwrap_or(u64::MAX).min(placement.window.len());
    let mut ranges = vec![
        Range::sized(loaded.start, size.max(loaded.len())),
        placement.window,
        boot_params(setup),
    ];
    ranges.extend(scene.case.screen.then_some(SCREEN));
    ranges.extend(whereabouts(scene, landing));
    // A stub that did not get to its end may have been about to give back what it borrowed.
    let finished = scene.outcome.end == End::HandOff;
    ranges.extend(trampoline::borrowed(scene).filter(|_| !finished));
    ranges
}

/// Where the kernel was put, or may have been put by a stub that did not get as far as starting it.
fn whereabouts(scene: &Scene, landing: Option<Landing>) -> Vec<Range> {
    let Scene { subject, case, placement, prediction, .. } = scene;
    let size = subject.moved.len() as u64;
    match (landing, prediction) {
        (Some(landing), _) if placement::believable(subject, placement, landing.output) => {
            vec![Range::sized(landing.output, size)]
        }
        (Some(_), _) => Vec::new(),
        (None, Ok(prediction)) => vec![Range::sized(prediction.output, size)],
        (None, Err(_)) => placement::anywhere(case).collect(),
    }
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
fn owner(scene: &Scene, address: u64) -> String {
    if trampoline::covers(scene, address) {
        return "low memory where the trampoline was".into();
    }
    let object = objects(scene.case).into_iter().find(|object| object.range.contains(address));
    if let Some(object) = object {
        return format!("the loader's {}", object.what);
    }
    let holds = |placed: &&Placed| placed.range().contains(address);
    match scene.setup.placed.iter().find(holds) {
        Some(placed) => format!("the loader's {}", placed.what.trim_start_matches("loader's ")),
        None => "RAM outside the permitted memory".into(),
    }
}

/// What was not put back is another mistake than what should never have been written.
fn rule(scene: &Scene, address: u64) -> Rule {
    if trampoline::covers(scene, address) { Rule::Trampoline } else { Rule::Footprint }
}
