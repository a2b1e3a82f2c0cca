// SPDX-License-Identifier: GPL-2.0-only

use super::*;
use crate::corpus::source::Architecture;

const ENTRY: &str = r#"
[[entry]]
name = "one"
description = "a kernel"
source.debian = { suites = ["host"], architecture = "amd64", package = "linux-image-amd64" }
"#;

fn refusal(text: &str) -> String {
    match Manifest::parse("m.toml", text) {
        Ok(_) => String::from("accepted"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_built_in_manifest_is_valid_and_has_its_sets() {
    let manifest = Manifest::load(None).unwrap();
    for set in ["default", "i386", "generations", "compressors", "non-kernels", "everything"] {
        assert!(manifest.set(set).is_some(), "{set}");
    }
    let default = manifest.set("default").unwrap();
    assert!(default.iter().any(|entry| {
        matches!(&entry.source, Source::Debian(source) if source.architecture == Architecture::I386)
    }));
    assert!(manifest.set("nightly").is_none());
}

#[test]
fn an_unknown_field_is_refused_with_its_name_and_line() {
    let text = format!("schema = 1\n[sets]\nall = [\"one\"]\n{ENTRY}colour = \"red\"\n");
    let refusal = refusal(&text);
    assert!(refusal.starts_with("m.toml: line 9 (colour = \"red\"): "), "{refusal}");
    assert!(refusal.contains("`colour`"), "{refusal}");
}

#[test]
fn an_unknown_registry_is_refused() {
    let text =
        "schema = 1\n[sets]\n[[entry]]\nname = \"one\"\ndescription = \"\"\nsource.floppy = {}\n";
    assert!(refusal(text).contains("`floppy`"), "{}", refusal(text));
}

#[test]
fn a_later_schema_is_named_before_its_unknown_fields() {
    let refusal = refusal("schema = 2\nnovelty = true\n");
    assert!(refusal.contains("schema: expected 1, found 2"), "{refusal}");
}

#[test]
fn a_set_must_name_entries_that_exist_and_only_once() {
    let missing = refusal(&format!("schema = 1\n[sets]\nall = [\"two\"]\n{ENTRY}"));
    assert!(missing.contains("`sets.all` names `two`"), "{missing}");
    let twice = refusal(&format!("schema = 1\n[sets]\nall = [\"one\", \"one\"]\n{ENTRY}"));
    assert!(twice.contains("twice"), "{twice}");
    let empty = refusal(&format!("schema = 1\n[sets]\nall = []\n{ENTRY}"));
    assert!(empty.contains("is empty"), "{empty}");
}

#[test]
fn a_pin_must_be_a_sha256_sum() {
    let text = format!("schema = 1\n[sets]\n{ENTRY}sha256 = \"abc\"\n");
    assert!(refusal(&text).contains("SHA-256"), "{}", refusal(&text));
}

const FAMILY: &str = r#"
schema = 1
[sets]
all = ["@old", "x-6.1"]
[[family]]
set = "old"
name = "{flavour}-{version}"
description = "{version} as {flavour}"
source.debian = { suites = ["s{version}"], architecture = "i386", package = "linux-{version}-{flavour}" }
each.version = ["6.1", "5.10"]
each.flavour = ["x", "y"]
sha256."x-6.1" = "SUM"
"#;

fn family() -> String {
    FAMILY.replace("SUM", &"a".repeat(64))
}

#[test]
fn a_family_makes_an_entry_of_every_combination_and_is_a_set() {
    let manifest = Manifest::parse("m.toml", &family()).unwrap();
    let names: Vec<&str> = manifest.set("old").unwrap().iter().map(|e| e.name.as_str()).collect();
    assert_eq!(names, ["x-6.1", "x-5.10", "y-6.1", "y-5.10"]);
    let entry = manifest.entry("y-5.10").unwrap();
    assert_eq!(entry.description, "5.10 as y");
    let Source::Debian(source) = &entry.source else { panic!("{entry:?}") };
    assert_eq!(source.package.as_str(), "linux-5.10-y");
    assert_eq!(source.suites[0].as_str(), "s5.10");
    assert!(entry.sha256.is_none());
    assert!(manifest.entry("x-6.1").unwrap().sha256.is_some());
}

#[test]
fn what_is_wrong_with_a_family_is_named() {
    let changed = |from: &str, to: &str| refusal(&family().replace(from, to));
    for (from, to, word) in [
        ("{flavour}-{version}\"\nd", "{flavour}\"\nd", "lacks `{version}`"),
        ("as {flavour}", "as {taste}", "`{taste}`"),
        ("as {flavour}", "as {flavour", "closing brace"),
        (r#"["x", "y"]"#, "[]", "`each.flavour` is empty"),
        (r#"["x", "y"]"#, r#"["x", "x"]"#, "twice"),
        (r#"["x", "y"]"#, r#"["x", "Y Y"]"#, "is no name"),
        (r#"sha256."x-6.1""#, r#"sha256."z""#, "pins `z`"),
        ("suites", "sweets", "sweets"),
        (r#"set = "old""#, r#"set = "all""#, "two sets `all`"),
    ] {
        let refusal = changed(from, to);
        assert!(refusal.contains(word), "{word}: {refusal}");
    }
    let many: Vec<String> = (0..101).map(|n| format!("\"n{n}\"")).collect();
    let many = format!("each.version = [{0}]\neach.flavour = [{0}]\n", many.join(","));
    let explosion = family().split("each.version").next().unwrap().to_owned() + &many;
    assert!(refusal(&explosion).contains("more than 10000"), "{}", refusal(&explosion));
}

#[test]
fn sets_of_sets_have_each_entry_once() {
    let manifest = Manifest::parse("m.toml", &family()).unwrap();
    assert_eq!(manifest.set("all").unwrap().len(), 4);
}

#[test]
fn sets_in_a_circle_are_refused_with_the_way_around() {
    let sets = |sets: &str| refusal(&format!("schema = 1\n[sets]\n{sets}\n{ENTRY}"));
    let circle = sets("a = [\"@b\"]\nb = [\"one\", \"@c\"]\nc = [\"@a\"]");
    assert!(circle.contains("`a` contains `b` contains `c` contains `a`, a circle"), "{circle}");
    assert!(sets("a = [\"@a\"]").contains("a circle"));
    assert!(sets("a = [\"@gone\"]").contains("`@gone`, which is no set"));
    let deep: String = (0..200).map(|n| format!("s{n} = [\"@s{}\"]\n", n + 1)).collect();
    let deep = sets(&(deep + "s200 = [\"one\"]"));
    assert!(deep.contains("sets deep"), "{deep}");
}
