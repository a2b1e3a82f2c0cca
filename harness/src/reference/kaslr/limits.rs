// SPDX-License-Identifier: GPL-2.0-only
//! What the command line says of memory (`handle_mem_options()`, arch/x86/boot/compressed/kaslr.c).

use super::super::console::Console;
use super::super::guest::Guest;
use super::super::options::{Arguments, CommandLine, Sizes, guessed, strict};
use super::span::Span;
use crate::image::{Traits, WordSize};

/// As many bytes of the command line are looked at.
pub const LONGEST: usize = 2047;
/// Regions of `memmap=` that are avoided; more, and KASLR gives up.
const MOST_REGIONS: usize = 4;
const GIB: u64 = 1 << 30;
/// `EFI_MEMORY_SP`: soft-reserved.
const SOFT_RESERVED: u64 = 0x4_0000;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// First address that must not be used.
    pub limit: u64,
    /// Regions that must not be used, in order.
    pub regions: Vec<Span>,
    /// There are more regions than KASLR can keep.
    pub too_many: bool,
    /// Pages of 1 GiB that have to stay free.
    pub gib_pages: u64,
}

/// Which option is being read: the two share a syntax.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Syntax {
    Memmap,
    EfiFakeMem,
}

struct Parser<'p, 'g> {
    guest: &'p mut Guest<'g>,
    traits: Traits,
    console: Console,
    gib_selected: bool,
    found: Limits,
}

/// Reads `command_line`, for a machine whose memory ends at `limit`.
///
/// # Errors
///
/// An option without a value makes the stub read from address 0, where there is no RAM.
pub fn read(
    guest: &mut Guest,
    traits: Traits,
    command_line: &CommandLine,
    console: Console,
    limit: u64,
) -> Result<Limits, String> {
    let text = &command_line.bytes[..command_line.bytes.len().min(LONGEST)];
    let found = Limits { limit, regions: Vec::new(), too_many: false, gib_pages: 0 };
    let mut parser = Parser { guest, traits, console, gib_selected: false, found };
    for argument in Arguments::new(text) {
        let value = argument.value.as_deref();
        match &argument.name[..] {
            b"--" if value.is_none() => break,
            b"memmap" => parser.regions(Syntax::Memmap, value),
            name if parser.knows_huge_pages() && contains(name, b"hugepages") => {
                parser.huge_pages(name, value)?;
            }
            b"mem" => {
                let value = parser.value(value)?;
                if value == b"nopentium" {
                    continue;
                }
                match parser.sizes().parse(&value).0 {
                    0 => break,
                    size => parser.lower_to(size),
                }
            }
            b"efi_fake_mem" if traits.efi_fake_mem => {
                parser.regions(Syntax::EfiFakeMem, value);
            }
            _ => {}
        }
    }
    Ok(parser.found)
}

impl Parser<'_, '_> {
    fn sizes(&self) -> Sizes {
        if self.traits.sizes_wrap { Sizes::Wrap } else { Sizes::Saturate }
    }

    fn knows_huge_pages(&self) -> bool {
        self.traits.huge_pages && self.guest.word == WordSize::Bits64
    }

    fn lower_to(&mut self, limit: u64) {
        self.found.limit = self.found.limit.min(limit);
    }

    /// A value; where there is none the stub reads from a null pointer.
    fn value(&self, value: Option<&[u8]>) -> Result<Vec<u8>, String> {
        const FAR_ENOUGH: usize = 1024;
        match value {
            Some(value) => Ok(value.to_vec()),
            None => Ok(self.guest.text(0, FAR_ENOUGH, "the text behind a null pointer")?.0),
        }
    }

    /// `mem_avoid_memmap()`.
    fn regions(&mut self, syntax: Syntax, value: Option<&[u8]>) {
        let Some(value) = value else { return };
        if self.found.regions.len() >= MOST_REGIONS {
            return;
        }
        let mut rest = Some(value);
        while let Some(list) = rest {
            if self.found.regions.len() >= MOST_REGIONS {
                self.found.too_many = true;
                return;
            }
            let comma = list.iter().position(|&byte| byte == b',');
            let Some(span) = self.region(syntax, &list[..comma.unwrap_or(list.len())]) else {
                return;
            };
            rest = comma.map(|comma| &list[comma + 1..]);
            match span {
                Span { start: 0, size: 0 } => {}
                Span { start: 0, size } => self.lower_to(size),
                region => self.found.regions.push(region),
            }
        }
    }

    /// `parse_memmap()`: a start of 0 stands for no region at all.
    fn region(&self, syntax: Syntax, text: &[u8]) -> Option<Span> {
        if text.starts_with(b"exactmap") {
            return None;
        }
        let (size, rest) = self.sizes().parse(text);
        if rest.len() == text.len() {
            return None;
        }
        let nothing = Span { start: 0, size: 0 };
        Some(match rest {
            [b'#' | b'$' | b'!', rest @ ..] => Span { start: self.sizes().parse(rest).0, size },
            [b'@', rest @ ..] if syntax == Syntax::EfiFakeMem => match self.sizes().parse(rest) {
                (start, [b':', attributes @ ..])
                    if strict(attributes, 0, 64).is_some_and(|a| a & SOFT_RESERVED != 0) =>
                {
                    Span { start, size }
                }
                _ => nothing,
            },
            [b'@', ..] => nothing,
            _ => Span { start: 0, size },
        })
    }

    /// `parse_gb_huge_pages()`.
    fn huge_pages(&mut self, name: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        match name {
            b"hugepagesz" => {
                let selected = self.sizes().parse(&self.value(value)?).0 == GIB;
                if selected && self.gib_selected {
                    let text = "Repeatedly set hugeTLB page size of 1G!\n";
                    self.console.warn(&mut self.guest.page, text);
                }
                self.gib_selected = selected;
            }
            b"hugepages" if self.gib_selected => {
                let value = self.value(value)?;
                if !self.traits.strict_huge_pages {
                    self.found.gib_pages = guessed(&value).0;
                } else if let Some(count) = strict(&value, 0, 64) {
                    self.found.gib_pages = count;
                } else {
                    let text = "Failed to parse hugepages= boot parameter\n";
                    self.console.warn(&mut self.guest.page, text);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn contains(name: &[u8], part: &[u8]) -> bool {
    name.windows(part.len()).any(|window| window == part)
}
