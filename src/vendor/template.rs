//! JSON as the operator wrote it, each string of it a possible secret.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Number, Value};

use crate::secret::Secret;
use crate::vendor::request::json_string;

/// A JSON value in the order of the file. Its `Debug` shows no string.
#[derive(Clone, Debug)]
pub(super) enum Template {
    Null,
    Bool(bool),
    Number(Number),
    Text(Secret),
    List(Vec<Template>),
    Object(Vec<(String, Template)>),
}

impl Template {
    /// The JSON text.
    pub(super) fn render(&self) -> Secret {
        let mut text = String::new();
        self.write(&mut text);
        Secret::new(text)
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(number) => out.push_str(&number.to_string()),
            Self::Text(text) => out.push_str(&json_string(text.expose())),
            Self::List(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (at, (name, value)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    out.push_str(&json_string(name));
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// Every string in it.
    pub(super) fn secrets(&self, out: &mut Vec<Secret>) {
        match self {
            Self::Text(text) => out.push(text.clone()),
            Self::List(items) => items.iter().for_each(|item| item.secrets(out)),
            Self::Object(members) => members.iter().for_each(|(_, value)| value.secrets(out)),
            Self::Null | Self::Bool(_) | Self::Number(_) => {}
        }
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TemplateVisitor;

        impl<'de> Visitor<'de> for TemplateVisitor {
            type Value = Template;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Template, E> {
                Ok(Template::Bool(value))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Template, E> {
                Ok(Template::Number(value.into()))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Template, E> {
                Ok(Template::Number(value.into()))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Template, E> {
                Number::from_f64(value).map(Template::Number).ok_or_else(|| E::custom("JSON has no such number"))
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Template, E> {
                Ok(Template::Text(Secret::new(value)))
            }

            fn visit_unit<E: Error>(self) -> Result<Template, E> {
                Ok(Template::Null)
            }

            fn visit_none<E: Error>(self) -> Result<Template, E> {
                Ok(Template::Null)
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Template, D::Error> {
                Template::deserialize(deserializer)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Template, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Template::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Template, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Template::Object(members))
            }
        }

        deserializer.deserialize_any(TemplateVisitor)
    }
}

impl JsonSchema for Template {
    fn schema_name() -> Cow<'static, str> {
        "Template".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "description": "Any JSON value; its strings may be references." })
    }
}

/// A string, a number or a boolean to compare with. `1`, `1.0` and `"1"` are one.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar {
    Bool(bool),
    Number(Number),
    Text(String),
}

impl Scalar {
    /// Whether the JSON value is this one, however it is written.
    pub(super) fn is(&self, value: &Value) -> bool {
        if let (Some(a), Some(b)) = (self.as_f64(), number(value)) {
            return a.total_cmp(&b).is_eq();
        }
        match value {
            Value::String(text) => *text == self.text(),
            Value::Bool(value) => value.to_string() == self.text(),
            _ => false,
        }
    }

    /// As JSON.
    pub(super) fn value(&self) -> Value {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Text(text) => Value::String(text.clone()),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }

    fn as_f64(&self) -> Option<f64> {
        number(&self.value())
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok().filter(|n: &f64| n.is_finite()),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Template::deserialize(deserializer)? {
            Template::Bool(value) => Ok(Self::Bool(value)),
            Template::Number(number) => Ok(Self::Number(number)),
            Template::Text(text) => Ok(Self::Text(text.expose().to_owned())),
            Template::Null | Template::List(_) | Template::Object(_) => {
                Err(D::Error::custom("must be a string, a number or a boolean"))
            }
        }
    }
}

impl JsonSchema for Scalar {
    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_template_is_written_as_it_was_read() {
        let text = r#"{"z":"a\"b\n","a":[1,-2,2.5,true,null,{"y":{}}],"m":""}"#;
        let template: Template = serde_json::from_str(text).unwrap();
        assert_eq!(template.render().expose(), text);
        let mut secrets = Vec::new();
        template.secrets(&mut secrets);
        assert_eq!(secrets, [Secret::new("a\"b\n"), Secret::new("")]);
        assert!(!format!("{template:?}").contains("a\\\"b"));
    }

    #[test]
    fn a_template_may_be_yaml() {
        let template: Template = serde_yaml::from_str("{user: bob, n: 1, l: [~, yes]}").unwrap();
        assert_eq!(template.render().expose(), r#"{"user":"bob","n":1,"l":[null,"yes"]}"#);
    }

    #[test]
    fn scalars_are_equal_however_they_are_written() {
        let equal = |scalar: Value, value: Value| serde_json::from_value::<Scalar>(scalar).unwrap().is(&value);
        for (a, b) in [
            (json!("OK"), json!("OK")),
            (json!(0), json!(0)),
            (json!(0), json!("0")),
            (json!("0"), json!(0.0)),
            (json!(true), json!(true)),
            (json!("true"), json!(true)),
            (json!(true), json!("true")),
        ] {
            assert!(equal(a.clone(), b.clone()), "{a} {b}");
        }
        for (a, b) in [
            (json!("OK"), json!("ok")),
            (json!(0), json!(1)),
            (json!(true), json!(1)),
            (json!("OK"), json!(null)),
            (json!("OK"), json!(["OK"])),
        ] {
            assert!(!equal(a.clone(), b.clone()), "{a} {b}");
        }
        assert!(serde_json::from_value::<Scalar>(json!({})).is_err());
    }
}
