// SPDX-License-Identifier: GPL-2.0-only
//! A kernel whose bytes depend on who loaded it shows when cases are compared with each other.

use relocheck::campaign::{self, ImageResult, Input, Plan, Progress};
use relocheck::case::Protocols;
use relocheck::oracle::{Rule, Verdict};

use crate::bench::{By, CLOUD, Changed, Kernel, LOAD, Trials, engine, kaslr};
use crate::patch::{HAND_OFF, detour};

pub fn add(trials: &mut Trials) {
    let mut cloud = |name, test| trials.on(CLOUD, name, test);
    cloud("loaders::the_undamaged_kernel_is_the_same_in_every_case", undamaged);
    cloud("loaders::a_byte_that_the_load_address_decides_is_found", by_address);
    cloud("loaders::a_byte_that_is_always_wrong_is_not_the_loaders", always);
}

struct Silent;

impl Progress for Silent {
    fn case_done(&self, _: &Input, _: Verdict) {}
}

fn check(file: &[u8]) -> ImageResult {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bzImage");
    std::fs::write(&path, file).unwrap();
    let plan =
        Plan { bases: 6, seed: 1, protocols: Protocols::All, loaders: vec![], shrink_runs: 0 };
    let input = Input { name: "bzImage".into(), path, vmlinux: None };
    campaign::check(engine(), &[input], &plan, &Silent).pop().expect("one image")
}

fn undamaged(kernel: &Kernel) {
    let result = check(kernel.image.file());
    assert_eq!(result.image.unwrap().findings, []);
    assert!(result.cases.iter().all(|case| case.judgement.verdict() == Verdict::Conforms));
}

/// `mov %ebp, %ecx; shr $21, %ecx; xor %cl, 0x100(%rax)`: RBP is where the stub went before KASLR
/// had a say.
fn by_address(kernel: &Kernel) {
    let code = [0x89, 0xe9, 0xc1, 0xe9, 21, 0x30, 0x88, 0, 1, 0, 0];
    let result = check(&detour(kernel, HAND_OFF, 5, &code).0);
    let findings = result.image.unwrap().findings;
    let [finding] = &findings[..] else { panic!("{findings:#?}") };
    assert_eq!((finding.rule, &finding.place[..]), (Rule::Loader, "kernel"));
    assert!(finding.actual.starts_with("others in "), "{finding}");
}

/// `xorb $0x5a, 0x100(%rax)`.
fn always(kernel: &Kernel) {
    let (file, _) = detour(kernel, HAND_OFF, 5, &[0x80, 0xb0, 0, 1, 0, 0, 0x5a]);
    let result = check(&file);
    assert_eq!(result.image.unwrap().findings, []);
    for case in &result.cases {
        let [finding] = &case.judgement.findings[..] else { panic!("{:#?}", case.judgement) };
        assert_eq!((finding.rule, finding.bytes), (Rule::Memory, 1));
    }
    kernel.damaged(file, &kaslr(kernel, LOAD), &[Changed(By::Store("xorb $0x5a,0x100(%rax)"))]);
}
