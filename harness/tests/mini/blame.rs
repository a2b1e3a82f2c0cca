// SPDX-License-Identifier: GPL-2.0-only
//! The line of the stub that makes the mistake is the one that is blamed.

use relocheck::explain::symbols::SymbolFiles;

use crate::Test;
use crate::bench::{ALIGNED, Bug, MIB, MISALIGNED};
use crate::common::blame::{Blamed, By, blamed};
use crate::gzip::Packing;
use crate::image::{Generation, with_elf};

pub const TESTS: &[Test] = &[
    ("blame::each_mistake_is_blamed_on_its_instruction", mistakes),
    ("blame::no_mistake_is_forgotten", all),
    ("blame::entries_that_are_not_applied_are_told_by_their_number", missing),
    ("blame::a_field_that_is_moved_twice_was_written_by_two_instructions", twice),
    ("blame::an_instruction_is_told_by_its_source_line", lines),
    ("blame::a_stub_that_halts_is_told_by_its_calls", halts),
];

/// Explains it with the symbols and source lines of the stub's ELF file.
fn explain(bug: &Bug) -> Blamed {
    let (file, elf) = with_elf(bug.generation, bug.bugs, bug.packing);
    let folder = tempfile::tempdir().unwrap();
    let stub = folder.path().join("stub.elf");
    std::fs::write(&stub, elf).unwrap();
    blamed(&file, &bug.case, &SymbolFiles { stub: Some(stub), ..SymbolFiles::default() })
}

/// Mistakes together, where the kernel is loaded, and who is to blame.
type Row = (&'static [&'static str], u64, By<'static>);

const ROWS: &[Row] = &[
    (&["BUG_SUBTRACTS"], ALIGNED, By::Store("sub %ebx,")),
    (&["BUG_STRAY"], ALIGNED, By::Store("movb $0x5a,")),
    (&["BUG_PARAMS"], ALIGNED, By::Store("orb $2,0x211(%esi)")),
    (&["BUG_NO_DISTANCE"], MIB, By::Store("add %ebx,")),
    (&["BUG_DELTA"], ALIGNED, By::Nobody),
    (&["BUG_PORT"], ALIGNED, By::Instruction("out %al,$0x80")),
    (&["BUG_INTERRUPTS"], ALIGNED, By::Origin("interrupt flag", "sti")),
    (&["BUG_DIRECTION"], ALIGNED, By::Origin("direction flag", "std")),
    (&["BUG_SEGMENT"], ALIGNED, By::Origin("es", "mov %eax,%es")),
    (&["BUG_EBX"], ALIGNED, By::Origin("ebx", "sub $0x100000,%ebx")),
    (&["BUG_TARGET"], ALIGNED, By::Origin("ebp", "mov $0x100000,%ebp")),
    (&["BUG_ESI"], ALIGNED, By::Origin("esi", "lods")),
    (&["BUG_STALE"], ALIGNED, By::Origin("edx", "mov")),
    (&["BUG_HANG"], ALIGNED, By::Instruction("jmp")),
    (&["BUG_CLEARS"], ALIGNED, By::Nobody),
    // What the decompressor makes of a stub that has spoilt its own input is an error of its own.
    (&["BUG_BSS"], ALIGNED, By::Instruction("hlt")),
    (&["BUG_MARGIN"], ALIGNED, By::Instruction("hlt")),
    (&["BUG_COPY"], ALIGNED, By::Instruction("hlt")),
    (&["BUG_OLD_COPY"], ALIGNED, By::Instruction("hlt")),
    (&["BUG_ALIGNMENT"], MISALIGNED, By::Instruction("hlt")),
    (&["BUG_REFUSES"], 100 * MIB, By::Instruction("hlt")),
    (&["BUG_ALIGNMENT", "BUG_ACCEPTS_MISALIGNED"], MISALIGNED, By::Chosen("")),
    (&["BUG_PLACE", "BUG_ACCEPTS_MISALIGNED"], ALIGNED, By::Chosen("")),
    (&["BUG_ACCEPTS"], 512 * MIB, By::Instruction("jmp")),
    (&["BUG_BACKWARD"], ALIGNED, By::Store("")),
    (&["BUG_FIRST_SEGMENT"], ALIGNED, By::Store("")),
];

