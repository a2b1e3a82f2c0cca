// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck nightly`: killed and resumed, cut into parts, with a worker that dies, with known issues, with too little time.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use relocheck::oracle::Verdict;
use relocheck::record::{ImageRecord, KnownState, Report, Standing};
use tempfile::TempDir;

mod kernels;

const RELOCHECK: &str = env!("CARGO_BIN_EXE_relocheck");
/// The quickest kernel of the corpus; its case 12 shows a mistake that 6.1.y has.
const KERNEL: &str = "debian-cloud";
const MISTAKE: usize = 12;
const PATIENCE: Duration = Duration::from_secs(240);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = vec![
        Trial::test("a_plan_that_cannot_be_used_is_one_line_and_exit_code_2", bad_plans),
        Trial::test("what_is_not_there_is_in_the_report", not_there),
        kernels::trial("killed_three_times_it_ends_with_the_same_report", KERNEL, killed),
        kernels::trial("two_parts_are_the_whole", KERNEL, parts),
        kernels::trial("a_worker_that_dies_costs_one_case", KERNEL, dying_worker),
        kernels::trial("known_issues_do_not_count_until_they_expire", KERNEL, known_issues),
        kernels::trial("what_there_is_no_time_for_is_counted", KERNEL, no_time),
        kernels::trial("regressions_are_run_and_compared", KERNEL, regressions),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A folder with a plan for one image.
struct Night {
    folder: TempDir,
}

impl Night {
    fn new(image: &Path, head: &str, run: &str) -> Night {
        let folder = tempfile::tempdir().unwrap();
        let plan = format!(
            "schema = 1\nname = \"test\"\n{head}\n[[run]]\nimages = [{:?}]\n{run}\n",
            image.display().to_string()
        );
        std::fs::write(folder.path().join("plan.toml"), plan).unwrap();
        Night { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, output: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(RELOCHECK);
        command.current_dir(self.folder.path()).args(["nightly", "plan.toml", "--output", output]);
        command.args(["--date", "2027-01-02"]).args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to the end, which must be with `code`.
    fn run(&self, output: &str, arguments: &[&str], code: i32) -> Result<Report, Failed> {
        let ended = self.command(output, arguments).output()?;
        self.report(output, &ended, code)
    }

    fn report(&self, output: &str, ended: &Output, code: i32) -> Result<Report, Failed> {
        if ended.status.code() != Some(code) {
            let text = String::from_utf8_lossy(&ended.stderr);
            return Err(format!("expected exit code {code}, got {}: {text}", ended.status).into());
        }
        let text = std::fs::read_to_string(self.path(output).join("report.json"))?;
        Ok(serde_json::from_str(&text)?)
    }

    fn journal_lines(&self, output: &str) -> usize {
        let journal = std::fs::read(self.path(output).join("journal.jsonl")).unwrap_or_default();
        journal.iter().filter(|byte| **byte == b'\n').count()
    }
}

/// The report without durations, as text.
fn timeless(mut report: Report) -> String {
    for case in report.images.iter_mut().flat_map(|image| &mut image.cases) {
        case.duration_ms = 0;
    }
    report.regressions.iter_mut().for_each(|regression| regression.duration_ms = 0);
    report.to_json().unwrap()
}

fn bad_plans() -> Result<(), Failed> {
    for (head, run, expected) in [
        ("speed = 1", "cases = 1", "plan.toml: line 3 (speed = 1): unknown field `speed`"),
        ("", "cases = 0", "plan.toml: run number 1: cases: expected 1 to 1000000, found 0"),
        ("known_issues = \"none.toml\"", "cases = 1", "none.toml: No such file"),
        ("", "cases = 1", "nothing/*: there is no such image"),
    ] {
        let night = Night::new(Path::new("nothing/*"), head, run);
        let ended = night.command("out", &[]).output()?;
        let error = String::from_utf8_lossy(&ended.stderr);
        if ended.status.code() != Some(2) || !error.contains(expected) || error.lines().count() != 1
        {
            return Err(format!("expected {expected:?}, got {}: {error}", ended.status).into());
        }
    }
    Ok(())
}

fn not_there() -> Result<(), Failed> {
    let night = Night::new(Path::new("kernel"), "", "cases = 2");
    std::fs::write(night.path("kernel"), [0; 5000])?;
    let report = night.run("out", &[], 2)?;
    let image = &report.images[0];
    assert_eq!((image.verdict, image.exit_code, image.cases.len()), (Verdict::CannotJudge, 2, 0));
    assert!(image.error.is_some());
    Ok(())
}

fn killed(image: PathBuf) -> Result<(), Failed> {
    let night = Night::new(&image, "", "protocols = [\"32\", \"64\"]\ncases = 6");
    let whole = night.run("whole", &["--jobs", "2"], 0)?;
    for lines in [2, 5, 9] {
        let mut child = night.command("killed", &["--jobs", "2"]).spawn()?;
        wait(&mut child, || night.journal_lines("killed") >= lines)?;
        child.kill()?;
        child.wait()?;
    }
    let before = night.journal_lines("killed");
    let resumed = night.run("killed", &["--jobs", "2"], 0)?;
    assert_eq!(timeless(resumed), timeless(whole));
    // The header, two images, twelve cases, the end: nothing was done twice.
    assert!(before >= 9);
    assert_eq!(night.journal_lines("killed"), 16);
    Ok(())
}

/// Waits until `condition` holds, while `child` runs.
fn wait(child: &mut Child, mut condition: impl FnMut() -> bool) -> Result<(), Failed> {
    let started = Instant::now();
    while !condition() {
        if let Some(status) = child.try_wait()? {
            return Err(format!("it ended too early: {status}").into());
        }
        if started.elapsed() > PATIENCE {
            child.kill()?;
            return Err("it takes too long".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn parts(image: PathBuf) -> Result<(), Failed> {
    let night = Night::new(&image, "", "protocols = [\"32\", \"64\"]\ncases = 2");
    let whole = night.run("whole", &[], 0)?;
    let first = night.run("first", &["--partition", "1/2"], 0)?;
    let second = night.run("second", &["--partition", "2/2"], 0)?;
    let numbers = |report: &Report| report.images.iter().map(|i| i.number).collect::<Vec<_>>();
    assert_eq!((numbers(&first), numbers(&second)), (vec![0], vec![1]));

    let merged = night.path("merged.json");
    let ended = Command::new(RELOCHECK)
        .args(["report", "merge"])
        .args([night.path("second/report.json"), night.path("first/report.json")])
        .arg("-o")
        .arg(&merged)
        .output()?;
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
    let merged: Report = serde_json::from_str(&std::fs::read_to_string(merged)?)?;
    assert_eq!(timeless(merged), timeless(whole));
    Ok(())
}

fn dying_worker(image: PathBuf) -> Result<(), Failed> {
    let night = Night::new(&image, "", "cases = 4");
    let mut child = night.command("out", &["--jobs", "1"]).spawn()?;
    // The image is open: what runs from now on is a case.
    wait(&mut child, || night.journal_lines("out") >= 2)?;
    let worker = child_of(child.id()).ok_or("there is no worker")?;
    let worker = rustix::process::Pid::from_raw(worker).ok_or("no process")?;
    rustix::process::kill_process(worker, rustix::process::Signal::KILL)?;
    let ended = child.wait_with_output()?;
    let report = night.report("out", &ended, 125)?;
    let ImageRecord { summary, cases, .. } = &report.images[0];
    assert_eq!((summary.cases, summary.conforming, summary.not_judged), (4, 3, 1));
    let lost = cases.iter().find(|case| case.judgement.verdict == Verdict::CannotJudge).unwrap();
    assert_eq!(lost.judgement.not_judged, ["the engine's process was ended by signal 9"]);
    assert!(lost.case.is_some());
    let file = night.path("out").join(lost.file.as_ref().ok_or("no case file")?);
    let replayed = Command::new(RELOCHECK).arg("replay").arg(file).output()?;
    assert_eq!(replayed.status.code(), Some(0));
    Ok(())
}

/// The process whose parent is `parent`.
fn child_of(parent: u32) -> Option<i32> {
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let mut children = processes.filter_map(|process| {
        let status = std::fs::read_to_string(process.path().join("stat")).ok()?;
        // The name is in parentheses and may hold anything; state and parent follow.
        let (_, rest) = status.rsplit_once(')')?;
        let found = rest.split_whitespace().nth(1)?.parse::<u32>().ok()? == parent;
        found.then(|| process.file_name().to_str()?.parse().ok())?
    });
    children.next()
}

fn known_issues(image: PathBuf) -> Result<(), Failed> {
    let cases = format!("cases = {}", MISTAKE + 1);
    let head = "known_issues = \"known.toml\"";
    let night = Night::new(&image, head, &cases);
    let issue = "schema = 1\n[[issue]]\nid = \"s\"\nowner = \"o\"\nexpires = 2027-01-02\n\
                 explanation = \"e\"\nrule = \"fault\"\nreleases = [\"6.1\"]\nfeatures = [\"sentinel\"]\n";
    std::fs::write(night.path("known.toml"), issue)?;
    let report = night.run("out", &[], 0)?;
    let image = &report.images[0];
    assert_eq!((image.verdict, image.summary.known), (Verdict::Diverges, 1));
    assert!(image.shrunk.is_none());
    assert_eq!(report.known_issues[0].cases, 1);

    let expired = issue.replace("2027-01-02", "2027-01-01");
    std::fs::write(night.path("known.toml"), expired)?;
    let report = night.run("out", &[], 1)?;
    let image = &report.images[0];
    assert_eq!((image.summary.known, image.summary.diverging), (0, 1));
    assert_eq!(report.known_issues[0].state, KnownState::Expired);
    let simple = image.shrunk.as_ref().ok_or("it was not made simple")?;
    let file = night.path("out").join(simple.file.as_ref().ok_or("no case file")?);
    let replayed = Command::new(RELOCHECK).arg("replay").arg(file).output()?;
    assert_eq!(replayed.status.code(), Some(1));
    Ok(())
}

fn no_time(image: PathBuf) -> Result<(), Failed> {
    let night = Night::new(&image, "seconds_per_image = 1", "cases = 500");
    let report = night.run("out", &["--jobs", "1"], 125)?;
    let image = &report.images[0];
    assert!(image.not_run > 0, "500 cases in a second");
    assert_eq!(image.not_run + image.cases.len(), 500);
    Ok(())
}

fn regressions(image: PathBuf) -> Result<(), Failed> {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/cases");
    let name = "sentinel-before-command-line.toml";
    let night = Night::new(&image, "regressions = \"list.toml\"", "cases = 1");
    std::fs::copy(list.join(name), night.path(name))?;
    let entry = |field, image| {
        format!("[[finding]]\ncase = {name:?}\nrule = \"fault\"\n{field} = [{image:?}]\n")
    };
    let expected = entry("shown_by", KERNEL);
    std::fs::write(night.path("list.toml"), &expected)?;
    let report = night.run("expected", &[], 0)?;
    assert_eq!(report.regressions[0].standing, Standing::AsExpected);

    let unexpected = entry("fixed_in", KERNEL) + &entry("shown_by", "no-such-kernel");
    std::fs::write(night.path("list.toml"), unexpected)?;
    let report = night.run("unexpected", &[], 1)?;
    let standing: Vec<Standing> = report.regressions.iter().map(|r| r.standing).collect();
    assert_eq!(standing, [Standing::Regressed, Standing::CannotJudge]);
    assert!(report.regressions[1].error.is_some());
    Ok(())
}
