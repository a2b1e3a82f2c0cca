// SPDX-License-Identifier: GPL-2.0-only
//! What an oracle says: which rule, where, what was expected, what was found.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::hex;

/// The rule that a finding is about.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The image's relocation table is well formed.
    Table,
    /// The kernel lies where it must, relocated for where it runs.
    Placement,
    /// KASLR chose what its inputs make it choose.
    Kaslr,
    /// Every byte of the kernel equals the reference.
    Memory,
    /// The stub jumps to the kernel's entry point, with the CPU in the state that the kernel expects.
    HandOff,
    /// The page tables at the hand-off map what the kernel touches first.
    PageTables,
    /// Every changed byte of boot_params is one that the stub has to change.
    BootParams,
    /// Nothing outside the permitted memory was written.
    Footprint,
    /// The code that switches between four and five levels of paging lies where it may, and is gone afterwards.
    Trampoline,
    /// The stub uses no port that it has no reason for.
    Ports,
    /// What RAM held before makes no difference.
    Fill,
    /// The kernel's bytes do not depend on who loaded it, or where.
    Loader,
    /// The stub does not stop, or stops where it must.
    Halt,
    /// No exception is left without a handler, no access goes where there is no memory.
    Fault,
    /// The stub comes to an end.
    Budget,
}

impl Rule {
    /// All rules.
    pub const ALL: [Rule; 15] = [
        Rule::Table,
        Rule::Placement,
        Rule::Kaslr,
        Rule::Memory,
        Rule::HandOff,
        Rule::PageTables,
        Rule::BootParams,
        Rule::Footprint,
        Rule::Trampoline,
        Rule::Ports,
        Rule::Fill,
        Rule::Loader,
        Rule::Halt,
        Rule::Fault,
        Rule::Budget,
    ];

    /// The name in reports and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Rule::Table => "table",
            Rule::Placement => "placement",
            Rule::Kaslr => "kaslr",
            Rule::Memory => "memory",
            Rule::HandOff => "hand-off",
            Rule::PageTables => "page-tables",
            Rule::BootParams => "boot-params",
            Rule::Footprint => "footprint",
            Rule::Trampoline => "trampoline",
            Rule::Ports => "ports",
            Rule::Fill => "fill",
            Rule::Loader => "loader",
            Rule::Halt => "halt",
            Rule::Fault => "fault",
            Rule::Budget => "budget",
        }
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Rule, String> {
        Rule::ALL.into_iter().find(|rule| rule.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Rule::ALL.iter().map(|rule| rule.name()).collect();
            format!("no rule is called {text:?}; there are {}", names.join(", "))
        })
    }
}

/// One deviation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The rule that is broken.
    pub rule: Rule,
    /// Where: a part of the kernel, a register, a place in memory.
    pub place: String,
    /// Physical address of the first deviation, where there is one.
    #[serde(default, with = "hex::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<hex::Hex>")]
    pub address: Option<u64>,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub actual: String,
    /// How many separate ranges deviate in the same way.
    pub ranges: u64,
    /// How many bytes they have in all; 0 where it is not about bytes.
    pub bytes: u64,
}

impl Finding {
    /// A finding that is not about bytes in memory.
    pub fn new(
        rule: Rule,
        place: impl Into<String>,
        expected: impl Into<String>,
        actual: impl Into<String>,
    ) -> Finding {
        Finding {
            rule,
            place: place.into(),
            address: None,
            expected: expected.into(),
            actual: actual.into(),
            ranges: 1,
            bytes: 0,
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.rule, self.place)?;
        if let Some(address) = self.address {
            write!(f, " at {address:#x}")?;
        }
        write!(f, ": expected {}, found {}", self.expected, self.actual)?;
        if self.ranges > 1 || self.bytes > 0 {
            write!(f, " ({} ranges, {} bytes)", self.ranges, self.bytes)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_has_a_name_by_which_it_is_found() {
        for rule in Rule::ALL {
            assert_eq!(rule.to_string().parse(), Ok(rule));
            assert_eq!(serde_json::to_string(&rule).unwrap(), format!("{:?}", rule.name()));
        }
        assert_eq!(format!("{:>8}", Rule::Fill), "    fill");
        let error = "memories".parse::<Rule>().unwrap_err();
        assert!(error.starts_with("no rule is called \"memories\"; there are table, placement"));
    }

    #[test]
    fn a_finding_tells_place_and_extent_where_there_are_some() {
        let plain = Finding::new(Rule::Halt, "stub", "a", "b");
        let shown = |ranges, bytes, address| {
            Finding { ranges, bytes, address, ..plain.clone() }.to_string()
        };
        assert_eq!(shown(1, 0, None), "halt: stub: expected a, found b");
        assert_eq!(shown(1, 0, Some(16)), "halt: stub at 0x10: expected a, found b");
        assert_eq!(shown(1, 3, None), "halt: stub: expected a, found b (1 ranges, 3 bytes)");
        assert_eq!(shown(2, 0, None), "halt: stub: expected a, found b (2 ranges, 0 bytes)");
    }
}
