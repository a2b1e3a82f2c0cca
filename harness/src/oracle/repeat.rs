// SPDX-License-Identifier: GPL-2.0-only
//! A run does not depend on what RAM held before: two fills give one result.

use super::{Finding, Judgement, Rule, Subject};
use crate::machine::{Outcome, PAGE, Registers, Setup};

/// Compares two runs of one case that differ in the fill of RAM.
pub fn judge(
    subject: &Subject,
    setup: &Setup,
    judgement: &Judgement,
    first: &Outcome,
    second: &Outcome,
) -> Vec<Finding> {
    let finding = |place: &str, expected: String, actual: String| {
        Finding::new(Rule::Fill, place, format!("{expected}, as with the first fill"), actual)
    };
    if first.end != second.end {
        return vec![finding("end", format!("{:?}", first.end), format!("{:?}", second.end))];
    }
    let mut findings = Vec::new();
    for (name, expected, actual) in registers(&first.registers, &second.registers) {
        if expected != actual {
            findings.push(finding(name, format!("{expected:#x}"), format!("{actual:#x}")));
        }
    }
    let kernel = judgement.landing.map(|landing| (landing.output, subject.moved.len()));
    let params = (setup.boot_params, PAGE as usize);
    for (what, (start, len)) in [("boot_params", Some(params)), ("kernel", kernel)]
        .into_iter()
        .filter_map(|(what, place)| Some((what, place?)))
    {
        let (expected, actual) = (first.ram.slice(start, len), second.ram.slice(start, len));
        let (Some(expected), Some(actual)) = (expected, actual) else { continue };
        let mut differing = (0..len).filter(|&i| expected[i] != actual[i]);
        if let Some(at) = differing.next() {
            let bytes = [expected[at], actual[at]].map(|byte| format!("{byte:02x}"));
            let [expected, actual] = bytes;
            findings.push(Finding {
                address: Some(start + at as u64),
                bytes: 1 + differing.count() as u64,
                ..finding(what, expected, actual)
            });
        }
    }
    if first.serial != second.serial {
        let shown = |outcome: &Outcome| {
            let text = String::from_utf8_lossy(&outcome.serial);
            format!("{:?}", text.chars().take(80).collect::<String>())
        };
        findings.push(finding("serial port", shown(first), shown(second)));
    }
    findings
}

/// The registers that a kernel may read, one by one.
fn registers<'a>(
    first: &'a Registers,
    second: &'a Registers,
) -> impl Iterator<Item = (&'static str, u64, u64)> + 'a {
    const GENERAL: [&str; 16] = [
        "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",
        "r13", "r14", "r15",
    ];
    let general = GENERAL.into_iter().zip(first.general.iter().zip(&second.general));
    let others = [
        ("rip", &first.rip, &second.rip),
        ("rflags", &first.rflags, &second.rflags),
        ("cr0", &first.cr0, &second.cr0),
        ("cr3", &first.cr3, &second.cr3),
        ("cr4", &first.cr4, &second.cr4),
        ("efer", &first.efer, &second.efer),
    ];
    general
        .map(|(name, (first, second))| (name, first, second))
        .chain(others)
        .map(|(name, first, second)| (name, *first, *second))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Run;
    use super::*;
    use crate::image::WordSize;
    use crate::machine::End;

    fn said(change: impl FnOnce(&mut Run)) -> Vec<Finding> {
        let (first, mut second) = (Run::new(WordSize::Bits64), Run::new(WordSize::Bits64));
        change(&mut second);
        let (judgement, setup) = (first.judge(), &first.setup);
        judge(&first.subject, setup, &judgement, &first.outcome, &second.outcome)
    }

    fn places(change: impl FnOnce(&mut Run)) -> Vec<String> {
        said(change).into_iter().map(|found| found.place).collect()
    }

    #[test]
    fn whatever_the_kernel_reads_must_be_the_same() {
        assert_eq!(said(|_| ()), []);
        assert_eq!(places(|r| r.outcome.registers.general[15] = 1), ["r15"]);
        assert_eq!(places(|r| r.outcome.registers.rip += 1), ["rip"]);
        assert_eq!(places(|r| r.outcome.registers.cr2 += 1), [] as [&str; 0], "of the last fault");
        assert_eq!(places(|r| r.outcome.serial.push(b'a')), ["serial port"]);
        assert_eq!(places(|r| r.flip(0x3000_0000)), [] as [&str; 0], "elsewhere");
        let ended = said(|r| r.outcome.end = End::Halted);
        assert_eq!((ended.len(), &ended[0].actual[..]), (1, "Halted"));
        assert_eq!(ended[0].expected, "HandOff, as with the first fill");
    }

    #[test]
    fn memory_is_compared_to_the_byte() {
        let run = Run::new(WordSize::Bits64);
        let (params, kernel) = (run.setup.boot_params, run.judge().landing.unwrap().output);
        let last = kernel + run.subject.moved.len() as u64 - 1;
        let found = said(|run| {
            for address in [params, params + 4095, kernel + 0x10, kernel + 0x20, last] {
                run.flip(address);
            }
        });
        let shown: Vec<_> = found.iter().map(|f| (&f.place[..], f.address, f.bytes)).collect();
        assert_eq!(shown, [("boot_params", Some(params), 2), ("kernel", Some(kernel + 0x10), 3)]);
        assert_eq!(found[0].expected, "00, as with the first fill");
        assert_eq!(found[0].actual, "01");
        assert_eq!(said(|run| run.flip(last + 1)), []);
        assert_eq!(said(|run| run.flip(params + 4096)), []);
    }
}
