// SPDX-License-Identifier: GPL-2.0-only
//! What a bzImage file says of itself.
//!
//! ```text
//! file            | setup code | protected-mode code (the stub, with the payload inside) | signature, padding |
//! payload         |                          compressed kernel | output length |
//! kernel          |                          ELF file | relocation table |
//! ```
//!
//! Before 2.6.26 a flat binary stands in the place of the ELF file.
//!
//! [`Image::parse`] finds the parts, [`Image::kernel`] decompresses the payload and takes it apart. Every input is
//! hostile: nothing here panics, and memory grows only with bytes that are really there.

mod decompress;
mod error;
#[cfg(test)]
pub(crate) mod fixture;
mod flat;
mod header;
mod kernel;
mod payload;
mod release;
mod startup;
mod stub;
mod table;
mod traits;
mod vintage;

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use sha2::{Digest, Sha256};

pub use error::ImageError;
pub use header::{HEADER_START, ProtocolVersion, SetupHeader};
pub use kernel::{Kernel, Segment, WordSize};
pub use payload::{Compression, Payload};
pub use release::Release;
pub use startup::{Scratch, Startup};
pub use stub::Stub;
pub use table::{Group, RelocKind, RelocTable};
pub use traits::Traits;
pub use vintage::Vintage;

/// The largest file that is read, in bytes.
pub const MAX_FILE: u64 = 512 << 20;

/// One bzImage, its parts located.
#[derive(Debug)]
pub struct Image {
    file: Vec<u8>,
    header: SetupHeader,
    kernel_version: Option<String>,
    payload: Payload,
    stub: Stub,
}

impl Image {
    /// Reads and parses a file.
    ///
    /// # Errors
    ///
    /// Anything but a regular file, a file of more than [`MAX_FILE`] bytes, and what [`Image::parse`] refuses.
    pub fn open(path: &Path) -> Result<Image, ImageError> {
        // Before opening: a pipe would block, and opening some devices has effects.
        let metadata = fs::metadata(path).map_err(ImageError::Read)?;
        if !metadata.is_file() {
            return Err(ImageError::NotRegular { found: kind_of(metadata.file_type()) });
        }
        if metadata.len() > MAX_FILE {
            return Err(ImageError::TooLarge { found: metadata.len(), limit: MAX_FILE });
        }
        let mut input = File::open(path).map_err(ImageError::Read)?;
        let mut bytes = Vec::new();
        // The header first, so that a large file of another kind costs nothing.
        (&mut input)
            .take(SetupHeader::HEADER_MAX as u64)
            .read_to_end(&mut bytes)
            .map_err(ImageError::Read)?;
        SetupHeader::parse(&bytes)?;
        input.rewind().map_err(ImageError::Read)?;
        bytes.clear();
        input.take(MAX_FILE).read_to_end(&mut bytes).map_err(ImageError::Read)?;
        Image::parse(bytes)
    }

    /// Parses a whole image file.
    ///
    /// An image that is not relocatable parses as long as a payload is found in it;
    /// [`Image::require_relocatable`] tells.
    ///
    /// # Errors
    ///
    /// One variant of [`ImageError`] for each step: header, protected-mode code, payload.
    pub fn parse(file: Vec<u8>) -> Result<Image, ImageError> {
        let header = SetupHeader::parse(&file)?;
        let setup = header.setup_size();
        if file.len() < setup {
            return Err(ImageError::TooShort {
                found: file.len(),
                part: "the setup code",
                needed: setup,
            });
        }
        let kernel_version = release::version_string(&header, &file);
        let relocatable = relocatable(&header, kernel_version.as_deref());
        let protected_mode = protected_mode(&header, &file);
        let promised = promised(&header);
        // syssize is rounded up to paragraphs, the file need not be.
        if relocatable.is_ok() && protected_mode.len() + 15 < promised {
            return Err(ImageError::Truncated {
                promised: promised as u64,
                found: protected_mode.len() as u64,
            });
        }
        // That it is no kernel which moves explains a missing payload better than the payload's absence.
        let payload = payload::locate(&header, protected_mode)
            .map_err(|error| relocatable.err().unwrap_or(error))?;
        let release = kernel_version.as_deref().and_then(Release::from_version);
        let parts = [
            protected_mode.get(..payload.range.start).unwrap_or_default(),
            protected_mode.get(payload.range.end..).unwrap_or_default(),
        ];
        let stub = Stub::read(parts, release.as_ref().map(|release| release.text.as_str()));
        Ok(Image { header, kernel_version, payload, stub, file })
    }

    /// The setup header.
    pub fn header(&self) -> &SetupHeader {
        &self.header
    }

    /// The whole file.
    pub fn file(&self) -> &[u8] {
        &self.file
    }

