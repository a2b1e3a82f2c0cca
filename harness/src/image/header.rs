// SPDX-License-Identifier: GPL-2.0-only
//! The setup header: what an image tells its loader (Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header").

use std::fmt;

use super::error::{ImageError, first_bytes};

/// File offset of the first header field, setup_sects.
pub const HEADER_START: usize = 0x1f1;
/// "HdrS", little-endian, at 0x202.
const SIGNATURE: &[u8; 4] = b"HdrS";
const BOOT_FLAG: u16 = 0xaa55;

/// A version of the boot protocol; 0x020f is 2.15.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProtocolVersion(pub u16);

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 >> 8, self.0 & 0xff)
    }
}

/// The setup header, fields in file order and under their boot.rst names.
///
/// A field that the image's protocol version does not have is `None`, never zero. Addresses are physical,
/// lengths and offsets in bytes unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupHeader {
    raw: Vec<u8>,
    /// Size of the setup code in 512-byte sectors; 0 means 4.
    pub setup_sects: u8,
    /// Non-zero: mount the root file system read-only (obsolete).
    pub root_flags: u16,
    /// Size of the protected-mode code in 16-byte paragraphs; only 16 bits wide before protocol 2.04.
    pub syssize: u32,
    /// Obsolete, for kernel use.
    pub ram_size: u16,
    /// Video mode.
    pub vid_mode: u16,
    /// Default root device number.
    pub root_dev: u16,
    /// Boot protocol version.
    pub version: ProtocolVersion,
    /// Real-mode hook instead of going to protected mode, segment:offset.
    pub realmode_swtch: u32,
    /// Load-low segment, 0x1000 (obsolete).
    pub start_sys_seg: u16,
    /// Offset of the version string from 0x200; 0 when there is none.
    pub kernel_version: u16,
    /// For the loader to write: its identifier.
    pub type_of_loader: u8,
    /// Flags: bit 0 LOADED_HIGH, 1 KASLR_FLAG, 5 QUIET_FLAG, 6 KEEP_SEGMENTS, 7 CAN_USE_HEAP.
    pub loadflags: u8,
    /// Size of the setup code to move, for protocols 2.00 and 2.01.
    pub setup_move_size: u16,
    /// Where the 16-bit setup code jumps to in protected mode.
    pub code32_start: u32,
    /// For the loader to write: address of the initrd.
    pub ramdisk_image: u32,
    /// For the loader to write: size of the initrd.
    pub ramdisk_size: u32,
    /// Obsolete.
    pub bootsect_kludge: u32,
    /// 2.01: for the loader to write: end of the setup heap, relative to the real-mode code.
    pub heap_end_ptr: Option<u16>,
    /// 2.02: for the loader to write: extended version.
    pub ext_loader_ver: Option<u8>,
    /// 2.02: for the loader to write: extended identifier.
    pub ext_loader_type: Option<u8>,
    /// 2.02: for the loader to write: address of the command line.
    pub cmd_line_ptr: Option<u32>,
    /// 2.03: highest address that an initrd byte may have.
    pub initrd_addr_max: Option<u32>,
    /// 2.05: physical alignment that the kernel prefers.
    pub kernel_alignment: Option<u32>,
    /// 2.05: non-zero when the protected-mode code may be loaded elsewhere.
    pub relocatable_kernel: Option<u8>,
    /// 2.10: the least acceptable alignment, as a power of two.
    pub min_alignment: Option<u8>,
    /// 2.12: flags: bit 0 KERNEL_64, 1 CAN_BE_LOADED_ABOVE_4G, 2 and 3 EFI handover 32 and 64, 4 EFI_KEXEC,
    /// 5 and 6 5LEVEL and 5LEVEL_ENABLED, 7 MEM_ENCRYPTION.
    pub xloadflags: Option<u16>,
    /// 2.06: longest command line, without its NUL.
    pub cmdline_size: Option<u32>,
    /// 2.07: the kind of PC; 0 is the ordinary one.
    pub hardware_subarch: Option<u32>,
    /// 2.07: depends on the kind of PC.
    pub hardware_subarch_data: Option<u64>,
    /// 2.08: offset of the compressed kernel from the first byte of protected-mode code.
    pub payload_offset: Option<u32>,
    /// 2.08: length of the compressed kernel, the appended output length included.
    pub payload_length: Option<u32>,
    /// 2.09: for the loader to write: address of the first setup_data node.
    pub setup_data: Option<u64>,
    /// 2.10: load address that the kernel prefers.
    pub pref_address: Option<u64>,
    /// 2.10: memory that the kernel needs from its run-time start on, before it can read the memory map.
    pub init_size: Option<u32>,
    /// 2.11: offset of the EFI handover entry point from the first byte of protected-mode code.
    pub handover_offset: Option<u32>,
    /// 2.15: offset of kernel_info from the first byte of protected-mode code.
    pub kernel_info_offset: Option<u32>,
}

/// A field that came with a later protocol version: its offset in the file, if this image has it.
struct Since {
    version: ProtocolVersion,
    end: usize,
}

