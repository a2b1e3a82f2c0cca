// SPDX-License-Identifier: GPL-2.0-only
//! Runs that did not reach the kernel: the stub stopped, faulted, or never came to an end.

use super::scene::Scene;
use super::{Finding, Rule, Subject};
use crate::case::{SCREEN, SCREEN_COLUMNS, SCREEN_LINES};
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
    let text = said(scene.outcome);
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
    said(scene.outcome).is_some() || due.is_some() && !has_console(scene)
}

/// Whether the stub has something to print its errors on that it knows.
fn has_console(scene: &Scene) -> bool {
    scene.case.screen || scene.subject.image.stub().serial && scene.case.has_console()
}

/// The text of the error with which the stub ended.
fn said(outcome: &Outcome) -> Option<String> {
    error_text(&String::from_utf8_lossy(&outcome.serial)).or_else(|| error_text(&screen(outcome)))
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
fn screen(outcome: &Outcome) -> String {
    let bytes = 2 * SCREEN_COLUMNS * SCREEN_LINES;
    let cells = outcome.ram.slice(SCREEN.start, bytes).unwrap_or_default();
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
    use super::*;

    #[test]
    fn the_error_is_the_last_line_before_the_halt() {
        let serial = "\n\nKASLR disabled\r\n\n\nDestination address too large\n\n -- System halted";
        assert_eq!(error_text(serial).as_deref(), Some("Destination address too large"));
        assert_eq!(error_text("Parsing ELF... "), None);
        assert_eq!(error_text(" -- System halted"), None);
    }
}
