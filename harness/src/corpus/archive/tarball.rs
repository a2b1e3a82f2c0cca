// SPDX-License-Identifier: GPL-2.0-only
//! Tar archives: the data of Debian packages, and crates, which are compressed ones.

use std::io::{Read, Write};

use super::unpack::unpack;
use super::{ArchiveError, IMAGE_LIMIT, Limited, Member, UNPACKED_LIMIT, Wanted, copy};
use crate::corpus::names::MemberPath;

/// Writes the file at `path` in a crate (`.crate`: tar and gzip, with everything in one folder) to
/// `out`, unpacked if its name ends like that of a packed file; `None` where there is none.
///
/// # Errors
/// The crate is damaged, or what it holds is larger than it may be. `out` may have received a part
/// of the file then.
pub fn extract_crate(
    package: impl Read,
    path: &MemberPath,
    out: &mut impl Write,
) -> Result<Option<Member>, ArchiveError> {
    let tar = Limited::new(flate2::read::MultiGzDecoder::new(package), UNPACKED_LIMIT);
    let without_folder = |path: &str| path.split_once('/').map(|(_, rest)| rest.to_owned());
    first_match(tar, |found| without_folder(found).filter(|found| found == path.as_str()), out)
}

/// Writes the wanted file in a tar archive to `out`; `None` where it has none.
pub(super) fn from_tar(
    tar: impl Read,
    wanted: Wanted<'_>,
    out: &mut impl Write,
) -> Result<Option<Member>, ArchiveError> {
    first_match(tar, |path| wanted.matches(path).then(|| path.to_owned()), out)
}

/// Writes the first regular file for whose path `name` has a name to `out`.
fn first_match(
    tar: impl Read,
    name: impl Fn(&str) -> Option<String>,
    out: &mut impl Write,
) -> Result<Option<Member>, ArchiveError> {
    let damaged = ArchiveError::damaged("data member");
    let mut archive = tar::Archive::new(tar);
    // Raw: headers as they stand. Long-name records would be read into memory whatever their size,
    // and no path that is looked for needs one.
    for entry in archive.entries().map_err(&damaged)?.raw(true) {
        let mut entry = entry.map_err(&damaged)?;
        if entry.header().entry_type() != tar::EntryType::Regular {
            continue;
        }
        let path = entry.header().path_bytes().into_owned();
        let path = String::from_utf8(path).unwrap_or_default();
        let Some(path) = name(path.strip_prefix("./").unwrap_or(&path)) else { continue };
        let size = entry.header().size().map_err(&damaged)?;
        if size > IMAGE_LIMIT {
            return Err(ArchiveError::TooLarge { path, size });
        }
        if let Some(mut unpacked) = unpack(path.as_bytes(), &mut entry).map_err(&damaged)? {
            let size = copy(&mut unpacked, out, &path)?;
            return Ok(Some(Member { path, size }));
        }
        let got = copy(&mut entry, out, &path)?;
        if got != size {
            return Err(ArchiveError::Truncated { path, size, got });
        }
        return Ok(Some(Member { path, size }));
    }
    Ok(None)
}
