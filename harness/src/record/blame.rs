// SPDX-License-Identifier: GPL-2.0-only
//! Why a finding is there: which instruction did it, what it wrote, and who should have.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::hex;

/// The explanation of one finding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Blame {
    /// All of it in a sentence; it says so if there is nothing to tell.
    pub summary: String,
    /// What of the kernel lies there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<KernelPlace>,
    /// What of the loader's lies there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lies_there: Option<String>,
    /// Who wrote the bytes: for each instruction the last time that it did, in the order of those times. The last few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stores: Vec<Store>,
    /// Why a field of the kernel was not relocated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<Missing>,
    /// How the stub came by the address that it chose, or by another value: the registers in which that appeared, the first time
    /// first. The first few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chosen: Vec<Origin>,
    /// The instruction that the run ended with, or that used a port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruction: Option<Site>,
    /// Where the registers have their values from that the finding or the instruction is about; if the last store added a
    /// register, where that has its value from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<Origin>,
    /// Calls that had not returned, innermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<Site>,
}

/// A place in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KernelPlace {
    /// The virtual address that it was linked for.
    #[serde(with = "hex")]
    #[schemars(with = "hex::Hex")]
    pub address: u64,
    /// Symbol and offset, such as "init_task+0x18".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
    /// The section of vmlinux.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    /// The entry of the relocation table whose field it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<Entry>,
}

/// An entry of the relocation table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// "32-bit", "inverse 32-bit" or "64-bit".
    pub kind: String,
    /// Its place in its group, from 0, in stored order.
    pub index: usize,
    /// How many the group has.
    pub of: usize,
    /// The entry itself.
    #[serde(with = "hex")]
    #[schemars(with = "hex::Hex")]
    pub value: u64,
}

/// An instruction of the stub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// Where it ran.
    #[serde(with = "hex")]
    #[schemars(with = "hex::Hex")]
    pub address: u64,
    /// Its offset from the stub's first byte; absent if it is not in the image.
    #[serde(default, with = "hex::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<hex::Hex>")]
    pub offset: Option<u64>,
    /// Its offset in the image file.
    #[serde(default, with = "hex::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<hex::Hex>")]
    pub file_offset: Option<u64>,
    /// Its bytes in hex.
    pub bytes: String,
    /// Its disassembly.
    pub text: String,
    /// Function of the stub and offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// Source file and line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// The general registers that it uses, before it ran.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub uses: BTreeMap<String, String>,
}

/// What a store did to the bytes that it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StoreKind {
    /// It put a value there.
    Stored,
    /// It copied an element of a string.
    Copied,
    /// It filled an element of a string.
    Filled,
    /// It added to what was there.
    Added,
    /// It subtracted from what was there.
    Subtracted,
    /// It changed what was there in another way.
    Changed,
    /// It pushed onto a stack.
    Pushed,
}

/// A store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// The instruction.
    pub site: Site,
    /// What it did.
    pub kind: StoreKind,
    /// Physical address of the first byte that it wrote.
    #[serde(with = "hex")]
    #[schemars(with = "hex::Hex")]
    pub address: u64,
    /// Bytes that it wrote.
    pub size: usize,
    /// The bytes that were asked for, before it.
    pub before: String,
    /// And after it.
    pub after: String,
    /// How often this instruction wrote to these bytes.
    pub times: u64,
    /// All registers before it.
    pub registers: BTreeMap<String, String>,
}

/// A field that nobody relocated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Missing {
    /// The entry that asks for it.
    pub entry: Entry,
    /// How many fields of this kind hold what they must.
    pub relocated: usize,
    /// The nearest of those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neighbour: Option<Entry>,
    /// What relocated that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Store>,
}

/// Where a register has its value from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The register, or flag.
    pub register: String,
    /// Its value, at the end or when it was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The instruction that wrote it last; absent if none of the stub's did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<Site>,
}
