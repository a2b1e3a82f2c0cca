// SPDX-License-Identifier: GPL-2.0-only
//! The helpers that damage real kernels, tried on one: RELOCHECK_TEST_IMAGE names it (a bzImage for i386 is quickest).

mod common;

use common::rebuild::{RebuildError, edit_kernel, patch_stub, pattern, replace_kernel};
use relocheck::image::{Compression, Image};

fn image() -> Option<Image> {
    let Some(path) = std::env::var_os("RELOCHECK_TEST_IMAGE") else {
        eprintln!("skipped: RELOCHECK_TEST_IMAGE names no bzImage");
        return None;
    };
    Some(Image::open(path.as_ref()).expect("RELOCHECK_TEST_IMAGE names a bzImage"))
}

#[test]
fn an_edited_kernel_fits_into_its_image() {
    let Some(image) = image() else { return };
    let before = image.kernel().unwrap();
    let last = before.payload.len() - 4;
    let file = edit_kernel(&image, |payload| payload[last] ^= 1).unwrap();
    assert_eq!(file.len(), image.file().len());

    let edited = Image::parse(file).unwrap();
    assert_eq!(edited.payload(), image.payload());
    let after = edited.kernel().unwrap();
    assert_eq!(after.table.words.last().copied(), before.table.words.last().map(|word| word ^ 1));
    assert!(after.payload[..last] == before.payload[..last]);
}

#[test]
fn a_kernel_can_change_its_format() {
    let Some(image) = image() else { return };
    let kernel = image.kernel().unwrap();
    match replace_kernel(&image, Compression::Zstd, &kernel.payload) {
        Ok(file) => {
            let changed = Image::parse(file).unwrap();
            assert_eq!(changed.payload().compression, Compression::Zstd);
            assert!(changed.kernel().unwrap() == kernel);
        }
        Err(RebuildError::TooLarge { found, room, .. }) => assert!(found > room),
        Err(error) => panic!("{error}"),
    }
    assert!(matches!(
        replace_kernel(&image, Compression::Gzip, &kernel.payload[1..]),
        Err(RebuildError::Length { .. })
    ));
}

#[test]
fn stub_code_is_patched_where_the_pattern_is_unique() {
    let Some(image) = image() else { return };
    // " of kernel!\\n", the end of the error text of each relocation loop.
    let text = "20 6f 66 20 6b 65 72 6e 65 6c 21 0a";
    let count = image.stub().loops.len();
    match patch_stub(&image, &pattern(text), 11, b"?") {
        Ok(file) => {
            let changed =
                file.iter().zip(image.file()).filter(|(left, right)| left != right).count();
            assert_eq!((changed, count), (1, 1));
        }
        Err(RebuildError::Pattern { found }) => assert!(found > 1 && count > 1),
        Err(error) => panic!("{error}"),
    }
    let absent = pattern("de ad be ef ?? de ad be ef");
    assert!(matches!(
        patch_stub(&image, &absent, 0, b"x"),
        Err(RebuildError::Pattern { found: 0 })
    ));
}
