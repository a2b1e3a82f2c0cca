// SPDX-License-Identifier: GPL-2.0-only
//! Cases that cannot be run as they stand.

/// Whose mistake it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No machine can be like this: the case itself is wrong.
    Case,
    /// The loader breaks the boot protocol: whatever happens then is no fault of the stub.
    Loader,
}

/// A case that cannot be run as it stands; the message names the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseError {
    /// The field of the case.
    pub field: &'static str,
    /// What was found and what was expected.
    pub problem: String,
    /// Whose mistake it is.
    pub fault: Fault,
}

impl std::fmt::Display for CaseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let CaseError { field, problem, fault } = self;
        match fault {
            Fault::Case => write!(f, "{field}: {problem}"),
            Fault::Loader => write!(f, "the loader breaks the boot protocol: {field}: {problem}"),
        }
    }
}

impl std::error::Error for CaseError {}

pub(super) fn impossible(field: &'static str, problem: impl Into<String>) -> CaseError {
    CaseError { field, problem: problem.into(), fault: Fault::Case }
}

pub(super) fn broken(field: &'static str, problem: impl Into<String>) -> CaseError {
    CaseError { field, problem: problem.into(), fault: Fault::Loader }
}
