// SPDX-License-Identifier: GPL-2.0-only
//! Files that are no kernels, and cases that are no cases: one line says so, and the exit code.

use std::path::{Path, PathBuf};
use std::process::Command;

use relocheck::case::{Case, CaseFile, ImageRef};
use relocheck::image::Compression;

use crate::bench::{CLOUD, Kernel, LOAD, Trials, plain};
use crate::binary::relocheck;
use relocheck::mutate::compress;

const PAYLOAD_LENGTH: usize = 0x24c;
const RELOCATABLE_KERNEL: usize = 0x234;

pub fn add(trials: &mut Trials) {
    trials.anywhere("hostile::files_of_other_kinds_are_refused", other_kinds);
    trials.anywhere("hostile::garbage_is_no_case", garbage_cases);
    trials.on(CLOUD, "hostile::broken_images_are_refused", broken_images);
    trials.on(CLOUD, "hostile::a_payload_of_100_gib_is_refused", bomb);
    trials.on(CLOUD, "hostile::cases_that_cannot_be_are_refused_by_field", impossible_cases);
    trials.on(CLOUD, "hostile::loaders_that_break_the_protocol_are_not_judged", broken_protocol);
}

/// The program ends with `code`, and says one line that names `path` and contains `why`.
fn assert_refused(args: &[&str], path: &Path, code: i32, why: &str) {
    let output = relocheck(args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    assert!(said.contains(path.to_str().unwrap()) && said.contains(why), "wanted {why}: {said}");
}

fn check(path: &Path, code: i32, why: &str) {
    let cases = path.with_extension("cases");
    let args =
        ["check", "--bases", "1", "--case-dir", cases.to_str().unwrap(), path.to_str().unwrap()];
    assert_refused(&args, path, code, why);
    assert!(!cases.exists());
}

fn write(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Bytes without a pattern, the same each time.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn other_kinds() {
    let folder = tempfile::tempdir().unwrap();
    check(&write(&folder, "empty", b""), 2, "not a bzImage: the file is empty");
    check(&write(&folder, "noise", &noise(1 << 20)), 2, "not a bzImage");
    check(&folder.path().join("absent"), 2, "cannot be read");
    let directory = folder.path().join("directory");
    std::fs::create_dir(&directory).unwrap();
    check(&directory, 2, "a directory without arch/x86/boot/bzImage");
    let fifo = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    check(&fifo, 2, "is a pipe, expected a regular file");
}

fn broken_images(kernel: &Kernel) {
    let folder = tempfile::tempdir().unwrap();
    let file = kernel.image.file();
    let short = "file size: ";
    for (len, why) in
        [(0x1ff, short), (0x230, short), (0x2000, short), (file.len() / 2, "truncated: syssize")]
    {
        let name = format!("truncated-{len}");
        check(&write(&folder, &name, &file[..len]), 2, why);
    }

    let edited = |at: usize, bytes: &[u8]| {
        let mut file = file.to_vec();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let beyond = edited(PAYLOAD_LENGTH, &0x7fff_ffffu32.to_le_bytes());
    check(&write(&folder, "beyond", &beyond), 2, "payload_length 0x7fffffff end beyond");

    // As memtest86+ and others do who only wear the header.
    let fixed = edited(RELOCATABLE_KERNEL, &[0]);
    check(&write(&folder, "fixed", &fixed), 125, "not relocatable: relocatable_kernel is 0");
}

/// A payload that becomes as much as it likes: once it says so, once it lies.
fn bomb(kernel: &Kernel) {
    let folder = tempfile::tempdir().unwrap();
    let image = &kernel.image;
    let start = image.header().setup_size() + image.payload().range.start;
    let end = start + image.payload().range.len();

    let mut claims = image.file().to_vec();
    claims[end - 4..end].copy_from_slice(&u32::MAX.to_le_bytes());
    check(&write(&folder, "claims", &claims), 2, "claims 4294967295 bytes of output");

    // 100 GiB of zeros, behind the head of a kernel, in as few zstd frames as they take.
    let mut stream = compress::stream(
        Compression::Zstd,
        &image.kernel().unwrap().payload[..1 << 20],
        compress::Effort::Build,
    )
    .unwrap();
    let zeros = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
    (0..1600).for_each(|_| stream.extend(&zeros));
    let mut lies = image.file().to_vec();
    lies[start..start + stream.len()].copy_from_slice(&stream);
    check(&write(&folder, "lies", &lies), 2, "payload: zstd data");
}

fn replay(path: &Path, code: i32, why: &str) {
    assert_refused(&["replay", path.to_str().unwrap()], path, code, why);
}

fn garbage_cases() {
    let folder = tempfile::tempdir().unwrap();
    replay(&folder.path().join("absent.toml"), 2, "No such file");
    replay(&write(&folder, "empty.toml", b""), 2, "missing field `version`");
    replay(&write(&folder, "noise.toml", &noise(4096)), 2, "not UTF-8 text");
    replay(&write(&folder, "words.toml", b"these are\nwords"), 2, "line 1 (these are)");
    replay(&write(&folder, "long.toml", &vec![b'#'; 2 << 20]), 2, "at most 1 MiB");
    replay(folder.path(), 2, "expected a case file");
}

fn impossible_cases(kernel: &Kernel) {
    let folder = tempfile::tempdir().unwrap();
    let image = ImageRef { path: kernel.path.clone(), sha256: kernel.image.sha256() };
    let good = CaseFile::new(image, plain(kernel, LOAD)).to_toml();
    let mut number = 0;
    let mut replaced = |from: &str, to: &str, code: i32, why: &str| {
        assert!(good.contains(from), "{from} in\n{good}");
        number += 1;
        let name = format!("case-{number}.toml");
        replay(&write(&folder, &name, good.replace(from, to).as_bytes()), code, why);
    };
    replaced("version = 1", "version = 2", 2, "version: expected 1, found 2");
    replaced("budget =", "colour = 1\nbudget =", 2, "unknown field `colour`");
    replaced("fill =", "fill_ =", 2, "unknown field `fill_`");
    replaced(
        "load = \"0x5000000\"",
        "load = \"0x5000010\"",
        2,
        "case.load: 0x5000010 is not a multiple",
    );
    replaced("load = \"0x5000000\"", "load = \"five\"", 2, "load");
    let aligned = |value| format!("load = \"0x5000000\"\nkernel_alignment = \"{value}\"");
    replaced(
        "load = \"0x5000000\"",
        &aligned("0x0"),
        2,
        "case.kernel_alignment: 0x0 is no power of two",
    );
    let entry = "\n[[case.memory]]\nstart = \"0x0\"\nend = \"0x1000\"\nkind = \"usable\"\n";
    let many = format!("{entry}{}[[case.memory]]", entry.repeat(126));
    let first = good.find("[[case.memory]]").unwrap();
    let (head, tail) = good.split_at(first);
    let crowded = format!("{head}{}{tail}", many.strip_suffix("[[case.memory]]").unwrap());
    let path = write(&folder, "crowded.toml", crowded.as_bytes());
    replay(&path, 2, "case.memory: 129 entries, boot_params has room for 128");
    replaced("end = \"0x40000000\"", "end = \"0x100000\"", 2, "case.memory: ");
    // About the image, not the case.
    let other = good.replace("sha256 = \"", "sha256 = \"0");
    let path = write(&folder, "other.toml", other.as_bytes());
    assert_refused(&["replay", path.to_str().unwrap()], &kernel.path, 125, "SHA-256 is ");
}

/// Whatever comes of it would be the loader's fault.
fn broken_protocol(kernel: &Kernel) {
    let folder = tempfile::tempdir().unwrap();
    let image = ImageRef { path: kernel.path.clone(), sha256: kernel.image.sha256() };
    let loaded = |load| Case { load, ..plain(kernel, LOAD) };
    let unaligned = Case { kernel_alignment: Some(0x1000), ..plain(kernel, LOAD) };
    for (case, why) in [
        (loaded(0xff000), "load: 0xff000 is below 1 MiB"),
        (loaded(0x5000_0000), "load: there is no RAM for all of "),
        (unaligned, "kernel_alignment: 0x1000 is less than min_alignment"),
    ] {
        let toml = CaseFile::new(image.clone(), case).to_toml();
        let path = write(&folder, "case.toml", toml.as_bytes());
        let output = relocheck(&["replay", path.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(125), "{said}");
        assert!(said.contains(&format!("the loader breaks the boot protocol: {why}")), "{said}");
    }
}
