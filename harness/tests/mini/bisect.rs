// SPDX-License-Identifier: GPL-2.0-only
//! `git bisect run` with the very lines of the README, on a small tree in which some commits do not build and one broke the
//! stub.

use std::path::Path;
use std::process::{Command, Output};

use crate::Test;
use crate::gzip::Packing;
use crate::image::{Generation, good, with};

pub const TESTS: &[Test] = &[
    ("bisect::the_commit_that_broke_the_stub_is_found", finds),
    ("bisect::a_file_that_is_no_image_stops_the_bisection", stops),
];

/// A kernel tree as far as a bisection sees it: `make bzImage` puts the commit's image where a build would.
struct Tree(tempfile::TempDir);

/// A commit, by what can be built from it.
enum Commit {
    Image(Vec<u8>),
    /// `make` fails.
    DoesNotBuild,
}

impl Tree {
    fn new(commits: &[(&str, Commit)]) -> Tree {
        let tree = Tree(tempfile::tempdir().unwrap());
        tree.git(&["init", "-q"]);
        for (subject, commit) in commits {
            let (recipe, image) = match commit {
                Commit::Image(image) => ("cp image arch/x86/boot/bzImage", image.as_slice()),
                Commit::DoesNotBuild => ("false", &[][..]),
            };
            let makefile = format!("bzImage:\n\t@mkdir -p arch/x86/boot\n\t@{recipe}\n");
            std::fs::write(tree.path().join("Makefile"), makefile).unwrap();
            std::fs::write(tree.path().join("image"), image).unwrap();
            std::fs::write(tree.path().join("log"), subject).unwrap();
            tree.git(&["add", "Makefile", "image", "log"]);
            tree.git(&["commit", "-q", "-m", subject]);
        }
        tree
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn git(&self, arguments: &[&str]) {
        let output = self.command("git").args(arguments).output().expect("git starts");
        assert!(output.status.success(), "{}", text(&output));
    }

    /// A command in the tree, with nobody's configuration, and with relocheck on the path.
    fn command(&self, program: &str) -> Command {
        let relocheck = Path::new(env!("CARGO_BIN_EXE_relocheck")).parent().unwrap();
        let path = format!("{}:{}", relocheck.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(program);
        command.current_dir(self.path()).env("PATH", path).env("HOME", self.path());
        command.env("GIT_CONFIG_NOSYSTEM", "1").env_remove("GIT_DIR");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "t").env(format!("GIT_{who}_EMAIL"), "t@test");
        }
        command
    }

    /// Bisects all of it with the lines that the README gives.
    fn bisect(&self, commits: usize) -> Output {
        let oldest = format!("HEAD~{}", commits - 1);
        self.git(&["bisect", "start", "HEAD", &oldest]);
        let readme = include_str!("../../../README.md");
        let section = readme.split("### Bisecting\n").nth(1).expect("the README has the section");
        let script = section.split("```\n").nth(1).expect("the section has the lines");
        assert!(script.starts_with("git bisect run"));
        self.command("sh").args(["-c", script]).output().expect("sh starts")
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn finds() {
    let good = || Commit::Image(good(Generation::V2_6_20));
    let bad = || Commit::Image(with(Generation::V2_6_20, &["BUG_FORGETS_LAST"], Packing::Best));
    let mut unrelocatable = good_image();
    unrelocatable[RELOCATABLE] = 0;
    let commits = [
        ("Begin", good()),
        ("Tidy up", good()),
        ("Break the build", Commit::DoesNotBuild),
        ("Mend the build", good()),
        ("Make it unrelocatable", Commit::Image(unrelocatable)),
        ("Make it relocatable again", good()),
        ("Save an instruction in the relocation loop", bad()),
        ("Tidy up again", bad()),
        ("Break the build again", Commit::DoesNotBuild),
        ("Mend it again", bad()),
        ("Release", bad()),
    ];
    let output = Tree::new(&commits).bisect(commits.len());
    let said = text(&output);
    let (_, found) = said.split_once("is the first bad commit").expect(&said);
    assert!(output.status.success(), "{said}");
    assert!(found.contains("Save an instruction in the relocation loop"), "{said}");
    assert!(said.contains("memory: "), "{said}");
}

/// File offset of `relocatable_kernel`.
const RELOCATABLE: usize = 0x234;

fn good_image() -> Vec<u8> {
    good(Generation::V2_6_20)
}

fn stops() {
    let commits = [
        ("Begin", Commit::Image(good_image())),
        ("Build something else", Commit::Image(vec![0; 4096])),
        ("Release", Commit::Image(good_image())),
    ];
    let output = Tree::new(&commits).bisect(commits.len());
    assert!(!output.status.success(), "{}", text(&output));
    assert!(!text(&output).contains("is the first bad commit"), "{}", text(&output));
}
