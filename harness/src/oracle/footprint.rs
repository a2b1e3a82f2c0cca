// SPDX-License-Identifier: GPL-2.0-only
//! Nothing outside the permitted memory was written: RAM is compared with its fill and with what the
//! loader put there.

use super::landing::Landing;
use super::scene::Scene;
use super::{Finding, Rule, placement, trampoline};
use crate::case::objects;
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
    ranges.extend(scene.case.screen.then(|| scene.case.devices.screen_memory()));
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

#[cfg(test)]
mod tests {
    use super::super::testing::{MIB, Run, STUB, image};
    use super::*;
    use crate::case::{Acpi, Case, Efi, EfiSignature, SetupData, SetupDataKind, Span};
    use crate::image::WordSize;

    const SCREEN: Range = Range { start: 0xb_8000, end: 0xb_8fa0 };
    /// RAM that nobody uses.
    const FREE: u64 = 0x3000_0000;

    /// What is said when the bytes at these addresses are changed.
    fn flipped(mut run: Run, addresses: &[u64]) -> Vec<String> {
        for address in addresses {
            run.flip(*address);
        }
        run.said()
    }

    fn outside() -> Vec<String> {
        vec!["footprint: RAM outside the permitted memory".to_owned()]
    }

    /// Loaded 64 KiB above 64 MiB, so the window begins at 66 MiB, behind it.
    fn apart() -> Run {
        let case = Case { load: 64 * MIB + 0x1_0000, ..Case::default() };
        Run::of(image(WordSize::Bits64, "6.1.192", "nokaslr\0"), case)
    }

    #[test]
    fn the_stub_may_write_where_it_lies_and_where_it_moves() {
        let (load, window) = (apart().case.load, apart().scene().placement.window);
        assert_eq!(window, Range::sized(66 * MIB, 8 * MIB));
        for (address, expected) in [
            (load - 1, outside()),
            (load, vec![]),
            (load + STUB - 1, vec![]),
            (load + STUB, outside()),
            (window.start - 1, outside()),
            (window.start + MIB, vec![]),
            (window.end - 1, vec![]),
            (window.end, outside()),
            (FREE, outside()),
        ] {
            assert_eq!(flipped(apart(), &[address]), expected, "{address:#x}");
        }
    }

    #[test]
    fn what_lies_there_is_named() {
        let initrd = Some(Span { start: FREE, end: FREE + 0x1000 });
        let run = || {
            let case = Case { initrd, ..Case::default() };
            Run::of(image(WordSize::Bits64, "6.1.192", "nokaslr\0"), case)
        };
        let trampoline = run().scene().paging.clone().unwrap().trampoline.unwrap();
        for (address, expected) in [
            (FREE + 0xfff, "footprint: the loader's initrd"),
            (FREE + 0x1000, "footprint: RAM outside the permitted memory"),
            (0x2_0000, "footprint: the loader's command line"),
            (0x3_0010, "footprint: the loader's GDT"),
            (0x500, "footprint: the loader's BIOS data"),
            (SCREEN.start, "footprint: the loader's BIOS and video memory"),
            (trampoline.start, "trampoline: low memory where the trampoline was"),
            (trampoline.end - 1, "trampoline: low memory where the trampoline was"),
            (trampoline.start - 1, "footprint: RAM outside the permitted memory"),
            (0x1_0000 + 0x21c, "boot-params: hdr.ramdisk_size"),
        ] {
            assert_eq!(flipped(run(), &[address]), [expected], "{address:#x}");
        }
    }

    #[test]
    fn a_screen_may_be_written_and_a_trampoline_that_is_not_done() {
        let screen = Case { screen: true, ..Case::default() };
        let run = || Run::of(image(WordSize::Bits64, "6.1.192", "nokaslr\0"), screen.clone());
        let shown = ["footprint: text screen"];
        assert_eq!(flipped(run(), &[SCREEN.start, SCREEN.end - 1]), shown, "by what it shows");
        assert_eq!(
            flipped(run(), &[SCREEN.end]),
            ["footprint: the loader's BIOS and video memory"]
        );
        let mut halted = Run::new(WordSize::Bits64);
        halted.outcome.end = End::Budget { blocks: 1 };
        let trampoline = halted.scene().paging.clone().unwrap().trampoline.unwrap();
        let said = flipped(halted, &[trampoline.start]);
        assert!(said[0].starts_with("budget") && said.len() == 1, "{said:?}");
    }

