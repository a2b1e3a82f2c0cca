// SPDX-License-Identifier: GPL-2.0-only
//! The matrix: every build that `builds.toml` stands for, with its name and its configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::config::Config;
use super::document::{Arch, Compiler, Compressor, Document, SourceSpec, Variant};
use super::{BuildError, builtin};
use crate::corpus::{CorpusError, Name};
use crate::toml_file;

/// Builds that share their configuration but for the compressor, and so their tree.
#[derive(Clone, Debug)]
pub struct Family {
    /// `SERIES-ARCHITECTURE-VARIANT`.
    pub name: String,
    /// The series, such as `6.1`.
    pub series: Name,
    /// Where its source comes from.
    pub source: SourceSpec,
    /// The word size.
    pub arch: Arch,
    /// The variant's name.
    pub variant: Name,
    /// What is special about it, for people.
    pub description: String,
    /// The options that its fragments set.
    pub config: Config,
    /// What it is compiled with.
    pub compiler: Compiler,
    /// Variables for make.
    pub make: BTreeMap<String, String>,
    /// One build each.
    pub compressors: Vec<Compressor>,
}

impl Family {
    /// Whether its kernels can run elsewhere than where they are linked for.
    pub fn is_relocatable(&self) -> bool {
        self.config.is_on("CONFIG_RELOCATABLE")
    }
}

/// One kernel of the matrix.
#[derive(Clone, Copy, Debug)]
pub struct Build<'a> {
    /// The family that it belongs to.
    pub family: &'a Family,
    /// Its compressor.
    pub compressor: Compressor,
}

impl Build<'_> {
    /// `SERIES-ARCHITECTURE-VARIANT-COMPRESSOR`.
    pub fn name(&self) -> String {
        format!("{}-{}", self.family.name, self.compressor)
    }

    fn is_meant_by(&self, word: &str) -> bool {
        let family = self.family;
        [family.series.as_str(), &family.name, family.variant.as_str(), &self.name()]
            .contains(&word)
    }
}

/// All families, in the order in which they are built.
#[derive(Clone, Debug)]
pub struct Matrix {
    families: Vec<Family>,
}

impl Matrix {
    /// Reads the matrix in `file`, with fragments from the folder `config` beside it, or the
    /// built-in matrix.
    ///
    /// # Errors
    /// A file cannot be read, is not what it should be, or names what is not there.
    pub fn load(file: Option<&Path>) -> Result<Matrix, CorpusError> {
        let unreadable = |path: &Path| {
            let place = path.display().to_string();
            move |problem| CorpusError::Manifest { place, problem }
        };
        let Some(file) = file else {
            return Matrix::parse(builtin::MATRIX_NAME, builtin::MATRIX, |name| {
                builtin::fragment(name.as_str())
            });
        };
        let text = toml_file::read(file, "a matrix of builds").map_err(unreadable(file))?;
        let folder = file.parent().unwrap_or(Path::new("")).join("config");
        Matrix::parse(&file.display().to_string(), &text, |name| {
            let path = folder.join(format!("{name}.config"));
            let text = toml_file::read(&path, "a fragment of a configuration")
                .map_err(unreadable(&path))?;
            Ok((path, text))
        })
    }

    /// Parses a matrix and expands it; `fragment` gives the place and the text of a fragment.
    fn parse(
        file: &str,
        text: &str,
        fragment: impl Fn(&Name) -> Result<(PathBuf, String), CorpusError>,
    ) -> Result<Matrix, CorpusError> {
        let document = Document::parse(file, text)?;
        let refuse =
            |problem: String| Err(CorpusError::Manifest { place: file.to_owned(), problem });
        for (series, source) in &document.sources {
            if source.suites.is_empty() {
                return refuse(format!("`source.\"{series}\".suites` names no suite"));
            }
            if let Some(problem) = no_variable(&source.make) {
                return refuse(format!("`source.\"{series}\"`: {problem}"));
            }
        }
        let mut families: Vec<Family> = Vec::new();
        for variant in &document.variants {
            let wrong = |problem: String| refuse(format!("variant `{}`: {problem}", variant.name));
            if let Some(problem) = problem_of(variant) {
                return wrong(problem);
            }
            let mut config = Config::default();
            for name in &variant.fragments {
                let (place, text) = fragment(name)?;
                config.add(&place, &text)?;
            }
            for series in &variant.series {
                let Some(source) = document.sources.get(series) else {
                    return wrong(format!(
                        "`series` names `{series}`, expected one that has a `source`"
                    ));
                };
                for &arch in &variant.architectures {
                    let family = Family {
                        name: format!("{series}-{arch}-{}", variant.name),
                        series: series.clone(),
                        source: source.clone(),
                        arch,
                        variant: variant.name.clone(),
                        description: variant.description.clone(),
                        config: config.clone(),
                        compiler: variant.compiler,
                        make: source.make.clone().into_iter().chain(variant.make.clone()).collect(),
                        compressors: variant.compressors.clone(),
                    };
                    if families.iter().any(|other| other.name == family.name) {
                        return refuse(format!("`variant`: two make a `{}`", family.name));
                    }
                    families.push(family);
                }
            }
        }
        Ok(Matrix { families })
    }

