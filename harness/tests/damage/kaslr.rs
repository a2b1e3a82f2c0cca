// SPDX-License-Identifier: GPL-2.0-only
//! Stubs that choose otherwise than the model: a survey of their draws has to show it.

use relocheck::campaign::kaslr::{Survey, Surveyed, survey};
use relocheck::case::Case;
use relocheck::image::Image;
use relocheck::oracle::{Rule, Verdict};

use crate::bench::{By, CLOUD, Kernel, LOAD, Misled, Trials, engine, kaslr, subject};
use crate::patch::patched;

const PLAN: Survey = Survey { samples: 500, runs: 4, seed: 1 };
/// `kernel_alignment` in the setup header (boot.rst).
const KERNEL_ALIGNMENT: usize = 0x230;

pub fn add(trials: &mut Trials) {
    let mut cloud = |name, test| trials.on(CLOUD, name, test);
    cloud("kaslr::a_stub_that_drops_its_random_number_always_chooses_the_same", dropped);
    cloud("kaslr::a_model_with_the_wrong_alignment_is_contradicted", wrong_model);
}

fn surveyed(file: Vec<u8>, case: &Case) -> Surveyed {
    survey(engine(), &subject(file), case, PLAN, &|| ()).expect("the case can be predicted")
}

/// `rdrand %rdx; jc` becomes `xor %edx, %edx; stc; jc`.
fn dropped(kernel: &Kernel) {
    let case = kaslr(kernel, LOAD);
    let twin = surveyed(kernel.image.file().to_vec(), &case);
    assert_eq!((twin.verdict(), twin.agreeing()), (Verdict::Conforms, PLAN.runs));

    let file = patched(kernel, "48 0f c7 f2 0f 82", 0, &[0x31, 0xd2, 0xf9, 0x90]);
    let surveyed = surveyed(file.clone(), &case);
    assert_eq!((surveyed.verdict(), surveyed.agreeing()), (Verdict::Diverges, 0));
    let first = surveyed.runs[0].found().expect("the kernel is started");
    for run in &surveyed.runs {
        assert_eq!(run.found(), Some(first));
        assert_eq!(run.judgement.findings[0].rule, Rule::Kaslr);
    }
    let expected: Vec<u64> = surveyed.runs.iter().map(|run| run.expected.output).collect();
    assert_ne!(expected, [expected[0]; 4], "the model's choices differ");

    let mut case = case;
    case.cpu.rdrand = Some(vec![0x0123_4567_89ab_cdef]);
    kernel.damaged(file, &case, &[Misled(By::Chosen("")), Misled(By::Chosen(""))]);
}

/// The model takes the alignment from the header, the stub the one it was built with.
fn wrong_model(kernel: &Kernel) {
    let mut file = kernel.image.file().to_vec();
    let doubled = 2 * kernel.image.header().kernel_alignment.expect("a recent kernel");
    file[KERNEL_ALIGNMENT..][..4].copy_from_slice(&doubled.to_le_bytes());
    let header = Image::parse(file.clone()).expect("the damage leaves a bzImage");
    assert_eq!(header.header().kernel_alignment, Some(doubled));
    let surveyed = surveyed(file, &kaslr(kernel, LOAD));
    assert_eq!(surveyed.alignment, u64::from(doubled));
    assert_eq!((surveyed.verdict(), surveyed.agreeing()), (Verdict::Diverges, 0));
}
