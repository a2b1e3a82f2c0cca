// SPDX-License-Identifier: GPL-2.0-only
//! A survey as a picture: an SVG file that needs nothing else, and follows the reader's light or dark colours.

mod panel;

use std::fmt::Write;

use self::panel::{Mark, Panel};
use super::KaslrReport;
use crate::campaign::kaslr::{Draw, Observed, Surveyed, free};
use crate::range::Range;
use crate::report::size::size;

/// Width of the picture.
const WIDTH: u32 = 960;
/// Height of the title, and of the key below the panels.
const HEAD: u32 = 64;
const KEY: u32 = 36;
/// So many characters of a name fit into the title.
const LONGEST_NAME: usize = 32;

const STYLE: &str = "\
text{font:13px sans-serif;fill:#24292f}
.title{font-size:17px;font-weight:bold}.head{font-weight:bold}.dim{font-size:12px;fill:#57606a}.tick{font-size:11px;fill:#57606a}
.page{fill:#ffffff}.frame{stroke:#8c959f;fill:none}.grid{stroke:#d8dee4}
.bar{fill:#54a0e8}.even{stroke:#9a3fb5;stroke-width:1.5;fill:none}
.free{fill:#b8e0c2}.kept{fill:#d4762c}.run{fill:#1a7f37;fill-opacity:.75}.wrong{fill:#cf222e}
@media (prefers-color-scheme: dark){
text{fill:#e6edf3}.dim,.tick{fill:#9aa4af}
.page{fill:#0d1117}.frame{stroke:#6e7681}.grid{stroke:#2b323b}
.bar{fill:#2f74c0}.even{stroke:#d2a8ff}
.free{fill:#1f5c33}.kept{fill:#e0873f}.run{fill:#56d364}.wrong{fill:#ff7b72}}
";

/// The whole picture.
pub fn render(report: &KaslrReport) -> String {
    let surveyed = report.surveyed;
    let mut panels = vec![physical(surveyed)];
    panels.extend(surveyed.virtual_base.as_ref().map(|draw| virtual_base(surveyed, draw)));
    let height = HEAD + panels.iter().map(Panel::height).sum::<u32>() + KEY;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n<style>{STYLE}</style>\n\
         <rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\"/>\n"
    );
    let release = report.subject.image.release().map_or(String::new(), |r| r.to_string());
    let name = cut(report.name, LONGEST_NAME);
    let release = cut(&release, LONGEST_NAME);
    let title = format!("Where KASLR puts {name} ({release} {})", report.subject.word);
    let _ = writeln!(svg, "<title>{}</title>", escaped(&title));
    let _ = writeln!(svg, "<text class=\"title\" x=\"24\" y=\"30\">{}</text>", escaped(&title));
    let _ = writeln!(
        svg,
        "<text class=\"dim\" x=\"24\" y=\"50\">{}</text>",
        escaped(&subtitle(report))
    );
    let mut top = HEAD;
    for panel in &panels {
        panel.render(&mut svg, top);
        top += panel.height();
    }
    key(&mut svg, surveyed, top + 14);
    svg += "</svg>\n";
    svg
}

fn subtitle(report: &KaslrReport) -> String {
    let surveyed = report.surveyed;
    let case = &surveyed.case;
    let what = match surveyed.off {
        Some(why) => format!("KASLR does not choose: {why}"),
        None => format!("{} samples of the model, seed {}", surveyed.physical.samples, report.seed),
    };
    let runs = match surveyed.runs.len() {
        0 => String::new(),
        all => format!("; {} of {all} runs of the image agree", surveyed.agreeing()),
    };
    format!(
        "{what}{runs}; the kernel needs {}; loaded at {:#x}, {}-bit entry",
        size(surveyed.needed),
        case.load,
        case.protocol
    )
}

fn physical(surveyed: &Surveyed) -> Panel<'_> {
    let draw = &surveyed.physical;
    let free = free(&surveyed.case);
    let end = free.iter().map(|range| range.end).max().unwrap_or(0);
    let end = draw.places.ends().map_or(end, |(_, high)| end.max(high + draw.places.step));
    let name = if surveyed.virtual_base.is_some() { "physical address" } else { "address" };
    let mark = |run: &Observed| {
        let found = run.found()?;
        Some(Mark { address: found.output, right: found.output == run.expected.output })
    };
    Panel {
        title: heading(name, draw),
        draw,
        shown: Range::new(0, end.max(1)),
        free,
        kept: surveyed.kept.iter().map(|kept| (kept.what, kept.range)).collect(),
        marks: surveyed.runs.iter().filter_map(mark).collect(),
    }
}

fn virtual_base<'a>(surveyed: &Surveyed, draw: &'a Draw) -> Panel<'a> {
    /// KERNEL_IMAGE_SIZE with RANDOMIZE_BASE (asm/page_64_types.h): what the kernel's mapping has room for.
    const ROOM: u64 = 1 << 30;
    let end = draw.places.ends().map_or(0, |(_, high)| high.saturating_add(draw.places.step));
    let mark = |run: &Observed| {
        let found = run.found()?;
        Some(Mark { address: found.virt, right: found.virt == run.expected.virt })
    };
    Panel {
        title: heading("virtual base", draw),
        draw,
        shown: Range::new(0, end.max(ROOM)),
        free: Vec::new(),
        kept: Vec::new(),
        marks: surveyed.runs.iter().filter_map(mark).collect(),
    }
}

fn heading(name: &str, draw: &Draw) -> String {
    let mut text = format!("{name}: {} slots, {:.2} bits", draw.places.slots, draw.bits);
    if let Some(fit) = draw.fit {
        let _ = write!(text, "; observed {:.2} bits, ", draw.observed_bits);
        let _ = match fit.p {
            p if p < 1e-12 => write!(text, "p < 1e-12"),
            p => write!(text, "p = {p:.3}"),
        };
        text += if fit.is_even() { "" } else { ": NOT EVEN" };
    }
    text
}

fn key(svg: &mut String, surveyed: &Surveyed, y: u32) {
    let disagree = surveyed.runs.iter().any(|run| !run.agrees());
    let drawn = surveyed.off.is_none();
    let entries = [
        ("bar", "samples of the model", drawn),
        ("even", "an even draw", drawn),
        ("free", "free memory", true),
        ("kept", "must not be overwritten", !surveyed.kept.is_empty()),
        ("run", "run of the image", !surveyed.runs.is_empty()),
        ("wrong", "run that disagrees", disagree),
    ];
    let mut x = 24;
    for (class, text, _) in entries.into_iter().filter(|(_, _, shown)| *shown) {
        let _ = match class {
            "even" => writeln!(svg, "<path class=\"even\" d=\"M{x} {y}h14\"/>"),
            "run" | "wrong" => {
                writeln!(svg, "<circle class=\"{class}\" cx=\"{}\" cy=\"{y}\" r=\"4\"/>", x + 7)
            }
            _ => {
                let top = y - 5;
                writeln!(
                    svg,
                    "<rect class=\"{class}\" x=\"{x}\" y=\"{top}\" width=\"14\" height=\"10\"/>"
                )
            }
        };
        let _ =
            writeln!(svg, "<text class=\"tick\" x=\"{}\" y=\"{}\">{text}</text>", x + 20, y + 4);
        x += 44 + 6 * text.len() as u32;
    }
}

/// The first `most` characters.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

/// Text as XML holds it.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            c if c.is_control() || ('\u{fffe}'..='\u{ffff}').contains(&c) => {
                escaped.push('\u{fffd}')
            }
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_the_picture() {
        assert_eq!(escaped("a<b>&\"c\"\u{1}\n"), "a&lt;b&gt;&amp;&quot;c&quot;\u{fffd}\u{fffd}");
    }
}
