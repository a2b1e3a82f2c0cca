// SPDX-License-Identifier: GPL-2.0-only
//! Small kernels with relocations, for unit tests.

/// Sections start at this address and lie one after the other, each on a page of its own.
const BASE64: u64 = 0xffff_ffff_8100_0000;
const BASE32: u64 = 0xc100_0000;
/// The physical address that belongs to the base.
pub const PHYSICAL: u64 = 0x100_0000;
const PAGE: u64 = 0x1000;
/// Numbers of symbols that are in no section.
pub const ABSOLUTE: usize = 0xfff1;
pub const UNDEFINED: usize = 0;
const STT_SECTION: u8 = 3;
const GLOBAL: u8 = 1 << 4;

/// A section to be.
pub struct Sec {
    name: &'static str,
    kind: u32,
    bytes: Vec<u8>,
    /// Linked for address 0, as the per-cpu section up to 6.14.
    at_zero: bool,
    relocs: Vec<(u64, u32, usize)>,
}

impl Sec {
    pub fn data(name: &'static str, size: usize) -> Sec {
        Sec { name, kind: 1, bytes: vec![0; size], at_zero: false, relocs: Vec::new() }
    }

    pub fn note(name: &'static str, size: usize) -> Sec {
        Sec { kind: 7, ..Sec::data(name, size) }
    }

    pub fn per_cpu(size: usize) -> Sec {
        Sec { at_zero: true, ..Sec::data(".data..percpu", size) }
    }
}

/// A kernel to be. Sections are given and named by the order in which they were added, from 0.
pub struct Elf {
    bits64: bool,
    /// How much higher than usual it is linked.
    pub base: u64,
    /// Whether numbers of sections are written as if they did not fit their fields.
    pub large: bool,
    sections: Vec<Sec>,
    /// Name, value, section number of [`Elf::home`], type and binding.
    symbols: Vec<(String, u64, usize, u8)>,
}

impl Elf {
    pub fn new(bits64: bool) -> Elf {
        let none = (String::new(), 0, UNDEFINED, 0);
        Elf { bits64, base: 0, large: false, sections: Vec::new(), symbols: vec![none] }
    }

    pub fn section(&mut self, section: Sec) -> usize {
        self.sections.push(section);
        self.sections.len() - 1
    }

    /// The bytes of a section.
    pub fn fill(&mut self, section: usize, bytes: &[u8]) {
        self.sections[section].bytes = bytes.to_vec();
    }

    fn load(&self, section: usize) -> u64 {
        PHYSICAL + self.base + section as u64 * PAGE
    }

    /// Where the section is linked.
    pub fn address(&self, section: usize) -> u64 {
        let base = if self.bits64 { BASE64 } else { BASE32 } + self.base;
        if self.sections[section].at_zero { 0 } else { base + section as u64 * PAGE }
    }

    /// A symbol in a section; returns its index.
    pub fn symbol(&mut self, name: &str, value: u64, section: usize) -> usize {
        // Section headers: the null section, then these.
        self.add(name, value, section + 1, GLOBAL | 1)
    }

    /// A symbol with a number in the place of its section.
    pub fn special(&mut self, name: &str, value: u64, number: usize) -> usize {
        self.add(name, value, number, GLOBAL)
    }

    /// The symbol of a section.
    pub fn of_section(&mut self, section: usize) -> usize {
        let address = self.address(section);
        self.add("", address, section + 1, STT_SECTION)
    }

    fn add(&mut self, name: &str, value: u64, number: usize, info: u8) -> usize {
        self.symbols.push((name.to_owned(), value, number, info));
        self.symbols.len() - 1
    }

    /// A relocation of the field at `offset` of a section, of type `kind` against the symbol of that index.
    pub fn reloc(&mut self, section: usize, offset: u64, kind: u32, symbol: usize) {
        let address = self.address(section).wrapping_add(offset);
        self.sections[section].relocs.push((address, kind, symbol));
    }

    fn word(&self, value: u64) -> Vec<u8> {
        let bytes = value.to_le_bytes();
        bytes[..if self.bits64 { 8 } else { 4 }].to_vec()
    }

    fn reloc_bytes(&self, section: &Sec) -> Vec<u8> {
        let entry = |&(address, kind, symbol): &(u64, u32, usize)| {
            let symbol = symbol as u64;
            let info = if self.bits64 { symbol << 32 } else { symbol << 8 } | u64::from(kind);
            let addend = if self.bits64 { vec![0; 8] } else { Vec::new() };
            [self.word(address), self.word(info), addend].concat()
        };
        section.relocs.iter().flat_map(entry).collect()
    }