    #[test]
    fn ranges_and_bytes_are_counted() {
        let mut run = Run::new(WordSize::Bits64);
        for address in [FREE, FREE + 1, FREE + 9, FREE + 18, FREE + 0xfff, FREE + 0x1000] {
            run.flip(address);
        }
        run.flip(0x500);
        let found = run.judge().findings;
        let counted: Vec<_> = found.iter().map(|f| (f.address, f.ranges, f.bytes)).collect();
        assert_eq!(counted, [(Some(0x500), 1, 1), (Some(FREE), 3, 6)]);
        let byte = crate::machine::Fill(0).page(FREE)[0];
        assert_eq!(found[1].expected, format!("{byte:02x}, as the loader left it"));
        assert_eq!(found[1].actual, format!("{:02x}", byte ^ 1));
    }

    #[test]
    fn more_than_eight_kinds_of_places_are_only_counted() {
        let node = |address, kind| {
            let points_to = vec![Span { start: 0x2000_0000, end: 0x2000_1000 }];
            SetupData { address, kind, len: 24, points_to }
        };
        let efi = Efi {
            signature: EfiSignature::EL64,
            tables: 0x6_0000,
            map: 0x6_8000,
            descriptor_size: 48,
            acpi: crate::case::AcpiGuids::Newer,
            memory: vec![crate::case::EfiEntry {
                start: 0,
                end: 0x1000,
                kind: crate::case::EfiKind::Reserved,
                mirror: false,
                soft_reserved: false,
            }],
        };
        let case = Case {
            initrd: Some(Span { start: 0x2400_0000, end: 0x2400_1000 }),
            setup_data: vec![node(0x2800_0000, SetupDataKind::Indirect)],
            efi: Some(efi),
            acpi: Some(Acpi { in_boot_params: true, ..Acpi::at(0x2c00_0000) }),
            ..Case::default()
        };
        let mut run = Run::of(image(WordSize::Bits64, "6.1.192", "nokaslr\0"), case);
        let places = [0x500, 0x2_0000, 0x3_0000, 0x6_0000, 0x6_8000, 0xf_0000, 0x2000_0000];
        for address in places.into_iter().chain([0x2400_0000, 0x2800_0010, 0x2c00_0010, FREE]) {
            run.flip(address);
        }
        let found = run.judge().findings;
        assert_eq!(found.len(), SHOWN);
        assert_eq!(found[SHOWN - 1].place, "the loader's initrd");
        assert_eq!((found[SHOWN - 1].ranges, found[SHOWN - 1].bytes), (1, 4));
        assert!(found[..SHOWN - 1].iter().all(|found| found.bytes == 1));
    }

    #[test]
    fn the_kernel_may_be_written_where_the_stub_may_put_it() {
        let start = |run: &Run| run.judge().landing.unwrap().output;
        let chosen = Run::chosen(WordSize::Bits64);
        assert!(!chosen.scene().placement.window.contains(start(&chosen)));
        // The run ends before the kernel starts: it may have been written where it was to go.
        let mut unfinished = Run::chosen(WordSize::Bits64);
        unfinished.outcome.end = End::Budget { blocks: 1 };
        assert_eq!(unfinished.said().len(), 1, "{:?}", unfinished.said());
        let behind = start(&chosen) + chosen.subject.moved.len() as u64;
        assert_eq!(flipped(chosen, &[behind]), outside());
        let said = flipped(unfinished, &[behind]);
        assert!(said.contains(&outside()[0]), "{said:?}");
    }

    #[test]
    fn a_kernel_where_no_stub_may_put_it_was_written_outside() {
        let said = |output| Run::new(WordSize::Bits64).moved(output, 16 * MIB).said();
        assert_eq!(said(64 * MIB), ["placement: output"]);
        assert_eq!(said(64 * MIB + 0x1000), ["placement: output", outside()[0].as_str()]);
    }
}
