// SPDX-License-Identifier: GPL-2.0-only
//! What the stub prints, and the cursor of the text screen, which it keeps in boot_params: so what it prints is hashed into
//! KASLR's entropy (`__putstr()`, arch/x86/boot/compressed/misc.c).

use std::mem::offset_of;

use linux_raw_sys::bootparam::boot_params;

use super::inputs::Memory;
use super::page::{Page, SIZE};

const COLUMN: usize = offset_of!(boot_params, screen_info.orig_x);
const LINE: usize = offset_of!(boot_params, screen_info.orig_y);

/// Where text goes, and how much of it there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Console {
    columns: u32,
    lines: u32,
    verbose: bool,
}

impl Console {
    /// The screen that boot_params describe. A verbose stub also tells what it does when nothing is wrong.
    pub fn new(page: &Page, verbose: bool) -> Console {
        Console {
            columns: page.u8(offset_of!(boot_params, screen_info.orig_video_cols)).into(),
            lines: page.u8(offset_of!(boot_params, screen_info.orig_video_lines)).into(),
            verbose,
        }
    }

    /// Whether text moves the cursor at all.
    pub fn is_on(self) -> bool {
        self.columns > 0 && self.lines > 0
    }

    /// `error_putstr()`.
    pub fn print(self, page: &mut Page, text: &str) {
        page.say(text);
        if !self.is_on() {
            return;
        }
        let (column, line) = self.write(page, text, &mut []);
        page.put_u8(COLUMN, column as u8);
        page.put_u8(LINE, line as u8);
    }

    /// Writes all of `text` to a screen, as it is with boot_params `before`: `cells` has two bytes for each place, of which the
    /// second one is its colour.
    fn show(self, before: &Page, text: &str, cells: &mut [u8]) {
        if self.is_on() {
            self.write(before, text, cells);
        }
    }

    /// Writes `text` from the cursor of `page` on, as far as there are cells for it, and returns where the cursor goes.
    fn write(self, page: &Page, text: &str, cells: &mut [u8]) -> (u32, u32) {
        let (mut column, mut line) = (u32::from(page.u8(COLUMN)), u32::from(page.u8(LINE)));
        for byte in text.bytes() {
            if byte != b'\n' {
                let cell = 2 * (column + self.columns * line) as usize;
                if let Some(cell) = cells.get_mut(cell) {
                    *cell = byte;
                }
                column += 1;
            }
            if byte == b'\n' || column >= self.columns {
                column = 0;
                if line + 1 < self.lines {
                    line += 1;
                } else {
                    // On the last line, and behind it, the text scrolls.
                    self.scroll(cells);
                }
            }
        }
        (column, line)
    }

    fn scroll(self, cells: &mut [u8]) {
        let row = 2 * self.columns as usize;
        let last = row * (self.lines as usize - 1);
        if cells.len() >= last + row {
            cells.copy_within(row..last + row, 0);
            cells[last..last + row].iter_mut().step_by(2).for_each(|cell| *cell = b' ');
        }
    }

    /// `debug_putstr()`.
    pub fn debug(self, page: &mut Page, text: &str) {
        if self.verbose {
            self.print(page, text);
        }
    }

    /// `warn()`, which puts two empty lines around its text.
    pub fn warn(self, page: &mut Page, text: &str) {
        for part in ["\n\n", text, "\n\n"] {
            self.print(page, part);
        }
    }
}

/// Writes what was printed to the screen of the machine whose loader left `memory`: two bytes for each place in `cells`, a
/// character and its colour. `false` if there are no boot_params, which describe the screen.
pub fn shown(memory: &dyn Memory, boot_params: u64, text: &str, cells: &mut [u8]) -> bool {
    let mut bytes = Box::new([0; SIZE]);
    let known = memory.read(boot_params, &mut bytes[..]);
    let page = Page::new(bytes);
    Console::new(&page, false).show(&page, text, cells);
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(screen: (u8, u8), cursor: (u8, u8), act: impl FnOnce(Console, &mut Page)) -> (u8, u8) {
        let mut page = Page::new(Box::new([0; SIZE]));
        page.put_u8(0x07, screen.0);
        page.put_u8(0x0e, screen.1);
        page.put_u8(0x00, cursor.0);
        page.put_u8(0x01, cursor.1);
        let console = Console::new(&page, false);
        act(console, &mut page);
        (page.u8(0x00), page.u8(0x01))
    }

    #[test]
    fn text_wraps_and_scrolls() {
        for (cursor, text, expected) in [
            ((0, 0), "abc", (3, 0)),
            ((0, 0), "abcd", (0, 1)),
            ((2, 0), "ab\n", (0, 2)),
            ((1, 2), "\n", (0, 2)),
            ((0, 1), "abcdefghij", (2, 2)),
            ((9, 9), "a", (0, 9)),
        ] {
            assert_eq!(after((4, 3), cursor, |c, p| c.print(p, text)), expected, "{text:?}");
        }
    }

    #[test]
    fn the_screen_shows_text_and_keeps_its_colours() {
        let shown = |cursor: (u8, u8), text: &str| {
            let mut page = Page::new(Box::new([0; SIZE]));
            page.put_u8(0x07, 4);
            page.put_u8(0x0e, 3);
            page.put_u8(0x00, cursor.0);
            page.put_u8(0x01, cursor.1);
            let mut cells: Vec<u8> = b"abcdefghijkl".iter().flat_map(|c| [*c, c - 32]).collect();
            Console::new(&page, false).show(&page, text, &mut cells);
            let every_second = |first| cells.iter().skip(first).step_by(2).copied().collect();
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            (text(every_second(0)), text(every_second(1)))
        };
        assert_eq!(shown((1, 1), "12"), ("abcde12hijkl".into(), "ABCDEFGHIJKL".into()));
        assert_eq!(shown((3, 1), "12"), ("abcdefg12jkl".into(), "ABCDEFGHIJKL".into()));
        assert_eq!(shown((0, 2), "1\n2"), ("efgh1jkl2   ".into(), "EFGHIJKLIJKL".into()));
        assert_eq!(shown((9, 9), "1"), ("efghijkl    ".into(), "EFGHIJKLIJKL".into()));
    }

    #[test]
    fn all_that_is_printed_is_noted() {
        let mut page = Page::new(Box::new([0; SIZE]));
        let console = Console::new(&page, false);
        console.debug(&mut page, "no");
        console.warn(&mut page, "yes");
        assert_eq!(page.said(), "\n\nyes\n\n");
    }

    #[test]
    fn a_warning_is_four_lines_and_its_own() {
        assert_eq!(after((80, 25), (5, 1), |c, p| c.warn(p, "x")), (0, 5));
        assert_eq!(after((80, 25), (5, 1), |c, p| c.warn(p, "x\n")), (0, 6));
    }

    #[test]
    fn without_a_screen_the_cursor_stays() {
        assert_eq!(after((80, 0), (5, 1), |c, p| c.warn(p, "x")), (5, 1));
        assert_eq!(after((0, 25), (5, 1), |c, p| c.warn(p, "x")), (5, 1));
        assert_eq!(after((80, 25), (5, 1), |c, p| c.debug(p, "x")), (5, 1), "not verbose");
    }
}
