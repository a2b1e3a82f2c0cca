// SPDX-License-Identifier: GPL-2.0-only
//! Streams the kernel image out of a Debian package (deb(5): ar, then a compressed tar) without
//! unpacking the rest of it. What the package says is checked, never used: no path of it is opened.

use std::io::{self, Read, Write};

use liblzma::stream::{CONCATENATED, Stream};

/// No kernel image is larger: bytes.
pub const IMAGE_LIMIT: u64 = 512 << 20;

/// No package unpacks to more: bytes. Debian's largest kernel packages unpack to under 1 GiB.
const UNPACKED_LIMIT: u64 = 4 << 30;

/// Memory that an xz stream may ask for, in bytes: `xz -9` needs 65 MiB.
const XZ_MEMORY: u64 = 256 << 20;

/// Base-2 logarithm of the largest window that a zstd stream may ask for.
const ZSTD_WINDOW_LOG: u32 = 27;

/// Why no image could be taken out of a package.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// The package cannot be read, or one of its layers is damaged.
    #[error("{layer}: {source}")]
    Damaged {
        /// The layer: package, data member, image.
        layer: &'static str,
        /// What its reader says.
        source: io::Error,
    },
    /// The package has no data member in a form that is known here.
    #[error("no data.tar.xz, data.tar.zst or data.tar.gz in the package")]
    NoData,
    /// The image claims to be absurdly large.
    #[error("`{path}` claims {size} bytes, more than the {IMAGE_LIMIT} that an image may have")]
    TooLarge {
        /// The member's path in the package.
        path: String,
        /// The size that it claims, in bytes.
        size: u64,
    },
    /// The package ends within the image.
    #[error("`{path}` ends after {got} of {size} bytes")]
    Truncated {
        /// The member's path in the package.
        path: String,
        /// The size that its header says, in bytes.
        size: u64,
        /// The bytes that were there.
        got: u64,
    },
    /// The image cannot be written.
    #[error("cannot write the image: {0}")]
    Write(io::Error),
}

/// The member that was taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its path in the package, without a leading `./`.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
}

/// Writes the first kernel image in the package `deb` to `out`; `None` where it has none.
///
/// A kernel image is a regular file `boot/vmlinuz-*`, `usr/lib/modules/*/vmlinuz` or
/// `usr/lib/modules/*/vmlinuz.unsigned` (also below `lib/modules`).
///
/// # Errors
/// The package is damaged, is not a Debian package, or its image exceeds [`IMAGE_LIMIT`]. `out`
/// may have received a part of the image then.
pub fn extract_kernel(deb: impl Read, out: &mut impl Write) -> Result<Option<Member>, DebError> {
    let damaged = |layer| move |source| DebError::Damaged { layer, source };
    let mut archive = ar::Archive::new(deb);
    while let Some(member) = archive.next_entry() {
        let member = member.map_err(damaged("package"))?;
        let decompressor: Box<dyn Read + '_> = match member.header().identifier() {
            b"data.tar.xz" => {
                let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED)
                    .map_err(|error| damaged("data member")(error.into()))?;
                Box::new(liblzma::read::XzDecoder::new_stream(member, stream))
            }
            b"data.tar.zst" => {
                let mut decoder =
                    zstd::stream::read::Decoder::new(member).map_err(damaged("data member"))?;
                decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(damaged("data member"))?;
                Box::new(decoder)
            }
            b"data.tar.gz" => Box::new(flate2::read::MultiGzDecoder::new(member)),
            _ => continue,
        };
        return from_tar(decompressor.take(UNPACKED_LIMIT), out);
    }
    Err(DebError::NoData)
}

