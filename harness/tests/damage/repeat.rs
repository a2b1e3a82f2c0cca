// SPDX-License-Identifier: GPL-2.0-only
//! What is judged is the image and the case: not the run, not the fill, not the speed of the host.

use std::time::Duration;

use relocheck::case::{Case, place};
use relocheck::machine::{Engine, Outcome, UnicornEngine};
use relocheck::oracle::{Judgement, Subject, judge};
use sha2::{Digest, Sha256};

use crate::bench::{CLOUD, Kernel, LOAD, Trials, engine, kaslr, plain, subject};
use crate::patch::{HAND_OFF, patched};

pub fn add(trials: &mut Trials) {
    let mut cloud = |name, test| trials.on(CLOUD, name, test);
    cloud("repeat::a_case_gives_the_same_machine_each_time", twice);
    cloud("repeat::a_damaged_image_gives_the_same_judgement_each_time", damaged_twice);
    cloud("repeat::the_fill_of_memory_changes_neither_kernel_nor_verdict", fills);
    cloud("repeat::a_counted_run_ends_like_a_watched_one", counted);
}

fn run(engine: &dyn Engine, subject: &Subject, case: &Case) -> (Judgement, Outcome) {
    let setup = place(&subject.image, subject.word, case).unwrap();
    let outcome = engine.run(&setup).unwrap();
    (judge(subject, case, &setup, &outcome), outcome)
}

/// All of RAM that anyone wrote, with its addresses.
fn digest(outcome: &Outcome) -> Vec<u8> {
    let mut digest = Sha256::new();
    for page in outcome.ram.written_pages() {
        digest.update(page.to_le_bytes());
        digest.update(outcome.ram.slice(page, 4096).unwrap());
    }
    digest.finalize().to_vec()
}

fn assert_same(left: &(Judgement, Outcome), right: &(Judgement, Outcome)) {
    assert_eq!(left.0, right.0);
    let ((_, left), (_, right)) = (left, right);
    assert_eq!((&left.end, &left.registers), (&right.end, &right.registers));
    assert_eq!((&left.code, &left.ports), (&right.code, &right.ports));
    assert_eq!((&left.serial, left.page_faults), (&right.serial, right.page_faults));
    assert_eq!(digest(left), digest(right));
}

fn twice(kernel: &Kernel) {
    let case = kaslr(kernel, LOAD);
    let again = || run(engine(), kernel.subject(), &case);
    assert_same(&again(), &again());
}

fn damaged_twice(kernel: &Kernel) {
    let subject = subject(patched(kernel, HAND_OFF, 0, &[0x0f, 0x0b]));
    let case = kaslr(kernel, LOAD);
    let again = || run(engine(), &subject, &case);
    assert_same(&again(), &again());
}

fn fills(kernel: &Kernel) {
    let len = kernel.subject().moved.len();
    let of = |fill| {
        let case = Case { fill, ..kaslr(kernel, LOAD) };
        let (judgement, outcome) = run(engine(), kernel.subject(), &case);
        let output = judgement.landing.unwrap().output;
        (judgement, outcome.registers, Sha256::digest(outcome.ram.slice(output, len).unwrap()))
    };
    assert_eq!(of(1), of(0xfeed_f00d_dead_beef));
}

fn counted(kernel: &Kernel) {
    let case = plain(kernel, LOAD);
    let impatient = UnicornEngine::with_patience(Duration::ZERO);
    assert_same(&run(engine(), kernel.subject(), &case), &run(&impatient, kernel.subject(), &case));
}
