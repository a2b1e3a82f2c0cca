// SPDX-License-Identifier: GPL-2.0-only
//! The facts that `inspect` prints, in the shape of its JSON. Field names are a contract with scripts.

use std::fmt;
use std::path::Path;

use serde::{Serialize, Serializer};

use crate::image::{Group, Image, Kernel, RelocKind, RelocTable, Segment, SetupHeader};
use crate::oracle::Subject;

/// An address, offset, size or set of flags: hex for people and for programs (JSON numbers lose bits above 2^53).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hex(pub u64);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:#x}", self.0))
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn hex(value: impl TryInto<u64>) -> Hex {
    Hex(value.try_into().unwrap_or(u64::MAX))
}

/// Everything about one file; what could not be found out is null.
#[derive(Serialize)]
pub struct Report {
    pub path: String,
    /// Why there is not more, if there is not.
    pub error: Option<String>,
    pub file: Option<FileFacts>,
    pub header: Option<HeaderFacts>,
    pub payload: Option<PayloadFacts>,
    pub stub: Option<StubFacts>,
    pub kernel: Option<KernelFacts>,
    /// In a build directory: the table against the one that vmlinux gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vmlinux: Option<VmlinuxFacts>,
}

#[derive(Serialize)]
pub struct VmlinuxFacts {
    /// Entries that both have.
    pub equal_entries: Option<usize>,
    /// Why they were not compared.
    pub not_compared: Option<String>,
    /// What deviates, one line each.
    pub findings: Vec<String>,
}

impl VmlinuxFacts {
    /// What the comparison of a subject gave.
    pub fn new(subject: &Subject) -> VmlinuxFacts {
        let compared = subject.compared.as_ref();
        VmlinuxFacts {
            equal_entries: compared.and_then(|compared| Some(compared.as_ref().ok()?.equal)),
            not_compared: compared.and_then(|compared| compared.as_ref().err().cloned()),
            findings: subject.image_findings.iter().map(|finding| finding.to_string()).collect(),
        }
    }
}

#[derive(Serialize)]
pub struct FileFacts {
    pub size: usize,
    pub sha256: String,
    pub kernel_version: Option<String>,
    pub release: Option<String>,
    pub setup_size: Hex,
    pub protected_mode_size: Hex,
    /// Bytes behind the protected-mode code: padding, an EFI certificate.
    pub trailing_size: Hex,
}

#[derive(Serialize)]
pub struct HeaderFacts {
    pub version: String,
    pub relocatable: bool,
    pub loadflags: Hex,
    pub xloadflags: Option<Hex>,
    pub entries: Vec<&'static str>,
    pub above_4g: bool,
    pub kernel_alignment: Option<Hex>,
    /// In bytes; the header has its logarithm.
    pub min_alignment: Option<Hex>,
    pub pref_address: Option<Hex>,
    pub init_size: Option<Hex>,
    pub code32_start: Hex,
    pub initrd_addr_max: Option<Hex>,
    pub cmdline_size: Option<u32>,
    pub handover_offset: Option<Hex>,
    pub kernel_info_offset: Option<Hex>,
}

#[derive(Serialize)]
pub struct PayloadFacts {
    pub compression: String,
    /// From the first byte of protected-mode code.
    pub offset: Hex,
    pub length: Hex,
    pub output_len: Hex,
}

#[derive(Serialize)]
pub struct StubFacts {
    pub relocation_loops: Vec<String>,
    pub build_str: Option<String>,
}

#[derive(Serialize)]
pub struct KernelFacts {
    pub bits: u32,
    pub entry: Hex,
    /// Whether the kernel is no ELF file (before 2.6.26): `elf_len` is then the length of the flat binary.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub flat: bool,
    pub elf_len: Hex,
    pub segments: Vec<SegmentFacts>,
    pub table: TableFacts,
}

#[derive(Serialize)]
pub struct SegmentFacts {
    pub offset: Hex,
    pub paddr: Hex,
    pub vaddr: Hex,
    pub filesz: Hex,
    pub memsz: Hex,
    pub align: Hex,
    /// As in `readelf -l`: some of "RWE".
    pub flags: String,
}

#[derive(Serialize)]
pub struct TableFacts {
    /// In the decompressed payload.
    pub offset: Hex,
    pub words: usize,
    pub trailing_bytes: usize,
    pub unread_words: usize,
    pub missing_terminators: usize,
    /// In the order in which the stub applies them.
    pub groups: Vec<GroupFacts>,
}

#[derive(Serialize)]
pub struct GroupFacts {
    pub kind: String,
    pub entries: usize,
    /// Link-time virtual addresses, low 32 bits.
    pub first: Option<Hex>,
    pub last: Option<Hex>,
}