fn from_tar(tar: impl Read, out: &mut impl Write) -> Result<Option<Member>, DebError> {
    let damaged = |source| DebError::Damaged { layer: "data member", source };
    let mut archive = tar::Archive::new(tar);
    // Raw: headers as they stand. Long-name records would be read into memory whatever their size,
    // and no path that is looked for needs one.
    for entry in archive.entries().map_err(damaged)?.raw(true) {
        let mut entry = entry.map_err(damaged)?;
        if entry.header().entry_type() != tar::EntryType::Regular {
            continue;
        }
        let Some(path) = kernel_path(&entry.header().path_bytes()) else { continue };
        let size = entry.header().size().map_err(damaged)?;
        if size > IMAGE_LIMIT {
            return Err(DebError::TooLarge { path, size });
        }
        let got = copy(&mut entry, out)?;
        if got != size {
            return Err(DebError::Truncated { path, size, got });
        }
        return Ok(Some(Member { path, size }));
    }
    Ok(None)
}

/// Like [`io::copy`], but tells a failing reader from a failing writer.
fn copy(from: &mut impl Read, to: &mut impl Write) -> Result<u64, DebError> {
    let mut buffer = vec![0; 1 << 16];
    let mut copied = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(DebError::Damaged { layer: "image", source }),
        };
        to.write_all(buffer.get(..read).unwrap_or_default()).map_err(DebError::Write)?;
        copied += read as u64;
    }
}