impl Since {
    /// Reads `N` bytes at `offset` when the image's protocol is at least `since`.
    fn read<const N: usize>(&mut self, file: &[u8], since: u16, offset: usize) -> Option<[u8; N]> {
        if self.version.0 < since {
            return None;
        }
        self.end = self.end.max(offset + N);
        bytes(file, offset)
    }
}

fn bytes<const N: usize>(file: &[u8], offset: usize) -> Option<[u8; N]> {
    file.get(offset..)?.first_chunk().copied()
}

impl SetupHeader {
    /// Reads the header from the start of an image file.
    ///
    /// Only the first [`HEADER_MAX`](Self::HEADER_MAX) bytes are looked at.
    ///
    /// # Errors
    ///
    /// The file is too short, has no signature, or its header ends before the fields of its own version.
    pub fn parse(file: &[u8]) -> Result<SetupHeader, ImageError> {
        let short =
            |needed| ImageError::TooShort { found: file.len(), part: "a setup header", needed };
        let Some(signature) = bytes::<4>(file, 0x202) else {
            return Err(if file.is_empty() {
                ImageError::Signature { found: "the file is empty".to_owned() }
            } else {
                short(0x206)
            });
        };
        if &signature != SIGNATURE {
            return Err(ImageError::Signature { found: describe(file, &signature) });
        }
        // Protocol 2.00 ends at 0x224: fields without `Option` are all there.
        let fixed: &[u8] = file.get(..0x224).ok_or_else(|| short(0x224))?;
        let u8_at = |offset| bytes::<1>(fixed, offset).map_or(0, u8::from_le_bytes);
        let u16_at = |offset| bytes::<2>(fixed, offset).map_or(0, u16::from_le_bytes);
        let u32_at = |offset| bytes::<4>(fixed, offset).map_or(0, u32::from_le_bytes);

        let boot_flag = u16_at(0x1fe);
        if boot_flag != BOOT_FLAG {
            return Err(ImageError::BootFlag { found: boot_flag });
        }
        let version = ProtocolVersion(u16_at(0x206));
        if version.0 < 0x0200 {
            return Err(ImageError::Version { found: version });
        }
        let end = 0x202 + usize::from(u8_at(0x201));
        let raw = file.get(HEADER_START..end).ok_or_else(|| short(end))?.to_vec();

        let mut since = Since { version, end: 0x224 };
        let header = SetupHeader {
            raw,
            setup_sects: u8_at(0x1f1),
            root_flags: u16_at(0x1f2),
            syssize: if version.0 >= 0x0204 { u32_at(0x1f4) } else { u16_at(0x1f4).into() },
            ram_size: u16_at(0x1f8),
            vid_mode: u16_at(0x1fa),
            root_dev: u16_at(0x1fc),
            version,
            realmode_swtch: u32_at(0x208),
            start_sys_seg: u16_at(0x20c),
            kernel_version: u16_at(0x20e),
            type_of_loader: u8_at(0x210),
            loadflags: u8_at(0x211),
            setup_move_size: u16_at(0x212),
            code32_start: u32_at(0x214),
            ramdisk_image: u32_at(0x218),
            ramdisk_size: u32_at(0x21c),
            bootsect_kludge: u32_at(0x220),
            heap_end_ptr: since.read(file, 0x0201, 0x224).map(u16::from_le_bytes),
            ext_loader_ver: since.read(file, 0x0202, 0x226).map(u8::from_le_bytes),
            ext_loader_type: since.read(file, 0x0202, 0x227).map(u8::from_le_bytes),
            cmd_line_ptr: since.read(file, 0x0202, 0x228).map(u32::from_le_bytes),
            initrd_addr_max: since.read(file, 0x0203, 0x22c).map(u32::from_le_bytes),
            kernel_alignment: since.read(file, 0x0205, 0x230).map(u32::from_le_bytes),
            relocatable_kernel: since.read(file, 0x0205, 0x234).map(u8::from_le_bytes),
            min_alignment: since.read(file, 0x020a, 0x235).map(u8::from_le_bytes),
            xloadflags: since.read(file, 0x020c, 0x236).map(u16::from_le_bytes),
            cmdline_size: since.read(file, 0x0206, 0x238).map(u32::from_le_bytes),
            hardware_subarch: since.read(file, 0x0207, 0x23c).map(u32::from_le_bytes),
            hardware_subarch_data: since.read(file, 0x0207, 0x240).map(u64::from_le_bytes),
            payload_offset: since.read(file, 0x0208, 0x248).map(u32::from_le_bytes),
            payload_length: since.read(file, 0x0208, 0x24c).map(u32::from_le_bytes),
            setup_data: since.read(file, 0x0209, 0x250).map(u64::from_le_bytes),
            pref_address: since.read(file, 0x020a, 0x258).map(u64::from_le_bytes),
            init_size: since.read(file, 0x020a, 0x260).map(u32::from_le_bytes),
            handover_offset: since.read(file, 0x020b, 0x264).map(u32::from_le_bytes),
            kernel_info_offset: since.read(file, 0x020f, 0x268).map(u32::from_le_bytes),
        };
        if end < since.end {
            return Err(ImageError::HeaderEnd { found: end, needed: since.end, version });
        }
        Ok(header)
    }

