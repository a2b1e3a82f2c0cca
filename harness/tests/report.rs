// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck report`, and the formats of `relocheck check`, as scripts see them.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Failed, Trial};
use relocheck::oracle::{Finding, Rule, Verdict};
use relocheck::record::{Found, Printed, Report, schema};
use tempfile::TempDir;

mod kernels;
mod reports;

const KERNEL: &str = "debian-cloud";
/// Each format, and how its output begins.
const FORMATS: [(&str, &str); 6] = [
    ("text", "IMAGE "),
    ("json", "{\n  \"version\": 2,"),
    ("junit", "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites "),
    ("ktap", "KTAP version 1\n1..1\n"),
    ("mail", "[relocheck] no new divergence, 1 of 1 image conforms\n\n"),
    ("github", "::notice title=relocheck::no new divergence"),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = vec![
        Trial::test("a_report_is_shown_in_every_format", shown),
        Trial::test("a_bad_report_is_one_line_and_exit_code_2", bad_reports),
        Trial::test("the_parts_of_a_campaign_are_merged", merged),
        Trial::test("a_new_divergence_gives_a_diff_exit_code_1", compared),
        Trial::test("the_summary_of_a_step_is_added_to", step_summary),
        Trial::test("the_schema_is_printed", printed_schema),
        kernels::trial("a_check_gives_the_same_as_showing_its_report", KERNEL, checked),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Runs relocheck in `dir`; fails unless it ends with `code`.
fn relocheck(dir: &Path, arguments: &[&str], code: i32) -> Result<Output, Failed> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relocheck"));
    let output =
        command.current_dir(dir).env_remove("GITHUB_STEP_SUMMARY").args(arguments).output()?;
    if output.status.code() != Some(code) {
        return Err(format!("{arguments:?}: expected exit code {code}: {output:?}").into());
    }
    Ok(output)
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("relocheck prints UTF-8")
}

fn shown() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    reports::write(dir.path(), "report.json", &reports::example())?;
    for (format, start) in FORMATS {
        let arguments = ["report", "show", "--format", format, "report.json"];
        let output = relocheck(dir.path(), &arguments, 0)?;
        assert!(text(&output.stdout).starts_with(start), "{format}: {output:?}");
        relocheck(dir.path(), &[&arguments[..], &["-o", "shown"]].concat(), 0)?;
        assert_eq!(std::fs::read(dir.path().join("shown"))?, output.stdout, "{format}");
    }
    Ok(())
}

fn bad_reports() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let json = reports::example().to_json()?;
    std::fs::write(dir.path().join("good"), &json)?;
    std::fs::write(dir.path().join("text"), "no report\n")?;
    std::fs::write(dir.path().join("old"), json.replace("\"version\": 2", "\"version\": 1"))?;
    std::fs::write(dir.path().join("half"), &json[..json.len() / 2])?;
    for (file, problem) in [
        ("absent", "No such file"),
        (".", "a file of at most 256 MiB"),
        ("text", "expected a report, a JSON object"),
        ("old", "version: expected 2, found 1"),
        ("half", "not JSON"),
    ] {
        for command in [&["show"][..], &["merge"], &["diff", "good"]] {
            let arguments = [&["report"], command, &[file]].concat();
            let output = relocheck(dir.path(), &arguments, 2)?;
            let said = text(&output.stderr);
            assert!(said.starts_with(&format!("relocheck: {file}: ")), "{arguments:?}: {said}");
            assert!(said.contains(problem) && said.lines().count() == 1, "{arguments:?}: {said}");
            assert!(output.stdout.is_empty(), "{output:?}");
        }
    }
    Ok(())
}

fn merged() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    for part in [1, 2] {
        reports::write(dir.path(), &format!("part-{part}.json"), &reports::part(part))?;
    }
    let output = relocheck(dir.path(), &["report", "merge", "part-2.json", "part-1.json"], 0)?;
    let whole = Report::parse(&output.stdout)?;
    assert_eq!(whole.campaign.as_ref().and_then(|campaign| campaign.partition.as_ref()), None);
    assert_eq!(whole.images.iter().map(|image| image.number).collect::<Vec<_>>(), [0, 1]);

    let arguments = ["report", "merge", "-o", "half.json", "part-2.json"];
    let output = relocheck(dir.path(), &arguments, 125)?;
    assert_eq!(text(&output.stderr), "relocheck: of 2 parts, part 1 missing\n");
    let output = relocheck(dir.path(), &["report", "merge", "half.json", "part-1.json"], 0)?;
    assert_eq!(Report::parse(&output.stdout)?, whole);

    let mut other = reports::part(2);
    other.campaign.as_mut().expect("a part").plan = "1".repeat(64);
    reports::write(dir.path(), "other.json", &other)?;
    reports::write(dir.path(), "check.json", &reports::example())?;
    for (file, problem) in [
        ("part-1.json", "part-1.json: part 1 of 2 is there twice"),
        ("other.json", "other.json: campaign.plan: expected 0000"),
        ("check.json", "check.json: campaign: expected a part of a campaign"),
    ] {
        let output = relocheck(dir.path(), &["report", "merge", "part-1.json", file], 2)?;
        assert!(text(&output.stderr).contains(problem), "{output:?}");
    }
    Ok(())
}

