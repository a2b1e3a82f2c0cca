// SPDX-License-Identifier: GPL-2.0-only
//! The journal of a campaign: a line for everything that is finished, so that a campaign that was killed goes on.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::record::{CaseRecord, Facts, RegressionRecord, Shrunk};

/// The first line: what the rest depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The SHA-256 of the program: another one may draw other cases, or judge them otherwise.
    pub program: String,
    /// The day of the campaign.
    pub date: Date,
}

/// Something that is finished.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// An image was opened.
    Opened {
        /// The unit's key.
        unit: String,
        /// What it is.
        facts: Box<Facts>,
    },
    /// An image cannot be checked.
    Unusable {
        /// The unit's key.
        unit: String,
        /// Why.
        message: String,
        /// The exit code that goes with it.
        exit_code: u8,
    },
    /// A case was run.
    Case {
        /// The unit's key.
        unit: String,
        /// What came of it.
        record: Box<CaseRecord>,
        /// A digest of the kernel's bytes with its relocation undone.
        kernel: Option<u64>,
    },
    /// The time for an image is used up.
    TimeUp {
        /// The unit's key.
        unit: String,
    },
    /// A failing case was followed up.
    Shrunk {
        /// The unit's key.
        unit: String,
        /// The simpler case; none if shrinking it was cut short.
        shrunk: Option<Box<Shrunk>>,
    },
    /// A regression case was run.
    Regression {
        /// The regression's key.
        key: String,
        /// What came of it.
        record: Box<RegressionRecord>,
    },
    /// Everything is done.
    Finished,
}

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
}

/// A journal that was found.
pub struct Found {
    /// To go on with.
    pub journal: Journal,
    /// Its first line; `None` if it was empty.
    pub header: Option<Header>,
    /// Everything finished, in order; empty if another program wrote it.
    pub entries: Vec<Entry>,
}

/// A journal that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// Another campaign is using it.
    #[error("{path}: another campaign is running in this folder")]
    Busy {
        /// The file.
        path: String,
    },
    /// A line other than the last one is damaged.
    #[error("{path}: line {line} is damaged: remove the file to start anew")]
    Damaged {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
    },
}

impl Found {
    /// The day of the campaign, if the program with the digest `program` began it and did not finish.
    pub fn unfinished(&self, program: &str) -> Option<Date> {
        let finished = matches!(self.entries.last(), Some(Entry::Finished));
        let header = self.header.as_ref().filter(|header| !finished && header.program == program);
        header.map(|header| header.date)
    }
}

impl Journal {
    /// Opens the journal at `path`, or creates it, for the program with the digest `program`. Whoever has it open keeps
    /// others out. A last line that was cut off in the middle is removed. Of another program's journal only the header is
    /// read: its entries are not believed, and may have another form.
    ///
    /// # Errors
    /// It is in use, cannot be read or written, or is damaged.
    pub fn open(path: &Path, program: &str) -> Result<Found, JournalError> {
        let name = || path.display().to_string();
        let io = |error: std::io::Error| JournalError::Io { path: name(), error };
        let options =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = options.map_err(io)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            Errno::WOULDBLOCK => JournalError::Busy { path: name() },
            error => io(error.into()),
        })?;
        let mut header = None;
        let mut entries = Vec::new();
        let mut good = 0;
        let mut lines = BufReader::new(&file);
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let length = lines.read_until(b'\n', &mut line).map_err(io)?;
            if line.last() != Some(&b'\n') {
                file.set_len(good).map_err(io)?;
                break;
            }
            let damaged = |_| JournalError::Damaged { path: name(), line: number };
            if number == 1 {
                let first: Header = serde_json::from_slice(&line).map_err(damaged)?;
                let other = first.program != program;
                header = Some(first);
                if other {
                    break;
                }
            } else {
                entries.push(serde_json::from_slice(&line).map_err(damaged)?);
            }
            good += length as u64;
        }
        file.seek(SeekFrom::End(0)).map_err(io)?;
        Ok(Found { journal: Journal { file, path: path.to_owned() }, header, entries })
    }

    /// Starts anew, for another campaign.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn restart(&mut self, header: &Header) -> Result<(), JournalError> {
        let restarted = self.file.set_len(0).and_then(|()| self.file.rewind());
        restarted.map_err(|error| self.error(error))?;
        self.write(header)
    }

    /// Adds an entry. It is in the system's hands when this returns: killing this process does not lose it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add(&mut self, entry: &Entry) -> Result<(), JournalError> {
        self.write(entry)
    }

    fn write(&mut self, line: &impl Serialize) -> Result<(), JournalError> {
        let mut text = serde_json::to_vec(line).map_err(|error| self.error(error.into()))?;
        text.push(b'\n');
        self.file.write_all(&text).map_err(|error| self.error(error))
    }

    fn error(&self, error: std::io::Error) -> JournalError {
        JournalError::Io { path: self.path.display().to_string(), error }
    }
}

/// The SHA-256 of this program, in hex.
///
/// # Errors
/// The program's file cannot be read.
pub fn program_digest() -> std::io::Result<String> {
    use sha2::Digest;
    let mut file = File::open("/proc/self/exe")?;
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            return Ok(crate::corpus::Sha256Sum::of(hasher).to_string());
        }
        hasher.update(&buffer[..length]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header { program: "p".into(), date: Date::constant(2027, 1, 2) }
    }

    fn open(path: &Path) -> Result<Found, JournalError> {
        Journal::open(path, "p")
    }

    fn time_up(unit: &str) -> Entry {
        Entry::TimeUp { unit: unit.into() }
    }

    #[test]
    fn what_was_added_is_found_and_a_torn_line_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut found = open(&path).unwrap();
        assert!(found.header.is_none() && found.entries.is_empty());
        found.journal.restart(&header()).unwrap();
        found.journal.add(&time_up("one")).unwrap();
        found.journal.add(&time_up("two")).unwrap();
        drop(found);
        let text = std::fs::read(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 3]).unwrap();

        let mut found = open(&path).unwrap();
        assert_eq!(found.header, Some(header()));
        assert!(matches!(&found.entries[..], [Entry::TimeUp { unit }] if unit == "one"));
        found.journal.add(&Entry::Finished).unwrap();
        drop(found);
        let found = open(&path).unwrap();
        assert!(matches!(found.entries[..], [_, Entry::Finished]));
    }

    #[test]
    fn another_program_may_write_what_it_likes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let text = "{\"program\":\"q\",\"date\":\"2027-01-02\"}\n{\"no\":\"entry\"}\n";
        std::fs::write(&path, text).unwrap();
        let mut found = open(&path).unwrap();
        assert!(found.entries.is_empty() && found.unfinished("p").is_none());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "a look changes nothing");
        found.journal.restart(&header()).unwrap();
        drop(found);
        assert_eq!(open(&path).unwrap().header, Some(header()));
        std::fs::write(&path, text.replace("\"q\"", "\"p\"")).unwrap();
        assert!(matches!(open(&path), Err(JournalError::Damaged { line: 2, .. })));
    }

    #[test]
    fn a_journal_in_use_and_a_damaged_one_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut found = open(&path).unwrap();
        found.journal.restart(&header()).unwrap();
        assert!(matches!(open(&path), Err(JournalError::Busy { .. })));
        found.journal.add(&time_up("one")).unwrap();
        found.journal.add(&time_up("two")).unwrap();
        drop(found);
        let text = std::fs::read_to_string(&path).unwrap().replace("one", "on\"e");
        std::fs::write(&path, text).unwrap();
        assert!(matches!(open(&path), Err(JournalError::Damaged { line: 2, .. })));
    }
}
