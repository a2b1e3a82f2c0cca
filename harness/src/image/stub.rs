// SPDX-License-Identifier: GPL-2.0-only
//! What the stub's uncompressed part tells about it.

use memchr::memmem;

use super::table::RelocKind;
use super::traits::Traits;

/// Facts read from the stub's own code and data: the protected-mode code without the payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stub {
    /// The relocation loops that the stub has, in the order in which they run, told by their error texts
    /// (arch/x86/boot/compressed/misc.c, `handle_relocations`, since 3.12).
    ///
    /// Empty for stubs without a relocation loop, and for older ones, which had it in assembly without a text.
    pub loops: Vec<RelocKind>,
    /// `build_str` with its terminating NUL: the string that KASLR hashes first (arch/x86/boot/compressed/kaslr.c).
    /// `None` where it is not found, as in stubs without KASLR.
    pub build_str: Option<Vec<u8>>,
    /// Whether the stub knows the word `nokaslr`: it can choose the kernel's address (CONFIG_RANDOMIZE_BASE).
    pub kaslr: bool,
    /// Whether the stub knows the word `earlyprintk`: it can print to a serial port (CONFIG_EARLY_PRINTK).
    pub serial: bool,
    /// Whether the stub tells what it does even when nothing is wrong (CONFIG_X86_VERBOSE_BOOTUP).
    pub verbose: bool,
    /// What else it knows of its surroundings.
    pub traits: Traits,
}

/// The longest `build_str` that is believed, in bytes; real ones have about 200.
const MAX_BUILD_STR: usize = 1024;

impl Stub {
    /// Looks through the parts of the stub: what lies before and after the payload.
    pub(super) fn read(parts: [&[u8]; 2], release: Option<&str>) -> Stub {
        let has = |text: &str| {
            let finder = memmem::Finder::new(text);
            parts.iter().any(|part| finder.find(part).is_some())
        };
        let mut loops = Vec::new();
        // The linker may keep "32-bit relocation ..." only as the tail of "inverse 32-bit relocation ...".
        if has("32-bit relocation outside of kernel!") {
            loops.push(RelocKind::Abs32);
        }
        if has("inverse 32-bit relocation outside of kernel!") {
            loops.push(RelocKind::Inverse32);
        }
        if has("64-bit relocation outside of kernel!") {
            loops.push(RelocKind::Abs64);
        }
        let build_str =
            release.and_then(|release| parts.iter().find_map(|part| find_build_str(part, release)));
        Stub {
            loops,
            build_str,
            kaslr: has("nokaslr"),
            serial: has("earlyprintk"),
            verbose: has("early console in extract_kernel"),
            traits: Traits::read(parts),
        }
    }

    /// Whether the stub has the loop for this kind of entry.
    pub fn has_loop(&self, kind: RelocKind) -> bool {
        self.loops.contains(&kind)
    }
}

fn find_build_str(part: &[u8], release: &str) -> Option<Vec<u8>> {
    let start = memmem::find(part, format!("{release} (").as_bytes())?;
    let text = part.get(start..)?;
    let end = text.iter().take(MAX_BUILD_STR).position(|&byte| byte == 0)?;
    text.get(..=end).map(<[u8]>::to_vec)
}