    /// SHA-256 of the whole file, in lower-case hex.
    pub fn sha256(&self) -> String {
        Sha256::digest(&self.file).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What a loader places at the load address: the stub with the payload inside, as many bytes as syssize says, or
    /// up to the end of the file.
    pub fn protected_mode(&self) -> &[u8] {
        protected_mode(&self.header, &self.file)
    }

    /// The header's version string, such as "6.1.0-56-amd64 (builder@host) #1 SMP Debian 6.1.192-2": printable ASCII of
    /// bounded length.
    pub fn kernel_version(&self) -> Option<&str> {
        self.kernel_version.as_deref()
    }

    /// The kernel release, from the version string.
    pub fn release(&self) -> Option<Release> {
        self.kernel_version().and_then(Release::from_version)
    }

    /// The compressed kernel.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The bytes of the compressed kernel, the appended length included.
    pub fn payload_bytes(&self) -> &[u8] {
        self.protected_mode().get(self.payload.range.clone()).unwrap_or_default()
    }

    /// What the stub tells about itself.
    pub fn stub(&self) -> &Stub {
        &self.stub
    }

    /// What the stub's start-up code tells.
    pub fn startup(&self) -> Startup {
        Startup::read(self.protected_mode())
    }

    /// Whether the image is one that may be loaded at an address of the loader's choosing.
    ///
    /// # Errors
    ///
    /// [`ImageError::NotRelocatable`] names the field that says no.
    pub fn require_relocatable(&self) -> Result<(), ImageError> {
        relocatable(&self.header, self.kernel_version())
    }

    /// Decompresses the payload and takes it apart.
    ///
    /// # Errors
    ///
    /// The claimed output length exceeds 1 GiB or init_size, the data does not decompress to exactly that length, or the
    /// result is no ELF file of an x86 kernel and no flat i386 kernel of a boot protocol that has those.
    pub fn kernel(&self) -> Result<Kernel, ImageError> {
        let vintage = self.vintage();
        let may_be_flat = vintage.is_some() && self.header.version.0 < vintage::SINCE_ELF;
        let flat = |head: &[u8]| may_be_flat && !kernel::is_elf(head);
        let limit = match (self.header.init_size, vintage) {
            (Some(init_size), _) => Some((init_size.into(), "init_size")),
            (None, Some(_)) => Some((vintage::MAX_OUTPUT, "an i386 kernel before 2.6.31")),
            (None, None) => None,
        };
        let output = decompress::payload(
            self.payload.compression,
            self.payload_bytes(),
            u64::from(self.payload.output_len),
            limit,
            |head| match flat(head) {
                true => flat::check_head(head),
                false => kernel::check_head(head, self.payload.output_len as usize),
            },
        )?;
        if flat(&output) {
            let alignment = self.header.kernel_alignment.unwrap_or(0);
            return flat::parse(output, alignment, &self.stub);
        }
        Kernel::parse(output, &self.stub)
    }
}

fn relocatable(header: &SetupHeader, kernel_version: Option<&str>) -> Result<(), ImageError> {
    let reason = match header.relocatable_kernel {
        None => format!(
            "boot protocol {} has no relocatable_kernel, which came with 2.05",
            header.version
        ),
        Some(0) => format!("relocatable_kernel is 0 (boot protocol {})", header.version),
        Some(_) if !header.loaded_high() => {
            "loadflags bit 0 is clear: a zImage, loaded low".to_owned()
        }
        Some(_) => return Ok(()),
    };
    // A name tells users of memtest86+, iPXE and the like what they picked.
    let named =
        kernel_version.map_or(String::new(), |name| format!("; the image calls itself \"{name}\""));
    Err(ImageError::NotRelocatable { reason: reason + &named })
}

/// Bytes of protected-mode code according to syssize.
fn promised(header: &SetupHeader) -> usize {
    (header.syssize as usize).saturating_mul(16)
}

fn protected_mode<'a>(header: &SetupHeader, file: &'a [u8]) -> &'a [u8] {
    let rest = file.get(header.setup_size()..).unwrap_or_default();
    rest.get(..promised(header)).unwrap_or(rest)
}

