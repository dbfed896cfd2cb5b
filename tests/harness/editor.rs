//! What an editor says of a configuration, by the schema.

use std::sync::LazyLock;

use boon::{Compiler, Draft, SchemaIndex, Schemas};

thread_local! {
    static SCHEMA: LazyLock<(Schemas, SchemaIndex)> = LazyLock::new(|| {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.set_default_draft(Draft::V2020_12);
        compiler.add_resource("proxy.schema.json", tokenferry::config::schema()).unwrap();
        let index = compiler.compile("proxy.schema.json", &mut schemas).unwrap_or_else(|error| panic!("{error}"));
        (schemas, index)
    });
}

/// Fails where the schema refuses a file that the proxy has taken.
pub fn takes(yaml: &str) {
    let document: serde_json::Value = serde_yaml::from_str(yaml).unwrap();
    SCHEMA.with(|schema| {
        let (schemas, index) = &**schema;
        if let Err(error) = schemas.validate(&document, *index) {
            panic!("the proxy takes this, and the schema does not: {error:#}\n{yaml}");
        }
    });
}
