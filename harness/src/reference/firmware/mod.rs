// SPDX-License-Identifier: GPL-2.0-only
//! What the stub reads of the firmware's tables: EFI's, and ACPI's.

pub mod e820;
pub mod efi;
pub mod rsdp;
pub mod setup_data;
pub mod srat;
