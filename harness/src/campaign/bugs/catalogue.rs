// SPDX-License-Identifier: GPL-2.0-only
//! `corpus/bugs/bugs.toml`: mistakes that kernels once had, each as a patch to a kernel of today.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::builtin;
use crate::campaign::nightly::PlannedProtocol;
use crate::case::{Loader, Protocols};
use crate::corpus::build::{Altered, Build, BuildError, Builds, Patch};
use crate::corpus::{CorpusError, Name};
use crate::oracle::Rule;
use crate::toml_file;

/// The schema that this version of relocheck reads.
const SCHEMA: u32 = 1;

/// Where patches may reach: what is changed elsewhere has nothing to do with relocation.
const PLACES: [&str; 1] = ["arch/x86/"];

/// All bugs, in the order of the file.
#[derive(Clone, Debug)]
pub struct Catalogue {
    bugs: Vec<Bug>,
}

/// A mistake, and what has to notice it.
#[derive(Clone, Debug)]
pub struct Bug {
    /// What the file says of it.
    pub entry: BugEntry,
    /// The patch that brings it back.
    pub patch: Patch,
}

/// How it is known that a kernel had the mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// The fix, or the file at its commit, was read.
    Source,
    /// The fix was read as mail on a kernel list.
    Mail,
    /// The commit was seen beside its title, in a list of changes.
    Title,
    /// The change is remembered, its hash was not looked up again.
    Memory,
    /// No kernel is known to have had it: it is close to one that had another.
    None,
}

/// A bug as it is written.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BugEntry {
    /// Its name, which is also that of its patch.
    pub name: Name,
    /// What goes wrong, in a sentence.
    pub title: String,
    /// The title of the kernel's commit that mended or added it; empty if there is none.
    pub fix: String,
    /// That commit's hash, as far as it was looked up.
    pub commit: Option<String>,
    /// The first release with that commit.
    pub fixed_in: Option<String>,
    /// How well all this is known.
    pub evidence: Evidence,
    /// The kernel of the matrix of builds that the patch is for: without it, the twin.
    pub twin: String,
    /// The rules of which one has to speak.
    pub rules: Vec<Rule>,
    /// The entry protocol of its class of cases.
    #[serde(default = "all")]
    pub protocol: PlannedProtocol,
    /// The loaders of its class of cases.
    #[serde(default)]
    pub loaders: Vec<Loader>,
}

fn all() -> PlannedProtocol {
    PlannedProtocol::All
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "schema")]
    _schema: u32,
    #[serde(rename = "bug")]
    bugs: Vec<BugEntry>,
}

impl BugEntry {
    /// The entry protocols that its cases are drawn from.
    pub fn protocols(&self) -> Protocols {
        Protocols::from(self.protocol)
    }
}

impl Catalogue {
    /// Reads the catalogue in `file`, with the patches from the folder `patches` beside it, or the
    /// built-in one.
    ///
    /// # Errors
    /// A file cannot be read, or is not what it should be.
    pub fn load(file: Option<&Path>) -> Result<Catalogue, CorpusError> {
        let unreadable = |path: &Path| {
            let place = path.display().to_string();
            move |problem| CorpusError::Manifest { place, problem }
        };
        let Some(file) = file else {
            return Catalogue::parse(builtin::CATALOGUE_NAME, builtin::CATALOGUE, builtin::patch);
        };
        let text = toml_file::read(file, "a catalogue of bugs").map_err(unreadable(file))?;
        let folder = file.parent().unwrap_or(Path::new("")).join("patches");
        Catalogue::parse(&file.display().to_string(), &text, |name| {
            let path = folder.join(format!("{name}.patch"));
            let text = toml_file::read(&path, "a patch").map_err(unreadable(&path))?;
            Ok((path.display().to_string(), text))
        })
    }

    /// Parses the text of a catalogue; `patch` gives the place and the text of a patch.
    fn parse(
        file: &str,
        text: &str,
        patch: impl Fn(&str) -> Result<(String, String), CorpusError>,
    ) -> Result<Catalogue, CorpusError> {
        let refuse = |problem: String| CorpusError::Manifest { place: file.to_owned(), problem };
        let Document { bugs: entries, .. } =
            toml_file::parse_versioned(text, SCHEMA).map_err(refuse)?;
        let mut bugs: Vec<Bug> = Vec::new();
        for entry in entries {
            let wrong = |problem: &str| refuse(format!("bug `{}`: {problem}", entry.name));
            if entry.rules.is_empty() {
                return Err(wrong("`rules` is empty, expected at least one"));
            }
            if (entry.evidence == Evidence::None) != entry.fix.is_empty() {
                return Err(wrong(
                    "`fix` and `evidence` say different things: expected both, or neither",
                ));
            }
            if bugs.iter().any(|other| other.entry.name == entry.name) {
                return Err(wrong("`name` is there twice"));
            }
            let (place, text) = patch(entry.name.as_str())?;
            let patch = Patch::parse(&place, &text)?;
            let outside = |file: &&String| !PLACES.iter().any(|place| file.starts_with(place));
            if let Some(outside) = patch.files().iter().find(outside) {
                let problem = format!("`{outside}` is not below {}", PLACES.join(" or "));
                return Err(CorpusError::Manifest { place, problem });
            }
            bugs.push(Bug { entry, patch });
        }
        Ok(Catalogue { bugs })
    }

