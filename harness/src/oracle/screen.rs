// SPDX-License-Identifier: GPL-2.0-only
//! The text screen (`__putstr()`, arch/x86/boot/compressed/misc.c): it shows what was printed, and its cursor is where
//! boot_params say.

use super::loaded::Loaded;
use super::scene::Scene;
use super::{Finding, Rule};
use crate::case::SCREEN_COLUMNS;
use crate::machine::{End, PortUse};
use crate::reference::{Memory, shown};

/// The registers of the controller that hold the cursor's place.
const CURSOR: [u32; 2] = [14, 15];

/// Judges a stub that came to an end by itself, on a machine that has a screen, and had to say what was `predicted`.
pub fn judge(scene: &Scene, predicted: Option<&str>) -> Vec<Finding> {
    if !matches!(scene.outcome.end, End::HandOff | End::Halted)
        || scene.subject.image.vintage().is_some()
    {
        return Vec::new();
    }
    cursor(scene).into_iter().chain(contents(scene, predicted)).collect()
}

/// The last thing that is done to the cursor is to put it where boot_params say.
fn cursor(scene: &Scene) -> Option<Finding> {
    let Scene { setup, outcome, case, .. } = scene;
    let port = case.devices.screen_port();
    let data = outcome.ports.get(&(port + 1))?;
    let unused = PortUse::default();
    let index = outcome.ports.get(&port).unwrap_or(&unused);
    let place = outcome.ram.slice(setup.boot_params, 2)?;
    let position = usize::from(place[0]) + SCREEN_COLUMNS * usize::from(place[1]);
    let halves = [(position >> 8 & 0xff) as u32, (position & 0xff) as u32];
    let missing = halves.iter().any(|half| !data.values.contains(half));
    let (expected, actual) = if index.writes != data.writes || index.writes % 2 != 0 {
        (
            "as many writes of its data as of its index, in pairs".into(),
            format!("{} and {}", data.writes, index.writes),
        )
    } else if !CURSOR.iter().all(|register| index.values.contains(register)) {
        (format!("registers {CURSOR:x?}, both halves of its place"), format!("{:x?}", index.values))
    } else if missing && !data.more_values {
        (format!("{:#x} and {:#x} written", halves[0], halves[1]), format!("{:x?}", data.values))
    } else {
        return None;
    };
    Some(Finding::new(Rule::Ports, "cursor", expected, actual))
}

