// SPDX-License-Identifier: GPL-2.0-only
//! The CPU of a case, and the state in which the loader leaves it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_default;
use crate::hex;

/// What the CPU announces, and what its sources of entropy answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CpuFeatures {
    /// Paging with five levels.
    #[serde(skip_serializing_if = "is_default")]
    pub la57: bool,
    /// Pages of 1 GiB.
    #[serde(skip_serializing_if = "is_default")]
    pub gib_pages: bool,
    /// RDRAND, and the values that it returns, over and over; none: every try fails. Absent: no RDRAND.
    #[serde(with = "hex::list", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<hex::Hex>>")]
    pub rdrand: Option<Vec<u64>>,
    /// So many tries fail before each one with which RDRAND returns a value.
    #[serde(skip_serializing_if = "is_default")]
    pub rdrand_failures: u8,
    /// The time-stamp counter, and what it reads, over and over. Absent: no counter.
    #[serde(with = "hex::list", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<hex::Hex>>")]
    pub tsc: Option<Vec<u64>>,
}

/// How the loader leaves the CPU where boot.rst ("32-bit Boot Protocol", "64-bit Boot Protocol") gives it
/// a choice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EntryState {
    /// 64-bit entry: the loader runs with five levels of page tables.
    #[serde(skip_serializing_if = "is_default")]
    pub five_levels: bool,
    /// 64-bit entry: what the loader's page tables map.
    #[serde(skip_serializing_if = "is_default")]
    pub identity_map: IdentityMap,
    /// 64-bit entry: CR3 and the entries of the top level have every bit set that the CPU ignores.
    #[serde(skip_serializing_if = "is_default")]
    pub ignored_bits: bool,
    /// The direction flag is set.
    #[serde(skip_serializing_if = "is_default")]
    pub direction_flag: bool,
    /// Seed of garbage in every register of which the protocol says nothing. Absent: zeroes.
    #[serde(with = "hex::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<hex::Hex>")]
    pub registers: Option<u64>,
    /// The loader's descriptor table.
    #[serde(skip_serializing_if = "is_default")]
    pub gdt: GdtLayout,
}

/// What the page tables of a 64-bit loader map, each address to itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityMap {
    /// All RAM.
    #[default]
    Ram,
    /// What boot.rst demands: `init_size` bytes from the load address and where the kernel moves,
    /// boot_params, the command line; and the loader's own tables.
    Required,
}

/// The loader's descriptor table. Each has flat segments at the selectors of boot.rst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GdtLayout {
    /// As the kernel's own 16-bit code sets it up: with a TSS behind (arch/x86/boot/pm.c).
    #[default]
    Setup,
    /// Nothing but what boot.rst names.
    Minimal,
    /// A loader's own table of 32 descriptors.
    Crowded,
}
