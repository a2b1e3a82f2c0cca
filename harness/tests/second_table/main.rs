// SPDX-License-Identifier: GPL-2.0-only
//! The relocation table that follows from `vmlinux` against those of real images: all kernels that were built from source,
//! and Debian's where its ELF file is fetched, too. Then tables with one mistake.

mod command;
mod damage;
mod plain;
mod same;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use relocheck::corpus::build::{BuildError, Builds, CachedBuild};

#[path = "../common/mod.rs"]
mod common;
#[path = "../kernels/mod.rs"]
mod kernels;

/// Images of the corpus, each with the entry of its ELF file.
const PACKAGED: [(&str, &str); 2] =
    [("bullseye-cloud", "bullseye-cloud-vmlinux"), ("bookworm-cloud", "bookworm-cloud-vmlinux")];
/// Tables are damaged in builds of this variant and compressor: they are small, and quick to pack.
const DAMAGED: &str = "-base-gzip";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = packaged();
    match cached() {
        Ok(builds) if builds.is_empty() => {
            trials.push(missing("builds", "none; run `relocheck corpus build`".into()));
        }
        Ok(builds) => trials.extend(builds.into_iter().flat_map(of_build)),
        Err(error) => trials.push(missing("builds", error.to_string())),
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The relocatable kernels that were built from source and are cached.
fn cached() -> Result<Vec<CachedBuild>, BuildError> {
    let builds = Builds::open(None)?;
    let mut cached = Vec::new();
    for build in builds.select(&[])?.iter().filter(|build| build.family.is_relocatable()) {
        // Those without KASLR have no table on x86_64.
        cached.extend(builds.get(build)?.filter(|build| build.table().is_some()));
    }
    Ok(cached)
}

fn missing(name: &str, why: String) -> Trial {
    eprintln!("SKIPPED: {name}: {why}");
    Trial::test(name, move || Err(Failed::from(why))).with_ignored_flag(true)
}

fn of_build(build: CachedBuild) -> Vec<Trial> {
    let name = build.name().to_owned();
    let of = |what: &str, test: fn(&CachedBuild) -> Result<(), Failed>| {
        let build = build.clone();
        Trial::test(format!("{what}_{name}"), move || test(&build))
    };
    let mut trials = vec![of("table", same::build), of("plain", plain::build)];
    if name.ends_with(DAMAGED) {
        trials.push(of("dropped", damage::dropped));
        trials.push(of("added", damage::added));
        trials.push(of("moved", damage::moved));
        trials.push(of("payload", damage::payload));
        trials.push(of("command", command::all));
    }
    trials
}

fn packaged() -> Vec<Trial> {
    let trial = |(image, vmlinux): (&'static str, &'static str)| {
        let name = format!("table_{image}");
        match kernels::cached(vmlinux) {
            Err(why) => missing(&name, why),
            Ok(vmlinux) => kernels::trial(&name, image, move |path| {
                same::files(&path, &vmlinux)?;
                plain::files(&path, &vmlinux)
            }),
        }
    };
    PACKAGED.into_iter().map(trial).collect()
}