/// What the screen shows at the hand-off.
fn contents(scene: &Scene, predicted: Option<&str>) -> Option<Finding> {
    let said = predicted.filter(|_| scene.case.screen)?;
    let memory = Loaded(scene.setup);
    let screen = scene.case.devices.screen_memory();
    let mut expected = vec![0; screen.len() as usize];
    let known = memory.read(screen.start, &mut expected)
        && shown(&memory, scene.setup.boot_params, said, &mut expected);
    let actual = scene.outcome.ram.slice(screen.start, expected.len()).filter(|_| known)?;
    let at = expected.iter().zip(actual).position(|(expected, actual)| expected != actual)?;
    let (line, column) = (at / 2 / SCREEN_COLUMNS, at / 2 % SCREEN_COLUMNS);
    let differing = expected.iter().zip(actual).filter(|(expected, actual)| expected != actual);
    Some(Finding {
        address: Some(screen.start + at as u64),
        bytes: differing.count() as u64,
        ..Finding::new(
            Rule::Footprint,
            "text screen",
            format!("{:02x} in line {line}, column {column}", expected[at]),
            format!("{:02x}", actual[at]),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Run, image};
    use super::*;
    use crate::case::{Case, Devices};
    use crate::image::WordSize;
    use crate::range::Range;

    const SCREEN: Range = Range { start: 0xb_8000, end: 0xb_8fa0 };
    const DISPLAY_INDEX: u16 = 0x3d4;
    const DISPLAY_DATA: u16 = 0x3d5;

    fn written(writes: u64, values: &[u32]) -> PortUse {
        PortUse { writes, sizes: 1, values: values.to_vec(), ..PortUse::default() }
    }

    fn with_screen() -> Run {
        let case = Case { screen: true, ..Case::default() };
        Run::of(image(WordSize::Bits64, "6.1.192", "nokaslr\0"), case)
    }

    #[test]
    fn each_place_of_the_screen_counts() {
        let mut run = with_screen();
        assert_eq!(run.said(), [] as [&str; 0]);
        let cells = run.outcome.ram.slice(SCREEN.start, SCREEN.len() as usize).unwrap();
        let first = cells.iter().position(|byte| *byte == b'K').unwrap() as u64;
        run.flip(SCREEN.start + first);
        run.flip(SCREEN.end - 1);
        assert_eq!(run.found(Rule::Footprint), [("text screen".to_owned(), "4a".to_owned())]);
        let finding = run.judge().findings.remove(0);
        assert_eq!((finding.address, finding.bytes), (Some(SCREEN.start + first), 2));
        let line = first / 2 / SCREEN_COLUMNS as u64;
        assert_eq!(run.expected(Rule::Footprint), [format!("4b in line {line}, column 0")]);
        run.flip(SCREEN.start + first);
        run.flip(SCREEN.start + first + 2 * 5);
        assert_eq!(run.expected(Rule::Footprint), [format!("20 in line {line}, column 5")]);
        run.outcome.end = End::Halted;
        assert_eq!(
            run.found(Rule::Footprint),
            [],
            "what a stub that stops has printed is not known"
        );
    }

    /// What is said of a cursor at column 5 of line 3 (position 0xf5) after these accesses.
    fn cursor(index_writes: u64, data: PortUse) -> Vec<String> {
        let mut run = with_screen();
        run.write(run.setup.boot_params, &[5, 3]);
        run.outcome.ports.insert(DISPLAY_INDEX, written(index_writes, &CURSOR));
        run.outcome.ports.insert(DISPLAY_DATA, data);
        run.expected(Rule::Ports)
    }

    #[test]
    fn the_cursor_is_put_where_boot_params_say() {
        assert_eq!(cursor(2, written(2, &[0, 0xf5])), [] as [&str; 0]);
        assert_eq!(cursor(4, written(4, &[0, 1, 2, 0xf5])), [] as [&str; 0]);
        let pairs = ["as many writes of its data as of its index, in pairs"];
        assert_eq!(cursor(4, written(2, &[0, 0xf5])), pairs);
        assert_eq!(cursor(3, written(3, &[0, 0xf5])), pairs);
        let missing = ["0x0 and 0xf5 written"];
        assert_eq!(cursor(2, written(2, &[0, 0xf4])), missing);
        assert_eq!(cursor(2, written(2, &[1, 0xf5])), missing);
        let more = PortUse { more_values: true, ..written(2, &[0, 0xf4]) };
        assert_eq!(cursor(2, more), [] as [&str; 0], "it may have come later");
        let mut half = with_screen();
        half.write(half.setup.boot_params, &[5, 3]);
        half.outcome.ports.insert(DISPLAY_INDEX, written(2, &[14]));
        half.outcome.ports.insert(DISPLAY_DATA, written(2, &[0, 0xf5]));
        let expected = half.expected(Rule::Ports);
        assert!(expected.contains(&"registers [e, f], both halves of its place".into()));
        let mut run = with_screen();
        run.outcome.ports.insert(DISPLAY_DATA, written(1, &[0]));
        assert_eq!(run.found(Rule::Ports).len(), 1);
        run.outcome.end = End::Budget { blocks: 1 };
        assert_eq!(run.found(Rule::Ports), [], "it had not come to its end");
    }

    #[test]
    fn both_halves_of_the_cursors_place_count() {
        let mut run = with_screen();
        run.write(run.setup.boot_params, &[7, 20]);
        run.outcome.ports.insert(DISPLAY_INDEX, written(2, &[14, 15]));
        // 20 lines of 80, and 7: 0x647.
        run.outcome.ports.insert(DISPLAY_DATA, written(2, &[6, 0x47]));
        assert_eq!(run.found(Rule::Ports), []);
        run.outcome.ports.remove(&DISPLAY_DATA);
        assert_eq!(run.found(Rule::Ports), [], "nothing was printed");
    }

    #[test]
    fn a_screen_without_colours_is_another_place() {
        let devices = Devices { monochrome: true, cursor_line: 24, ..Devices::default() };
        let case = Case { screen: true, devices, ..Case::default() };
        let mut run = Run::of(image(WordSize::Bits64, "6.1.192", "nokaslr\0"), case);
        assert_eq!(run.said(), [] as [&str; 0]);
        run.flip(0xb_0000);
        assert_eq!(run.expected(Rule::Footprint).len(), 1);
        run.flip(0xb_0000);
        run.write(run.setup.boot_params, &[5, 3]);
        run.outcome.ports.insert(0x3b4, written(2, &[14, 15]));
        run.outcome.ports.insert(0x3b5, written(2, &[0, 0xf4]));
        assert_eq!(run.expected(Rule::Ports), ["0x0 and 0xf5 written"]);
    }
}
