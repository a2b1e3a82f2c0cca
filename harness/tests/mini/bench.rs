// SPDX-License-Identifier: GPL-2.0-only
//! Runs an image, and a good one beside each that is not.

use std::sync::OnceLock;

use relocheck::campaign;
use relocheck::case::{Case, MemoryEntry};
use relocheck::image::Image;
use relocheck::machine::UnicornEngine;
use relocheck::oracle::{Judgement, Subject, Verdict};

use crate::common::says::{Says, assert_only, assert_says, said};
use crate::gzip::Packing;
use crate::image::{Generation, with};

pub const MIB: u64 = 1 << 20;
/// A load address at which the image stays: it is decompressed over itself.
pub const ALIGNED: u64 = 16 * MIB;
/// A load address from which the kernel moves up.
pub const MISALIGNED: u64 = ALIGNED - 0x3000;

/// A case on a PC of 1 GiB with a screen.
pub fn at(load: u64) -> Case {
    Case {
        load,
        command_line: Some("ro".to_owned()),
        screen: true,
        fill: 1,
        budget: 1 << 26,
        memory: vec![MemoryEntry::usable(0, 0x9_fc00), MemoryEntry::usable(MIB, 1 << 30)],
        ..Case::default()
    }
}

pub fn engine() -> &'static UnicornEngine {
    static ENGINE: OnceLock<UnicornEngine> = OnceLock::new();
    ENGINE.get_or_init(UnicornEngine::new)
}

/// What is said of one run of an image file.
pub fn judge(file: Vec<u8>, case: &Case) -> Judgement {
    let image = Image::parse(file).unwrap_or_else(|error| panic!("{error}"));
    let subject = Subject::new(image).unwrap_or_else(|error| panic!("{error}"));
    campaign::run(engine(), &subject, case).judgement
}

/// A stub with mistakes in a case.
pub struct Bug<'a> {
    pub generation: Generation,
    /// The macros that make the mistakes.
    pub bugs: &'a [&'a str],
    pub packing: Packing,
    pub case: Case,
}

impl<'a> Bug<'a> {
    /// In a stub of 2.6.20 that is loaded at `load`.
    pub fn new(bugs: &'a [&'a str], load: u64) -> Bug<'a> {
        let packing = Packing::Best;
        Bug { generation: Generation::V2_6_20, bugs, packing, case: at(load) }
    }

    /// What is said of it. A stub without the mistakes conforms in the same case.
    pub fn judge(&self) -> Judgement {
        let twin = judge(with(self.generation, &[], self.packing), &self.case);
        assert_eq!(twin.verdict(), Verdict::Conforms, "the twin: {}", said(&twin));
        judge(with(self.generation, self.bugs, self.packing), &self.case)
    }

    /// Exactly this is said.
    pub fn says(&self, wanted: &[Says]) -> Judgement {
        let judgement = self.judge();
        assert_says(&judgement, wanted);
        judgement
    }

    /// Only this rule speaks, first of this place.
    pub fn breaks(&self, rule: relocheck::oracle::Rule, place: &str) -> Judgement {
        let judgement = self.judge();
        assert_only(&judgement, rule, place);
        judgement
    }

    /// Nothing is said of it in this case.
    pub fn is_harmless(&self) {
        self.says(&[]);
    }
}
