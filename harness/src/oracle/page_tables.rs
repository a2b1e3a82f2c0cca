// SPDX-License-Identifier: GPL-2.0-only
//! The page tables at the hand-off of a 64-bit kernel map what it touches before it has its own, each
//! address to itself (arch/x86/boot/compressed/ident_map_64.c; boot.rst, "64-bit Boot Protocol").

use super::landing::Landing;
use super::loaded::Loaded;
use super::scene::{Scene, inputs};
use super::{Finding, Rule, Subject};
use crate::case::{Case, objects};
use crate::image::WordSize;
use crate::machine::{Access, Miss, Outcome, PAGE, Paging, Step};
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
    let needed = needed(subject, case, placement, landing);
    let mut findings: Vec<Finding> = needed
        .iter()
        .filter_map(|(what, range)| unmapped(outcome, &paging, what, *range))
        .collect();
    let cr3 = top_level(outcome, placement);
    if findings.is_empty() && cr3.is_none() && !switched(scene) && subject.since(MAPS_ON_DEMAND) {
        findings.extend(strange(outcome, placement, &paging, &needed));
    }
    findings.extend(cr3);
    findings
}

/// Whether the number of levels was changed that the loader had: what is below the top is the loader's then.
fn switched(scene: &Scene) -> bool {
    let memory = Loaded(scene.setup);
    let entered = inputs(scene.setup, &memory);
    !entered.entered_at_32_bits
        && scene
            .paging
            .as_ref()
            .is_ok_and(|paging| paging.five_levels != entered.entered_with_five_levels)
}

