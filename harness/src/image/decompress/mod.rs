// SPDX-License-Identifier: GPL-2.0-only
//! Decompression of the payload, with one cap over all formats.
//!
//! A payload says itself how long its output is. That claim is checked before anything is decoded, is never
//! allocated ahead, and is never exceeded: decoding stops one chunk after the claim at the latest.

mod lz4;
mod lzo;
mod output;
mod stream;

use self::output::{Output, Stop};
use super::error::ImageError;
use super::payload::{Compression, LENGTH_BYTES};

/// No x86 kernel can be longer: its virtual window is 1 GiB (KERNEL_IMAGE_SIZE).
const MAX_OUTPUT: u64 = 1 << 30;
/// Bytes at the start of the output that are looked at first.
pub(super) const HEAD: usize = 64;
/// Claims above this are counted before they are stored. Stored output and a decoder's window of the same size
/// have to fit into 200 MiB together.
const COUNT_FIRST: u64 = 64 << 20;

/// Decompresses a payload of which `data` is everything, the appended length included, to exactly `claim` bytes.
///
/// # Errors
///
/// A claim above 1 GiB or above the named `limit`; data that is damaged, or that decodes to more or less than the claim; what
/// `check_head` says of the first [`HEAD`] bytes, before more is decoded than they take.
pub(super) fn payload(
    compression: Compression,
    data: &[u8],
    claim: u64,
    limit: Option<(u64, &'static str)>,
    check_head: impl FnOnce(&[u8]) -> Result<(), ImageError>,
) -> Result<Vec<u8>, ImageError> {
    let limits = [Some((MAX_OUTPUT, "relocheck")), limit];
    if let Some((limit, limit_name)) =
        limits.into_iter().flatten().find(|(limit, _)| claim > *limit)
    {
        return Err(ImageError::OutputClaim { claimed: claim, limit, limit_name });
    }
    // gzip's own trailer is the appended length.
    let stream = match compression {
        Compression::Gzip => data,
        _ => data.get(..data.len().saturating_sub(LENGTH_BYTES)).unwrap_or_default(),
    };
    if let Some(found) = stream::content_size(compression, stream).filter(|&found| found != claim) {
        return Err(ImageError::ContentSize { compression, found, expected: claim });
    }

    // A bomb of zeros is found out here, at the cost of one chunk.
    check_head(&run(compression, stream, Output::head(claim, HEAD))?)?;
    if claim > COUNT_FIRST {
        run(compression, stream, Output::count(claim))?;
    }
    run(compression, stream, Output::store(claim))
}

/// Decodes `stream` into `output` and returns what it kept.
fn run(compression: Compression, stream: &[u8], mut output: Output) -> Result<Vec<u8>, ImageError> {
    let result = match compression {
        Compression::Lz4 => lz4::decode(stream, &mut output),
        Compression::Lzo => lzo::decode(stream, &mut output),
        _ => stream::decode(compression, stream, &mut output),
    };
    let wrong_length =
        |found| ImageError::OutputLength { compression, found, expected: output.claim() };
    match result {
        Ok(()) if output.is_complete() => Ok(output.into_kept()),
        Ok(()) => Err(wrong_length(format!("{} bytes", output.written()))),
        Err(Stop::Satisfied) => Ok(output.into_kept()),
        Err(Stop::Overflow) => Err(wrong_length("more bytes".to_owned())),
        Err(Stop::Corrupt(reason)) => Err(ImageError::Corrupt { compression, reason }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::image::fixture::compress;

    fn any_head(_: &[u8]) -> Result<(), ImageError> {
        Ok(())
    }

    fn decode(compression: Compression, data: &[u8], claim: usize) -> Result<Vec<u8>, ImageError> {
        payload(compression, data, claim as u64, None, any_head)
    }

    /// Text, noise and zeros, over several lzop blocks.
    fn sample(len: usize) -> Vec<u8> {
        (0..len as u32)
            .map(|i| match i >> 14 & 3 {
                0 => b"relocate"[i as usize & 7],
                1 => (i.wrapping_mul(2_654_435_761) >> 24) as u8,
                _ => 0,
            })
            .collect()
    }

    fn compression() -> impl Strategy<Value = Compression> {
        proptest::sample::select(Compression::ALL.to_vec())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn decodes_what_the_build_encodes(compression in compression(), len in 64usize..600_000, padding in 0usize..64, most: bool) {
            let effort = if most { compress::Effort::Most } else { compress::Effort::Build };
            let data = sample(len);
            let mut payload = compress::stream(compression, &data, effort).unwrap();
            prop_assert!(compression.magic() == &payload[..compression.magic().len()]);
            payload.resize(payload.len() + padding, 0);
            payload.extend(compress::output_len(&data).to_le_bytes());
            prop_assert!(decode(compression, &payload, len).unwrap() == data);
        }

        #[test]
        fn refuses_any_other_length(compression in compression(), len in 64usize..100_000, off in 1usize..5000) {
            let payload = compress::payload(compression, &sample(len)).unwrap();
            for claim in [len + off, len.saturating_sub(off)] {
                let error = decode(compression, &payload, claim).unwrap_err();
                prop_assert!(error.to_string().starts_with("payload: "), "{error}");
            }
        }

        #[test]
        fn survives_damage(compression in compression(), at in any::<proptest::sample::Index>(), byte: u8, cut: bool) {
            let data = sample(50_000);
            let mut payload = compress::payload(compression, &data).unwrap();
            let at = at.index(payload.len());
            payload[at] = byte;
            if cut {
                payload.truncate(at);
            }
            if let Ok(output) = decode(compression, &payload, data.len()) {
                prop_assert_eq!(output.len(), data.len());
            }
        }
    }

    #[test]
    fn lz4_blocks_of_8_mib_are_joined() {
        let data = sample((8 << 20) + 1000);
        let payload = compress::payload(Compression::Lz4, &data).unwrap();
        assert!(decode(Compression::Lz4, &payload, data.len()).unwrap() == data);
    }

    #[test]
    fn lz4_blocks_beyond_the_claim_are_refused() {
        let payload = compress::payload(Compression::Lz4, &sample((8 << 20) + 1000)).unwrap();
        for claim in [0, 8 << 20] {
            let error = decode(Compression::Lz4, &payload, claim).unwrap_err();
            assert!(error.to_string().contains("decodes to more bytes"), "{error}");
        }
    }

    #[test]
    fn claims_beyond_the_limits_are_refused_before_anything_is_decoded() {
        let garbage = [0xff; 16];
        let result = payload(Compression::Xz, &garbage, (1 << 30) + 1, None, any_head);
        assert!(matches!(result, Err(ImageError::OutputClaim { limit_name: "relocheck", .. })));
        let result =
            payload(Compression::Xz, &garbage, 0x1001, Some((0x1000, "init_size")), any_head);
        assert!(matches!(result, Err(ImageError::OutputClaim { limit_name: "init_size", .. })));
    }

    #[test]
    fn a_large_false_claim_is_counted_not_stored() {
        let mut payload = zstd::stream::encode_all(&vec![0; 70 << 20][..], 1).unwrap();
        payload.extend([0; LENGTH_BYTES]);
        let error = decode(Compression::Zstd, &payload, 100 << 20).unwrap_err();
        assert_eq!(
            error.to_string(),
            "payload: zstd data decodes to 73400320 bytes, expected 104857600, the appended length"
        );
    }

    #[test]
    fn frame_headers_must_agree_with_the_appended_length() {
        let data = sample(5000);
        let mut zstd = zstd::bulk::compress(&data, 3).unwrap();
        zstd.extend([0; 4]);
        let error = decode(Compression::Zstd, &zstd, 4000).unwrap_err();
        assert!(matches!(error, ImageError::ContentSize { found: 5000, expected: 4000, .. }));

        let mut lzma = compress::payload(Compression::Lzma, &data).unwrap();
        lzma[5..13].copy_from_slice(&6000u64.to_le_bytes());
        let error = decode(Compression::Lzma, &lzma, 5000).unwrap_err();
        assert!(matches!(error, ImageError::ContentSize { found: 6000, expected: 5000, .. }));
    }

    #[test]
    fn the_head_decides_before_the_rest_is_decoded() {
        let mut payload = compress::payload(Compression::Lzo, &sample(600_000)).unwrap();
        // Damage behind the first block goes unnoticed.
        let end = payload.len();
        payload[end / 2..].fill(0xff);
        let refuse = |head: &[u8]| {
            assert_eq!(head, &sample(HEAD));
            Err(ImageError::NotElf { found: "a test".to_owned() })
        };
        let result = super::payload(Compression::Lzo, &payload, 600_000, None, refuse);
        assert!(matches!(result, Err(ImageError::NotElf { .. })));
    }
}
