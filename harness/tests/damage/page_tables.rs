// SPDX-License-Identifier: GPL-2.0-only
//! Page tables that do not map what the kernel touches before it has its own. What the stub itself
//! touches its page fault handler maps anyway: each object here lies where nobody else has
//! anything.

use relocheck::case::{Case, SetupData, SetupDataKind};
use relocheck::oracle::Rule;

use crate::bench::{By, CLOUD, Changed, Kernel, LOAD, Misled, Trials, assert_says, hex, plain};
use crate::patch::{HAND_OFF, detour, patched, without};

/// `mov 0x250(%rax), %rbx; test %rbx, %rbx; je`: whether there is any setup_data.
const SETUP_DATA: &str = "48 8b 98 50 02 00 00 48 85 db 74 40";
/// `lea 1(%rbx), %rcx; cmp %rcx, %rdx; jb`: where boot_params are mapped; then the command line's
/// address is asked for.
const BOOT_PARAMS: &str = "48 8d 4b 01 48 39 ca 0f 82 ?? ?? ?? ?? e8";
/// `lea 1(%rax), %rcx; cmp %rcx, %rdx; jb`: where the command line is mapped.
const COMMAND_LINE: &str = "48 8d 48 01 48 39 ca 0f 82 ?? ?? ?? ??";
/// `mov %rax, %cr3; add $8, %rsp; pop %rbx; pop %rbp; jmp`: the end of
/// `initialize_identity_maps()`.
const LOAD_CR3: &str = "0f 22 d8 48 83 c4 08 5b 5d e9";

/// A page of 2 MiB that nobody touches.
const FAR: u64 = 768 << 20;

pub fn add(trials: &mut Trials) {
    let mut cloud = |name, test| trials.on(CLOUD, name, test);
    cloud("page_tables::setup_data_that_is_not_mapped_is_found", setup_data);
    cloud("page_tables::boot_params_that_are_not_mapped_are_found", boot_params);
    cloud("page_tables::a_command_line_that_is_not_mapped_is_found", command_line);
    cloud("page_tables::a_page_that_leads_elsewhere_is_found", elsewhere);
    cloud("page_tables::a_page_that_is_read_only_is_found", read_only);
    cloud("page_tables::the_loaders_tables_left_in_force_are_found", loaders_tables);
}

fn with_node(kernel: &Kernel) -> Case {
    let node =
        SetupData { address: FAR, kind: SetupDataKind::RngSeed, len: 32, points_to: Vec::new() };
    Case { setup_data: vec![node], ..plain(kernel, LOAD) }
}

fn assert_unmapped(kernel: &Kernel, file: Vec<u8>, case: &Case, what: &str, address: u64) {
    // Who cleared the table; nobody has filled the entry.
    let who = [Misled(By::Store("mov %sil,(%rcx)"))];
    let judgement = kernel.damaged(file, case, &who);
    assert_says(&judgement, &[(Rule::PageTables, what, "mapped to itself", "not mapped")]);
    assert_eq!(judgement.findings[0].address, Some(address));
}

/// Before b57feed2cc26 (5.19).
fn setup_data(kernel: &Kernel) {
    let file = patched(kernel, SETUP_DATA, 10, &[0xeb]);
    assert_unmapped(kernel, file, &with_node(kernel), "setup_data", FAR);
}

/// Before b17a45b6e53f (5.10). The stub reads up to the memory map, and what follows lies on the
/// next page.
fn boot_params(kernel: &Kernel) {
    let mut case = plain(kernel, LOAD);
    case.places.boot_params = FAR - 0xd00;
    let file = without(kernel, BOOT_PARAMS, 7, 6);
    assert_unmapped(kernel, file, &case, "boot_params", FAR);
}

/// The same. The line itself ends on the first page, but the kernel copies 2048 bytes.
fn command_line(kernel: &Kernel) {
    let mut case = plain(kernel, LOAD);
    case.places.command_line = FAR - 0x400;
    let file = without(kernel, COMMAND_LINE, 7, 6);
    assert_unmapped(kernel, file, &case, "command line", FAR);
}

/// At the hand-off, RCX is made to point to the table with the entries for the first GiB, `change`
/// is run: `mov %cr3, %rcx; mov (%rcx), %rcx; xor %cl, %cl; mov (%rcx), %rcx; xor %cl, %cl`.
fn with_entry_changed(kernel: &Kernel, change: &[u8]) -> Vec<u8> {
    let walk = [0x0f, 0x20, 0xd9, 0x48, 0x8b, 0x09, 0x30, 0xc9, 0x48, 0x8b, 0x09, 0x30, 0xc9];
    detour(kernel, HAND_OFF, 5, &[&walk, change].concat()).0
}

/// `xorb $0x20, 0xc02(%rcx)`.
fn elsewhere(kernel: &Kernel) {
    let file = with_entry_changed(kernel, &[0x80, 0xb1, 0x02, 0x0c, 0, 0, 0x20]);
    let judgement = kernel.damaged(file, &with_node(kernel), &[Changed(By::Store("xorb"))]);
    let there = format!("mapped to {:#x}", FAR + (2 << 20));
    assert_says(&judgement, &[(Rule::PageTables, "setup_data", "mapped to itself", &there)]);
}

/// `andb $0xfd, 0xc00(%rcx)`.
fn read_only(kernel: &Kernel) {
    let file = with_entry_changed(kernel, &[0x80, 0xa1, 0x00, 0x0c, 0, 0, 0xfd]);
    let judgement = kernel.damaged(file, &with_node(kernel), &[Changed(By::Store("andb"))]);
    assert_says(
        &judgement,
        &[(Rule::PageTables, "setup_data", "mapped to itself", "mapped read-only")],
    );
}

/// They map all RAM, so that nothing is missed.
fn loaders_tables(kernel: &Kernel) {
    let case = plain(kernel, LOAD);
    let who = [Misled(By::Untouched("cr3"))];
    let judgement = kernel.damaged(without(kernel, LOAD_CR3, 0, 3), &case, &who);
    let own = "a table inside the stub's copy";
    assert_says(&judgement, &[(Rule::PageTables, "cr3", own, &hex(case.places.page_tables))]);
}
