// SPDX-License-Identifier: GPL-2.0-only
//! One draw as a picture: a histogram over addresses, and below it memory and what the runs chose.

use std::fmt::Write;

use super::escaped;
use crate::campaign::kaslr::Draw;
use crate::range::Range;

const LEFT: f64 = 64.0;
const RIGHT: f64 = 912.0;
/// Height of the title, a line of names, the histogram, a strip below it, and the axis.
const TITLE: u32 = 30;
const CAPTION: u32 = 16;
const BARS: u32 = 150;
const STRIP: u32 = 18;
const AXIS: u32 = 52;
/// Something small is drawn this wide, or it could not be seen.
const LEAST_WIDTH: f64 = 2.0;
const TICKS: u64 = 10;
/// So many characters fit into the line of names.
const CAPTION_LENGTH: usize = 128;

/// A histogram with what belongs to it.
pub struct Panel<'a> {
    /// Its headline.
    pub title: String,
    /// The draw.
    pub draw: &'a Draw,
    /// The addresses on the axis.
    pub shown: Range,
    /// Free memory.
    pub free: Vec<Range>,
    /// What must not be overwritten, by name.
    pub kept: Vec<(&'static str, Range)>,
    /// What the runs chose.
    pub marks: Vec<Mark>,
}

/// The choice of one run.
pub struct Mark {
    /// Where.
    pub address: u64,
    /// Whether it is what the model says.
    pub right: bool,
}

