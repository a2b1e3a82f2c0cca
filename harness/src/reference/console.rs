// SPDX-License-Identifier: GPL-2.0-only
//! The cursor of the text screen, which the stub keeps in boot_params: what it prints is hashed into KASLR's entropy
//! (`__putstr()`, arch/x86/boot/compressed/misc.c).

use std::mem::offset_of;

use linux_raw_sys::bootparam::boot_params;

use super::page::Page;

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
        if !self.is_on() {
            return;
        }
        let (mut column, mut line) = (u32::from(page.u8(COLUMN)), u32::from(page.u8(LINE)));
        for byte in text.bytes() {
            if byte != b'\n' {
                column += 1;
            }
            if byte == b'\n' || column >= self.columns {
                column = 0;
                // On the last line, and behind it, the text scrolls.
                if line + 1 < self.lines {
                    line += 1;
                }
            }
        }
        page.put_u8(COLUMN, column as u8);
        page.put_u8(LINE, line as u8);
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

#[cfg(test)]
mod tests {
    use super::super::page::SIZE;
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
