// SPDX-License-Identifier: GPL-2.0-only

use super::address::{Place, places};
use super::*;
use crate::campaign::{draw, shrink};
use crate::case::{Acpi, AcpiGuids, Affinity, Checksums, MemoryEntry, SecondRoot, objects, place};
use crate::image::fixture::{Fixture, kernel};
use crate::oracle::{Finding, Judgement, Rule};
use crate::range::Range;

fn space(bits64: bool) -> (Image, WordSize, Space) {
    let (image, word, demands) = image(bits64);
    let space = Space::new(&image, word, Protocols::All, &[], demands).unwrap();
    (image, word, space)
}

fn image(bits64: bool) -> (Image, WordSize, Demands) {
    let mut file = Fixture::new(crate::image::Compression::Gzip, &kernel(bits64, &[0, 0, 0]));
    file.init_size = 48 << 20;
    let mut bytes = file.build();
    let (word, highest) = match bits64 {
        true => (WordSize::Bits64, 0x3fff_ffff_ffff),
        false => (WordSize::Bits32, 0x37ff_ffff),
    };
    if !bits64 {
        bytes[0x230..0x234].copy_from_slice(&0x100_0000u32.to_le_bytes());
        bytes[0x235] = 13;
        bytes[0x236] = 4;
    }
    let demands = Demands { highest_heap: highest, needed: 48 << 20, linked: 16 << 20 };
    (Image::parse(bytes).unwrap(), word, demands)
}

#[test]
fn every_case_keeps_the_loaders_side_of_the_contract() {
    for bits64 in [true, false] {
        let (image, word, space) = space(bits64);
        for number in 0..400 {
            let case = draw(&space, 99, number).current();
            place(&image, word, &case).unwrap_or_else(|e| panic!("case {number}: {e}: {case:?}"));
        }
    }
}

#[test]
fn every_loader_keeps_its_side_of_the_contract() {
    for (bits64, loader) in [true, false].into_iter().flat_map(|b| Loader::ALL.map(|l| (b, l))) {
        let (image, word, demands) = image(bits64);
        let space = Space::new(&image, word, Protocols::All, &[loader], demands);
        if !bits64 && loaders::protocol(loader) == Some(Protocol::Bits64) {
            assert_eq!(space.unwrap_err().field, "xloadflags", "{loader}");
            continue;
        }
        let space = space.unwrap();
        for (seed, number) in (0..3).flat_map(|seed| (0..100).map(move |number| (seed, number))) {
            let case = draw(&space, seed, number).current();
            assert_eq!(case.loader, loader);
            assert!(loaders::protocol(loader).is_none_or(|protocol| protocol == case.protocol));
            place(&image, word, &case).unwrap_or_else(|e| panic!("{loader}: {e}: {case:?}"));
        }
    }
}

/// Whatever a case has, a failure that does not need it is shown by a plain case at last.
#[test]
fn every_case_shrinks_to_a_plain_one() {
    for bits64 in [true, false] {
        let (image, word, space) = space(bits64);
        for number in 0..2 * Theme::ALL.len() * Loader::ALL.len() {
            let case = draw(&space, 7, number).current();
            let (protocol, budget) = (case.protocol, case.budget);
            if number == 5 {
                eprintln!("DRAWN {case:#x?}");
            }
            let preferred = space.pref_address;
            let shrunk = shrink(case, broken(), Rule::Memory, preferred, 2000, |case| {
                place(&image, word, case).ok().map(|_| broken())
            })
            .case;
            let memory = shrunk.memory.clone();
            let plain = Case {
                protocol,
                budget,
                load: preferred,
                command_line: Some("earlyprintk=ttyS0 nokaslr".into()),
                memory,
                ..Case::default()
            };
            assert_eq!(shrunk, plain, "case {number}");
            assert!(shrunk.memory.len() <= 2, "case {number}: {:?}", shrunk.memory);
        }
    }
}

fn broken() -> Judgement {
    let findings = vec![Finding::new(Rule::Memory, "", "", "")];
    Judgement { findings, ..Judgement::default() }
}

#[test]
fn sixteen_cases_meet_both_protocols_kaslr_and_high_memory() {
    let (_, _, space) = space(true);
    let cases: Vec<Case> = (0..16).map(|number| draw(&space, 1, number).current()).collect();
    let count = |test: &dyn Fn(&Case) -> bool| cases.iter().filter(|case| test(case)).count();
    // A case about command lines may have none, and so no KASLR.
    assert!((7..=8).contains(&count(&Case::asks_for_kaslr)));
    for protocol in [Protocol::Bits32, Protocol::Bits64] {
        assert!(count(&|case| case.protocol == protocol) >= 6);
        assert!(count(&|case| case.protocol == protocol && case.asks_for_kaslr()) >= 2);
    }
    assert!(count(&|case| case.load > FOUR_GIB) >= 2);
    assert!(count(&|case| case.load < space.pref_address) >= 2);
    assert!(count(&|case| !case.load.is_multiple_of(space.kernel_alignment)) >= 1);
}

