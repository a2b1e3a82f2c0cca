// SPDX-License-Identifier: GPL-2.0-only
//! A strict reader of KTAP for tests: every line must be one that ktap.rst describes, in its place.

/// A test as it was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Test {
    pub name: String,
    pub ok: bool,
    pub directive: Option<String>,
    pub reason: String,
    pub diagnostics: Vec<String>,
    pub subtests: Vec<Test>,
}

impl Test {
    /// What became of it: the directive, or else the result.
    pub fn outcome(&self) -> &str {
        self.directive.as_deref().unwrap_or(if self.ok { "ok" } else { "not ok" })
    }
}

/// "Currently accepted directives".
const DIRECTIVES: [&str; 5] = ["SKIP", "TODO", "XFAIL", "TIMEOUT", "ERROR"];

/// Reads a whole output.
pub fn parse(text: &str) -> Result<Vec<Test>, String> {
    let body = text.strip_suffix('\n').ok_or("the last line has no end")?;
    let mut lines = body.split('\n').enumerate().peekable();
    let tests = plan(&mut lines, "")?;
    match lines.next() {
        None => Ok(tests),
        Some((number, line)) => Err(format!("line {}: behind the plan: {line:?}", number + 1)),
    }
}

type Lines<'a> = std::iter::Peekable<std::iter::Enumerate<std::str::Split<'a, char>>>;

/// A version line, a plan line, and as many tests as it says.
fn plan(lines: &mut Lines<'_>, indent: &str) -> Result<Vec<Test>, String> {
    let version = next(lines, indent)?;
    if version != "KTAP version 1" {
        return Err(format!("expected a version line, found {version:?}"));
    }
    let plan = next(lines, indent)?;
    let count = plan.strip_prefix("1..").and_then(|count| count.parse().ok());
    let count: usize = count.ok_or_else(|| format!("expected a plan line, found {plan:?}"))?;
    (1..=count).map(|number| test(lines, indent, number)).collect()
}

fn test(lines: &mut Lines<'_>, indent: &str, number: usize) -> Result<Test, String> {
    let deeper = format!("{indent}  ");
    let nested = lines.peek().is_some_and(|(_, line)| line.starts_with(&deeper));
    let subtests = if nested { plan(lines, &deeper)? } else { Vec::new() };
    let mut diagnostics = Vec::new();
    loop {
        let line = next(lines, indent)?;
        match line.strip_prefix("# ") {
            Some(diagnostic) => diagnostics.push(diagnostic.to_owned()),
            None => return result(line, number, diagnostics, subtests),
        }
    }
}

/// `<result> <number> [<description>][ # [<directive>] [<diagnostic data>]]`
fn result(
    line: &str,
    expected: usize,
    diagnostics: Vec<String>,
    subtests: Vec<Test>,
) -> Result<Test, String> {
    let wrong = |what: &str| format!("{what}: {line:?}");
    let (ok, rest) = match (line.strip_prefix("ok "), line.strip_prefix("not ok ")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return Err(wrong("no line of a result")),
    };
    let (number, rest) = rest.split_once(' ').ok_or_else(|| wrong("no description"))?;
    if number != expected.to_string() {
        return Err(wrong(&format!("expected number {expected}")));
    }
    let (name, data) =
        rest.split_once(" # ").map_or((rest, None), |(name, data)| (name, Some(data)));
    if name.is_empty() || name.contains('#') || name.trim() != name || name.starts_with("- ") {
        return Err(wrong("a description that is none"));
    }
    let (directive, reason) = match data {
        None => (None, ""),
        Some(data) => {
            let (directive, reason) = data.split_once(' ').unwrap_or((data, ""));
            if !DIRECTIVES.contains(&directive) {
                return Err(wrong("no directive"));
            }
            (Some(directive.to_owned()), reason)
        }
    };
    if ok && matches!(directive.as_deref(), Some("TIMEOUT" | "ERROR")) {
        return Err(wrong("an ok error"));
    }
    if ok && subtests.iter().any(|test| !test.ok) {
        return Err(wrong("a subtest failed"));
    }
    if line.chars().any(|c| c.is_control()) {
        return Err(wrong("a control character"));
    }
    let (name, reason) = (name.to_owned(), reason.to_owned());
    Ok(Test { name, ok, directive, reason, diagnostics, subtests })
}

fn next<'a>(lines: &mut Lines<'a>, indent: &str) -> Result<&'a str, String> {
    let (number, line) = lines.next().ok_or("the output ends early")?;
    let rest = line.strip_prefix(indent).filter(|rest| !rest.starts_with(' '));
    rest.ok_or_else(|| {
        format!("line {}: expected an indent of {}: {line:?}", number + 1, indent.len())
    })
}