/// The path without a leading `./`, if it is where Debian puts a kernel image.
fn kernel_path(path: &[u8]) -> Option<String> {
    let path = std::str::from_utf8(path).ok()?;
    let path = path.strip_prefix("./").unwrap_or(path);
    let parts: Vec<&str> = path.split('/').collect();
    let kernel = match parts.as_slice() {
        ["boot", file] => file.starts_with("vmlinuz-"),
        ["usr", "lib", "modules", _, file] | ["lib", "modules", _, file] => {
            matches!(*file, "vmlinuz" | "vmlinuz.unsigned")
        }
        _ => false,
    };
    kernel.then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar_of(members: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, kind, content) in members {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn deb_of(member: &str, data: &[u8]) -> Vec<u8> {
        let mut builder = ar::Builder::new(Vec::new());
        for (name, content) in [("debian-binary", b"2.0\n".as_slice()), (member, data)] {
            let header = ar::Header::new(name.as_bytes().to_vec(), content.len() as u64);
            builder.append(&header, content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn xz(data: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        liblzma::read::XzEncoder::new(data, 1).read_to_end(&mut packed).unwrap();
        packed
    }

    /// Puts another dictionary size into the block header of an xz stream.
    fn with_dictionary(mut xz: Vec<u8>, code: u8) -> Vec<u8> {
        let length = (usize::from(xz[12]) + 1) * 4;
        let header = &mut xz[12..12 + length];
        let lzma2 = header.windows(2).position(|pair| pair == [0x21, 1]).unwrap();
        header[lzma2 + 2] = code;
        let mut crc = flate2::Crc::new();
        crc.update(&header[..length - 4]);
        header[length - 4..].copy_from_slice(&crc.sum().to_le_bytes());
        xz
    }

    fn extract(deb: &[u8]) -> (Result<Option<Member>, DebError>, Vec<u8>) {
        let mut out = Vec::new();
        let result = extract_kernel(deb, &mut out);
        (result, out)
    }

    const FILE: tar::EntryType = tar::EntryType::Regular;

    #[test]
    fn the_image_is_found_under_every_compression_of_a_package() {
        let tar = tar_of(&[
            ("./usr/share/doc/x", FILE, b"doc"),
            ("./boot/config-7.2", FILE, b"config"),
            ("./boot/vmlinuz-7.2", FILE, b"kernel"),
            ("./usr/lib/modules/7.2/vmlinuz", FILE, b"second"),
        ]);
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&tar).unwrap();
        let debs = [
            deb_of("data.tar.xz", &xz(&tar)),
            deb_of("data.tar.zst", &zstd::encode_all(tar.as_slice(), 1).unwrap()),
            deb_of("data.tar.gz", &gz.finish().unwrap()),
        ];
        for deb in debs {
            let (result, out) = extract(&deb);
            let member = result.unwrap().unwrap();
            assert_eq!(member, Member { path: String::from("boot/vmlinuz-7.2"), size: 6 });
            assert_eq!(out, b"kernel");
        }
    }

    #[test]
    fn the_image_of_a_split_package_is_found_below_modules() {
        for path in ["./usr/lib/modules/7.2+deb14/vmlinuz", "usr/lib/modules/7.2/vmlinuz.unsigned"]
        {
            let (result, out) =
                extract(&deb_of("data.tar.xz", &xz(&tar_of(&[(path, FILE, b"k")]))));
            assert_eq!(result.unwrap().unwrap().path, path.trim_start_matches("./"));
            assert_eq!(out, b"k");
        }
    }

    #[test]
    fn links_and_look_alikes_are_no_images() {
        let tar = tar_of(&[
            ("./boot/vmlinuz-7.2", tar::EntryType::Symlink, b""),
            ("./boot/vmlinuz-7.3", tar::EntryType::Link, b""),
            ("./boot/../vmlinuz-7.2", FILE, b"x"),
            ("/boot/vmlinuz-7.2", FILE, b"x"),
            ("./usr/lib/modules/7.2/kernel/vmlinuz", FILE, b"x"),
            ("./boot/vmlinux-7.2", FILE, b"x"),
        ]);
        let (result, out) = extract(&deb_of("data.tar.xz", &xz(&tar)));
        assert_eq!(result.unwrap(), None);
        assert!(out.is_empty());
    }

    #[test]
    fn an_absurd_size_is_refused_before_a_byte_is_written() {
        let mut header = tar::Header::new_gnu();
        header.set_path("boot/vmlinuz-7.2").unwrap();
        header.set_size(IMAGE_LIMIT + 1);
        header.set_cksum();
        let (result, out) = extract(&deb_of("data.tar.xz", &xz(header.as_bytes())));
        assert!(matches!(result, Err(DebError::TooLarge { size, .. }) if size == IMAGE_LIMIT + 1));
        assert!(out.is_empty());
    }

    #[test]
    fn a_long_name_record_of_any_size_is_not_read_into_memory() {
        let mut header = tar::Header::new_gnu();
        header.set_path("././@LongLink").unwrap();
        header.set_entry_type(tar::EntryType::GNULongName);
        header.set_size(1 << 40);
        header.set_cksum();
        let (result, _) = extract(&deb_of("data.tar.xz", &xz(header.as_bytes())));
        assert!(!matches!(result, Ok(Some(_))));
    }

    #[test]
    fn a_truncated_image_is_an_error() {
        let mut tar = tar_of(&[("./boot/vmlinuz-7.2", FILE, &[7; 5000])]);
        tar.truncate(512 + 1000);
        let (result, _) = extract(&deb_of("data.tar.xz", &xz(&tar)));
        assert!(result.is_err(), "{result:?}");
    }

    #[test]
    fn damaged_layers_are_named() {
        let (result, _) = extract(b"not a package");
        assert!(matches!(result, Err(DebError::Damaged { layer: "package", .. })), "{result:?}");
        let (result, _) = extract(&deb_of("data.tar.xz", b"not xz"));
        assert!(matches!(result, Err(DebError::Damaged { layer: "data member", .. })));
        let (result, _) = extract(&deb_of("data.tar.lzma", b"unknown"));
        assert!(matches!(result, Err(DebError::NoData)), "{result:?}");
    }

    #[test]
    fn an_xz_stream_that_asks_for_too_much_memory_is_refused() {
        let packed = xz(&tar_of(&[("./boot/vmlinuz-7.2", FILE, b"k")]));
        // 36 stands for a dictionary of 1 GiB.
        let (result, out) = extract(&deb_of("data.tar.xz", &with_dictionary(packed, 36)));
        assert!(matches!(result, Err(DebError::Damaged { .. })), "{result:?}");
        assert!(out.is_empty());
    }
}