fn kind_of(kind: fs::FileType) -> &'static str {
    if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::fixture::{BITS32, Fixture};
    use super::*;
    use crate::exit::Exit;

    fn image(fixture: &Fixture) -> Image {
        Image::parse(fixture.build()).unwrap()
    }

    fn good() -> Fixture {
        Fixture::new(Compression::Gzip, &fixture::kernel(true, &[0, 5, 0, 6, 0, 7]))
    }

    #[test]
    fn takes_an_image_apart() {
        for compression in Compression::ALL {
            let fixture = Fixture::new(compression, &fixture::kernel(true, &[0, 5, 0, 6, 0, 7]));
            let image = image(&fixture);
            assert_eq!(image.payload().compression, compression);
            assert_eq!(image.payload_bytes(), fixture.payload);
            assert_eq!(image.release().unwrap().to_string(), "6.1.192");
            let kernel = image.kernel().unwrap();
            assert_eq!(kernel.table.entries(RelocKind::Abs32), [7]);
            assert_eq!(kernel.table.entries(RelocKind::Inverse32), [6]);
            assert_eq!(kernel.table.entries(RelocKind::Abs64), [5]);
            image.require_relocatable().unwrap();
        }
    }

    #[test]
    fn reads_the_stub() {
        let stub = image(&good()).stub().clone();
        assert_eq!(stub.loops, [RelocKind::Abs32, RelocKind::Inverse32, RelocKind::Abs64]);
        assert_eq!(stub.build_str.unwrap(), b"6.1.192 (builder@host) (cc 12) #1 SMP\0");
        let older = image(&Fixture { stub_text: BITS32.to_owned(), ..good() }).stub().clone();
        assert_eq!(older, Stub { loops: vec![RelocKind::Abs32], ..Stub::default() });
    }

    #[test]
    fn what_follows_the_code_is_not_loaded() {
        let mut file = good().build();
        let len = file.len();
        file.extend([0xdd; 1480]);
        let image = Image::parse(file).unwrap();
        assert_eq!(image.protected_mode().len(), len - fixture::SETUP_SIZE);
    }

    #[test]
    fn finds_payloads_of_images_without_payload_offset() {
        let fixture = Fixture { version: 0x0205, ..good() };
        let image = image(&fixture);
        assert_eq!(image.payload_bytes(), fixture.payload);
        assert_eq!(image.header().payload_offset, None);
        image.kernel().unwrap();
    }

    #[test]
    fn images_that_cannot_move_parse_and_say_so() {
        let fixed = image(&Fixture { relocatable: 0, ..good() });
        let error = fixed.require_relocatable().unwrap_err();
        assert_eq!(error.exit(), Exit::CannotJudge);
        assert_eq!(
            error.to_string(),
            "not relocatable: relocatable_kernel is 0 (boot protocol 2.15); \
             the image calls itself \"6.1.192 (builder@host) #1 SMP\""
        );
    }

    #[test]
    fn a_foreign_image_without_payload_is_not_relocatable_first_of_all() {
        let fixture = Fixture { relocatable: 0, payload: vec![0; 100], ..good() };
        assert_eq!(Image::parse(fixture.build()).unwrap_err().exit(), Exit::CannotJudge);
        let fixture = Fixture { relocatable: 1, ..fixture };
        assert_eq!(Image::parse(fixture.build()).unwrap_err().exit(), Exit::Usage);
    }

    #[test]
    fn flat_kernels_of_unknown_stubs_cannot_be_judged() {
        for version in [0x0205, 0x020f] {
            let fixture = Fixture { version, ..Fixture::new(Compression::Gzip, &[0x90; 500]) };
            assert_eq!(image(&fixture).kernel().unwrap_err().exit(), Exit::CannotJudge);
        }
    }

    #[test]
    fn truncation_anywhere_is_an_error() {
        let file = good().build();
        for len in (0..file.len() - 15).step_by(7) {
            let error = Image::parse(file[..len].to_vec()).unwrap_err();
            assert_eq!(error.exit(), Exit::Usage, "{len}: {error}");
            assert!(!error.to_string().contains('\n'));
        }
    }

    #[test]
    fn opens_only_regular_files() {
        let directory = tempfile::tempdir().unwrap();
        let error = Image::open(directory.path()).unwrap_err();
        assert_eq!(error.to_string(), "is a directory, expected a regular file");
        let error = Image::open(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(error.to_string(), "is a device, expected a regular file");
        let huge = directory.path().join("huge");
        File::create(&huge).unwrap().set_len(MAX_FILE + 1).unwrap();
        assert!(matches!(Image::open(&huge), Err(ImageError::TooLarge { .. })));
        let good_file = directory.path().join("good");
        fs::write(&good_file, good().build()).unwrap();
        assert_eq!(Image::open(&good_file).unwrap().file(), good().build());
    }

    proptest! {
        #[test]
        fn survives_damage_to_the_header(damage in prop::collection::vec((0x1f1usize..0x270, any::<u8>()), 1..8)) {
            let mut file = good().build();
            for (offset, byte) in damage {
                file[offset] = byte;
            }
            if let Ok(image) = Image::parse(file) {
                prop_assert!(image.payload().range.end <= image.protected_mode().len());
                let _ = image.kernel();
            }
        }

        #[test]
        fn survives_noise(file in prop::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert_eq!(Image::parse(file).unwrap_err().exit(), Exit::Usage);
        }
    }
}
