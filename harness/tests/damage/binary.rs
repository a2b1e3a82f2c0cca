// SPDX-License-Identifier: GPL-2.0-only
//! The way from a damaged image to a case that shows the damage again, through the program.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::bench::{CLOUD, Kernel, LINKED, Trials};
use crate::patch::{HAND_OFF, detour, patched};
use crate::payload::{PREF_ADDRESS, edit_header};

pub fn add(trials: &mut Trials) {
    let mut cloud = |name, test| trials.on(CLOUD, name, test);
    cloud("binary::a_wrong_hand_off_is_found_and_replays_byte_for_byte", hand_off);
    cloud("binary::a_lie_in_the_header_is_found_and_replays_byte_for_byte", header);
    cloud("binary::a_subtraction_is_found_and_replays_byte_for_byte", subtraction);
}

/// Runs the program with `args`.
pub fn relocheck(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_relocheck")).args(args).output().expect("the program starts")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary folder with a name in UTF-8")
}

fn hand_off(kernel: &Kernel) {
    let (file, _) = detour(kernel, HAND_OFF, 5, &[0xfd]);
    let blame = check_and_replay(&file, "hand-off", "direction flag");
    let origins = blame["origins"].as_array().unwrap();
    let flag = origins.iter().find(|origin| origin["register"] == "direction flag").unwrap();
    assert_eq!(flag["site"]["text"], "std");
}

fn subtraction(kernel: &Kernel) {
    let file = patched(kernel, "48 83 ee 04 01 0a 48 63 16", 4, &[0x29]);
    let blame = check_and_replay(&file, "memory", "field of the 32-bit entry");
    let stores = blame["stores"].as_array().unwrap();
    assert_eq!(stores.last().unwrap()["site"]["text"], "sub %ecx,(%rdx)");
}

/// Of the image itself: any case shows it.
fn header(kernel: &Kernel) {
    let file = edit_header(kernel, PREF_ADDRESS, &(2 * LINKED).to_le_bytes());
    let blame = check_and_replay(&file, "placement", "pref_address");
    assert_eq!(blame["summary"], "the image itself is wrong, whatever its stub does");
}

/// The check of `image` finds `rule` broken at `place`; what it wrote shows that again. Returns who is to blame.
fn check_and_replay(image: &[u8], rule: &str, place: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bzImage");
    std::fs::write(&path, image).unwrap();
    let cases = folder.path().join("cases");
    let output = relocheck(&[
        "check",
        "--bases",
        "8",
        "--case-dir",
        text(&cases),
        "--format",
        "json",
        text(&path),
    ]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_found(&report["images"][0]["shrunk"]["findings"], rule, place);

    let written: Vec<_> =
        std::fs::read_dir(&cases).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [case] = &written[..] else { panic!("{written:?}") };
    let replay = || relocheck(&["replay", "--format", "json", text(case)]);
    let (first, second) = (replay(), replay());
    assert_eq!(first.status.code(), Some(1), "{}", String::from_utf8_lossy(&first.stderr));
    let replayed: Value = serde_json::from_slice(&first.stdout).unwrap();
    assert_found(&replayed["findings"], rule, place);
    assert_eq!(first, second);
    replayed["blame"][0].clone()
}

fn assert_found(findings: &Value, rule: &str, place: &str) {
    let findings = findings.as_array().expect("a list of findings");
    let first = findings.first().expect("a finding");
    assert!(findings.iter().all(|finding| finding["rule"] == rule), "{findings:#?}");
    assert!(first["place"].as_str().unwrap().contains(place), "{first:#}");
}
