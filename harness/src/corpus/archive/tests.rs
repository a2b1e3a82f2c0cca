// SPDX-License-Identifier: GPL-2.0-only

use std::io::repeat;

use super::tarball::from_tar;
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

fn extract(deb: &[u8]) -> (Result<Option<Member>, ArchiveError>, Vec<u8>) {
    let mut out = Vec::new();
    let result = extract_deb(deb, Wanted::Kernel, &mut out);
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
    for path in ["./usr/lib/modules/7.2+deb14/vmlinuz", "usr/lib/modules/7.2/vmlinuz.unsigned"] {
        let (result, out) = extract(&deb_of("data.tar.xz", &xz(&tar_of(&[(path, FILE, b"k")]))));
        assert_eq!(result.unwrap().unwrap().path, path.trim_start_matches("./"));
        assert_eq!(out, b"k");
    }
}

#[test]
fn the_elf_file_is_found_among_the_debug_files() {
    let tar = tar_of(&[
        ("./usr/lib/debug/boot/System.map-6.1", FILE, b"map"),
        ("./usr/lib/debug/lib/modules/6.1/vmlinux-x", FILE, b"other"),
        ("./usr/lib/debug/boot/vmlinux-6.1", FILE, b"elf"),
    ]);
    let mut out = Vec::new();
    let found = extract_deb(deb_of("data.tar.xz", &xz(&tar)).as_slice(), Wanted::Vmlinux, &mut out);
    assert_eq!(found.unwrap().unwrap().path, "usr/lib/debug/boot/vmlinux-6.1");
    assert_eq!(out, b"elf");
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
    assert!(matches!(result, Err(ArchiveError::TooLarge { size, .. }) if size == IMAGE_LIMIT + 1));
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
    assert!(matches!(result, Err(ArchiveError::Damaged { layer: "package", .. })), "{result:?}");
    let (result, _) = extract(&deb_of("data.tar.xz", b"not xz"));
    assert!(matches!(result, Err(ArchiveError::Damaged { layer: "data member", .. })));
    let (result, _) = extract(&deb_of("data.tar.lzma", b"unknown"));
    assert!(matches!(result, Err(ArchiveError::NoData)), "{result:?}");
}

#[test]
fn an_xz_stream_that_asks_for_too_much_memory_is_refused() {
    let packed = xz(&tar_of(&[("./boot/vmlinuz-7.2", FILE, b"k")]));
    // 36 stands for a dictionary of 1 GiB.
    let (result, out) = extract(&deb_of("data.tar.xz", &with_dictionary(packed, 36)));
    assert!(matches!(result, Err(ArchiveError::Damaged { .. })), "{result:?}");
    assert!(out.is_empty());
}

fn crate_of(members: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&tar_of(members)).unwrap();
    gz.finish().unwrap()
}

fn path(text: &str) -> MemberPath {
    MemberPath::try_from(text.to_owned()).unwrap()
}

#[test]
fn a_named_file_is_found_and_nothing_like_it() {
    let tar = tar_of(&[
        ("./boot/memtest86+x64.bin.old", FILE, b"no"),
        ("./boot/x/boot/memtest86+x64.bin", FILE, b"no"),
        ("./boot/memtest86+x64.bin", tar::EntryType::Symlink, b""),
        ("./boot/memtest86+x64.bin", FILE, b"yes"),
    ]);
    let mut out = Vec::new();
    let wanted = path("boot/memtest86+x64.bin");
    from_tar(tar.as_slice(), Wanted::File(&wanted), &mut out).unwrap().unwrap();
    assert_eq!(out, b"yes");
}

#[test]
fn a_packed_file_of_a_crate_is_unpacked() {
    let packed = xz(b"kernel");
    let members = [
        ("x-1.0/src/kernel.xz", FILE, b"no".as_slice()),
        ("x-1.0/kernel.xz", FILE, packed.as_slice()),
    ];
    let mut out = Vec::new();
    let member = extract_crate(crate_of(&members).as_slice(), &path("kernel.xz"), &mut out);
    assert_eq!(member.unwrap().unwrap(), Member { path: String::from("kernel.xz"), size: 6 });
    assert_eq!(out, b"kernel");
    let none = extract_crate(crate_of(&members).as_slice(), &path("kernel"), &mut out).unwrap();
    assert_eq!(none, None);
}

/// Bytes of a stream that unpacks to `gigabytes` of zeros, in blocks of the same bytes.
fn zeros_in_zstd(gigabytes: usize) -> Vec<u8> {
    let block = zstd::encode_all(repeat(0).take(1 << 30), 1).unwrap();
    block.repeat(gigabytes)
}

#[test]
fn a_small_file_that_unpacks_without_end_is_refused() {
    let packed = zeros_in_zstd(1);
    let members = [("x-1.0/kernel.zst", FILE, packed.as_slice())];
    let mut out = std::io::sink();
    let result = extract_crate(crate_of(&members).as_slice(), &path("kernel.zst"), &mut out);
    assert!(matches!(result, Err(ArchiveError::TooLarge { .. })), "{result:?}");
}

#[test]
fn a_package_that_unpacks_without_end_is_refused() {
    let mut header = tar::Header::new_gnu();
    header.set_path("padding").unwrap();
    header.set_size(1 << 40);
    header.set_cksum();
    let mut packed = zstd::encode_all(header.as_bytes().as_slice(), 1).unwrap();
    packed.extend(zeros_in_zstd(5));
    let (result, out) = extract(&deb_of("data.tar.zst", &packed));
    let error = result.unwrap_err().to_string();
    assert!(error.contains("unpacks to more"), "{error}");
    assert!(out.is_empty());
}

#[test]
fn a_size_that_the_archive_does_not_have_is_an_error() {
    let mut header = tar::Header::new_gnu();
    header.set_path("boot/vmlinuz-7.2").unwrap();
    header.set_size(5000);
    header.set_cksum();
    let mut tar = header.as_bytes().to_vec();
    tar.extend([7; 1000]);
    let (result, _) = extract(&deb_of("data.tar.xz", &xz(&tar)));
    assert!(matches!(result, Err(ArchiveError::Damaged { .. } | ArchiveError::Truncated { .. })));
}
