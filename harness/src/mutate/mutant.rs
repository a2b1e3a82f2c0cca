// SPDX-License-Identifier: GPL-2.0-only
//! A mutant: the image with one mistake.

use super::rebuild::{RebuildError, pack, write_stub};
use super::twin::Twin;

/// What the mistake is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// The relocation table.
    Table,
    /// The kernel in the payload: its bytes, its ELF header and its segments.
    Payload,
    /// The setup header.
    Header,
    /// The stub's machine code, outside the decompressor.
    Stub,
}

impl Class {
    /// All of them.
    pub const ALL: [Class; 4] = [Class::Table, Class::Payload, Class::Header, Class::Stub];

    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Class::Table => "table",
            Class::Payload => "payload",
            Class::Header => "header",
            Class::Stub => "stub",
        }
    }

    /// The kinds of mistake that it has, in the order of reports.
    pub fn kinds(self) -> &'static [&'static str] {
        match self {
            Class::Table => super::table::KINDS,
            Class::Payload => super::payload::KINDS,
            Class::Header => super::header::KINDS,
            Class::Stub => super::stub::KINDS,
        }
    }
}

/// What is changed in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Bytes of the file from an offset on.
    File(usize, Vec<u8>),
    /// Bytes of the protected-mode code from an offset on.
    Stub(usize, Vec<u8>),
    /// The decompressed payload, by steps that are done in this order.
    Payload(Vec<Splice>),
}

/// Other bytes in the place of some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splice {
    /// Offset of the first byte.
    pub at: usize,
    /// So many bytes are taken out.
    pub taken: usize,
    /// What is put there.
    pub put: Vec<u8>,
}

/// An image with one mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// What the mistake is in.
    pub class: Class,
    /// The kind of mistake, one of the class's kinds.
    pub kind: &'static str,
    /// Where it is.
    pub place: String,
    /// What is there in the unmutated image.
    pub before: String,
    /// What is there instead.
    pub after: String,
    /// The change.
    pub edit: Edit,
    /// Machine code: in which of the bench's cases the instruction runs, a bit for each.
    pub reached: u64,
}

impl Mutant {
    /// The file.
    ///
    /// # Errors
    /// The changed payload does not fit into the image.
    pub fn file(&self, twin: &Twin) -> Result<Vec<u8>, RebuildError> {
        let image = &twin.opened.subject.image;
        match &self.edit {
            Edit::File(at, bytes) => {
                let mut file = image.file().to_vec();
                file[*at..at + bytes.len()].copy_from_slice(bytes);
                Ok(file)
            }
            Edit::Stub(at, bytes) => {
                let mut file = image.file().to_vec();
                write_stub(image, &mut file, *at, bytes);
                Ok(file)
            }
            Edit::Payload(splices) => {
                let mut payload = twin.payload.clone();
                for splice in splices {
                    let place = splice.at..splice.at + splice.taken;
                    payload.splice(place, splice.put.iter().copied());
                }
                pack(image, &payload)
            }
        }
    }
}
