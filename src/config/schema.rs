//! The JSON Schema of `proxy.yaml`, from the types that read it.

use std::collections::HashSet;
use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::config::file::{Common, General, Listener, Route};
use crate::vendor;

/// The schema, for editors: draft 2020-12.
pub fn schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let listener = generator.subschema_for::<Listener>();
    let route = generator.subschema_for::<Route>();
    let mut top = object::<General>(&mut generator);
    let credentials: Vec<Value> =
        vendor::PROVIDERS.iter().filter_map(|provider| credential(provider, &mut generator)).collect();
    let mut ordered = Map::new();
    ordered.insert(
        "listeners".to_owned(),
        json!({ "description": "Where to listen.", "type": "array", "items": listener, "minItems": 1 }),
    );
    ordered.append(&mut properties(&mut top));
    ordered.insert(
        "credentials".to_owned(),
        json!({
            "description": "Who logs in where, by a name that routes refer to.",
            "type": ["object", "null"],
            "additionalProperties": { "oneOf": credentials }
        }),
    );
    ordered.insert(
        "routes".to_owned(),
        json!({ "description": "Which requests go where.", "type": "array", "items": route, "minItems": 1 }),
    );
    let mut root = Map::new();
    root.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    root.insert("title".to_owned(), json!("proxy.yaml of tokenferry"));
    root.insert("type".to_owned(), json!("object"));
    root.insert("required".to_owned(), json!(["listeners", "routes"]));
    root.insert("properties".to_owned(), Value::Object(ordered));
    root.insert("patternProperties".to_owned(), json!({ "^x-": { "description": "Free, for anchors." } }));
    root.insert("additionalProperties".to_owned(), json!(false));
    root.insert("$defs".to_owned(), Value::Object(generator.take_definitions(true)));
    let mut root = Value::Object(root);
    references(&mut root);
    root
}

/// What a type's schema says of its fields.
fn object<T: JsonSchema>(generator: &mut SchemaGenerator) -> Map<String, Value> {
    T::json_schema(generator).as_object().cloned().unwrap_or_default()
}

fn properties(object: &mut Map<String, Value>) -> Map<String, Value> {
    match object.remove("properties") {
        Some(Value::Object(properties)) => properties,
        _ => Map::new(),
    }
}

/// The common fields and a provider's own, as one object.
fn credential(provider: &str, generator: &mut SchemaGenerator) -> Option<Value> {
    let mut own = resolved(&vendor::schema(provider, generator)?, generator);
    let mut common = object::<Common>(generator);
    let mut fields = Map::new();
    fields.insert("provider".to_owned(), json!({ "const": provider }));
    let shared = properties(&mut common);
    fields.extend(properties(&mut own));
    fields.extend(shared.into_iter().filter(|(name, _)| name != "provider"));
    let mut required = vec![json!("provider")];
    required.extend(own.get("required").and_then(Value::as_array).into_iter().flatten().cloned());
    Some(json!({
        "title": provider,
        "description": own.get("description").cloned().unwrap_or_default(),
        "type": "object",
        "properties": fields,
        "required": required,
        "additionalProperties": false
    }))
}

/// The object behind a `$ref`, where it is one.
fn resolved(schema: &Schema, generator: &SchemaGenerator) -> Map<String, Value> {
    let object = schema.as_object().cloned().unwrap_or_default();
    let target = object.get("$ref").and_then(Value::as_str).and_then(|r| r.rsplit('/').next());
    match target.and_then(|name| generator.definitions().get(name)).and_then(Value::as_object) {
        Some(target) => target.clone(),
        None => object,
    }
}

/// A number or a truth value may always be written as a reference, which is a string; and a field
/// whose default is nothing has none to tell.
fn references(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.get("default").is_some_and(Value::is_null) {
                members.remove("default");
            }
            let plain = matches!(members.get("type").and_then(Value::as_str), Some("integer" | "number" | "boolean"));
            let nullable = members.get("type").and_then(Value::as_array).is_some_and(|types| {
                types.iter().any(|t| matches!(t.as_str(), Some("integer" | "number" | "boolean")))
                    && !types.iter().any(|t| t == "string")
            });
            if plain {
                let kind = members.get("type").cloned().unwrap_or_default();
                members.insert("type".to_owned(), json!([kind, "string"]));
            } else if nullable && let Some(types) = members.get_mut("type").and_then(Value::as_array_mut) {
                types.push(json!("string"));
            }
            members.values_mut().for_each(references);
        }
        Value::Array(elements) => elements.iter_mut().for_each(references),
        _ => {}
    }
}

/// Names that fields have: shown wherever they stand as keys.
pub(crate) static VOCABULARY: LazyLock<HashSet<String>> = LazyLock::new(|| {
    fn walk(schema: &Value, names: &mut HashSet<String>) {
        match schema {
            Value::Object(members) => {
                for (name, member) in members {
                    if let ("properties", Some(fields)) = (name.as_str(), member.as_object()) {
                        names.extend(fields.keys().cloned());
                    }
                    walk(member, names);
                }
            }
            Value::Array(elements) => elements.iter().for_each(|element| walk(element, names)),
            _ => {}
        }
    }
    let mut names = HashSet::new();
    walk(&schema(), &mut names);
    names
});
