// SPDX-License-Identifier: GPL-2.0-only
//! The text screen (`__putstr()`, arch/x86/boot/compressed/misc.c): it shows what was printed, and its cursor is where
//! boot_params say.

use super::loaded::Loaded;
use super::scene::Scene;
use super::{Finding, Rule, text};
use crate::case::{SCREEN, SCREEN_COLUMNS};
use crate::machine::End;
use crate::reference::{Memory, shown};

/// Data of the display's controller.
const DISPLAY_DATA: u16 = 0x3d5;
const DISPLAY_INDEX: u16 = 0x3d4;

/// Judges a stub that came to an end by itself, on a machine that has a screen.
pub fn judge(scene: &Scene) -> Vec<Finding> {
    if !matches!(scene.outcome.end, End::HandOff | End::Halted)
        || scene.subject.image.vintage().is_some()
    {
        return Vec::new();
    }
    cursor(scene).into_iter().chain(contents(scene)).collect()
}

/// The last thing that is done to the cursor is to put it where boot_params say.
fn cursor(scene: &Scene) -> Option<Finding> {
    let Scene { setup, outcome, .. } = scene;
    let data = outcome.ports.get(&DISPLAY_DATA)?;
    let index = outcome.ports.get(&DISPLAY_INDEX).map_or(0, |index| index.writes);
    let place = outcome.ram.slice(setup.boot_params, 2)?;
    let position = usize::from(place[0]) + SCREEN_COLUMNS * usize::from(place[1]);
    let halves = [(position >> 8 & 0xff) as u32, (position & 0xff) as u32];
    let missing = halves.iter().any(|half| !data.values.contains(half));
    let (expected, actual) = if index != data.writes || index % 2 != 0 {
        (
            "as many writes of its data as of its index, in pairs".into(),
            format!("{} and {index}", data.writes),
        )
    } else if missing && !data.more_values {
        (format!("{:#x} and {:#x} written", halves[0], halves[1]), format!("{:x?}", data.values))
    } else {
        return None;
    };
    Some(Finding::new(Rule::Ports, "cursor", expected, actual))
}

/// What the screen shows at the hand-off.
fn contents(scene: &Scene) -> Option<Finding> {
    let said = text::predicted(scene).filter(|_| scene.case.screen)?;
    let memory = Loaded(scene.setup);
    let mut expected = vec![0; SCREEN.len() as usize];
    let known = memory.read(SCREEN.start, &mut expected)
        && shown(&memory, scene.setup.boot_params, said, &mut expected);
    let actual = scene.outcome.ram.slice(SCREEN.start, expected.len()).filter(|_| known)?;
    let at = expected.iter().zip(actual).position(|(expected, actual)| expected != actual)?;
    let (line, column) = (at / 2 / SCREEN_COLUMNS, at / 2 % SCREEN_COLUMNS);
    let differing = expected.iter().zip(actual).filter(|(expected, actual)| expected != actual);
    Some(Finding {
        address: Some(SCREEN.start + at as u64),
        bytes: differing.count() as u64,
        ..Finding::new(
            Rule::Footprint,
            "text screen",
            format!("{:02x} in line {line}, column {column}", expected[at]),
            format!("{:02x}", actual[at]),
        )
    })
}
