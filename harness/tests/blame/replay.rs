// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck replay` tells all of it, twice the same.

use std::path::Path;
use std::process::{Command, Output};

use relocheck::case::{CaseFile, ImageRef};
use relocheck::image::Image;
use relocheck::record::{Printed, schema};
use serde_json::Value;

use crate::built::{Built, Test};

pub const TESTS: &[Test] = &[
    ("a_replay_is_the_same_to_the_byte", twice),
    ("an_image_is_found_in_its_build", found),
    ("a_file_without_the_right_symbols_is_refused", refused),
];

fn relocheck(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_relocheck")).args(arguments).output().unwrap()
}

/// A case file for the image at `path`.
fn write_case(folder: &Path, path: &Path, built: &Built) -> String {
    let sha256 = Image::open(path).unwrap().sha256();
    let case = folder.join("case.toml");
    let reference = ImageRef { path: folder.join("bzImage"), sha256 };
    std::fs::write(&case, CaseFile::new(reference, built.case()).to_toml()).unwrap();
    case.to_str().unwrap().to_owned()
}

fn twice(built: &Built) {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("bzImage");
    std::fs::write(&image, built.patched(built.first_addition(), &[0x29])).unwrap();
    let case = write_case(folder.path(), &image, built);
    let (vmlinux, stub) = (built.vmlinux().to_str().unwrap(), built.stub().to_str().unwrap());
    for format in ["text", "json"] {
        let arguments = ["replay", &case, "--format", format, "--vmlinux", vmlinux, "--stub", stub];
        let (first, second) = (relocheck(&arguments), relocheck(&arguments));
        assert_eq!(first.status.code(), Some(1), "{first:?}");
        assert_eq!(first, second);
        let text = String::from_utf8(first.stdout).unwrap();
        if format == "json" {
            let json: Value = serde_json::from_str(&text).unwrap();
            assert_valid(&json);
            assert_eq!(
                json["blame"][0]["stores"].as_array().unwrap().last().unwrap()["kind"],
                "subtracted"
            );
            assert!(json["run"]["compiler"].as_str().unwrap().contains("gcc"), "{text}");
        } else {
            for wanted in [
                "diverges: load 0x5000000",
                "subtracted by ",
                "compiler: gcc",
                "again:    relocheck replay",
                &format!(" --vmlinux {vmlinux} --stub {stub}\n"),
            ] {
                assert!(text.contains(wanted), "{wanted:?} is not in\n{text}");
            }
        }
    }
    let output = relocheck(&["replay", &case, "--no-blame"]);
    assert!(!String::from_utf8(output.stdout).unwrap().contains("subtracted by "));
}

/// It is what the published schema says.
fn assert_valid(replayed: &Value) {
    let schema = serde_json::from_str(&schema(Printed::Replay).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(replayed)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
    let mut other = replayed.clone();
    other["blame"][0]["stores"][0]["kind"] = "written".into();
    assert!(!validator.is_valid(&other), "the schema takes anything");
}

fn found(built: &Built) {
    let folder = tempfile::tempdir().unwrap();
    let case = write_case(folder.path(), &built.image, built);
    let output = relocheck(&["replay", &case]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    // The kernel with source lines has the same image as the one without.
    let config = built.config.display().to_string().replace("-debug-", "-base-");
    let config = format!("config:   {config}\n");
    assert!(text.contains(&config) && text.contains("CONFIG_RELOCATABLE=y"), "{text}");
}

fn refused(built: &Built) {
    let folder = tempfile::tempdir().unwrap();
    let case = write_case(folder.path(), &built.image, built);
    let stub = built.stub().to_str().unwrap();
    for (option, file, why) in [
        ("--vmlinux", stub, "not the vmlinux of this image: "),
        ("--stub", built.vmlinux().to_str().unwrap(), "it is of another build: "),
        ("--system-map", built.config.to_str().unwrap(), "line 1: expected address"),
        ("--vmlinux", built.config.to_str().unwrap(), "ELF: "),
        ("--vmlinux", "/absent", "No such file"),
    ] {
        let output = relocheck(&["replay", &case, option, file]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        let line = format!("relocheck: {file}: ");
        assert!(
            said.starts_with(&line) && said.contains(why) && said.lines().count() == 1,
            "{said}"
        );
    }
}