    /// The bugs that `names` mean, in the order of the file; without names all are meant.
    ///
    /// # Errors
    /// A name that no bug has.
    pub fn select(&self, names: &[String]) -> Result<Vec<&Bug>, CorpusError> {
        let known = |name: &&String| self.bugs.iter().any(|bug| bug.entry.name.as_str() == **name);
        if let Some(name) = names.iter().find(|name| !known(name)) {
            let all: Vec<&str> = self.bugs.iter().map(|bug| bug.entry.name.as_str()).collect();
            let problem = format!("expected one of {}", all.join(", "));
            return Err(CorpusError::Manifest { place: format!("bug `{name}`"), problem });
        }
        let meant = |bug: &&Bug| {
            names.is_empty() || names.iter().any(|name| name == bug.entry.name.as_str())
        };
        Ok(self.bugs.iter().filter(meant).collect())
    }
}

/// What to build for `bugs`, in the same order.
///
/// # Errors
/// The matrix of `builds` has no such twin.
pub fn altered<'a>(builds: &'a Builds, bugs: &[&'a Bug]) -> Result<Vec<Altered<'a>>, BuildError> {
    let altered = |bug: &&'a Bug| {
        let twins = builds.select(std::slice::from_ref(&bug.entry.twin))?;
        let exact = |build: &&Build<'a>| build.name() == bug.entry.twin;
        let twin = *twins.iter().find(exact).ok_or_else(|| {
            let place = format!("bug `{}`", bug.entry.name);
            let problem = format!("twin: expected a kernel, found `{}`", bug.entry.twin);
            BuildError::Corpus(CorpusError::Manifest { place, problem })
        })?;
        Ok(Altered { name: bug.entry.name.as_str(), twin, patch: &bug.patch })
    };
    bugs.iter().map(altered).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUG: &str = "schema = 1\n[[bug]]\nname = \"one\"\ntitle = \"t\"\nfix = \"f\"\nevidence = \"mail\"\n\
        twin = \"6.1-i386-base-gzip\"\nrules = [\"halt\"]\n";
    const PATCH: &str = "--- a/arch/x86/a.c\n+++ b/arch/x86/a.c\n@@ -1 +1 @@\n-x\n+y\n";

    fn parse(text: &str, patch: &str) -> Result<Catalogue, CorpusError> {
        Catalogue::parse("bugs.toml", text, |name| Ok((format!("{name}.patch"), patch.to_owned())))
    }

    #[test]
    fn mistakes_are_named_with_file_place_and_what_was_expected() {
        for (from, to, expected) in [
            ("[\"halt\"]", "[]", "bugs.toml: bug `one`: `rules` is empty"),
            ("[\"halt\"]", "[\"hlat\"]", "unknown variant `hlat`"),
            ("\"mail\"", "\"none\"", "bug `one`: `fix` and `evidence`"),
            ("\"f\"", "\"\"", "bug `one`: `fix` and `evidence`"),
            ("title = \"t\"\n", "", "missing field `title`"),
            ("schema = 1", "schema = 7", "schema: expected 1, found 7"),
        ] {
            let error = parse(&BUG.replacen(from, to, 1), PATCH).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected:?} is not in {error:?}");
        }
        let twice = BUG.to_owned() + BUG.trim_start_matches("schema = 1\n");
        assert!(parse(&twice, PATCH).unwrap_err().to_string().contains("twice"));
        let error = parse(BUG, &PATCH.replace("arch/x86/", "kernel/")).unwrap_err().to_string();
        assert_eq!(error, "one.patch: `kernel/a.c` is not below arch/x86/");
        let one = parse(BUG, PATCH).unwrap();
        assert_eq!(one.select(&[]).unwrap().len(), 1);
        let error = one.select(&[String::from("two")]).unwrap_err().to_string();
        assert_eq!(error, "bug `two`: expected one of one");
    }

    #[test]
    fn every_built_in_bug_has_a_twin_in_the_matrix_and_a_reason() {
        let catalogue = Catalogue::load(None).unwrap();
        let bugs = catalogue.select(&[]).unwrap();
        assert!(bugs.len() >= 24);
        let Ok(builds) = Builds::open(None) else { return };
        assert_eq!(altered(&builds, &bugs).unwrap().len(), bugs.len());
        for bug in bugs {
            let entry = &bug.entry;
            assert!(!entry.title.is_empty() && entry.title.ends_with('.'), "{}", entry.name);
            let hash =
                |hash: &String| hash.len() == 12 && hash.chars().all(|c| c.is_ascii_hexdigit());
            assert!(entry.commit.iter().all(hash), "{}", entry.name);
        }
    }
}
