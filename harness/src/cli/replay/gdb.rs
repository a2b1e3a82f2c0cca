// SPDX-License-Identifier: GPL-2.0-only
//! `relocheck replay --gdb`: stand in the run with gdb.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, anyhow};

use crate::build_tree::BuildTree;
use crate::case::{Case, place};
use crate::cli::{Failure, complain, print};
use crate::exit::Exit;
use crate::explain::gdb::hints::{self, Files};
use crate::explain::gdb::{Debuggee, GdbError, serve};
use crate::explain::symbols::{SymbolFiles, Symbols};
use crate::machine::{Setup, UnicornEngine};
use crate::oracle::Subject;

/// Where gdb connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Standard input and output: `target remote | relocheck replay CASE --gdb -`.
    Pipe,
    /// A TCP port of this machine.
    Tcp(SocketAddr),
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Endpoint, String> {
        if text == "-" {
            return Ok(Endpoint::Pipe);
        }
        let expected = "expected - or an address of this machine's own such as 127.0.0.1:1234";
        let address: SocketAddr =
            text.replacen("localhost", "127.0.0.1", 1).parse().map_err(|_| expected.to_owned())?;
        if address.ip().is_loopback() { Ok(Endpoint::Tcp(address)) } else { Err(expected.into()) }
    }
}

/// Serves gdb at `endpoint`.
pub fn run(
    endpoint: &Endpoint,
    subject: &Subject,
    case: &Case,
    files: Files,
    symbols: &Symbols,
) -> Result<Exit, Failure> {
    let setup: Setup = place(&subject.image, subject.word, case)
        .map_err(|error| Failure::cannot_judge(anyhow!("{error}")))?;
    let engine = UnicornEngine::new();
    let debuggee = Debuggee { engine: &engine, subject, case, setup: &setup, symbols };
    let served = match endpoint {
        Endpoint::Pipe => {
            let connect = "# gdb is connected by the pipe";
            let _ = write!(std::io::stderr(), "{}", hints::text(&debuggee, &files, connect));
            serve(&debuggee, std::io::stdin(), std::io::stdout())
        }
        Endpoint::Tcp(address) => {
            let listener = TcpListener::bind(address)
                .with_context(|| format!("--gdb {address}"))
                .map_err(Failure::usage)?;
            let address = listener.local_addr().context("--gdb")?;
            print(&hints::text(&debuggee, &files, &format!("target remote {address}")))?;
            let (stream, _) = listener.accept().context("--gdb")?;
            // One packet after the other goes to and fro: none is worth being held back.
            let _ = stream.set_nodelay(true);
            let from = stream.try_clone().context("--gdb")?;
            serve(&debuggee, from, stream)
        }
    };
    match served {
        Ok(()) => Ok(Exit::Conforms),
        Err(error @ GdbError::Protocol(_)) => {
            complain(format_args!("--gdb: {error}"));
            Ok(Exit::Usage)
        }
        Err(GdbError::Machine(error)) => Err(Failure::cannot_judge(error)),
    }
}

/// The files with symbols that are `named`, or lie beside the image in its build folder.
pub fn files(image: &std::path::Path, named: &SymbolFiles) -> Files {
    let real: PathBuf = std::fs::canonicalize(image).unwrap_or_else(|_| image.to_owned());
    let tree = BuildTree::of_image(image).or_else(|| BuildTree::of_image(&real));
    let beside = tree.map(|tree| SymbolFiles::of(&tree)).unwrap_or_default();
    Files {
        vmlinux: named.vmlinux.clone().or(beside.vmlinux),
        stub: named.stub.clone().or(beside.stub),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_may_connect() {
        assert_eq!("-".parse(), Ok(Endpoint::Pipe));
        for own in ["127.0.0.1:1234", "[::1]:0", "localhost:1", "127.9.9.9:1"] {
            assert!(matches!(own.parse(), Ok(Endpoint::Tcp(_))), "{own}");
        }
        for other in
            ["0.0.0.0:1", "192.168.1.1:1234", ":1234", "1234", "[::]:1", "example.org:1", ""]
        {
            assert!(other.parse::<Endpoint>().is_err(), "{other}");
        }
    }
}