fn compared() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let mut worse = reports::example();
    let finding = Finding::new(Rule::Halt, "stub+0x1234", "the jump into the kernel", "stopped");
    let case = &mut worse.images[0].cases[1].judgement;
    case.verdict = Verdict::Diverges;
    case.findings.push(Found { finding, known: None });
    worse.images[0].conclude();
    reports::write(dir.path(), "a.json", &reports::example())?;
    reports::write(dir.path(), "b.json", &worse)?;
    let diff = |a, b, code| relocheck(dir.path(), &["report", "diff", a, b], code);
    assert_eq!(text(&diff("a.json", "a.json", 0)?.stdout), "nothing differs\n");
    let output = diff("a.json", "b.json", 1)?;
    assert!(text(&output.stdout).starts_with("1 new divergence\n\nnew:\n"), "{output:?}");
    let output = diff("b.json", "a.json", 0)?;
    assert!(text(&output.stdout).contains("\nfixed:\n"), "{output:?}");
    let arguments = ["report", "diff", "--format", "json", "a.json", "b.json"];
    let output = relocheck(dir.path(), &arguments, 1)?;
    let diff: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(diff["new"][0]["rule"], "halt");
    assert_eq!(diff["new"][0]["place"], "stub+*");
    Ok(())
}

fn step_summary() -> Result<(), Failed> {
    let dir = TempDir::new()?;
    reports::write(dir.path(), "report.json", &reports::example())?;
    std::fs::write(dir.path().join("summary.md"), "before\n")?;
    for (format, headings) in [("github", 1), ("text", 1), ("github", 2)] {
        let status = Command::new(env!("CARGO_BIN_EXE_relocheck"))
            .current_dir(dir.path())
            .args(["report", "show", "--format", format, "report.json"])
            .env("GITHUB_STEP_SUMMARY", "summary.md")
            .output()?
            .status;
        assert!(status.success());
        let summary = std::fs::read_to_string(dir.path().join("summary.md"))?;
        assert!(summary.starts_with("before\n### relocheck: "), "{summary}");
        assert_eq!(summary.matches("### ").count(), headings, "{format}");
    }
    Ok(())
}

fn printed_schema() -> Result<(), Failed> {
    for (arguments, of) in [
        (&["report", "schema"][..], Printed::Report),
        (&["report", "schema", "replay"], Printed::Replay),
    ] {
        let output = relocheck(Path::new("."), arguments, 0)?;
        assert_eq!(text(&output.stdout), schema(of)?);
    }
    Ok(())
}

fn checked(image: PathBuf) -> Result<(), Failed> {
    let dir = TempDir::new()?;
    let image = image.to_str().ok_or("the cache has no UTF-8 name")?;
    let check = ["check", "--bases", "2", "--seed", "1", "--format"];
    relocheck(dir.path(), &[&check[..], &["json", "-o", "report.json", image]].concat(), 0)?;
    let json = std::fs::read(dir.path().join("report.json"))?;
    let validator = jsonschema::validator_for(&serde_json::from_str(&schema(Printed::Report)?)?)?;
    let value = serde_json::from_slice(&json)?;
    let errors: Vec<String> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    for (format, start) in FORMATS {
        let checked = relocheck(dir.path(), &[&check[..], &[format, image]].concat(), 0)?;
        assert!(text(&checked.stdout).starts_with(start), "{format}: {checked:?}");
        let show = ["report", "show", "--format", format, "report.json"];
        let shown = relocheck(dir.path(), &show, 0)?;
        // All but the durations, which stand in words of their own.
        let timeless = |output: &Output| {
            let words = text(&output.stdout).split_whitespace().map(str::to_owned);
            let lasts = |word: &String| word.bytes().any(|c| c.is_ascii_digit());
            words.filter(|word| !lasts(word)).collect::<Vec<_>>()
        };
        assert_eq!(timeless(&checked), timeless(&shown), "{format}");
    }
    Ok(())
}
