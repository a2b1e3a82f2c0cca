// SPDX-License-Identifier: GPL-2.0-only
//! Stubs without a mistake: they conform wherever and however they are loaded.

use std::path::PathBuf;
use std::process::Command;

use relocheck::campaign::{self, ImageResult, Input, Plan};
use relocheck::case::Protocols;
use relocheck::exit::Exit;
use relocheck::image::{Image, ImageError};
use relocheck::oracle::{Judgement, Verdict};

use crate::Test;
use crate::bench::{ALIGNED, MIB, MISALIGNED, at, engine, judge};
use crate::common::says::{assert_says, said};
use crate::gzip::Packing;
use crate::image::{Generation, good, with};

pub const TESTS: &[Test] = &[
    ("good::each_generation_conforms_in_drawn_cases", drawn),
    ("good::the_kernel_is_found_where_it_must_be", places),
    ("good::any_deflate_data_is_decompressed", packings),
    ("good::an_error_may_end_in_an_empty_loop", loops),
    ("good::check_and_inspect_know_what_it_is", commands),
    ("good::a_loader_may_not_change_what_the_stub_does_not_read", contract),
    ("good::a_flat_kernel_behind_another_stub_is_not_judged", other_stub),
];

/// As many as visit every kind of place and every theme.
const CASES: usize = 64;

struct Quiet;

impl campaign::Progress for Quiet {
    fn case_done(&self, _: &Input, _: Verdict) {}
}

/// All images in files of their own.
fn files() -> (tempfile::TempDir, Vec<Input>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |generation: Generation| {
        let path = folder.path().join(generation.release());
        std::fs::write(&path, good(generation)).expect("a temporary file");
        Input { name: generation.release().to_owned(), path, vmlinux: None }
    };
    let inputs = Generation::ALL.map(file).to_vec();
    (folder, inputs)
}

fn drawn() {
    let (_folder, inputs) = files();
    let plan = Plan {
        bases: CASES,
        seed: 1,
        protocols: Protocols::All,
        loaders: Vec::new(),
        shrink_runs: 0,
    };
    for result in campaign::check(engine(), &inputs, &plan, &Quiet) {
        let ImageResult { image, cases, .. } = &result;
        let facts = image.as_ref().expect("an image that can be judged");
        assert_eq!((facts.findings.len(), cases.len()), (0, CASES));
        for case in cases {
            let judgement = &case.judgement;
            assert_eq!(
                judgement.verdict(),
                Verdict::Conforms,
                "{} {:#?}",
                said(judgement),
                case.case
            );
            assert_eq!(judgement.unpredicted, None);
        }
        assert_eq!(result.exit(), Exit::Conforms);
        let count = |what: fn(&Judgement) -> bool| {
            cases.iter().filter(|case| what(&case.judgement)).count()
        };
        assert!(count(|judgement| judgement.applied.total() > 0) > CASES / 4);
        assert!(count(|judgement| judgement.refused) > CASES / 16);
        let stays = |judgement: &Judgement| judgement.landing.is_some_and(|at| at.output == MIB);
        assert!(count(stays) > 0, "nothing moves");
    }
}

fn places() {
    for generation in Generation::ALL {
        let fields = generation.kernel().entries.len();
        let image = good(generation);
        for (load, output, moved) in
            [(MIB, MIB, 0), (ALIGNED, ALIGNED, fields), (MISALIGNED, ALIGNED, fields)]
        {
            let judgement = judge(image.clone(), &at(load));
            assert_says(&judgement, &[]);
            assert_eq!(judgement.landing.unwrap().output, output);
            assert_eq!(judgement.applied.abs32, moved);
        }
    }
}

fn packings() {
    for packing in [Packing::Stored, Packing::Swelling(5000)] {
        assert_says(&judge(with(Generation::V2_6_20, &[], packing), &at(ALIGNED)), &[]);
    }
}

/// As in 2.6.20; in any other place such a loop is a stub without end.
fn loops() {
    let mut case = at(700 * MIB);
    case.budget = 1 << 23;
    let judgement = judge(with(Generation::V2_6_20, &["LOOPS"], Packing::Best), &case);
    assert_says(&judgement, &[]);
    assert!(judgement.refused);
    // Without a screen it cannot be told from one.
    case.screen = false;
    let judgement = judge(with(Generation::V2_6_20, &["LOOPS"], Packing::Best), &case);
    assert_eq!(judgement.verdict(), Verdict::CannotJudge, "{}", said(&judgement));
}

fn commands() {
    let (_folder, inputs) = files();
    let run = |arguments: &[&str], path: &PathBuf| {
        let output = Command::new(env!("CARGO_BIN_EXE_relocheck"))
            .args(arguments)
            .arg(path)
            .output()
            .expect("relocheck runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text)
    };
    for input in inputs {
        let (code, text) = run(&["check", "--bases", "8"], &input.path);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("conforms") && text.contains("32-bit gzip"), "{text}");
        let (code, text) = run(&["inspect"], &input.path);
        assert_eq!(code, Some(0), "{text}");
        let kernel = if input.name == "2.6.26" { "ELF file" } else { "flat binary" };
        assert!(text.contains(kernel) && text.contains("0xc0100000"), "{text}");
    }
}

fn contract() {
    for generation in Generation::ALL {
        let mut adjusted = [at(ALIGNED), at(ALIGNED)];
        adjusted[0].kernel_alignment = Some(2 * MIB);
        adjusted[1].init_size = Some(64 * MIB);
        for (case, field) in adjusted.iter().zip(["kernel_alignment", "init_size"]) {
            let judgement = judge(good(generation), case);
            assert_eq!(judgement.verdict(), Verdict::CannotJudge);
            let why = &judgement.not_judged[0];
            assert!(why.contains(field) && why.contains("not the loader's to change"), "{why}");
        }
    }
}

/// Such as x86_64's before 2.6.26: it copies itself otherwise, and there is no table.
fn other_stub() {
    let mut file = good(Generation::V2_6_20);
    let copy = file.windows(2).position(|code| code == [0x8d, 0xb5]).expect("lea _end(%ebp), %esi");
    file[copy] = 0x90;
    let error = Image::parse(file).unwrap().kernel().unwrap_err();
    assert!(matches!(error, ImageError::NotElf { .. }), "{error}");
    assert_eq!(error.exit(), Exit::CannotJudge);
}
