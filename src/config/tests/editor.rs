//! What the editor is told: every field with its documentation, and the same verdict as `check`'s
//! wherever a schema can have one.

mod covered;
mod mistakes;

use std::path::Path;

use boon::{Compiler, Draft, SchemaIndex, Schemas};
use serde_json::Value as Json;

use super::*;
use crate::config::source::Source;
use crate::config::tree::{Marks, Node, Value, parse};

thread_local! {
    static COMPILED: (Schemas, SchemaIndex) = compile();
}

fn compile() -> (Schemas, SchemaIndex) {
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.set_default_draft(Draft::V2020_12);
    compiler.add_resource("proxy.schema.json", schema()).unwrap();
    let index = compiler.compile("proxy.schema.json", &mut schemas).unwrap_or_else(|error| panic!("{error}"));
    (schemas, index)
}

/// What a validator has against a file; `None` where it takes it.
pub(super) fn complaint(yaml: &str) -> Option<String> {
    let root = parse(&Source::new(yaml.as_bytes()).0, Marks::None).0?;
    let document = json(&root);
    COMPILED.with(|(schemas, index)| schemas.validate(&document, *index).err().map(|error| format!("{error:#}")))
}

/// The document as editors see it: references are text.
fn json(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(value, _) => (*value).into(),
        Value::Int(value, text) => {
            i64::try_from(*value).map_or_else(|_| serde_json::from_str(text).unwrap(), Json::from)
        }
        Value::Float(value, _) => (*value).into(),
        Value::Text(text) => text.as_str().into(),
        Value::Resolved(resolved) => resolved.masked.as_str().into(),
        Value::List(elements) => elements.iter().map(json).collect(),
        Value::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), json(&entry.node))).collect(),
    }
}

#[test]
fn the_checked_in_schema_is_current() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("proxy.schema.json");
    let written = std::fs::read_to_string(file).unwrap_or_default();
    assert!(
        written == format!("{:#}\n", schema()),
        "proxy.schema.json is stale; renew it with: cargo run --quiet -- schema > proxy.schema.json"
    );
}

#[test]
fn the_shipped_file_and_the_contracts_example_are_valid_and_taken() {
    let shipped = include_str!("../../../proxy.yaml");
    assert!(shipped.starts_with("# yaml-language-server: $schema=proxy.schema.json\n"));
    assert_eq!(complaint(shipped), None);
    let example = include_str!("editor/example.yaml");
    assert_eq!(complaint(example), None);
    let folder = tempfile::tempdir().unwrap();
    let key = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=";
    let environment = |name: &str| Some(if name.ends_with("STORE_KEY") { key.to_owned() } else { format!("x-{name}") });
    std::fs::write(folder.path().join("crewmojo_client_secret"), "x\n").unwrap();
    let taken = load_bytes(&folder.path().join("proxy.yaml"), example.as_bytes(), &environment);
    assert!(taken.is_ok(), "{}", taken.unwrap_err());
}
