// SPDX-License-Identifier: GPL-2.0-only
//! Where decoders put their output: counted always, kept as far as wanted, never beyond the claim.

/// Why a decoder stopped before its data ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// As much as wanted is there.
    Satisfied,
    /// More comes out than was claimed.
    Overflow,
    /// The data is damaged; the reason is for the user.
    Corrupt(String),
}

impl Stop {
    pub(super) fn corrupt(reason: impl ToString) -> Stop {
        Stop::Corrupt(reason.to_string())
    }
}

/// The end of a decoder's pipe.
#[derive(Debug)]
pub(super) struct Output {
    claim: u64,
    written: u64,
    keep: Keep,
    kept: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Keep {
    All,
    Nothing,
    Head(usize),
}

impl Output {
    /// Keeps everything.
    pub(super) fn store(claim: u64) -> Output {
        Output { claim, written: 0, keep: Keep::All, kept: Vec::new() }
    }

    /// Keeps nothing.
    pub(super) fn count(claim: u64) -> Output {
        Output { keep: Keep::Nothing, ..Output::store(claim) }
    }

    /// Keeps the first `len` bytes and is satisfied when it has them.
    pub(super) fn head(claim: u64, len: usize) -> Output {
        Output { keep: Keep::Head(len), ..Output::store(claim) }
    }

    /// Takes the next bytes of output.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.written = self.written.saturating_add(bytes.len() as u64);
        if self.written > self.claim {
            return Err(Stop::Overflow);
        }
        match self.keep {
            Keep::All => self.kept.extend_from_slice(bytes),
            Keep::Nothing => {}
            Keep::Head(len) => {
                let wanted = len.saturating_sub(self.kept.len()).min(bytes.len());
                self.kept.extend(bytes.iter().take(wanted));
                if self.kept.len() >= len {
                    return Err(Stop::Satisfied);
                }
            }
        }
        Ok(())
    }

    /// Bytes that the payload says it becomes.
    pub(super) fn claim(&self) -> u64 {
        self.claim
    }

    /// Bytes that came out so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Bytes that are still to come if the claim is true.
    pub(super) fn remaining(&self) -> u64 {
        self.claim.saturating_sub(self.written)
    }

    /// Whether exactly the claimed bytes came out.
    pub(super) fn is_complete(&self) -> bool {
        self.written == self.claim
    }

    /// What was kept.
    pub(super) fn into_kept(self) -> Vec<u8> {
        self.kept
    }
}