#[test]
fn some_cases_have_boot_params_or_command_line_across_large_pages() {
    let (_, _, space) = space(true);
    let crosses = |start: u64, len: u64| start / (2 << 20) != (start + len - 1) / (2 << 20);
    let without_kaslr = (1..256).step_by(2).map(|number| draw(&space, 1, number).current());
    let entered: Vec<Case> =
        without_kaslr.filter(|case| case.protocol == Protocol::Bits64).collect();
    let params = entered.iter().filter(|case| crosses(case.places.boot_params, 4096));
    assert!(params.count() >= 1);
    let lines = entered.iter().filter(|case| {
        let text = case.command_line.as_ref().map_or(0, String::len) as u64 + 1;
        crosses(case.places.command_line, 2048) && !crosses(case.places.command_line, text)
    });
    assert!(lines.count() >= 1);
}

/// What each of the first cases must meet together with KASLR.
type Wanted = (&'static str, fn(&Case) -> bool);

fn acpi(case: &Case, test: impl Fn(&Acpi) -> bool) -> bool {
    case.acpi.as_ref().is_some_and(test)
}

fn line(case: &Case, text: &str) -> bool {
    case.command_line.as_ref().is_some_and(|line| line.contains(text))
}

#[test]
fn few_cases_meet_every_word_and_every_shape_of_tables() {
    let wanted: &[Wanted] = &[
        ("nopentium", |case| line(case, "mem=nopentium mem=")),
        ("mem=0", |case| line(case, "mem=0 mem=1M")),
        ("--", |case| line(case, "-- mem=1M")),
        ("exactmap", |case| line(case, "memmap=exactmap,")),
        ("@", |case| line(case, "M@0x")),
        ("!", |case| line(case, "M!0x")),
        ("nokaslrx", |case| line(case, "nokaslrx")),
        ("on, off", |case| line(case, "mem_encrypt=on mem_encrypt=off")),
        ("two limits", |case| line(case, " mem=") && line(case, "M mem=")),
        ("two roots", |case| {
            case.command_line.as_ref().is_some_and(|line| line.matches("acpi_rsdp=").count() == 2)
        }),
        ("too long", |case| line(case, "acpi_rsdp=0x00000000")),
        ("acpi=off", |case| line(case, "acpi=off")),
        ("acpi=rsdt", |case| line(case, "acpi=rsdt")),
        ("revision 0", |case| acpi(case, |acpi| acpi.revision == 0)),
        ("revision 1", |case| acpi(case, |acpi| acpi.revision == 1)),
        ("other tables", |case| acpi(case, |acpi| acpi.other_tables == 2)),
        ("processors", |case| acpi(case, |acpi| acpi.processors > 0)),
        ("in the EBDA", |case| acpi(case, |acpi| (0x9_fc00..0xa_0000).contains(&acpi.address))),
        ("in the BIOS", |case| acpi(case, |acpi| (0xe_0000..0x10_0000).contains(&acpi.address))),
        ("wrong", |case| root(case, |root| root.checksums == Checksums::Wrong)),
        ("extended", |case| root(case, |root| root.checksums == Checksums::WrongExtended)),
        ("named", |case| root(case, |root| root.in_boot_params)),
        ("as many as fit", |case| regions(case) == 63),
        ("too many", |case| regions(case) == 64),
        ("more", |case| regions(case) == 65),
        ("older", |case| efi(case, AcpiGuids::Older)),
        ("older first", |case| efi(case, AcpiGuids::OlderFirst)),
        ("newer first", |case| efi(case, AcpiGuids::NewerFirst)),
        ("EFI, sentinel", |case| case.efi.is_some() && case.sentinel.is_some()),
        ("EFI, five levels", |case| case.efi.is_some() && case.cpu.la57),
        ("garbage", |case| case.cc_blob_address.is_some() && case.sentinel.is_none()),
    ];
    fn root(case: &Case, test: impl Fn(&SecondRoot) -> bool) -> bool {
        acpi(case, |acpi| acpi.second.as_ref().is_some_and(&test))
    }
    fn regions(case: &Case) -> usize {
        let counts = |a: &&Affinity| !a.hot_pluggable && a.start < a.end;
        let of = |acpi: &Acpi| {
            acpi.affinity.iter().filter(counts).count() + acpi.small_affinities as usize
        };
        case.acpi.as_ref().map_or(0, of)
    }
    fn efi(case: &Case, guids: AcpiGuids) -> bool {
        case.efi.as_ref().is_some_and(|efi| efi.acpi == guids) && case.acpi.is_some()
    }
    let (_, _, space) = space(true);
    let cases: Vec<Case> = (0..256).map(|number| draw(&space, 1, number).current()).collect();
    for (what, test) in wanted {
        let count = cases.iter().filter(|case| case.asks_for_kaslr() && test(case)).count();
        assert!(count >= 1, "no case with KASLR has: {what}");
    }
}

#[test]
fn some_cases_lie_at_the_edges() {
    let (_, _, space) = space(true);
    let cases: Vec<Case> = (0..512).map(|number| draw(&space, 1, number).current()).collect();
    let count = |test: &dyn Fn(&Case) -> bool| cases.iter().filter(|case| test(case)).count();
    let end = |case: &Case| space.window(case.load, space.kernel_alignment).end;
    assert!(count(&|case| end(case) >= (1 << 46) + 6 * MIB) >= 1, "refused");
    assert!(count(&|case| ((1 << 46) - 4 * MIB..=1 << 46).contains(&end(case))) >= 1);
    let room = |entry: &&MemoryEntry| entry.range().len() >= space.needed;
    let many = |case: &Case| case.memory.iter().filter(room).count() > 100;
    assert!(count(&|case| many(case) && case.asks_for_kaslr()) >= 2);
    let nodes = |case: &Case| {
        let crosses = |range: Range| range.start >> 21 != (range.end - 1) >> 21;
        case.setup_data.iter().any(|node| crosses(node.range()))
    };
    assert!(count(&nodes) >= 8);
    let apart = |case: &Case| {
        let first = case.setup_data.last().map_or(0, |node| node.address);
        let places = [case.load, case.places.boot_params, case.places.command_line, first];
        let entries: std::collections::BTreeSet<u64> = places.map(|at| at >> 39).into();
        entries.len() == places.len()
    };
    assert!(count(&apart) >= 2);
    let ends = |case: &Case| case.places.command_line + objects(case)[2].range.len();
    let nul = |case: &Case| ends(case).is_multiple_of(2 * MIB) || ends(case) % (2 * MIB) == 1;
    assert!(count(&|case| case.command_line.is_some() && nul(case)) >= 1);
}

#[test]
fn every_spelling_meets_every_theme() {
    let (_, _, space) = space(true);
    let cases: Vec<Case> = (0..256).map(|number| draw(&space, 1, number).current()).collect();
    for console in CONSOLES {
        let spelled =
            |case: &&Case| case.command_line.as_deref().is_some_and(|line| line.contains(console));
        let drawn = cases.iter().filter(spelled);
        assert!(drawn.clone().count() >= 12, "{console}");
        assert!(drawn.filter(|case| case.asks_for_kaslr()).count() >= 4, "{console}");
    }
    let screens: Vec<&Case> = cases.iter().filter(|case| case.screen).collect();
    for (column, line) in CURSORS {
        let at = |devices: &Devices| (devices.cursor_column, devices.cursor_line) == (column, line);
        assert!(screens.iter().any(|case| at(&case.devices)), "{column}, {line}");
    }
    assert!(screens.iter().filter(|case| case.devices.monochrome).count() >= 8);
}

#[test]
fn i386_cases_mostly_lie_where_the_stub_accepts_them() {
    let (_, _, space) = space(false);
    let accepted = |number: &usize| {
        draw(&space, 1, *number).current().load + space.init_size <= space.accepted
    };
    assert!((0..90).filter(accepted).count() >= 60);
}

#[test]
fn a_case_shrinks_to_the_simplest_of_its_kind() {
    let (_, _, space) = space(true);
    let aligned = places(&space).iter().position(|place| *place == Place::Aligned).unwrap();
    let mut tree = draw(&space, 5, aligned);
    while tree.simplify() {}
    let case = tree.current();
    assert_eq!(case.load, space.pref_address);
    assert_eq!((case.timer, case.fill), (vec![0], 0));
}

#[test]
fn implausible_headers_are_refused_by_field() {
    for (offset, bytes, field) in [
        (0x230, &[0u8, 0, 0, 0][..], "kernel_alignment"),
        (0x230, &[1, 0, 0x20, 0], "kernel_alignment"),
        (0x260, &[0xff, 0xff, 0xff, 0xff], "init_size"),
        (0x258, &[0, 0, 0, 0], "init_size"),
    ] {
        let payload = kernel(true, &[0, 0, 0]);
        let mut file = Fixture::new(crate::image::Compression::Gzip, &payload).build();
        file[offset..offset + bytes.len()].copy_from_slice(bytes);
        let image = Image::parse(file).unwrap();
        let demands = Demands { highest_heap: u64::MAX, needed: 48 << 20, linked: 16 << 20 };
        let error = Space::new(&image, WordSize::Bits64, Protocols::All, &[], demands).unwrap_err();
        assert_eq!(error.field, field);
    }
}