    /// Every build, in the order in which they are built.
    pub fn builds(&self) -> impl Iterator<Item = Build<'_>> {
        self.families.iter().flat_map(|family| {
            family.compressors.iter().map(move |&compressor| Build { family, compressor })
        })
    }

    /// The builds that `words` mean, each once and in order: a word is the name of a build, a
    /// family, a series or a variant. Without words all are meant.
    ///
    /// # Errors
    /// A word that means nothing.
    pub fn select(&self, words: &[String]) -> Result<Vec<Build<'_>>, BuildError> {
        for word in words {
            if !self.builds().any(|build| build.is_meant_by(word)) {
                return Err(BuildError::Unknown {
                    name: word.clone(),
                    series: self.each(|family| family.series.as_str()),
                    variants: self.each(|family| family.variant.as_str()),
                });
            }
        }
        let meant = |build: &Build<'_>| {
            words.is_empty() || words.iter().any(|word| build.is_meant_by(word))
        };
        Ok(self.builds().filter(meant).collect())
    }

    /// What the families have of something, each once.
    fn each<'a>(&'a self, name: impl Fn(&'a Family) -> &'a str) -> String {
        let mut names: Vec<&str> = Vec::new();
        for family in &self.families {
            if !names.contains(&name(family)) {
                names.push(name(family));
            }
        }
        names.join(", ")
    }
}

/// What is wrong with a variant, if anything.
fn problem_of(variant: &Variant) -> Option<String> {
    for (field, empty) in [
        ("series", variant.series.is_empty()),
        ("architectures", variant.architectures.is_empty()),
        ("fragments", variant.fragments.is_empty()),
        ("compressors", variant.compressors.is_empty()),
    ] {
        if empty {
            return Some(format!("`{field}` is empty, expected at least one"));
        }
    }
    let mut seen = Vec::new();
    for compressor in &variant.compressors {
        if seen.contains(compressor) {
            return Some(format!("`compressors` names {compressor} twice"));
        }
        seen.push(*compressor);
    }
    no_variable(&variant.make)
}

