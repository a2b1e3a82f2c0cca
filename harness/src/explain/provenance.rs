// SPDX-License-Identifier: GPL-2.0-only
//! Which kernel was run, and where it comes from: what a report of a crash begins with.

use std::path::Path;

use memchr::memmem;

use crate::build_tree::BuildTree;
use crate::oracle::Subject;
use crate::record::Origins;

/// The longest banner that is believed, in bytes; real ones have about 250.
const LONGEST_BANNER: usize = 1024;
/// The largest configuration that is read, in bytes; distributions have 300 KB.
const LARGEST_CONFIG: u64 = 8 << 20;

/// The options that decide what a stub does, or what its relocation table holds.
const OPTIONS: [&str; 20] = [
    "CONFIG_RELOCATABLE",
    "CONFIG_RANDOMIZE_BASE",
    "CONFIG_RANDOMIZE_MEMORY",
    "CONFIG_X86_NEED_RELOCS",
    "CONFIG_PHYSICAL_START",
    "CONFIG_PHYSICAL_ALIGN",
    "CONFIG_SMP",
    "CONFIG_X86_PAE",
    "CONFIG_X86_5LEVEL",
    "CONFIG_EFI_STUB",
    "CONFIG_AMD_MEM_ENCRYPT",
    "CONFIG_INTEL_TDX_GUEST",
    "CONFIG_LTO_CLANG",
    "CONFIG_KERNEL_GZIP",
    "CONFIG_KERNEL_BZIP2",
    "CONFIG_KERNEL_LZMA",
    "CONFIG_KERNEL_XZ",
    "CONFIG_KERNEL_LZO",
    "CONFIG_KERNEL_LZ4",
    "CONFIG_KERNEL_ZSTD",
];

/// What is known of `subject`, whose image is at `image`. `case` is the case in one line, `command` runs it again.
pub fn origins(subject: &Subject, image: &Path, case: String, command: String) -> Origins {
    let config = BuildTree::of_image(image).and_then(|tree| tree.config());
    let text = config.as_ref().and_then(|path| {
        let small = std::fs::metadata(path).is_ok_and(|found| found.len() <= LARGEST_CONFIG);
        small.then(|| std::fs::read(path).ok()).flatten()
    });
    let text = String::from_utf8_lossy(text.as_deref().unwrap_or_default()).into_owned();
    let set = |line: &&str| {
        let name = line.split('=').next().unwrap_or_default();
        line.contains('=') && OPTIONS.contains(&name)
    };
    Origins {
        release: subject.image.release().map(|release| release.text.clone()),
        compiler: banner(&subject.moved).and_then(|banner| compiler(&banner)),
        config: config.map(|path| path.display().to_string()),
        options: text.lines().filter(set).map(str::to_owned).collect(),
        image: image.display().to_string(),
        sha256: subject.image.sha256(),
        case,
        command,
    }
}

/// The kernel's banner, printable (init/version.c, `linux_banner`).
fn banner(kernel: &[u8]) -> Option<String> {
    const START: &[u8] = b"Linux version ";
    let starts = memmem::find_iter(kernel, START);
    let mut banners = starts.filter_map(|at| {
        let bytes = &kernel[at..];
        let end = bytes.iter().take(LONGEST_BANNER).position(|b| [0, b'\n'].contains(b))?;
        let bytes = &bytes[..end];
        let numbered = bytes.get(START.len()).is_some_and(u8::is_ascii_digit);
        let text = bytes.iter().all(|byte| *byte == b' ' || byte.is_ascii_graphic());
        (numbered && text).then(|| String::from_utf8_lossy(bytes).into_owned())
    });
    banners.next()
}

/// What stands in the second parentheses of a banner: `Linux version 6.1.0 (user@host) (gcc (Debian) 12.2.0, GNU ld) #1`.
fn compiler(banner: &str) -> Option<String> {
    let mut depth = 0usize;
    let mut groups = Vec::new();
    let mut start = 0;
    for (at, c) in banner.char_indices() {
        match c {
            '(' => {
                if depth == 0 {
                    start = at + 1;
                }
                depth += 1;
            }
            ')' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    groups.push(&banner[start..at]);
                }
            }
            _ => {}
        }
    }
    groups.get(1).map(|group| (*group).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_is_in_the_banner() {
        let text = b"\0Linux version %s\0Linux version 6.1.0 (a@b) (gcc (Debian 12) 12.2, GNU ld) #1 SMP\n\0";
        let banner = banner(text).unwrap();
        assert_eq!(banner, "Linux version 6.1.0 (a@b) (gcc (Debian 12) 12.2, GNU ld) #1 SMP");
        assert_eq!(compiler(&banner).as_deref(), Some("gcc (Debian 12) 12.2, GNU ld"));
        assert_eq!(compiler("Linux version 6.1.0 (a@b)) ("), None);
    }
}
