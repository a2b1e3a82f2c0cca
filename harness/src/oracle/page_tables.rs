// SPDX-License-Identifier: GPL-2.0-only
//! The page tables at the hand-off of a 64-bit kernel map what it touches before it has its own, each
//! address to itself (arch/x86/boot/compressed/ident_map_64.c; boot.rst, "64-bit Boot Protocol").

use super::landing::Landing;
use super::scene::Scene;
use super::{Finding, Rule, Subject};
use crate::case::{Case, objects};
use crate::image::WordSize;
use crate::machine::{Access, Miss, Outcome, PAGE, Paging};
use crate::range::Range;
use crate::reference::Placement;

/// The first release whose stub maps the nodes of setup_data for the kernel.
const MAPS_SETUP_DATA: (u32, u32) = (5, 19);
/// What the kernel copies of the command line, however short it is (COMMAND_LINE_SIZE; arch/x86/kernel/head64.c,
/// `copy_bootdata()`).
const COMMAND_LINE: u64 = 2048;
/// The first release whose stub maps boot_params and command line on purpose, and everything else on demand.
const MAPS_ON_DEMAND: (u32, u32) = (5, 10);

/// Judges the tables that CR3 names.
pub fn judge(scene: &Scene, landing: Landing) -> Vec<Finding> {
    let Scene { subject, case, outcome, placement, .. } = scene;
    if subject.word == WordSize::Bits32 {
        return Vec::new();
    }
    let registers = &outcome.registers;
    let paging =
        Paging { cr0: registers.cr0, cr3: registers.cr3, cr4: registers.cr4, efer: registers.efer };
    let mut findings: Vec<Finding> = needed(subject, case, placement, landing)
        .into_iter()
        .filter_map(|(what, range)| unmapped(outcome, &paging, what, range))
        .collect();
    findings.extend(top_level(outcome, placement));
    findings
}

/// What the kernel touches first.
fn needed(
    subject: &Subject,
    case: &Case,
    placement: &Placement,
    landing: Landing,
) -> Vec<(&'static str, Range)> {
    let release = subject.image.release().map(|release| (release.major, release.minor));
    let since = |version| release.is_none_or(|release| release >= version);
    let mut needed = vec![("kernel", Range::sized(landing.output, subject.moved.len() as u64))];
    if !since(MAPS_ON_DEMAND) {
        return needed;
    }
    // The descriptor table that is in force lies in the stub's copy.
    needed.extend(placement.copy.map(|copy| ("stub", Range::new(copy, placement.window.end))));
    needed.extend(objects(case).iter().filter_map(|object| match object.what {
        "boot_params" => Some((object.what, object.range)),
        "command line" => Some((object.what, Range::sized(object.range.start, COMMAND_LINE))),
        "setup_data" if since(MAPS_SETUP_DATA) => Some((object.what, object.range)),
        _ => None,
    }));
    needed
}

/// The first page of `range` that does not lead to itself.
fn unmapped(
    outcome: &Outcome,
    paging: &Paging,
    what: &'static str,
    range: Range,
) -> Option<Finding> {
    let finding = |address: u64, actual: String| {
        Some(Finding {
            address: Some(address),
            ..Finding::new(Rule::PageTables, what, "mapped to itself", actual)
        })
    };
    let mut address = range.start & !(PAGE - 1);
    while address < range.end {
        match paging.walk(&outcome.ram, address, Access::Write) {
            Ok(found) if found.physical == address => {
                let size = found.page_size.max(PAGE);
                address = (address & !(size - 1)).checked_add(size)?;
            }
            Ok(found) => return finding(address, format!("mapped to {:#x}", found.physical)),
            Err(Miss::PageFault(code)) if code & 1 == 0 => {
                return finding(address, "not mapped".into());
            }
            Err(Miss::PageFault(_)) => return finding(address, "mapped read-only".into()),
            Err(Miss::TableOutsideRam(table)) => {
                return finding(address, format!("a page table at {table:#x}, where no RAM is"));
            }
            Err(Miss::Unsupported) => return finding(address, "paging outside long mode".into()),
        }
    }
    None
}

/// The tables are the stub's own: what the loader or a trampoline left may be overwritten at any time.
fn top_level(outcome: &Outcome, placement: &Placement) -> Option<Finding> {
    const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
    let table = Range::sized(outcome.registers.cr3 & ADDRESS, PAGE);
    let own = Range::new(placement.copy?, placement.window.end);
    (!own.covers(table)).then(|| Finding {
        address: Some(table.start),
        ..Finding::new(
            Rule::PageTables,
            "cr3",
            format!("a table inside the stub's copy {own}"),
            format!("{:#x}", table.start),
        )
    })
}