    fn symbol_bytes(&self, names: &mut Vec<u8>) -> (Vec<u8>, Vec<u8>) {
        let (mut table, mut indices) = (Vec::new(), Vec::new());
        for (name, value, number, info) in &self.symbols {
            let place = if name.is_empty() { 0 } else { names.len() as u32 };
            if !name.is_empty() {
                names.extend(name.as_bytes());
                names.push(0);
            }
            let extended = self.large && *number != UNDEFINED && *number != ABSOLUTE;
            indices.extend(if extended { *number as u32 } else { 0 }.to_le_bytes());
            let number = (if extended { 0xffff } else { *number as u16 }).to_le_bytes();
            table.extend(place.to_le_bytes());
            let value = self.word(*value);
            match self.bits64 {
                true => table.extend([&[*info, 0][..], &number, &value, &[0; 8]].concat()),
                false => table.extend([&value[..], &[0; 4], &[*info, 0], &number].concat()),
            }
        }
        (table, indices)
    }

    pub fn build(&self) -> Vec<u8> {
        let (ehdr, phdr) = if self.bits64 { (64, 56) } else { (52, 32) };
        let mut file = vec![0; ehdr + phdr * self.sections.len()];
        let mut names = vec![0];
        let mut headers = vec![[0u64; 10]];
        let mut put = |file: &mut Vec<u8>, name: &str, bytes: &[u8], mut header: [u64; 10]| {
            file.resize(file.len().next_multiple_of(16), 0);
            header[0] = names.len() as u64;
            header[4] = file.len() as u64;
            header[5] = bytes.len() as u64;
            names.extend(name.as_bytes());
            names.push(0);
            file.extend(bytes);
            headers.push(header);
        };
        // Name, type, flags, address, offset, size, link, info, align, entsize.
        for (number, section) in self.sections.iter().enumerate() {
            let header = [0, section.kind.into(), 3, self.address(number), 0, 0, 0, 0, 1, 0];
            put(&mut file, section.name, &section.bytes, header);
        }
        let mut strings = vec![0];
        let (symbols, indices) = self.symbol_bytes(&mut strings);
        let first = self.sections.len() as u64 + 1;
        put(&mut file, ".symtab", &symbols, [0, 2, 0, 0, 0, 0, first + 1, 0, 8, 24]);
        put(&mut file, ".strtab", &strings, [0, 3, 0, 0, 0, 0, 0, 0, 1, 0]);
        if self.large {
            put(&mut file, ".symtab_shndx", &indices, [0, 18, 0, 0, 0, 0, first, 0, 4, 4]);
        }
        let kind = if self.bits64 { 4 } else { 9 };
        for (number, section) in self.sections.iter().enumerate() {
            if !section.relocs.is_empty() {
                let header = [0, kind, 0, 0, 0, 0, first, number as u64 + 1, 8, 24];
                let name = format!(".rel{}{}", if self.bits64 { "a" } else { "" }, section.name);
                put(&mut file, &name, &self.reloc_bytes(section), header);
            }
        }
        let names_at = file.len() as u64;
        let own = names.len() as u64;
        names.extend(b".shstrtab\0");
        headers.push([own, 3, 0, 0, names_at, names.len() as u64, 0, 0, 1, 0]);
        file.extend(names);
        self.finish(file, headers)
    }

    fn finish(&self, mut file: Vec<u8>, mut headers: Vec<[u64; 10]>) -> Vec<u8> {
        file.resize(file.len().next_multiple_of(16), 0);
        let at = file.len() as u64;
        let count = headers.len() as u64;
        if self.large {
            headers[0][5] = count;
            headers[0][6] = count - 1;
        }
        for header in &headers {
            for (field, value) in header.iter().enumerate() {
                let wide = self.bits64 && [2, 3, 4, 5, 8, 9].contains(&field);
                file.extend(&value.to_le_bytes()[..if wide { 8 } else { 4 }]);
            }
        }
        let mut head = b"\x7fELF\0\x01\x01".to_vec();
        head[4] = if self.bits64 { 2 } else { 1 };
        head.resize(16, 0);
        head.extend([2, 0, if self.bits64 { 62 } else { 3 }, 0, 1, 0, 0, 0]);
        let (ehdr, phdr, shdr) = if self.bits64 { (64u16, 56u16, 64u16) } else { (52, 32, 40) };
        for word in [PHYSICAL, ehdr.into(), at] {
            head.extend(self.word(word));
        }
        head.extend([0; 4]);
        let (number, names) =
            if self.large { (0, 0xffff) } else { (count as u16, count as u16 - 1) };
        for half in [ehdr, phdr, self.sections.len() as u16, shdr, number, names] {
            head.extend(half.to_le_bytes());
        }
        for (number, _) in self.sections.iter().enumerate() {
            let [offset, size] = [headers[number + 1][4], headers[number + 1][5]];
            let (virt, load) = (self.address(number), self.load(number));
            match self.bits64 {
                true => {
                    head.extend([1, 0, 0, 0, 7, 0, 0, 0]);
                    for word in [offset, virt, load, size, size, PAGE] {
                        head.extend(word.to_le_bytes());
                    }
                }
                false => {
                    for word in [1, offset, virt, load, size, size, 7, PAGE] {
                        head.extend((word as u32).to_le_bytes());
                    }
                }
            }
        }
        file[..head.len()].copy_from_slice(&head);
        file
    }
}
