// SPDX-License-Identifier: GPL-2.0-only
//! Addresses in files are strings such as "0x1000000": TOML's integers end at 63 bits, and people read hex.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::Serializer;

/// Such a string, for schemas.
pub struct Hex;

impl JsonSchema for Hex {
    fn schema_name() -> Cow<'static, str> {
        "Hex".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number in hex, such as \"0x1000000\".",
            "type": "string",
            "pattern": "^0x[0-9a-fA-F]{1,16}$",
        })
    }
}

pub fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{value:#x}"))
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(Error::custom)
}

fn parse(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").filter(|digits| !digits.starts_with('+'));
    digits
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or_else(|| format!("expected a string such as \"0x1000000\", found {text:?}"))
}

/// The same for a value that may be absent.
pub mod option {
    use super::{Deserialize, Deserializer, Error, Serializer, parse};

    pub fn serialize<S: Serializer>(value: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<u64>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| parse(&text).map_err(Error::custom)).transpose()
    }
}

/// The same for a list that may be absent.
pub mod list {
    use serde::ser::SerializeSeq;

    use super::{Deserialize, Deserializer, Error, Serializer, parse};

    pub fn serialize<S: Serializer>(
        values: &Option<Vec<u64>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let Some(values) = values else { return serializer.serialize_none() };
        let mut list = serializer.serialize_seq(Some(values.len()))?;
        for value in values {
            list.serialize_element(&format!("{value:#x}"))?;
        }
        list.end()
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<u64>>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let values: Result<_, _> = texts.iter().map(|text| parse(text)).collect();
        values.map(Some).map_err(Error::custom)
    }
}