    /// As many bytes of a file as a setup header can extend over: the jump at 0x200 reaches no further.
    pub const HEADER_MAX: usize = 0x202 + 0xff;

    /// The bytes that a loader copies to 0x1f1 of boot_params: from setup_sects to the target of the jump at 0x200
    /// (boot.rst, "32-bit Boot Protocol").
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Bytes of boot sector and setup code: the file offset at which the protected-mode code starts.
    pub fn setup_size(&self) -> usize {
        let sectors = if self.setup_sects == 0 { 4 } else { usize::from(self.setup_sects) };
        (sectors + 1) * 512
    }

    /// Whether the protected-mode code may be loaded elsewhere than at the address it was linked for.
    pub fn is_relocatable(&self) -> bool {
        self.relocatable_kernel.is_some_and(|flag| flag != 0)
    }

    /// Whether the image asks to be loaded at 1 MiB or above (a bzImage) and not below (a zImage).
    pub fn loaded_high(&self) -> bool {
        self.loadflags & 1 != 0
    }
}

/// What a file without the signature looks like, for the user who took the wrong one.
fn describe(file: &[u8], signature: &[u8]) -> String {
    let known: [(&[u8], &str); 9] = [
        (b"\x7fELF", "an ELF file (a vmlinux?)"),
        (b"MZ", "a PE file without a Linux setup header"),
        (b"\x1f\x8b", "a gzip file"),
        (b"BZh", "a bzip2 file"),
        (b"\xfd7zXZ\0", "an xz file"),
        (b"\x28\xb5\x2f\xfd", "a zstd file"),
        (b"!<arch>\n", "an ar archive (a Debian package?)"),
        (b"\xed\xab\xee\xdb", "an RPM package"),
        (b"07070", "a cpio archive"),
    ];
    match known.iter().find(|(magic, _)| file.starts_with(magic)) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("{} at 0x202", first_bytes(signature)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::fixture::Fixture;

    fn file(version: u16) -> Vec<u8> {
        Fixture { version, ..Fixture::with_payload(Vec::new()) }.build()
    }

    #[test]
    fn fields_of_later_protocols_are_absent_not_zero() {
        let header = SetupHeader::parse(&file(0x0203)).unwrap();
        assert_eq!(header.version.to_string(), "2.03");
        assert_eq!(header.initrd_addr_max, Some(0));
        assert_eq!((header.relocatable_kernel, header.kernel_alignment), (None, None));
        let header = SetupHeader::parse(&file(0x0209)).unwrap();
        assert_eq!(
            (header.setup_data, header.pref_address, header.init_size),
            (Some(0), None, None)
        );
        let header = SetupHeader::parse(&file(0x020f)).unwrap();
        assert_eq!((header.pref_address, header.xloadflags), (Some(0x100_0000), Some(3)));
    }

    #[test]
    fn syssize_was_16_bits_wide_before_2_04() {
        let mut bytes = file(0x0203);
        bytes[0x1f4..0x1f8].copy_from_slice(&[0x34, 0x12, 0xff, 0xff]);
        assert_eq!(SetupHeader::parse(&bytes).unwrap().syssize, 0x1234);
        bytes[0x206] = 4;
        assert_eq!(SetupHeader::parse(&bytes).unwrap().syssize, 0xffff_1234);
    }

    #[test]
    fn no_setup_sectors_mean_four() {
        let mut bytes = file(0x020f);
        bytes[0x1f1] = 0;
        assert_eq!(SetupHeader::parse(&bytes).unwrap().setup_size(), 5 * 512);
    }

    #[test]
    fn raw_is_what_the_jump_spans() {
        let bytes = file(0x020f);
        let header = SetupHeader::parse(&bytes).unwrap();
        assert_eq!(header.raw(), &bytes[0x1f1..0x26c]);
    }

    #[test]
    fn a_header_that_ends_before_its_own_fields_is_refused() {
        let mut bytes = file(0x020f);
        bytes[0x201] = 0x62;
        let error = SetupHeader::parse(&bytes).unwrap_err();
        assert_eq!(
            error.to_string(),
            "setup header: ends at 0x264, but protocol 2.15 has fields up to 0x26c"
        );
    }

    #[test]
    fn other_files_are_named() {
        let mut elf = vec![0; 4096];
        elf[..4].copy_from_slice(b"\x7fELF");
        let message = |bytes: &[u8]| SetupHeader::parse(bytes).unwrap_err().to_string();
        assert!(message(&elf).contains("an ELF file (a vmlinux?)"));
        assert!(message(&[0xab; 4096]).contains("ab ab ab ab at 0x202"));
        assert!(message(&[]).contains("the file is empty"));
        let mut bytes = file(0x020f);
        bytes[0x1fe] = 0;
        assert_eq!(message(&bytes), "boot_flag: 0xaa00 at 0x1fe, expected 0xaa55");
        let mut bytes = file(0x020f);
        bytes[0x207] = 1;
        assert_eq!(
            message(&bytes),
            "version: 1.15 at 0x206, expected a boot protocol from 2.00 on"
        );
    }
}
