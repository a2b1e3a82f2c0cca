// SPDX-License-Identifier: GPL-2.0-only
//! What is unusual about a case, in words: reports tell it, and known issues are narrowed by it.

use super::Case;

impl Case {
    /// All that [`Case::features`] can say.
    pub const FEATURES: [&str; 16] = [
        "no command line",
        "kernel_alignment",
        "init_size",
        "sentinel",
        "cc_blob_address",
        "initrd",
        "setup_data",
        "EFI",
        "ACPI",
        "CPU",
        "entry state",
        "five levels",
        "places",
        "devices",
        "KASLR flag",
        "two fills",
    ];

    /// In what the case differs from the plainest one, but for addresses.
    pub fn features(&self) -> Vec<&'static str> {
        let plain = Case::default();
        let unusual = [
            self.command_line.is_none(),
            self.kernel_alignment.is_some(),
            self.init_size.is_some(),
            self.sentinel.is_some(),
            self.cc_blob_address.is_some(),
            self.initrd.is_some(),
            !self.setup_data.is_empty(),
            self.efi.is_some(),
            self.acpi.is_some(),
            self.cpu != plain.cpu,
            self.entry != plain.entry,
            self.entry.five_levels,
            self.places != plain.places,
            self.devices != plain.devices,
            self.stale_kaslr_flag,
            self.second_fill.is_some(),
        ];
        let named = Case::FEATURES.into_iter().zip(unusual);
        named.filter(|(_, unusual)| *unusual).map(|(name, _)| name).collect()
    }
}
