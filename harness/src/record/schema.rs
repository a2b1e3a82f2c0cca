// SPDX-License-Identifier: GPL-2.0-only
//! The JSON Schemas of what programs read, made from the types.

use super::{Replay, Report};

/// What `relocheck` prints as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Printed {
    /// A report: `reports/schema.json` holds its schema.
    Report,
    /// A case that was run again: `reports/replay-schema.json` holds its schema.
    Replay,
}

/// The schema as text, with a newline at the end.
///
/// # Errors
///
/// None that the types could cause.
pub fn schema(of: Printed) -> serde_json::Result<String> {
    let schema = match of {
        Printed::Report => schemars::schema_for!(Report),
        Printed::Replay => schemars::schema_for!(Replay),
    };
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::samples;
    use super::*;

    fn validator() -> jsonschema::Validator {
        let schema: Value = serde_json::from_str(&schema(Printed::Report).unwrap()).unwrap();
        jsonschema::draft202012::meta::validate(&schema).expect("a schema");
        jsonschema::validator_for(&schema).unwrap()
    }

    #[test]
    fn the_published_schemas_are_those_of_the_types() {
        for (of, name, command) in [
            (Printed::Report, "schema.json", "relocheck report schema"),
            (Printed::Replay, "replay-schema.json", "relocheck report schema replay"),
        ] {
            let path = format!("{}/../reports/{name}", env!("CARGO_MANIFEST_DIR"));
            let published = std::fs::read_to_string(path).unwrap_or_default();
            let new = schema(of).unwrap();
            assert!(published == new, "reports/{name} is old: write it anew with `{command}`");
            let schema: Value = serde_json::from_str(&new).unwrap();
            jsonschema::draft202012::meta::validate(&schema).expect("a schema");
        }
    }

    #[test]
    fn reports_are_valid() {
        let validator = validator();
        let example = include_str!("../../../reports/example.json");
        for json in [
            samples::everything().to_json().unwrap(),
            samples::plain().to_json().unwrap(),
            example.to_owned(),
        ] {
            let value: Value = serde_json::from_str(&json).unwrap();
            let errors: Vec<String> = validator
                .iter_errors(&value)
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert!(errors.is_empty(), "{errors:#?}");
        }
        Report::parse(example.as_bytes()).expect("the example is a report");
    }

    #[test]
    fn the_schema_refuses_what_is_no_report() {
        let validator = validator();
        let good = serde_json::to_value(samples::everything()).unwrap();
        for (pointer, bad) in [
            ("/version", json!(1)),
            ("/exit_code", json!(3)),
            ("/verdict", json!("good")),
            ("/images/0/cases/0/load", json!(4096)),
            ("/images/0/cases/0/load", json!("4096")),
            ("/images/0/image_findings/0/rule", json!("chair")),
            ("/images/0/summary/known", json!(-1)),
            ("/campaign/partition/of", json!("four")),
            ("/known_issues/0/state", json!("forgotten")),
            ("/regressions/0/expected", json!({ "shows": "chair" })),
        ] {
            let mut report = good.clone();
            *report.pointer_mut(pointer).expect(pointer) = bad;
            assert!(!validator.is_valid(&report), "{pointer}");
        }
    }
}