/// The mistakes that the other tests here are about.
const ELSEWHERE: [&str; 3] = ["BUG_STOPS_EARLY", "BUG_FORGETS_LAST", "BUG_TWICE"];

fn mistakes() {
    for (bugs, load, by) in ROWS {
        let generation = match bugs {
            ["BUG_CLEARS" | "BUG_BACKWARD" | "BUG_FIRST_SEGMENT"] => Generation::V2_6_26,
            _ => Generation::V2_6_20,
        };
        let mut bug = Bug { generation, ..Bug::new(bugs, *load) };
        match bugs {
            ["BUG_MARGIN"] => bug.packing = Packing::Swelling(2048),
            ["BUG_HANG"] => bug.case.budget = 1 << 20,
            ["BUG_STALE"] => bug.case.second_fill = Some(!bug.case.fill),
            _ => {}
        }
        let blamed = explain(&bug);
        // Where a whole kernel is wrong, its first field tells.
        let field = |finding: &relocheck::oracle::Finding| finding.place.contains("field of the");
        let first = blamed.judgement.findings.iter().position(field).unwrap_or(0);
        blamed.names(first, *by);
    }
}

fn all() {
    let sources = [include_str!("stub/head.S"), include_str!("stub/misc.c")].concat();
    let words = sources.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    // The comment at the top calls any of them BUG_x.
    let mistakes = words.filter(|word| word.len() > 5 && word.starts_with("BUG_"));
    for mistake in mistakes {
        let row = ROWS.iter().any(|(bugs, ..)| bugs.contains(&mistake));
        assert!(row || ELSEWHERE.contains(&mistake), "nobody is blamed for {mistake}");
    }
}

fn missing() {
    for generation in Generation::ALL {
        let entries = generation.kernel().entries;
        let last = entries.len() - 1;
        for (mistake, load, index, neighbour) in
            [("BUG_STOPS_EARLY", ALIGNED, 0, 1), ("BUG_FORGETS_LAST", MISALIGNED, last, last - 1)]
        {
            let bugs = [mistake];
            let blamed = explain(&Bug { generation, ..Bug::new(&bugs, load) });
            blamed.names(0, By::Neighbour("add %ebx,"));
            let missing = blamed.blame[0].missing.as_ref().unwrap();
            assert_eq!((missing.entry.index, missing.entry.of), (index, entries.len()));
            assert_eq!(missing.entry.value, u64::from(entries[index]));
            assert_eq!(missing.relocated, last);
            assert_eq!(missing.neighbour.as_ref().unwrap().index, neighbour);
        }
    }
}

fn twice() {
    let blamed = explain(&Bug::new(&["BUG_TWICE"], ALIGNED));
    blamed.names(0, By::Store("add %ebx,"));
    let stores = &blamed.blame[0].stores;
    let [.., first, second] = &stores[..] else { panic!("{stores:#?}") };
    assert!(first.site.text.starts_with("add %ebx,"), "{first:#?}");
    assert_ne!(first.site.address, second.site.address);
    assert_eq!(first.after, second.before);
}

fn lines() {
    for (mistake, source) in
        [("BUG_STRAY", "movb\t$0x5a, -1(%ebp)"), ("BUG_PARAMS", "orb\t$2, 0x211(%esi)")]
    {
        let number = include_str!("stub/head.S").lines().position(|line| line.contains(source));
        let place = format!("head.S:{}", number.expect("the line") + 1);
        let bugs = [mistake];
        let blamed = explain(&Bug::new(&bugs, ALIGNED));
        let site = &blamed.blame[0].stores.last().unwrap().site;
        assert!(site.line.as_ref().is_some_and(|line| line.ends_with(&place)), "{site:#?}");
        assert!(site.function.as_ref().is_some_and(|name| name.starts_with("relocated")));
    }
}

fn halts() {
    let blamed = explain(&Bug::new(&["BUG_REFUSES"], 100 * MIB));
    let site = blamed.names(0, By::Instruction("hlt"));
    let function = site.and_then(|site| site.function.clone()).unwrap_or_default();
    assert!(function.starts_with("error+"), "{function}");
    let calls = &blamed.blame[0].calls;
    assert!(
        calls.len() >= 2 && calls.iter().all(|site| site.text.starts_with("call")),
        "{calls:#?}"
    );
}
