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
            "description": "Who logs in where, by a name that routes refer to. Default: none.",
            "type": ["object", "null"],
            "additionalProperties": { "oneOf": credentials },
            "examples": [{
                "legacy-key": { "provider": "static", "token": "${LEGACY_API_KEY}", "inject": { "header": "X-Api-Key" } }
            }]
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
    let shared = properties(&mut common);
    let about = shared.get("provider").and_then(|provider| provider.get("description")).cloned();
    fields.insert("provider".to_owned(), json!({ "description": about, "const": provider }));
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

/// What a reference is known by, anywhere in a text.
const REFERENCE: &str = r"\$\{";

/// Lets a reference stand wherever a value stands, as the reading does, and a number where a text is
/// wanted; and takes out defaults that are nothing.
fn references(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.get("default").is_some_and(Value::is_null) {
                members.remove("default");
            }
            let mut types: Vec<Value> = match members.get("type") {
                Some(Value::Array(types)) => types.clone(),
                Some(kind @ Value::String(_)) => vec![kind.clone()],
                _ => Vec::new(),
            };
            let has = |kind: &str| types.iter().any(|other| other == kind);
            if has("string") {
                // A text of any form: YAML reads `007` as a number, and the file means the text.
                let formed = ["pattern", "enum", "const"].iter().any(|word| members.contains_key(*word));
                if !formed && !has("number") {
                    types.push(json!("number"));
                    members.insert("type".to_owned(), Value::Array(types));
                }
            } else if has("integer") || has("number") || has("boolean") {
                types.push(json!("string"));
                members.insert("type".to_owned(), Value::Array(types));
                members.insert("pattern".to_owned(), json!(REFERENCE));
            }
            if let Some(Value::Array(words)) = members.get_mut("oneOf")
                && words.iter().all(|word| word.get("const").is_some_and(Value::is_string))
            {
                words.push(json!({ "description": "A reference to one of these words.", "type": "string", "pattern": REFERENCE }));
            }
            members.iter_mut().filter(|(name, _)| !is_data(name)).for_each(|(_, member)| references(member));
        }
        Value::Array(elements) => elements.iter_mut().for_each(references),
        _ => {}
    }
}

/// Members of a schema that hold values of the file, not schemas.
fn is_data(member: &str) -> bool {
    matches!(member, "default" | "examples" | "const" | "enum" | "required")
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
