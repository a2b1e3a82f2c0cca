// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck mutate` as its users see it, on kernels of a megabyte for both word sizes.

use std::path::PathBuf;
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Failed, Trial};
use relocheck::corpus::build::Builds;
use serde_json::Value;

mod kernels;

const RELOCHECK: &str = env!("CARGO_BIN_EXE_relocheck");
/// The kernels that are compressed quickly.
const BUILDS: [&str; 2] = ["6.1-x86_64-base-gzip", "6.1-i386-base-gzip"];
/// The quickest kernel of those that are fetched.
const FETCHED: &str = "debian-cloud";

type Test = fn(PathBuf) -> Result<(), Failed>;

fn main() -> ExitCode {
    let mut trials = Vec::new();
    for build in BUILDS {
        let tests: [(&str, Test); 3] = [
            ("tables_and_kernels_have_no_survivors", table_and_payload),
            ("the_stub_has_few_holes", stub),
            ("the_seed_decides_and_the_number_of_jobs_does_not", determinism),
        ];
        for (name, test) in tests {
            trials.push(trial(&format!("{build}::{name}"), built(build), test));
        }
    }
    let fetched = kernels::cached(FETCHED);
    trials.push(trial("a_fetched_kernel_without_symbols", fetched, without_symbols));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// The image of a build, or why there is none.
fn built(name: &str) -> Result<PathBuf, String> {
    let builds = Builds::open(None).map_err(|error| error.to_string())?;
    for build in builds.select(&[]).map_err(|error| error.to_string())? {
        if build.name() == name {
            let built = builds.get(&build).map_err(|error| error.to_string())?;
            return built.map(|built| built.image()).ok_or_else(|| {
                format!("{name} is not built: run `relocheck corpus build {name}`")
            });
        }
    }
    Err(format!("{name} is not in the matrix of builds"))
}

/// A test on an image, ignored when it is not there.
fn trial(name: &str, image: Result<PathBuf, String>, test: Test) -> Trial {
    if let Err(why) = &image {
        eprintln!("SKIPPED: {name}: {why}");
    }
    let missing = image.is_err();
    Trial::test(name, move || test(image?)).with_ignored_flag(missing)
}

fn mutate(image: &PathBuf, arguments: &[&str]) -> Result<Output, Failed> {
    Ok(Command::new(RELOCHECK).arg("mutate").args(arguments).arg(image).output()?)
}

fn json(image: &PathBuf, arguments: &[&str]) -> Result<Value, Failed> {
    let output = mutate(image, &[&["--format", "json"], arguments].concat())?;
    serde_json::from_slice(&output.stdout).map_err(|error| format!("{error}: {output:?}").into())
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

/// Every mistake in a table or a kernel is found out, or proved to be none.
fn table_and_payload(image: PathBuf) -> Result<(), Failed> {
    let report = json(&image, &["--class", "table,payload", "--count", "21", "--consider", "16"])?;
    let classes = report["classes"].as_array().expect("a list");
    assert_eq!(classes.len(), 2);
    for class in classes {
        let found = ["killed", "refused", "equivalent"].map(|fate| number(&class[fate]));
        assert_eq!(found.iter().sum::<u64>(), 21, "{class:#}");
        assert!(found[0] > 10, "{class:#}");
    }
    let mutants = report["mutants"].as_array().expect("a list");
    let by = |kind: &str| -> Vec<&Value> {
        mutants.iter().filter(|mutant| mutant["kind"] == kind).collect()
    };
    // What a mistake is called, and the rule that has to find it out.
    let expected: [(&str, &[&str]); 5] = [
        ("dropped", &["memory"]),
        ("duplicated", &["table"]),
        ("terminator lost", &["table"]),
        ("text flipped", &["memory"]),
        // The jump goes astray, and may go where no page is mapped.
        ("e_entry changed", &["hand-off", "fault"]),
    ];
    for (kind, rules) in expected {
        let of_kind = by(kind);
        assert!(!of_kind.is_empty(), "no mutant is {kind}");
        for mutant in of_kind {
            let rule = mutant["finding"]["rule"].as_str().expect("a name");
            assert!(rules.contains(&rule), "{mutant:#}");
        }
    }
    Ok(())
}

/// Machine code: every kind of mistake is there, and hardly any that matters is overlooked.
fn stub(image: PathBuf) -> Result<(), Failed> {
    let report = json(&image, &["--class", "stub", "--count", "80", "--consider", "16"])?;
    let [class] = &report["classes"].as_array().expect("a list")[..] else {
        return Err("one class".into());
    };
    for kind in class["kinds"].as_array().expect("a list") {
        assert!(number(&kind["mutants"]) > 0, "{kind:#}");
    }
    let (killed, holes) = (number(&class["killed"]), number(&class["holes"]));
    assert!(killed > 10 && holes * 19 <= killed, "{report:#}");
    Ok(())
}

fn determinism(image: PathBuf) -> Result<(), Failed> {
    let arguments = |jobs, seed| {
        ["--count", "8", "--consider", "8", "--format", "json", "--jobs", jobs, "--seed", seed]
    };
    let one = mutate(&image, &arguments("1", "3"))?;
    let two = mutate(&image, &arguments("2", "3"))?;
    assert!(!one.stdout.is_empty(), "{one:?}");
    assert_eq!(String::from_utf8_lossy(&one.stdout), String::from_utf8_lossy(&two.stdout));
    assert_eq!(one.status, two.status);
    let other = mutate(&image, &arguments("2", "4"))?;
    assert_ne!(one.stdout, other.stdout);
    Ok(())
}

/// Where nothing names the functions of the stub, too, and with another compressor.
fn without_symbols(image: PathBuf) -> Result<(), Failed> {
    let report = json(&image, &["--count", "8", "--consider", "6", "--cases", "3"])?;
    let classes: Vec<&str> = report["classes"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|c| c["class"].as_str())
        .collect();
    assert_eq!(classes, ["table", "payload", "header", "stub"]);
    for class in report["classes"].as_array().expect("a list") {
        assert!(number(&class["killed"]) + number(&class["refused"]) > 0, "{class:#}");
        assert_eq!(number(&class["not_judged"]), 0, "{class:#}");
    }
    Ok(())
}
