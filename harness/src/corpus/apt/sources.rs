// SPDX-License-Identifier: GPL-2.0-only
//! Which mirror and keyring this machine uses for Debian: read from apt's own source lists
//! (sources.list(5), both forms), so that no mirror is written down anywhere in relocheck.

use std::fs;
use std::path::Path;

use super::deb822::{Stanza, Stanzas};

/// Suites that name a release of Debian by its role.
const ROLES: [&str; 6] = ["stable", "oldstable", "oldoldstable", "testing", "unstable", "sid"];

/// Where the package debian-archive-keyring puts all current keys of the archive.
const KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
];

/// One enabled source of binary packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSource {
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    signed_by: Option<String>,
}

/// What a private source needs of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Base addresses of the archive, all with the same content.
    pub uris: Vec<String>,
    /// The value of `Signed-By`: keyring files, fingerprints or a key; without it apt uses the
    /// keys that this machine trusts for every source.
    pub signed_by: Option<String>,
}

/// Every enabled source in the folder of apt's configuration (`/etc/apt`). Files that cannot be
/// read count as absent: apt itself skips them for other users too.
pub fn read_host_sources(etc_apt: &Path) -> Vec<HostSource> {
    let mut files = vec![etc_apt.join("sources.list")];
    if let Ok(parts) = fs::read_dir(etc_apt.join("sources.list.d")) {
        let mut parts: Vec<_> = parts.filter_map(|part| Some(part.ok()?.path())).collect();
        parts.sort();
        files.extend(parts);
    }
    let mut sources = Vec::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => sources.extend(parse_one_line(&text)),
            Some("sources") => sources.extend(parse_deb822(&text)),
            _ => {}
        }
    }
    sources
}

/// The sources of a `.list` file: `deb [option=value ...] URI SUITE COMPONENT...`.
fn parse_one_line(text: &str) -> Vec<HostSource> {
    text.lines().filter_map(parse_list_line).collect()
}

fn parse_list_line(line: &str) -> Option<HostSource> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let rest = line.strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t', '[']) {
        return None;
    }
    let rest = rest.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(bracket) => bracket.split_once(']')?,
        None => ("", rest),
    };
    let signed_by = options.split_whitespace().find_map(|option| {
        let (key, value) = option.split_once('=')?;
        key.eq_ignore_ascii_case("signed-by").then(|| value.replace(',', " "))
    });
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(HostSource {
        uris: vec![words.next()?],
        suites: vec![words.next()?],
        components: words.collect(),
        signed_by,
    })
}

/// The sources of a `.sources` file.
fn parse_deb822(text: &str) -> Vec<HostSource> {
    let enabled = |stanza: &Stanza| {
        let off = ["no", "false", "0", "off", "without", "disable"];
        let value = stanza.get("Enabled").unwrap_or("yes");
        !off.iter().any(|word| value.eq_ignore_ascii_case(word))
    };
    Stanzas::new(text.as_bytes())
        .filter_map(Result::ok)
        .filter(|stanza| stanza.words("Types").iter().any(|word| word == "deb") && enabled(stanza))
        .map(|stanza| HostSource {
            uris: stanza.words("URIs"),
            suites: stanza.words("Suites"),
            components: stanza.words("Components"),
            signed_by: stanza.get("Signed-By").map(str::to_owned),
        })
        .collect()
}

/// The mirror for a suite of Debian: the source that has this very suite, else the one that has
/// this machine's release (or, for a `-security` suite, its security updates). `None` where the
/// machine has no source for Debian. `codename` is this machine's release.
pub fn mirror_for(sources: &[HostSource], suite: &str, codename: &str) -> Option<Mirror> {
    mirror_with_keyring(sources, suite, codename, archive_keyring())
}

fn archive_keyring() -> Option<&'static str> {
    KEYRINGS.into_iter().find(|path| Path::new(path).is_file())
}