impl Panel<'_> {
    /// Height on the picture.
    pub fn height(&self) -> u32 {
        let memory = if self.free.is_empty() { 0 } else { STRIP };
        TITLE + self.caption_height() + BARS + STRIP + memory + AXIS
    }

    fn caption_height(&self) -> u32 {
        if self.kept.is_empty() { 0 } else { CAPTION }
    }

    /// Names what must not be overwritten, the largest first, as far as there is room.
    fn caption(&self) -> String {
        let mut kept: Vec<_> = self.kept.iter().collect();
        kept.sort_by_key(|(_, range)| std::cmp::Reverse(range.len()));
        let mut text = String::new();
        for (number, (what, range)) in kept.iter().enumerate() {
            let name = format!("{what} {range}");
            if text.len() + name.len() > CAPTION_LENGTH {
                let _ = write!(text, ", {} more", kept.len() - number);
                break;
            }
            text += if number > 0 { ", " } else { "" };
            text += &name;
        }
        text
    }

    /// Draws it with its upper edge at `top`.
    pub fn render(&self, svg: &mut String, top: u32) {
        let bottom = top + TITLE + self.caption_height() + BARS;
        let _ = writeln!(
            svg,
            "<text class=\"head\" x=\"24\" y=\"{}\">{}</text>",
            top + 18,
            escaped(&self.title)
        );
        if !self.kept.is_empty() {
            let (y, text) = (top + 34, escaped(&self.caption()));
            let _ =
                writeln!(svg, "<text class=\"tick\" x=\"24\" y=\"{y}\">kept free: {text}</text>");
        }
        let memory = if self.free.is_empty() { 0 } else { STRIP };
        self.grid(svg, bottom - BARS, bottom + STRIP + memory);
        self.bars(svg, bottom);
        if memory > 0 {
            self.memory(svg, bottom + STRIP);
        }
        for (number, mark) in self.marks.iter().enumerate() {
            let class = if mark.right { "run" } else { "wrong" };
            // Three rows, so that neighbours can be told apart.
            let y = bottom + 4 + number as u32 % 3 * 5;
            let x = self.x(mark.address);
            let _ = writeln!(svg, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y}\" r=\"3\"/>");
        }
        let _ = writeln!(svg, "<path class=\"frame\" d=\"M{LEFT} {bottom}H{RIGHT}\"/>");
    }

    fn x(&self, address: u64) -> f64 {
        let offset = address.saturating_sub(self.shown.start) as f64;
        LEFT + (RIGHT - LEFT) * (offset / self.shown.len() as f64).min(1.0)
    }

    /// A rectangle from the first to the last address.
    fn block(&self, svg: &mut String, class: &str, range: Range, y: f64, height: f64) {
        let (left, right) = (self.x(range.start), self.x(range.end));
        let width = (right - left).max(LEAST_WIDTH);
        let _ = write!(
            svg,
            "<rect class=\"{class}\" x=\"{left:.2}\" y=\"{y:.2}\" width=\"{width:.2}\" height=\"{height:.2}\""
        );
    }

    /// Vertical lines with their addresses below.
    fn grid(&self, svg: &mut String, top: u32, bottom: u32) {
        let step = (self.shown.len() / TICKS).max(1).next_power_of_two();
        let mut address = self.shown.start.next_multiple_of(step);
        while address <= self.shown.end {
            let x = self.x(address);
            let _ = writeln!(svg, "<path class=\"grid\" d=\"M{x:.1} {top}V{bottom}\"/>");
            let labels = match address {
                0 => vec!["0".to_owned()],
                _ => vec![format!("{address:#x}"), in_units_of(step, address)],
            };
            for (text, y) in labels.iter().zip([bottom + 14, bottom + 28]) {
                let _ = writeln!(
                    svg,
                    "<text class=\"tick\" x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{text}</text>"
                );
            }
            let Some(next) = address.checked_add(step) else { break };
            address = next;
        }
    }

    /// The samples, and the line of an even draw.
    fn bars(&self, svg: &mut String, bottom: u32) {
        let Some(histogram) = &self.draw.histogram else { return };
        let total = histogram.total();
        let expected = |slots: u64| total.count as f64 * slots as f64 / total.slots as f64;
        let columns = || histogram.columns.iter();
        let most = columns().map(|column| (column.count as f64).max(expected(column.slots)));
        let most = most.fold(1.0, f64::max) * 1.08;
        let height = |value: f64| f64::from(BARS) * value / most;
        let mut line = String::new();
        let mut left = histogram.start;
        let mut open = false;
        for column in columns() {
            let range = Range::sized(left, histogram.width);
            left = range.end;
            if column.count > 0 {
                let high = height(column.count as f64);
                self.block(svg, "bar", range, f64::from(bottom) - high, high);
                let _ = writeln!(
                    svg,
                    "><title>{range}: {} samples, {} slots</title></rect>",
                    column.count, column.slots
                );
            }
            if column.slots > 0 {
                let y = f64::from(bottom) - height(expected(column.slots));
                let start = if open { 'L' } else { 'M' };
                let (from, to) = (self.x(range.start), self.x(range.end));
                let _ = write!(line, "{start}{from:.2} {y:.2}H{to:.2}");
            }
            open = column.slots > 0;
        }
        let _ = writeln!(svg, "<path class=\"even\" d=\"{line}\"/>");
        let usual = columns().map(|column| expected(column.slots)).fold(0.0, f64::max);
        for value in [0.0, usual] {
            let y = f64::from(bottom) - height(value) + 4.0;
            let _ = writeln!(
                svg,
                "<text class=\"tick\" x=\"{}\" y=\"{y:.1}\" text-anchor=\"end\">{value:.0}</text>",
                LEFT - 6.0
            );
        }
    }

    /// The strip of memory: what is free, and what of it must stay.
    fn memory(&self, svg: &mut String, top: u32) {
        let y = f64::from(top) + 3.0;
        for range in &self.free {
            self.block(svg, "free", *range, y, f64::from(STRIP) - 6.0);
            let _ = writeln!(svg, "><title>{range}: free memory</title></rect>");
        }
        for (what, range) in &self.kept {
            self.block(svg, "kept", *range, y - 1.0, f64::from(STRIP) - 4.0);
            let _ = writeln!(svg, "><title>{range}: {what}</title></rect>");
        }
    }
}

/// `address`, a multiple of `step`, as a whole number of the largest unit that `step` is a multiple of.
fn in_units_of(step: u64, address: u64) -> String {
    const UNITS: [(u32, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = UNITS.into_iter().find(|(shift, _)| step.is_multiple_of(1 << shift));
    let (shift, name) = unit.unwrap_or((0, "bytes"));
    format!("{} {name}", address >> shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_exact() {
        assert_eq!(in_units_of(1 << 28, 0x5000_0000), "1280 MiB");
        assert_eq!(in_units_of(1 << 31, 0x1_8000_0000), "6 GiB");
        assert_eq!(in_units_of(1 << 40, 1 << 44), "16 TiB");
        assert_eq!(in_units_of(512, 1536), "1536 bytes");
    }
}
