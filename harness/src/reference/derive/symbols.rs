// SPDX-License-Identifier: GPL-2.0-only
//! Which symbols move with the kernel.
//!
//! A linker makes a symbol absolute for two reasons: because it is a number, or, in some versions, because a linker
//! script defined it outside of any section. The kernel's own tool knows them by name (arch/x86/tools/relocs.c,
//! `sym_regex_kernel`).

use std::collections::BTreeSet;

use super::PerCpu;
use crate::vmlinux::{Home, Symbol, Vmlinux};

/// More names than this are not kept.
const MAX_UNLISTED: usize = 100;

/// What happens to a symbol's address when the kernel moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moves {
    /// It moves along.
    WithKernel,
    /// It stays: a number, or an offset in per-cpu data.
    Fixed {
        /// Whether it is the latter.
        per_cpu: bool,
    },
    /// There is no such thing in this kernel.
    Undefined,
}

/// How a list gives a name.
enum Name {
    Is(&'static str),
    Starts(&'static str),
    /// Starts and ends.
    Around(&'static str, &'static str),
}

impl Name {
    fn matches(&self, name: &str) -> bool {
        match self {
            Name::Is(whole) => name == *whole,
            Name::Starts(start) => name.starts_with(start),
            Name::Around(start, end) => {
                name.len() > start.len() + end.len()
                    && name.starts_with(start)
                    && name.ends_with(end)
            }
        }
    }
}

/// Numbers, whatever their value.
const NUMBERS: [Name; 6] = [
    Name::Is("xen_irq_disable_direct_reloc"),
    Name::Is("xen_save_fl_direct_reloc"),
    Name::Starts("VDSO"),
    Name::Starts("__kcfi_typeid_"),
    Name::Starts("__crc_"),
    Name::Around("xen_elfnote_", "_offset"),
];

/// Places in the kernel that may be called absolute. Tables come with a begin and an end.
const PLACES: [Name; 43] = [
    Name::Is("__init_begin"),
    Name::Is("__init_end"),
    Name::Is("__x86_cpu_dev_start"),
    Name::Is("__x86_cpu_dev_end"),
    Name::Is("__parainstructions"),
    Name::Is("__parainstructions_end"),
    Name::Is("__alt_instructions"),
    Name::Is("__alt_instructions_end"),
    Name::Is("__iommu_table"),
    Name::Is("__iommu_table_end"),
    Name::Is("__apicdrivers"),
    Name::Is("__apicdrivers_end"),
    Name::Is("__smp_locks"),
    Name::Is("__smp_locks_end"),
    Name::Starts("__start_pci_"),
    Name::Starts("__end_pci_"),
    Name::Is("__start_builtin_fw"),
    Name::Is("__end_builtin_fw"),
    Name::Is("__start___ksymtab"),
    Name::Is("__stop___ksymtab"),
    Name::Is("__start___ksymtab_gpl"),
    Name::Is("__stop___ksymtab_gpl"),
    Name::Is("__start___kcrctab"),
    Name::Is("__stop___kcrctab"),
    Name::Is("__start___kcrctab_gpl"),
    Name::Is("__stop___kcrctab_gpl"),
    Name::Is("__start___param"),
    Name::Is("__stop___param"),
    Name::Is("__start___modver"),
    Name::Is("__stop___modver"),
    Name::Is("__start___bug_table"),
    Name::Is("__stop___bug_table"),
    Name::Starts("__tracedata_"),
    Name::Starts("__start_notes"),
    Name::Starts("__stop_notes"),
    Name::Starts("__end_rodata"),
    Name::Is("__initramfs_start"),
    Name::Is("jiffies"),
    Name::Is("jiffies_64"),
    Name::Is("__vvar_page"),
    Name::Is("_end"),
    Name::Is("__per_cpu_load"),
    Name::Starts("init_per_cpu__"),
];

/// Answers, and remembers what no list knows.
pub struct Classes {
    per_cpu: Option<PerCpu>,
    /// Link-time virtual addresses of the kernel's first byte and behind its last.
    kernel: (u64, u64),
    known: Vec<Option<Class>>,
    unlisted: BTreeSet<String>,
}

#[derive(Clone, Copy)]
struct Class {
    moves: Moves,
    listed: bool,
}

impl Classes {
    pub fn new(vmlinux: &Vmlinux, per_cpu: Option<PerCpu>) -> Classes {
        let ends = vmlinux.segments.iter().filter(|segment| segment.vaddr != 0);
        let ends = ends.map(|s| (s.vaddr, s.vaddr.saturating_add(s.memsz.max(s.filesz))));
        let kernel = ends.fold((u64::MAX, 0), |all, one| (all.0.min(one.0), all.1.max(one.1)));
        let known = vec![None; vmlinux.symbol_count()];
        Classes { per_cpu, kernel, known, unlisted: BTreeSet::new() }
    }

    /// Whether the symbol of that index moves, where its address is stored; `None` if there is no such symbol.
    pub fn address(&mut self, vmlinux: &Vmlinux, index: usize) -> Option<Moves> {
        let class = self.class(vmlinux, index)?;
        if !class.listed && self.unlisted.len() < MAX_UNLISTED {
            let symbol = vmlinux.symbol(index)?;
            self.unlisted.insert(vmlinux.symbol_name(&symbol));
        }
        Some(class.moves)
    }

    /// Whether the symbol of that index moves, where only the distance to it is stored: whatever it is, absolute symbols are
    /// in order then.
    pub fn distance(&mut self, vmlinux: &Vmlinux, index: usize) -> Option<Moves> {
        Some(self.class(vmlinux, index)?.moves)
    }

    fn class(&mut self, vmlinux: &Vmlinux, index: usize) -> Option<Class> {
        if let Some(known) = *self.known.get(index)? {
            return Some(known);
        }
        let symbol = vmlinux.symbol(index)?;
        let listed = |moves| Class { moves, listed: true };
        let class = match symbol.home {
            Home::Undefined => listed(Moves::Undefined),
            Home::Absolute => self.absolute(vmlinux, &symbol),
            Home::Section(section) if self.is_offset(section, symbol.value) => {
                listed(Moves::Fixed { per_cpu: true })
            }
            Home::Section(_) | Home::Other => listed(Moves::WithKernel),
        };
        *self.known.get_mut(index)? = Some(class);
        Some(class)
    }

    /// Whether a value is an offset in the per-cpu section. Symbols that belong to the section and have an address of the
    /// kernel (`__per_cpu_load`, `__init_begin`, `init_per_cpu__*`) are addresses.
    fn is_offset(&self, section: usize, value: u64) -> bool {
        self.per_cpu.is_some_and(|found| found.section == section && value <= found.size)
    }

    fn absolute(&self, vmlinux: &Vmlinux, symbol: &Symbol) -> Class {
        let name = vmlinux.symbol_name(symbol);
        let known = |list: &[Name]| list.iter().any(|known| known.matches(&name));
        let is_place = known(&PLACES);
        let listed = is_place || known(&NUMBERS);
        let inside = (self.kernel.0..=self.kernel.1).contains(&symbol.value);
        let moves = match is_place || !listed && inside {
            true => Moves::WithKernel,
            false => Moves::Fixed { per_cpu: false },
        };
        Class { moves, listed }
    }

    /// Names of absolute symbols that no list knows and whose address is stored, sorted.
    pub fn unlisted(self) -> Vec<String> {
        self.unlisted.into_iter().collect()
    }
}
