// SPDX-License-Identifier: GPL-2.0-only
//! What is simpler than a case: one thing less, or nearer to where the kernel was linked.

use crate::case::{Acpi, Case, MemoryKind};

/// Bytes within which a load address is not brought nearer any more.
const NEAR: u64 = 2 << 20;

/// Cases that are simpler than `case` in one respect each, the boldest first. `preferred` is the address that
/// the kernel was linked for.
pub fn simpler(case: &Case, preferred: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut change = |change: &dyn Fn(&mut Case)| {
        let mut simpler = case.clone();
        change(&mut simpler);
        // Whatever the stub has to say must still be heard.
        let mute = case.has_console() && !simpler.has_console();
        if simpler != *case && !mute && !cases.contains(&simpler) {
            cases.push(simpler);
        }
    };
    let plain = Case::default();
    change(&|case| case.efi = None);
    change(&|case| case.acpi = None);
    change(&|case| case.setup_data.clear());
    change(&|case| case.initrd = None);
    change(&|case| case.sentinel = None);
    change(&|case| case.cc_blob_address = None);
    change(&|case| case.second_fill = None);
    change(&|case| case.init_size = None);
    change(&|case| case.kernel_alignment = None);
    change(&|case| case.stale_kaslr_flag = false);
    change(&|case| case.cpu = plain.cpu.clone());
    change(&|case| case.entry = plain.entry.clone());
    change(&|case| case.places = plain.places);
    change(&|case| case.bios = plain.bios);
    change(&|case| case.loader = plain.loader);
    change(&|case| case.devices = plain.devices);
    change(&|case| case.screen = false);
    change(&|case| case.command_line = Some("earlyprintk=ttyS0 nokaslr".into()));
    if case.asks_for_kaslr() {
        change(&|case| case.command_line = Some("earlyprintk=ttyS0".into()));
    }
    // An ordinary PC: where the kernel prefers to be, the drawn one may have no memory.
    if case.load != preferred {
        change(&|case| {
            case.load = preferred;
            case.memory = plain.memory.clone();
        });
    }
    for load in nearer(case.load, preferred) {
        change(&|case| case.load = load);
    }
    // Half of the entries, a quarter, and so on down to one.
    let mut size = case.memory.len().div_ceil(2);
    while size > 0 {
        for start in (0..case.memory.len()).step_by(size) {
            let end = (start + size).min(case.memory.len());
            change(&|case| drop(case.memory.drain(start..end)));
        }
        size /= 2;
    }
    for index in 0..case.memory.len() {
        change(&|case| case.memory[index].kind = MemoryKind::Usable);
    }
    for index in 0..case.setup_data.len() {
        change(&|case| drop(case.setup_data.remove(index)));
    }
    change(&|case| {
        if let Some(efi) = &mut case.efi {
            efi.acpi = Default::default();
        }
    });
    for index in 0..case.efi.as_ref().map_or(0, |efi| efi.memory.len()) {
        change(&|case| {
            if let Some(efi) = &mut case.efi {
                efi.memory.remove(index);
            }
        });
    }
    if let Some(acpi) = &case.acpi {
        let plain = Acpi::at(acpi.address);
        let mut tables = |simplify: &dyn Fn(&mut Acpi)| {
            let mut acpi = acpi.clone();
            simplify(&mut acpi);
            change(&|case| case.acpi = Some(acpi.clone()));
        };
        tables(&|acpi| acpi.second = None);
        tables(&|acpi| acpi.tables = None);
        tables(&|acpi| acpi.revision = plain.revision);
        tables(&|acpi| acpi.other_tables = 0);
        tables(&|acpi| acpi.processors = 0);
        tables(&|acpi| acpi.small_affinities = 0);
        for index in 0..acpi.affinity.len() {
            tables(&|acpi| {
                acpi.affinity.remove(index);
            });
        }
    }
    let words = case.command_line.as_deref().map_or(0, |line| line.split(' ').count());
    for index in 0..words {
        change(&|case| case.command_line = case.command_line.as_deref().map(|l| without(l, index)));
    }
    change(&|case| case.cpu.gib_pages = false);
    change(&|case| case.cpu.rdrand_failures = 0);
    change(&|case| case.cpu.rdrand = None);
    change(&|case| case.cpu.tsc = None);
    change(&|case| case.entry.registers = None);
    change(&|case| case.entry.ignored_bits = false);
    change(&|case| case.entry.direction_flag = false);
    change(&|case| case.entry.gdt = Default::default());
    change(&|case| case.entry.identity_map = Default::default());
    change(&|case| case.timer = vec![0]);
    change(&|case| case.fill = 0);
    cases
}

/// The preferred address itself, then steps towards it.
fn nearer(load: u64, preferred: u64) -> Vec<u64> {
    let mut steps = vec![preferred];
    let mut distance = load.abs_diff(preferred);
    while distance > NEAR {
        distance -= distance / 2;
        let unit = if load.is_multiple_of(NEAR) { NEAR } else { 0x1000 };
        let distance = distance / unit * unit;
        let step = if load > preferred { load - distance } else { load + distance };
        if step != load && steps.len() < 8 {
            steps.push(step);
        }
    }
    steps
}

fn without(line: &str, index: usize) -> String {
    // Without KASLR is simpler than with it.
    let stays = |(number, word): &(usize, &str)| *number != index || *word == "nokaslr";
    line.split(' ').enumerate().filter(stays).map(|(_, word)| word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{MemoryEntry, Span};

    #[test]
    fn each_simpler_case_differs_in_one_respect() {
        let case = Case {
            load: 0x800_0000,
            initrd: Some(Span { start: 1, end: 2 }),
            command_line: Some("a earlyprintk=ttyS0".into()),
            memory: vec![MemoryEntry::usable(0, 5), MemoryEntry::usable(7, 9)],
            ..Case::default()
        };
        let simpler = simpler(&case, 0x100_0000);
        assert!(!simpler.contains(&case));
        for wanted in [
            Case { initrd: None, ..case.clone() },
            Case { load: 0x100_0000, ..case.clone() },
            Case { load: 0x480_0000, ..case.clone() },
            Case { command_line: Some("earlyprintk=ttyS0".into()), ..case.clone() },
            Case { memory: vec![case.memory[1]], ..case.clone() },
        ] {
            assert!(simpler.contains(&wanted), "{wanted:?}");
        }
    }

    #[test]
    fn a_plain_case_can_hardly_be_simpler() {
        let case = Case { command_line: Some("earlyprintk=ttyS0".into()), ..Case::default() };
        let fewer = simpler(&case, case.load);
        let same_line = |simpler: &&Case| simpler.command_line == case.command_line;
        assert!(fewer.iter().filter(same_line).all(|simpler| simpler.memory != case.memory));
    }
}