/// What make could not be told.
fn no_variable(make: &BTreeMap<String, String>) -> Option<String> {
    let named = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let name = make.keys().find(|name| !named(name))?;
    Some(format!("`make` sets `{name}`, expected the name of a variable"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCES: &str = "schema = 1\n\
        [source.\"6.1\"]\nsuites = [\"bookworm\"]\npackage = \"linux-source-6.1\"\n\
        [source.\"7.2\"]\nsuites = [\"sid\"]\npackage = \"linux-source-7.2\"\n";

    const BASE: &str = "[[variant]]\nname = \"base\"\ndescription = \"\"\n\
        series = [\"7.2\", \"6.1\"]\narchitectures = [\"x86_64\", \"i386\"]\nfragments = [\"tiny\", \"kaslr\"]\n\
        compressors = [\"xz\", \"gzip\"]\n";

    fn parse(text: &str) -> Result<Matrix, CorpusError> {
        Matrix::parse("m.toml", text, |name| builtin::fragment(name.as_str()))
    }

    fn matrix() -> Matrix {
        let lz4 = "[[variant]]\nname = \"lz\"\ndescription = \"\"\nseries = [\"6.1\"]\n\
            architectures = [\"i386\"]\nfragments = [\"tiny\"]\ncompressors = [\"lz4\"]\n";
        parse(&[SOURCES, BASE, lz4].concat()).unwrap()
    }

    fn names(matrix: &Matrix, words: &[&str]) -> Vec<String> {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        matrix.select(&words).unwrap().iter().map(Build::name).collect()
    }

    #[test]
    fn a_variant_stands_for_each_series_word_size_and_compressor_in_this_order() {
        assert_eq!(
            names(&matrix(), &[]),
            [
                "7.2-x86_64-base-xz",
                "7.2-x86_64-base-gzip",
                "7.2-i386-base-xz",
                "7.2-i386-base-gzip",
                "6.1-x86_64-base-xz",
                "6.1-x86_64-base-gzip",
                "6.1-i386-base-xz",
                "6.1-i386-base-gzip",
                "6.1-i386-lz-lz4",
            ]
        );
    }

    #[test]
    fn a_word_means_a_build_a_family_a_series_or_a_variant_and_each_build_counts_once() {
        let matrix = matrix();
        assert_eq!(names(&matrix, &["6.1-i386-base-gzip"]), ["6.1-i386-base-gzip"]);
        assert_eq!(names(&matrix, &["6.1-i386-base"]), ["6.1-i386-base-xz", "6.1-i386-base-gzip"]);
        assert_eq!(names(&matrix, &["lz", "6.1-i386-lz"]), ["6.1-i386-lz-lz4"]);
        assert_eq!(names(&matrix, &["6.1"]).len(), 5);
        let error = matrix.select(&[String::from("6.2")]).unwrap_err().to_string();
        assert!(error.contains("`6.2`") && error.contains("7.2, 6.1"), "{error}");
        assert!(error.contains("base, lz"), "{error}");
    }

    #[test]
    fn mistakes_are_named_with_file_place_and_what_was_expected() {
        let with = |from: &str, to: &str| [SOURCES, &BASE.replacen(from, to, 1)].concat();
        for (text, expected) in [
            (
                with("\"xz\"", "\"rar\""),
                "m.toml: line 14 (compressors = [\"rar\", \"gzip\"]): unknown variant `rar`, expected one of",
            ),
            (with("\"x86_64\"", "\"amd64\""), "expected `x86_64` or `i386`"),
            (
                with("fragments", "fragment"),
                "m.toml: line 13 (fragment = [\"tiny\", \"kaslr\"]): unknown field `fragment`",
            ),
            (with("description = \"\"\n", ""), "missing field `description`"),
            (with("\"base\"", "\"Base\""), "`Base` is no name"),
            (with("\"7.2\"", "\"7.1\""), "`series` names `7.1`, expected one that has a `source`"),
            (with("\"7.2\", \"6.1\"", ""), "variant `base`: `series` is empty"),
            (with("\"gzip\"", "\"xz\""), "`compressors` names xz twice"),
            (with("\"kaslr\"", "\"no-such\""), "corpus/config/no-such.config: "),
            (with("[[variant]]", "[[variant]]\nmake = { \"A B\" = \"\" }"), "`make` sets `A B`"),
            (
                SOURCES.replacen("[\"sid\"]", "[\"sid\"]\nmake = { \"A=\" = \"\" }", 1) + BASE,
                "`source.\"7.2\"`: `make` sets `A=`",
            ),
            ([SOURCES, BASE, BASE].concat(), "`variant`: two make a `7.2-x86_64-base`"),
            (SOURCES.replacen("[\"sid\"]", "[]", 1) + BASE, "`source.\"7.2\".suites` names no"),
            (SOURCES.replacen('1', "2", 1) + BASE, "m.toml: schema: expected 1, found 2"),
        ] {
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected:?} is not in {error:?}");
        }
    }

    #[test]
    fn make_is_told_what_the_series_and_the_variant_say_and_the_variant_wins() {
        let sources =
            SOURCES.replacen("[\"sid\"]", "[\"sid\"]\nmake = { A = \"1\", B = \"1\" }", 1);
        let variant =
            BASE.replacen("[[variant]]", "[[variant]]\nmake = { B = \"2\", C = \"2\" }", 1);
        let matrix = parse(&[sources, variant].concat()).unwrap();
        let make = |series: &str| {
            let family = &matrix.select(&[series.to_owned()]).unwrap()[0].family;
            family.make.iter().map(|(name, value)| format!("{name}={value} ")).collect::<String>()
        };
        assert_eq!(make("7.2"), "A=1 B=2 C=2 ");
        assert_eq!(make("6.1"), "B=2 C=2 ");
    }

    #[test]
    fn fragments_of_a_matrix_file_lie_in_a_folder_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mine.toml");
        let text = [SOURCES, &BASE.replacen("\"tiny\", \"kaslr\"", "\"mine\"", 1)].concat();
        std::fs::write(&file, text).unwrap();
        let error = Matrix::load(Some(&file)).unwrap_err().to_string();
        assert!(error.contains("config/mine.config: "), "{error}");
        std::fs::create_dir(folder.path().join("config")).unwrap();
        std::fs::write(folder.path().join("config/mine.config"), "CONFIG_RELOCATABLE=y\n").unwrap();
        assert!(Matrix::load(Some(&file)).unwrap().builds().all(|b| b.family.is_relocatable()));
    }

    #[test]
    fn the_built_in_matrix_covers_what_it_is_for() {
        let matrix = Matrix::load(None).unwrap();
        let count = |test: &dyn Fn(&Build<'_>) -> bool| matrix.builds().filter(test).count();
        assert!(count(&|_| true) >= 45);
        assert!(count(&|build| build.family.arch == Arch::I386) >= 20);
        assert!(count(&|build| build.family.compiler == Compiler::Clang) > 0);
        assert!(count(&|build| !build.family.is_relocatable()) > 0);
        for compressor in ["gzip", "bzip2", "lzma", "xz", "lzo", "lz4", "zstd"] {
            let uses = |build: &Build<'_>| build.compressor.to_string() == compressor;
            assert!(count(&uses) >= 4, "{compressor}");
        }
    }
}
