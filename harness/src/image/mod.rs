// SPDX-License-Identifier: GPL-2.0-only
//! What a bzImage file says of itself.
//!
//! ```text
//! file            | setup code | protected-mode code (the stub, with the payload inside) | signature, padding |
//! payload         |                          compressed kernel | output length |
//! kernel          |                          ELF file | relocation table |
//! ```
//!
//! [`Image::parse`] finds the parts, [`Image::kernel`] decompresses the payload and takes it apart. Every input is
//! hostile: nothing here panics, and memory grows only with bytes that are really there.

mod decompress;
mod error;
mod header;
mod kernel;
mod payload;
mod release;
mod startup;
mod stub;
mod table;

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
pub use startup::Startup;
pub use stub::Stub;
pub use table::{Group, RelocKind, RelocTable};

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
    /// result is no ELF file of an x86 kernel.
    pub fn kernel(&self) -> Result<Kernel, ImageError> {
        let output = decompress::payload(
            self.payload.compression,
            self.payload_bytes(),
            u64::from(self.payload.output_len),
            self.header.init_size,
        )?;
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
