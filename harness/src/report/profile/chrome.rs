// SPDX-License-Identifier: GPL-2.0-only
//! A profile as a time line, in the format that chrome://tracing and Perfetto read ("Trace Event Format"). One microsecond
//! there is one instruction here.

use serde_json::{Value, json};

use crate::explain::trace::{Profile, Span};

/// The time line as one JSON document.
pub fn chrome_trace(profile: &Profile) -> String {
    let mut text = String::from("{\"traceEvents\":[\n");
    let name = json!({
        "ph": "M", "pid": 1, "tid": 1, "name": "process_name", "args": { "name": "stub" },
    });
    text += &name.to_string();
    for span in &profile.spans {
        text += ",\n";
        text += &event(profile, span).to_string();
    }
    let about = json!({
        "unit": "one microsecond is one instruction",
        "instructions": profile.tree.instructions(),
        "blocks": profile.tree.blocks(),
        "calls_left_out_below_instructions": profile.shortest_span,
    });
    text += &format!("\n],\"otherData\":{about}}}\n");
    text
}

fn event(profile: &Profile, span: &Span) -> Value {
    let name = profile.tree.functions.get(span.function).map_or("", |function| &function.name);
    json!({
        "ph": "X",
        "pid": 1,
        "tid": 1,
        "name": name,
        "cat": span.how.word().unwrap_or("call"),
        "ts": span.start,
        "dur": span.end - span.start,
    })
}