/// What the kernel touches first.
fn needed(
    subject: &Subject,
    case: &Case,
    placement: &Placement,
    landing: Landing,
) -> Vec<(&'static str, Range)> {
    let mut needed = vec![("kernel", Range::sized(landing.output, subject.moved.len() as u64))];
    if !subject.since(MAPS_ON_DEMAND) {
        return needed;
    }
    // The descriptor table that is in force lies in the stub's copy.
    needed.extend(placement.copy.map(|copy| ("stub", Range::new(copy, placement.window.end))));
    needed.extend(objects(case).iter().filter_map(|object| match object.what {
        "boot_params" => Some((object.what, object.range)),
        "command line" => Some((object.what, Range::sized(object.range.start, COMMAND_LINE))),
        "setup_data" if subject.since(MAPS_SETUP_DATA) => Some((object.what, object.range)),
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
    foreign("cr3", outcome.registers.cr3 & ADDRESS, placement)
}

/// The first table below the top that is not the stub's own, on the way to the ends of what the kernel needs.
fn strange(
    outcome: &Outcome,
    placement: &Placement,
    paging: &Paging,
    needed: &[(&'static str, Range)],
) -> Option<Finding> {
    let ends = needed.iter().flat_map(|(what, range)| {
        let last = range.end.saturating_sub(1).max(range.start);
        [(what, range.start), (what, last)]
    });
    ends.into_iter().find_map(|(what, address)| {
        let mut tables = Vec::new();
        let step = |step: Step| tables.push(step.slot & !(PAGE - 1));
        paging.walk_telling(&outcome.ram, address, Access::Read, step).ok()?;
        tables.into_iter().find_map(|table| foreign(what, table, placement))
    })
}

/// A page table outside of the stub's copy.
fn foreign(place: &str, table: u64, placement: &Placement) -> Option<Finding> {
    let own = Range::new(placement.copy?, placement.window.end);
    (!own.covers(Range::sized(table, PAGE))).then(|| Finding {
        address: Some(table),
        ..Finding::new(
            Rule::PageTables,
            place,
            format!("a table inside the stub's copy {own}"),
            format!("{table:#x}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{MIB, Run, image};
    use super::*;
    use crate::case::{Places, SetupData, SetupDataKind};
    use crate::machine::CR0_WP;

    /// The command line ends in its page of 2 MiB; the kernel may read into the next one.
    const LINE: u64 = 0x60_0000 - 0x10;
    const NODE: u64 = 0x3000_0000;

    fn run(release: &str) -> Run {
        let places = Places { command_line: LINE, boot_params: 0x80_0000, ..Places::default() };
        let node = SetupData { address: NODE, kind: SetupDataKind::Dtb, len: 8, points_to: vec![] };
        let case = Case { places, setup_data: vec![node], ..Case::default() };
        Run::of(image(WordSize::Bits64, release, "nokaslr\0"), case)
    }

    /// What is said when the entry for `address` is `entry`.
    fn after(mut run: Run, address: u64, entry: u64) -> Vec<(String, String)> {
        run.write(run.entry_for(address), &entry.to_le_bytes());
        run.found(Rule::PageTables)
    }

    fn one(place: &str, actual: &str) -> Vec<(String, String)> {
        vec![(place.to_owned(), actual.to_owned())]
    }

    #[test]
    fn what_the_kernel_needs_is_mapped() {
        let copy = run("6.1.192").scene().placement.copy.unwrap();
        for (address, place) in [
            (16 * MIB, "kernel"),
            (copy, "stub"),
            (0x80_0000, "boot_params"),
            (LINE, "command line"),
            (LINE + 0x10, "command line"),
            (NODE, "setup_data"),
        ] {
            assert_eq!(after(run("6.1.192"), address, 0), one(place, "not mapped"), "{address:#x}");
        }
        // The stub's copy ends at 24 MiB.
        for address in [0x3_0000, NODE + 2 * MIB, 18 * MIB, 24 * MIB] {
            assert_eq!(after(run("6.1.192"), address, 0), [], "not needed: {address:#x}");
        }
    }

    #[test]
    fn older_stubs_map_less_on_purpose() {
        assert_eq!(after(run("5.19.0"), NODE, 0), one("setup_data", "not mapped"));
        assert_eq!(after(run("5.18.0"), NODE, 0), []);
        assert_eq!(after(run("5.10.0"), LINE, 0), one("command line", "not mapped"));
        assert_eq!(after(run("5.9.0"), LINE, 0), []);
        assert_eq!(after(run("5.9.0"), 16 * MIB, 0), one("kernel", "not mapped"));
    }

    #[test]
    fn a_mapping_leads_to_itself_and_can_be_written() {
        let kernel = 16 * MIB;
        assert_eq!(
            after(run("6.1.192"), kernel, kernel + 2 * MIB + 0x83),
            one("kernel", "mapped to 0x1200000")
        );
        assert_eq!(
            after(run("6.1.192"), kernel, 0x400_0000_0003),
            one("kernel", "a page table at 0x40000000000, where no RAM is")
        );
        let mut read_only = run("6.1.192");
        read_only.outcome.registers.cr0 |= CR0_WP;
        assert_eq!(after(read_only, kernel, kernel | 0x81), one("kernel", "mapped read-only"));
        assert_eq!(after(run("6.1.192"), kernel, kernel | 0x81), [], "without CR0.WP");
        let mut other = run("6.1.192");
        other.outcome.registers.efer = 0;
        assert_eq!(other.found(Rule::PageTables)[0].1, "paging outside long mode");
    }

    #[test]
    fn the_first_page_that_is_wrong_is_named() {
        let mut run = run("6.1.192");
        let copy = run.scene().placement.copy.unwrap();
        let tables = run.outcome.registers.cr3 - 4 * PAGE;
        // 4 KiB each, but for one page inside the stub's copy.
        for index in 0..512 {
            let address = (copy & !(2 * MIB - 1)) + index * PAGE;
            let present = u64::from(address != copy + 3 * PAGE) * 3;
            run.write(tables + index * 8, &(address | present).to_le_bytes());
        }
        run.write(run.entry_for(copy), &(tables | 3).to_le_bytes());
        let found = run.judge().findings;
        assert_eq!(found.len(), 1);
        assert_eq!((&found[0].place[..], found[0].address), ("stub", Some(copy + 3 * PAGE)));
    }

    #[test]
    fn the_page_before_is_not_needed() {
        let mut run = run("6.1.192");
        let tables = run.outcome.registers.cr3 - 4 * PAGE;
        for index in 0..512 {
            let address = (LINE & !(2 * MIB - 1)) + index * PAGE;
            let present = u64::from(address != (LINE & !(PAGE - 1)) - PAGE) * 3;
            run.write(tables + index * 8, &(address | present).to_le_bytes());
        }
        run.write(run.entry_for(LINE), &(tables | 3).to_le_bytes());
        assert_eq!(run.said(), [] as [&str; 0]);
    }

    #[test]
    fn the_tables_are_the_stubs_own() {
        let mut run = run("6.1.192");
        let window = run.scene().placement.window;
        let old = run.outcome.registers.cr3;
        let top = run.outcome.ram.slice(old, PAGE as usize).unwrap().to_vec();
        let copy = window.end - super::super::testing::STUB;
        for (to, own) in [(copy, true), (copy - PAGE, false), (window.end - PAGE, true)] {
            run.write(to, &top);
            // The lowest bits are no part of the address.
            run.outcome.registers.cr3 = to | 0x18;
            let expected = one("cr3", &format!("{to:#x}"));
            assert_eq!(run.found(Rule::PageTables), expected[..usize::from(!own)]);
            let findings = run.judge().findings.into_iter();
            let mut findings = findings.filter(|found| found.rule == Rule::PageTables);
            assert!(findings.all(|found| found.address == Some(to)));
            run = self::run("6.1.192");
        }
    }

    #[test]
    fn tables_below_the_top_are_its_own_as_well() {
        for (release, expected) in [("5.10.0", one("kernel", "0x50000")), ("5.9.0", Vec::new())] {
            let mut run = run(release);
            let top = run.outcome.registers.cr3;
            let lowest = run.outcome.ram.slice(top + 2 * PAGE, PAGE as usize).unwrap().to_vec();
            run.write(0x5_0000, &lowest);
            run.write(top + PAGE, &0x5_0003u64.to_le_bytes());
            assert_eq!(run.found(Rule::PageTables), expected);
        }
    }

    #[test]
    fn i386_has_no_page_tables() {
        let mut run = Run::new(WordSize::Bits32);
        run.outcome.registers.cr3 = 5;
        assert_eq!(run.said(), [] as [&str; 0]);
    }
}
