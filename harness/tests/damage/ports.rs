// SPDX-License-Identifier: GPL-2.0-only
//! Ports that the stub has no reason to use, or uses for something else than it should.

use relocheck::case::Case;
use relocheck::oracle::Rule;

use crate::bench::{
    By, CLOUD, Changed, Kernel, LOAD, Misled, Trials, assert_says, case, kaslr, plain,
};
use crate::patch::{EXTRACT, detour, patched};

/// `movzwl %r12w, %r12d; mov %esi, %ebp; push %rbx; mov %edi, %ebx; mov %r12d, %esi; mov $3, %edi`:
/// what the serial port's line control is set to.
const LINE_CONTROL: &str = "45 0f b7 e4 89 f5 53 89 fb 44 89 e6 bf 03 00 00 00";
/// `lea 4(%rbx), %esi; mov $3, %edi`: modem control.
const MODEM_CONTROL: &str = "8d 73 04 bf 03 00 00 00";
/// `test %al, %al; je`: whether the CPU has a time-stamp counter; `rdtsc`.
const TIME_STAMP: &str = "84 c0 74 2b 0f 31";

pub fn add(trials: &mut Trials) {
    let mut cloud = |name, test| trials.on(CLOUD, name, test);
    cloud("ports::a_port_that_nobody_needs_is_found", needless);
    cloud("ports::a_timer_that_is_not_needed_is_found", needless_timer);
    cloud("ports::a_timer_asked_instead_of_the_cpu_shows_in_the_choice_as_well", instead_of_cpu);
    cloud("ports::an_access_of_the_wrong_size_is_found", wrong_size);
    cloud("ports::a_serial_port_that_is_set_up_wrongly_is_found", serial);
    cloud("ports::a_serial_port_that_nobody_asked_for_is_found", silent);
}

/// `out %al, $0x80`: the delay of the BIOS's times.
fn needless(kernel: &Kernel) {
    let (file, _) = detour(kernel, EXTRACT, 6, &[0xe6, 0x80]);
    let who = [Changed(By::Instruction("out %al,$0x80"))];
    let judgement = kernel.damaged(file, &plain(kernel, LOAD), &who);
    let once = "written 1 times";
    assert_says(&judgement, &[(Rule::Ports, "port 0x80", "not to be written", once)]);
}

fn with_time_stamp(kernel: &Kernel) -> Case {
    let mut case = kaslr(kernel, LOAD);
    case.cpu.tsc = Some(vec![0x1234_5678_9abc]);
    case
}

/// `in $0x40, %al`, without KASLR and with a better source.
fn needless_timer(kernel: &Kernel) {
    let (file, _) = detour(kernel, EXTRACT, 6, &[0xe4, 0x40]);
    for case in [plain(kernel, LOAD), with_time_stamp(kernel)] {
        let who = [Changed(By::Instruction("in $0x40,%al"))];
        let judgement = kernel.damaged(file.clone(), &case, &who);
        let once = "read 1 times";
        assert_says(&judgement, &[(Rule::Ports, "port 0x40", "not to be read", once)]);
    }
}

fn instead_of_cpu(kernel: &Kernel) {
    let file = patched(kernel, TIME_STAMP, 2, &[0xeb]);
    let who = [By::Chosen(""), By::Chosen(""), By::Instruction("in"), By::Instruction("out")];
    let judgement = kernel.damaged(file, &with_time_stamp(kernel), &who.map(Misled));
    assert_says(
        &judgement,
        &[
            (Rule::Kaslr, "output", "0x", "0x"),
            (Rule::Kaslr, "virt", "0x", "0x"),
            (Rule::Ports, "port 0x40", "not to be read", "read 6 times"),
            (Rule::Ports, "port 0x43", "not to be written", "written 2 times: 0xc2"),
        ],
    );
}

/// `in $0x40, %eax` where one byte may be read.
fn wrong_size(kernel: &Kernel) {
    let (file, _) = detour(kernel, EXTRACT, 6, &[0xe5, 0x40]);
    let who = [Changed(By::Instruction("in $0x40,%eax"))];
    let judgement = kernel.damaged(file, &kaslr(kernel, LOAD), &who);
    assert_says(&judgement, &[(Rule::Ports, "port 0x40", "accesses of one byte", "0x5")]);
}

fn serial(kernel: &Kernel) {
    let wrong = |pattern, offset| patched(kernel, pattern, offset, &[0x0b]);
    for (file, port, known) in [
        (wrong(LINE_CONTROL, 13), "port 0x3fb", "only 0x3 or 0x83"),
        (wrong(MODEM_CONTROL, 4), "port 0x3fc", "only 0x3"),
    ] {
        let who = [Misled(By::Instruction("out"))];
        let judgement = kernel.damaged(file, &plain(kernel, LOAD), &who);
        assert_says(&judgement, &[(Rule::Ports, port, known, "0xb")]);
    }
}

/// `mov $0x3fd, %edx; in (%dx), %al`: is there a serial port?
fn silent(kernel: &Kernel) {
    let (file, _) = detour(kernel, EXTRACT, 6, &[0xba, 0xfd, 3, 0, 0, 0xec]);
    let quiet = case(kernel, LOAD, "quiet nokaslr", 1 << 30);
    let who = [Changed(By::Instruction("in %dx,%al"))];
    let judgement = kernel.damaged(file.clone(), &quiet, &who);
    let once = "read 1 times";
    assert_says(&judgement, &[(Rule::Ports, "port 0x3fd", "not to be read", once)]);
    assert_says(&kernel.damaged(file, &plain(kernel, LOAD), &[]), &[]);
}
