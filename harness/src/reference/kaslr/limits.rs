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
            name if parser.guest.word == WordSize::Bits64 && contains(name, b"hugepages") => {
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

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Bytes, PARAMS, guest, quiet};
    use super::*;

    const MIB: u64 = 1 << 20;
    const END: u64 = 1 << 46;

    fn traits() -> Traits {
        Traits { sizes_wrap: true, ..Traits::default() }
    }

    fn read_as(traits: Traits, word: WordSize, text: &str) -> Limits {
        let mut memory = Bytes::new(0, 0x2_0000);
        memory.put(PARAMS + 0x228, &0x1_8000u32.to_le_bytes());
        memory.put(0x1_8000, text.as_bytes());
        // What a null pointer points to.
        memory.put(0, b"1G");
        let mut guest = guest(&memory, word);
        let line = CommandLine::read(&guest).unwrap().unwrap();
        let console = quiet(&guest);
        read(&mut guest, traits, &line, console, END).unwrap()
    }

    fn limits(text: &str) -> (u64, Vec<(u64, u64)>, bool, u64) {
        let found = read_as(traits(), WordSize::Bits64, text);
        let regions = found.regions.iter().map(|r| (r.start / MIB, r.size / MIB)).collect();
        (found.limit / MIB, regions, found.too_many, found.gib_pages)
    }

    #[test]
    fn memory_ends_where_the_command_line_says() {
        let end = END / MIB;
        for (text, limit) in [
            ("mem=512M", 512),
            ("mem=1G mem=2G", 1024),
            ("mem=2G mem=1G", 1024),
            ("mem=nopentium mem=1G", 1024),
            ("mem=0 mem=1G", end),
            ("mem=x mem=1G", end),
            ("mem mem=512M", 512),
            ("mem", 1024),
            ("memmap=512M", 512),
            ("memmap=1G,512M", 512),
            ("memmap=512M$0", 512),
            ("memmap=512M@16M", end),
            ("memmap=512Mx", 512),
            ("memmap=exactmap memmap=512M", 512),
            ("memmap=exactmap,512M", end),
            ("memmap=x,512M", end),
            ("-- mem=512M", end),
            ("--=1 mem=512M", 512),
            ("\"mem=512M\"", 512),
            ("\"x mem=512M\"", end),
            ("mem=\"512M\"", 512),
            ("xmem=512M Mem=512M", end),
        ] {
            assert_eq!(limits(text), (limit, vec![], false, 0), "{text}");
        }
    }

    #[test]
    fn regions_are_listed_up_to_four() {
        for (text, regions, too_many) in [
            ("memmap=64M$1G", vec![(1024, 64)], false),
            ("memmap=64M#1G,32M!2G", vec![(1024, 64), (2048, 32)], false),
            ("memmap=64M$1G memmap=32M$2G", vec![(1024, 64), (2048, 32)], false),
            ("memmap=64M$1G,64M@2G,,32M$3G", vec![(1024, 64)], false),
            ("memmap=1M$1M,1M$2M,1M$3M,1M$4M", vec![(1, 1), (2, 1), (3, 1), (4, 1)], false),
            ("memmap=1M$1M,1M$2M,1M$3M,1M$4M,x", vec![(1, 1), (2, 1), (3, 1), (4, 1)], true),
            (
                "memmap=1M$1M,1M$2M,1M$3M,1M$4M memmap=1M$5M",
                vec![(1, 1), (2, 1), (3, 1), (4, 1)],
                false,
            ),
            (
                "memmap=1M$1M,1M$2M,1M$3M memmap=1M$4M,1M$5M",
                vec![(1, 1), (2, 1), (3, 1), (4, 1)],
                true,
            ),
        ] {
            assert_eq!(limits(text), (END / MIB, regions, too_many, 0), "{text}");
        }
    }

    #[test]
    fn a_limit_behind_four_regions_is_not_read() {
        assert_eq!(limits("memmap=1M$1M,1M$2M,1M$3M,1M$4M memmap=1G").0, END / MIB);
    }

    #[test]
    fn huge_pages_count_only_behind_their_size() {
        for (text, pages) in [
            ("hugepagesz=1G hugepages=3", 3),
            ("hugepages=3 hugepagesz=1G", 0),
            ("hugepagesz=1G hugepagesz=2M hugepages=3", 0),
            ("hugepagesz=2M hugepages=9 hugepagesz=1024M hugepages=0x10", 16),
            ("hugepagesz=1G hugepages=2 hugepages=5", 5),
            ("default_hugepagesz=1G hugepages=3", 0),
            ("hugepagesz=1G hugepages=3x", 3),
            ("hugepagesz hugepages=3", 3),
            ("hugepagesz=1G hugepages", 1),
        ] {
            assert_eq!(limits(text).3, pages, "{text}");
        }
        let text = "hugepagesz=1G hugepages=3";
        assert_eq!(read_as(traits(), WordSize::Bits32, text).gib_pages, 0);
        let strict = Traits { strict_huge_pages: true, ..traits() };
        assert_eq!(read_as(strict, WordSize::Bits64, "hugepagesz=1G hugepages=3x").gib_pages, 0);
        assert_eq!(read_as(strict, WordSize::Bits64, "hugepagesz=1G hugepages=+3").gib_pages, 3);
    }

    #[test]
    fn soft_reserved_fake_memory_is_avoided_where_the_stub_knows_it() {
        let knows = Traits { efi_fake_mem: true, ..traits() };
        for (text, regions) in [
            ("efi_fake_mem=64M@1G:0x40000", 1),
            ("efi_fake_mem=64M@1G:0x10000", 0),
            ("efi_fake_mem=64M@1G:0x40000x", 0),
            ("efi_fake_mem=64M@1G", 0),
            ("efi_fake_mem=64M$1G", 1),
            ("memmap=64M@1G:0x40000", 0),
        ] {
            let found = |traits| read_as(traits, WordSize::Bits64, text).regions.len();
            assert_eq!(found(knows), regions, "{text}");
            assert_eq!(found(traits()), 0, "{text}");
        }
    }

    #[test]
    fn what_is_behind_the_longest_line_is_not_read() {
        let padding = " ".repeat(LONGEST - "mem=512M".len());
        assert_eq!(limits(&format!("{padding}mem=512M")).0, 512);
        // 512 is what is left of 512M, in bytes.
        assert_eq!(limits(&format!(" {padding}mem=512M")).0, 0);
        let nothing = " ".repeat(LONGEST);
        assert_eq!(limits(&format!("{nothing}mem=512M")).0, END / MIB);
    }

    #[test]
    fn only_a_size_that_is_set_again_is_warned_of() {
        let lines = |text: &str| {
            let mut memory = Bytes::new(0, 0x2_0000);
            memory.put(PARAMS + 0x07, &[80]);
            memory.put(PARAMS + 0x0e, &[25]);
            memory.put(PARAMS + 0x228, &0x1_8000u32.to_le_bytes());
            memory.put(0x1_8000, text.as_bytes());
            let mut guest = guest(&memory, WordSize::Bits64);
            let line = CommandLine::read(&guest).unwrap().unwrap();
            let console = quiet(&guest);
            read(&mut guest, traits(), &line, console, END).unwrap();
            guest.page.u8(1)
        };
        assert_eq!(lines("hugepagesz=1G hugepages=1"), 0);
        assert_eq!(lines("hugepagesz=1G hugepagesz=2M"), 0);
        assert_eq!(lines("hugepagesz=2M hugepagesz=1G"), 0);
        assert_eq!(lines("hugepagesz=1G hugepagesz=1G"), 5);
    }
}
