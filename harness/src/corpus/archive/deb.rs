// SPDX-License-Identifier: GPL-2.0-only
//! Debian packages (deb(5)): ar, and in it a compressed tar archive.

use std::io::{Read, Write};

use super::tarball::from_tar;
use super::unpack::unpack;
use super::{ArchiveError, Limited, Member, UNPACKED_LIMIT, Wanted};

/// Writes the image in the package `deb` to `out`; `None` where it has none.
///
/// # Errors
/// The package is damaged, is not a Debian package, or what it holds is larger than it may be.
/// `out` may have received a part of the image then.
pub fn extract_deb(
    deb: impl Read,
    wanted: Wanted<'_>,
    out: &mut impl Write,
) -> Result<Option<Member>, ArchiveError> {
    let mut archive = ar::Archive::new(deb);
    while let Some(member) = archive.next_entry() {
        let member = member.map_err(ArchiveError::damaged("package"))?;
        let name = member.header().identifier().to_owned();
        if !name.starts_with(b"data.tar.") {
            continue;
        }
        let Some(tar) = unpack(&name, member).map_err(ArchiveError::damaged("data member"))? else {
            continue;
        };
        return from_tar(Limited::new(tar, UNPACKED_LIMIT), wanted, out);
    }
    Err(ArchiveError::NoData)
}
