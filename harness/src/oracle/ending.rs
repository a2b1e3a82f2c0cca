// SPDX-License-Identifier: GPL-2.0-only
//! Runs that did not reach the kernel: the stub stopped, faulted, or never came to an end.

use super::scene::Scene;
use super::{Finding, Rule, Subject};
use crate::case::{SCREEN_COLUMNS, SCREEN_LINES};
use crate::machine::{End, Outcome};
use crate::reference::Refusal;

/// What follows the text of an error (arch/x86/boot/compressed/error.c).
const HALTED: &str = "-- System halted";

/// Judges the way in which the run ended; nothing if that was the hand-off, or a refusal where one is due.
///
/// # Errors
///
/// A stub that may refuse here stopped, and had nothing to say why on.
pub fn judge(scene: &Scene) -> Result<Option<Finding>, String> {
    let Scene { subject, outcome, placement, .. } = scene;
    let due = match placement.refusal {
        Refusal::Never => None,
        Refusal::May(text) | Refusal::Must(text) => Some(text),
    };
    let place = location(subject, outcome);
    Ok(match &outcome.end {
        End::HandOff => match placement.refusal {
            Refusal::Must(text) => {
                Some(Finding::new(Rule::Halt, "stub", format!("to stop: {text}"), "it went on"))
            }
            _ => None,
        },
        End::Halted => return stopped(scene, due, place),
        // Before `hlt` was put there, an error ended in an empty loop (2.6.20, 2.6.21).
        End::Budget { .. } if subject.image.vintage().is_some() && may_have_stopped(scene, due) => {
            return stopped(scene, due, place);
        }
        End::Fault { vector, address } => {
            let actual = match address {
                Some(address) => format!("page fault at {address:#x} that nobody handles"),
                None => format!("exception {vector} that nobody handles"),
            };
            Some(Finding {
                address: *address,
                ..Finding::new(Rule::Fault, place, "the jump into the kernel", actual)
            })
        }
        End::OutsideRam { address, access } => Some(Finding {
            address: Some(*address),
            ..Finding::new(
                Rule::Fault,
                place,
                "accesses to memory only",
                format!("{access} where the machine has no memory"),
            )
        }),
        End::Budget { blocks } => Some(Finding::new(
            Rule::Budget,
            place,
            "the jump into the kernel",
            format!("still running after {blocks} blocks of code"),
        )),
        End::Unsupported(_) => None,
    })
}

/// Judges a stub that stopped, which it must do with the text that is `due`.
fn stopped(scene: &Scene, due: Option<&str>, place: String) -> Result<Option<Finding>, String> {
    let text = said(scene);
    if due.is_some() && text.as_deref() == due {
        return Ok(None);
    }
    if due.is_some() && text.is_none() && !has_console(scene) {
        return Err("the stub stopped, and the case gives it no console to say why".into());
    }
    let expected = due.map_or("the jump into the kernel".into(), |t| format!("to stop: {t}"));
    let actual = text.map_or("stopped without a word".into(), |t| format!("stopped: {t}"));
    Ok(Some(Finding::new(Rule::Halt, place, expected, actual)))
}

/// Whether a stub that never came to an end said that it stops, or had to stop and nothing to say so on.
fn may_have_stopped(scene: &Scene, due: Option<&str>) -> bool {
    said(scene).is_some() || due.is_some() && !has_console(scene)
}

/// Whether the stub has something to print its errors on that it knows.
fn has_console(scene: &Scene) -> bool {
    scene.case.screen || scene.subject.image.stub().serial && scene.case.has_console()
}

/// The text of the error with which the stub ended.
fn said(scene: &Scene) -> Option<String> {
    error_text(&String::from_utf8_lossy(&scene.outcome.serial))
        .or_else(|| error_text(&screen(scene)))
}

/// Where in the stub the instruction pointer is.
fn location(subject: &Subject, outcome: &Outcome) -> String {
    let rip = outcome.registers.rip;
    let size = subject.image.protected_mode().len() as u64;
    let copies = outcome.code.iter().rev();
    copies
        .map(|copy| copy.start)
        .find(|start| (*start..start.saturating_add(size)).contains(&rip))
        .map_or_else(|| format!("{rip:#x}"), |start| format!("stub+{:#x}", rip - start))
}

