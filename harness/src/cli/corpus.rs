// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck corpus`: lists, fetches and looks after the kernels of the manifest, builds those that nobody ships.

mod build;
mod fetch;
mod keep;
mod list;

use std::path::PathBuf;

use clap::Subcommand;

use super::{Failure, Format};
use crate::corpus::{Corpus, CorpusError};
use crate::exit::Exit;

/// Get real kernels to check.
///
/// A manifest names the kernels, and sets of them; the images are kept in the user's cache folder.
/// Only `fetch` and `build` use the network.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  relocheck corpus fetch                     get or update the set `default`
  relocheck corpus list                      show what is there
  relocheck inspect $(relocheck corpus path debian-cloud)")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    /// Use this manifest instead of the built-in one
    #[arg(long, value_name = "FILE", global = true)]
    manifest: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Action {
    /// Show the entries of a set and which of them are cached
    #[command(after_help = "\
Examples:
  relocheck corpus list
  relocheck corpus list i386
  relocheck corpus list generations --format json | jq -r '.entries[].cached.path'")]
    List {
        /// The set
        #[arg(default_value = "default")]
        set: String,
        /// The form of the list
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Download what is missing or outdated in a set
    ///
    /// A fetch that was killed goes on where it was: images that are there are not fetched again, and
    /// half a package is left to apt, which continues it where the mirror allows that. Where the
    /// network cannot be reached, the images of the cache serve, and a line says so. What the archive
    /// no longer has is counted apart. The exit code is 0 if every entry has an image then, else 125.
    #[command(after_help = "\
Examples:
  relocheck corpus fetch
  relocheck corpus fetch everything          well over a hundred kernels, some gigabytes to download
  relocheck corpus --manifest my-kernels.toml fetch all")]
    Fetch {
        /// The set
        #[arg(default_value = "default")]
        set: String,
    },
    /// Read the cached images of a set again and compare them with their sums
    ///
    /// The exit code is 1 if an image is corrupt, else 125 if one is not cached, else 0. `fetch` gets
    /// corrupt images anew.
    #[command(after_help = "\
Examples:
  relocheck corpus verify
  relocheck corpus verify everything")]
    Verify {
        /// The set
        #[arg(default_value = "default")]
        set: String,
    },
    /// Remove the cached images that no entry of the manifest refers to
    ///
    /// With it goes what fetches that were killed left in the cache. Kernels that `build` made, and
    /// their sources, stay. A case that names a removed image by its sum can be replayed only with
    /// another copy of that image.
    #[command(after_help = "\
Examples:
  relocheck corpus prune --dry-run           say what would be removed
  relocheck corpus prune")]
    Prune {
        /// Remove nothing, only say what would be removed
        #[arg(long)]
        dry_run: bool,
    },
    /// Print the cached file of an entry
    ///
    /// The exit code is 125 if it is not cached.
    #[command(after_help = "\
Example:
  file \"$(relocheck corpus path debian-amd64)\"")]
    Path {
        /// The entry
        name: String,
    },
    Build(build::Args),
}

/// Runs the command.
///
/// # Errors
/// The manifest or the cache cannot be used, or an entry that was asked for is not cached.
pub fn run(args: Args) -> Result<Exit, Failure> {
    let open = || Corpus::open(args.manifest.as_deref()).map_err(classify);
    match args.action {
        Action::List { set, format } => list::list(&open()?, &set, format),
        Action::Fetch { set } => fetch::fetch(&open()?, &set),
        Action::Verify { set } => keep::verify(&open()?, &set),
        Action::Prune { dry_run } => keep::prune(&open()?, dry_run),
        Action::Path { name } => list::path(&open()?, &name),
        Action::Build(_) if args.manifest.is_some() => Err(Failure::usage(anyhow::anyhow!(
            "--manifest says nothing of what to build: use --builds"
        ))),
        Action::Build(builds) => build::run(&builds),
    }
}

fn classify(error: CorpusError) -> Failure {
    match error {
        CorpusError::Manifest { .. }
        | CorpusError::UnknownSet { .. }
        | CorpusError::UnknownEntry(_) => Failure::usage(error),
        _ => Failure::cannot_judge(error),
    }
}