impl Report {
    /// A report that knows no more than the file's name.
    pub fn new(path: &Path) -> Report {
        Report {
            path: path.display().to_string(),
            error: None,
            file: None,
            header: None,
            payload: None,
            stub: None,
            kernel: None,
            vmlinux: None,
        }
    }

    /// Whether there is nothing to show but an error.
    pub fn is_empty(&self) -> bool {
        self.file.is_none()
    }

    /// Adds what the file says without being decompressed.
    pub fn add_image(&mut self, image: &Image) {
        let header = image.header();
        let protected_mode = image.protected_mode().len();
        self.file = Some(FileFacts {
            size: image.file().len(),
            sha256: image.sha256(),
            kernel_version: image.kernel_version().map(str::to_owned),
            release: image.release().map(|release| release.text),
            setup_size: hex(header.setup_size()),
            protected_mode_size: hex(protected_mode),
            trailing_size: hex(image
                .file()
                .len()
                .saturating_sub(header.setup_size() + protected_mode)),
        });
        self.header = Some(header_facts(header, image.file().starts_with(b"MZ")));
        let payload = image.payload();
        self.payload = Some(PayloadFacts {
            compression: payload.compression.to_string(),
            offset: hex(payload.range.start),
            length: hex(payload.range.len()),
            output_len: hex(payload.output_len),
        });
        let stub = image.stub();
        self.stub = Some(StubFacts {
            relocation_loops: stub.loops.iter().map(RelocKind::to_string).collect(),
            build_str: stub.build_str.as_deref().map(printable),
        });
    }

    /// Adds what the decompressed kernel says.
    pub fn add_kernel(&mut self, kernel: &Kernel) {
        self.kernel = Some(KernelFacts {
            bits: kernel.word.bits(),
            entry: hex(kernel.entry),
            flat: kernel.flat,
            elf_len: hex(kernel.elf_len),
            segments: kernel.segments.iter().map(segment_facts).collect(),
            table: table_facts(&kernel.table),
        });
    }
}

fn header_facts(header: &SetupHeader, pe: bool) -> HeaderFacts {
    let xloadflags = header.xloadflags.unwrap_or(0);
    let has = |bit: u16| xloadflags & (1 << bit) != 0;
    let entries = [
        (true, "16-bit"),
        (header.loaded_high(), "32-bit"),
        (has(0), "64-bit"),
        (pe, "EFI PE"),
        (has(2), "EFI handover 32-bit"),
        (has(3), "EFI handover 64-bit"),
    ];
    HeaderFacts {
        version: header.version.to_string(),
        relocatable: header.is_relocatable(),
        loadflags: hex(header.loadflags),
        xloadflags: header.xloadflags.map(hex),
        entries: entries.into_iter().filter(|(there, _)| *there).map(|(_, name)| name).collect(),
        above_4g: has(1),
        kernel_alignment: header.kernel_alignment.map(hex),
        min_alignment: header.min_alignment.and_then(|log| 1u64.checked_shl(log.into())).map(Hex),
        pref_address: header.pref_address.map(hex),
        init_size: header.init_size.map(hex),
        code32_start: hex(header.code32_start),
        initrd_addr_max: header.initrd_addr_max.map(hex),
        cmdline_size: header.cmdline_size,
        handover_offset: header.handover_offset.filter(|&offset| offset != 0).map(hex),
        kernel_info_offset: header.kernel_info_offset.filter(|&offset| offset != 0).map(hex),
    }
}

fn segment_facts(segment: &Segment) -> SegmentFacts {
    let flag = |bit: u32, name: char| if segment.flags & bit != 0 { name } else { ' ' };
    SegmentFacts {
        offset: hex(segment.offset),
        paddr: hex(segment.paddr),
        vaddr: hex(segment.vaddr),
        filesz: hex(segment.filesz),
        memsz: hex(segment.memsz),
        align: hex(segment.align),
        flags: [flag(4, 'R'), flag(2, 'W'), flag(1, 'E')]
            .into_iter()
            .filter(|&flag| flag != ' ')
            .collect(),
    }
}

fn table_facts(table: &RelocTable) -> TableFacts {
    TableFacts {
        offset: hex(table.offset),
        words: table.words.len(),
        trailing_bytes: table.trailing,
        unread_words: table.unread,
        missing_terminators: table.missing_terminators,
        groups: table.groups.iter().map(group_facts).collect(),
    }
}

fn group_facts(group: &Group) -> GroupFacts {
    GroupFacts {
        kind: group.kind.to_string(),
        entries: group.entries.len(),
        first: group.entries.first().copied().map(hex),
        last: group.entries.last().copied().map(hex),
    }
}

/// Bytes of the image as text that is safe on a terminal.
fn printable(bytes: &[u8]) -> String {
    let text = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    text.iter()
        .map(|&byte| if byte == b' ' || byte.is_ascii_graphic() { char::from(byte) } else { '?' })
        .collect()
}
