// SPDX-License-Identifier: GPL-2.0-only
//! One case that was run again, for people: the verdict, each finding with its explanation, and what was run.

use std::fmt::Write;

use super::plain::one_line;
use crate::record::{Blame, Entry, KernelPlace, Origin, Origins, Site, Store, StoreKind};

/// So many calls of a stack are shown.
const SHOWN_CALLS: usize = 8;

/// The explanation of one finding, below it.
pub fn blame_lines(blame: &Blame) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(blame.place.as_ref().map(place));
    lines.extend(blame.lies_there.as_ref().map(|what| format!("it is {what}")));
    lines.push(blame.summary.clone());
    if let Some(missing) = &blame.missing {
        if let Some(neighbour) = &missing.neighbour {
            lines.push(format!("  the nearest that is relocated: {}", entry(neighbour)));
        }
        lines.extend(missing.by.iter().flat_map(store));
    }
    if !blame.stores.is_empty() {
        lines.push("  who wrote there, the last first:".into());
        lines.extend(blame.stores.iter().rev().flat_map(store));
    }
    if !blame.chosen.is_empty() {
        lines.push("  where it appeared, the first time first:".into());
        lines.extend(blame.chosen.iter().flat_map(|held| origin(held, "    ", "set by")));
    }
    lines.extend(blame.instruction.iter().flat_map(|site| indented(site, "  ")));
    lines.extend(blame.origins.iter().flat_map(|set| origin(set, "  ", "last set by")));
    if !blame.calls.is_empty() {
        lines.push("  called from".into());
        let shown = blame.calls.iter().take(SHOWN_CALLS);
        lines.extend(shown.map(|site| format!("    {}: {}", whereabouts(site), site.text)));
        let more = blame.calls.len().saturating_sub(SHOWN_CALLS);
        if more > 0 {
            lines.push(format!("    and {more} more calls"));
        }
    }
    lines.iter().map(|line| one_line(line)).collect()
}

fn origin(origin: &Origin, indent: &str, how: &str) -> Vec<String> {
    let value = origin.value.as_deref().unwrap_or("?");
    let head = format!("{indent}{} = {value}, ", origin.register);
    match &origin.site {
        Some(site) => {
            let mut lines = vec![head + how];
            lines.extend(indented(site, &format!("{indent}  ")));
            lines
        }
        None => vec![head + "which no instruction was seen to set"],
    }
}

fn place(place: &KernelPlace) -> String {
    let symbol = match &place.symbol {
        Some(symbol) => format!("{symbol} ({:#x})", place.address),
        None => format!("{:#x}", place.address),
    };
    let section = place.section.as_ref().map(|s| format!(" in {s}")).unwrap_or_default();
    let entry = place.entry.as_ref().map(|e| format!(", field of {}", entry(e)));
    format!("in the kernel: {symbol}{section}{}", entry.unwrap_or_default())
}

fn entry(entry: &Entry) -> String {
    let Entry { kind, index, of, value } = entry;
    format!("{kind} entry {value:#x}, number {index} of {of}")
}

fn store(store: &Store) -> Vec<String> {
    let how = match store.kind {
        StoreKind::Stored => "stored",
        StoreKind::Copied => "copied",
        StoreKind::Filled => "filled",
        StoreKind::Added => "added",
        StoreKind::Subtracted => "subtracted",
        StoreKind::Changed => "changed",
        StoreKind::Pushed => "pushed",
    };
    let times = if store.times > 1 { format!(", {} times", store.times) } else { String::new() };
    let mut lines = vec![format!(
        "    {how} by {}: {} -> {}{times}",
        whereabouts(&store.site),
        store.before,
        store.after
    )];
    lines.push(instruction(&store.site, "      "));
    lines
}

fn indented(site: &Site, indent: &str) -> Vec<String> {
    vec![format!("{indent}{}", whereabouts(site)), instruction(site, &format!("{indent}  "))]
}

/// Where an instruction is: by name, in the image, and as it ran.
fn whereabouts(site: &Site) -> String {
    let name = site.function.as_ref().map(|function| format!("{function}, ")).unwrap_or_default();
    let line = site.line.as_ref().map(|line| format!(" ({line})")).unwrap_or_default();
    let offset = match site.offset {
        Some(offset) => format!("stub+{offset:#x}"),
        None => "not in the image".into(),
    };
    format!("{name}{offset}, run at {:#x}{line}", site.address)
}

fn instruction(site: &Site, indent: &str) -> String {
    let uses: Vec<String> =
        site.uses.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let uses = if uses.is_empty() { String::new() } else { format!("    {}", uses.join(" ")) };
    format!("{indent}{}    {}{uses}", site.bytes, site.text)
}

/// What was run, and how to run it again.
pub fn origins_text(origins: &Origins) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<9} {}", one_line(value));
    };
    line("kernel:", origins.release.as_deref().unwrap_or("unknown"));
    line("compiler:", origins.compiler.as_deref().unwrap_or("unknown"));
    line("config:", origins.config.as_deref().unwrap_or("unknown"));
    if !origins.options.is_empty() {
        line("options:", &origins.options.join(" "));
    }
    line("image:", &origins.image);
    line("sha256:", &origins.sha256);
    line("case:", &origins.case);
    line("again:", &origins.command);
    text
}