fn mirror_with_keyring(
    sources: &[HostSource],
    suite: &str,
    codename: &str,
    keyring: Option<&str>,
) -> Option<Mirror> {
    let wants_security = suite.ends_with("-security");
    let folder = if wants_security { "debian-security" } else { "debian" };
    let in_folder = |source: &HostSource| {
        source.uris.iter().any(|uri| uri.trim_end_matches('/').ends_with(&format!("/{folder}")))
    };
    let usable = |source: &&HostSource| {
        source.components.iter().any(|component| component == "main")
            && source.uris.iter().any(|uri| !uri.starts_with("cdrom:"))
    };
    let release = |name: &str| {
        let name = name.trim_end_matches('/');
        match name.strip_suffix("-security") {
            Some(name) => wants_security && (name == codename || ROLES.contains(&name)),
            None => !wants_security && (name == codename || ROLES.contains(&name)),
        }
    };

    // Other publishers also call a suite `stable` or by Debian's codename. The usual folder of the
    // archive tells them apart; if a stranger is taken all the same, its signature does not verify.
    let exact = sources
        .iter()
        .filter(usable)
        .filter(|source| source.suites.iter().any(|name| name == suite))
        .min_by_key(|source| !in_folder(source));
    let found = exact.or_else(|| {
        sources
            .iter()
            .filter(usable)
            .filter(|source| source.suites.iter().any(|name| release(name)))
            .min_by_key(|source| {
                (!in_folder(source), !source.suites.iter().any(|name| name.starts_with(codename)))
            })
    })?;
    // The machine's keyring for its own release need not have the keys of another one.
    let signed_by = match exact.and_then(|source| source.signed_by.clone()) {
        Some(keys) => Some(keys),
        None => keyring.map(str::to_owned).or_else(|| found.signed_by.clone()),
    };
    let uris = found.uris.iter().filter(|uri| !uri.starts_with("cdrom:")).cloned().collect();
    Some(Mirror { uris, signed_by })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "\
Types: deb deb-src
# a note
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /keys/bookworm.gpg

Types: deb
URIs: http://mirror.example/debian-security/
Suites: bookworm-security
Components: main

Types: deb
URIs: http://off.example/debian
Suites: sid
Components: main
Enabled: no

Types: deb-src
URIs: http://source.example/debian
Suites: sid
Components: main
";

    #[test]
    fn the_stanza_form_skips_disabled_and_source_entries() {
        let sources = parse_deb822(DEB822);
        assert_eq!(sources.len(), 2);
        assert_eq!(sources[0].suites, ["bookworm", "bookworm-updates"]);
        assert_eq!(sources[0].components, ["main", "contrib"]);
        assert_eq!(sources[0].signed_by.as_deref(), Some("/keys/bookworm.gpg"));
    }

    #[test]
    fn the_one_line_form_reads_options_and_skips_comments() {
        let sources = parse_one_line(
            "# deb http://a.example/debian sid main\n\
             deb-src http://a.example/debian sid main\n\
             deb [ arch=amd64 signed-by=/k/a.gpg,/k/b.gpg ] http://a.example/debian bookworm main # x\n\
             deb\thttp://b.example/x stable main\n\
             deb [arch=amd64 http://broken.example/debian sid main\n\
             debug http://c.example/debian sid main\n",
        );
        assert_eq!(sources.len(), 2);
        assert_eq!(sources[0].uris, ["http://a.example/debian"]);
        assert_eq!(sources[0].signed_by.as_deref(), Some("/k/a.gpg /k/b.gpg"));
        assert_eq!(sources[1].suites, ["stable"]);
        assert_eq!(sources[1].signed_by, None);
    }

    #[test]
    fn a_trusted_option_is_never_taken_over() {
        let sources = parse_one_line("deb [trusted=yes] http://a.example/debian bookworm main\n");
        let mirror = mirror_with_keyring(&sources, "sid", "bookworm", Some("/all.gpg")).unwrap();
        assert_eq!(mirror.signed_by.as_deref(), Some("/all.gpg"));
    }

    #[test]
    fn the_releases_own_keyring_serves_the_release_only() {
        let sources = parse_deb822(DEB822);
        let mirror = |suite| mirror_with_keyring(&sources, suite, "bookworm", Some("/all.gpg"));
        let own = mirror("bookworm").unwrap();
        assert_eq!(own.uris, ["http://mirror.example/debian"]);
        assert_eq!(own.signed_by.as_deref(), Some("/keys/bookworm.gpg"));
        let newer = mirror("sid").unwrap();
        assert_eq!(newer.uris, own.uris);
        assert_eq!(newer.signed_by.as_deref(), Some("/all.gpg"));
        let security = mirror("trixie-security").unwrap();
        assert_eq!(security.uris, ["http://mirror.example/debian-security/"]);
    }

    #[test]
    fn another_publisher_is_not_taken_for_debian() {
        let sources = parse_one_line(
            "deb http://browser.example/linux stable main\n\
             deb http://mirror.example/debian bookworm main\n\
             deb http://tool.example/apt bookworm main\n",
        );
        let mirror = mirror_with_keyring(&sources, "sid", "bookworm", None).unwrap();
        assert_eq!(mirror.uris, ["http://mirror.example/debian"]);
    }

    #[test]
    fn a_machine_without_debian_has_no_mirror() {
        let sources = parse_one_line("deb http://x.example/ubuntu jammy main universe\n");
        assert_eq!(mirror_with_keyring(&sources, "sid", "bookworm", None), None);
        let disc = parse_one_line("deb cdrom:[disc]/ bookworm main\n");
        assert_eq!(mirror_with_keyring(&disc, "sid", "bookworm", None), None);
    }
}