/// What stands on the text screen, line by line.
fn screen(scene: &Scene) -> String {
    let bytes = 2 * SCREEN_COLUMNS * SCREEN_LINES;
    let memory = scene.case.devices.screen_memory();
    let cells = scene.outcome.ram.slice(memory.start, bytes).unwrap_or_default();
    let line = |cells: &[u8]| cells.iter().step_by(2).map(|c| char::from(*c)).collect::<String>();
    cells.chunks(2 * SCREEN_COLUMNS).map(|cells| line(cells) + "\n").collect()
}

/// The last thing that the stub said before it halted.
fn error_text(text: &str) -> Option<String> {
    let said = text.rsplit_once(HALTED)?.0;
    let line = said.lines().map(printable).rfind(|line| !line.is_empty())?;
    Some(line)
}

fn printable(line: &str) -> String {
    let text: String = line.chars().filter(|c| !c.is_control()).take(200).collect();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{MIB, Run, image};
    use super::*;
    use crate::case::Case;
    use crate::image::WordSize;
    use crate::machine::Access;

    #[test]
    fn the_error_is_the_last_line_before_the_halt() {
        let serial = "\n\nKASLR disabled\r\n\n\nDestination address too large\n\n -- System halted";
        assert_eq!(error_text(serial).as_deref(), Some("Destination address too large"));
        assert_eq!(error_text("Parsing ELF... "), None);
        assert_eq!(error_text(" -- System halted"), None);
    }

    const TOO_LARGE: &str = "Destination address too large";

    /// What an i386 stub says that ended like this, loaded at so many MiB: its heap may lie up to 896 MiB.
    fn at(load: u64, case: Case, end: End, serial: &str, words: &str) -> Vec<String> {
        let case = Case { load: load * MIB, ..case };
        let mut run = Run::of(image(WordSize::Bits32, "6.1.192", words), case);
        run.outcome.end = end;
        run.outcome.serial = serial.replace('\n', "\r\n").into_bytes();
        let judgement = run.judge();
        let findings = judgement.findings.into_iter();
        let said = findings.filter(|f| matches!(f.rule, Rule::Halt | Rule::Fault | Rule::Budget));
        let said = said.map(|f| format!("{}, not {}", f.expected, f.actual));
        let said: Vec<String> = said.chain(judgement.not_judged).collect();
        let refused = said.is_empty() && run.outcome.end == End::Halted;
        assert_eq!(judgement.refused, refused);
        said
    }

    fn console() -> Case {
        Case { command_line: Some("nokaslr earlyprintk=ttyS0".into()), ..Case::default() }
    }

    const KNOWS: &str = "nokaslr\0earlyprintk\0";

    #[test]
    fn a_stub_stops_where_it_must_and_says_why() {
        let text = format!("\n\n{TOO_LARGE}\n\n -- System halted");
        let stopped = |load, case, text: &str| at(load, case, End::Halted, text, KNOWS);
        assert_eq!(stopped(900, console(), &text), [] as [&str; 0]);
        assert_eq!(
            stopped(886, console(), &text),
            ["the jump into the kernel, not stopped: Destination address too large"]
        );
        assert_eq!(
            stopped(900, console(), "\nout of memory\n\n -- System halted"),
            [format!("to stop: {TOO_LARGE}, not stopped: out of memory")]
        );
        assert_eq!(
            stopped(900, console(), ""),
            [format!("to stop: {TOO_LARGE}, not stopped without a word")]
        );
        assert_eq!(
            stopped(16, console(), ""),
            ["the jump into the kernel, not stopped without a word"]
        );
        let went_on = |load| at(load, console(), End::HandOff, "", KNOWS);
        assert_eq!(went_on(900), [format!("to stop: {TOO_LARGE}, not it went on")]);
        assert_eq!(went_on(886), [] as [&str; 0]);
        // The heap lies in the stub's last 256 KiB, which here end at the limit: it may do either.
        assert_eq!(went_on(888), [] as [&str; 0]);
        assert_eq!(stopped(888, console(), &text), [] as [&str; 0]);
    }

    #[test]
    fn a_stub_without_a_console_may_stop_without_a_word() {
        let silent = "the stub stopped, and the case gives it no console to say why";
        let said = |case, words| at(900, case, End::Halted, "", words);
        assert_eq!(said(Case::default(), KNOWS), [silent]);
        assert_eq!(said(console(), "nokaslr\0"), [silent], "it does not know the serial port");
        assert_eq!(said(console(), KNOWS).len(), 1);
        assert_ne!(said(console(), KNOWS), [silent]);
        let screen = Case { screen: true, ..Case::default() };
        assert_ne!(said(screen, "nokaslr\0"), [silent]);
        assert_ne!(at(16, Case::default(), End::Halted, "", KNOWS), [silent], "none was due");
    }

    #[test]
    fn what_stands_on_the_screen_counts() {
        let case = Case { screen: true, load: 900 * MIB, ..Case::default() };
        let mut run = Run::of(image(WordSize::Bits32, "6.1.192", "nokaslr\0"), case);
        run.outcome.end = End::Halted;
        let due = run.scene().hand_over.as_ref().unwrap().refusal.clone().unwrap();
        run.print(&due, false);
        assert_eq!(run.said(), [] as [&str; 0]);
        let screen = run.case.devices.screen_memory();
        let cells = run.outcome.ram.slice(screen.start, screen.len() as usize).unwrap();
        let shown: Vec<u8> = cells.iter().step_by(2).copied().collect();
        let text = TOO_LARGE.as_bytes();
        let at = shown.windows(text.len()).position(|cells| cells == text).unwrap() as u64;
        run.flip(screen.start + 2 * at);
        assert_eq!(run.said(), ["halt: stub+0x0"]);
    }

    #[test]
    fn runs_that_go_astray_are_told_with_their_place() {
        for (end, said) in [
            (
                End::Fault { vector: 6, address: None },
                "fault: stub+0x204: exception 6 that nobody handles",
            ),
            (
                End::Fault { vector: 14, address: Some(5) },
                "fault: stub+0x204: page fault at 0x5 that nobody handles",
            ),
            (
                End::OutsideRam { address: 7, access: Access::Write },
                "fault: stub+0x204: write where the machine has no memory",
            ),
            (End::Budget { blocks: 9 }, "budget: stub+0x204: still running after 9 blocks of code"),
        ] {
            let mut run = Run::new(WordSize::Bits64);
            run.outcome.end = end;
            run.outcome.registers.rip = run.outcome.code.last().unwrap().start + 0x204;
            let finding = &run.judge().findings[0];
            assert_eq!(format!("{}: {}: {}", finding.rule, finding.place, finding.actual), said);
            let address = match run.outcome.end {
                End::Fault { address, .. } => address,
                End::OutsideRam { address, .. } => Some(address),
                _ => None,
            };
            assert_eq!(finding.address, address);
            assert_eq!(run.said().len(), 1);
        }
        let mut run = Run::new(WordSize::Bits64);
        run.outcome.end = End::Unsupported("MMX".into());
        assert_eq!(run.said(), ["MMX"]);
    }

    #[test]
    fn a_place_is_counted_from_the_copy_that_it_lies_in() {
        let mut run = Run::new(WordSize::Bits64);
        let size = run.subject.image.protected_mode().len() as u64;
        let last = run.outcome.code.last().unwrap().start;
        for (rip, place) in [
            (last + size - 1, format!("stub+{:#x}", size - 1)),
            (last + size, format!("{:#x}", last + size)),
            (last - 1, format!("{:#x}", last - 1)),
            (16 * MIB + 5, "stub+0x5".to_owned()),
        ] {
            run.outcome.registers.rip = rip;
            assert_eq!(location(&run.subject, &run.outcome), place);
        }
    }

    #[test]
    fn stubs_from_before_2_6_22_stop_in_an_empty_loop() {
        let stopped = |load: u64, words: &str, serial: &str| {
            let case = Case { load: load * MIB, ..console() };
            let mut run = Run::of(super::super::testing::vintage(words), case);
            run.outcome.end = End::Budget { blocks: 9 };
            run.outcome.serial = serial.into();
            let judgement = run.judge();
            let said = judgement.findings.into_iter().map(|found| found.actual);
            said.chain(judgement.not_judged).collect::<Vec<_>>()
        };
        let text = format!("{TOO_LARGE}\r\n\r\n -- System halted");
        let endless = "still running after 9 blocks of code";
        // Their heap may lie up to 512 MiB.
        assert_eq!(stopped(600, KNOWS, &text), [] as [&str; 0]);
        assert_eq!(stopped(16, KNOWS, &text), ["stopped: Destination address too large"]);
        assert_eq!(stopped(600, KNOWS, ""), [endless]);
        assert_eq!(stopped(16, KNOWS, ""), [endless]);
        assert_eq!(stopped(16, "", ""), [endless], "none was due");
        let silent = "the stub stopped, and the case gives it no console to say why";
        assert_eq!(stopped(600, "", ""), [silent]);
        // Later ones halt.
        let newer = at(900, console(), End::Budget { blocks: 9 }, &text, KNOWS);
        assert_eq!(newer, [format!("the jump into the kernel, not {endless}")]);
    }
}
