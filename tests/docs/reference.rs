//! The reference of `proxy.yaml`, written from its schema.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Map, Value};

/// What stands above the written part in docs/configuration.md.
pub const MARK: &str =
    "<!-- From here on this page is written by a test, from the schema: change the fields' docs in src/, not this. -->";

/// How to write it anew.
pub const RENEW: &str = "UPDATE_DOCS=1 cargo test --test tests docs::";

/// A row of a table.
struct Row {
    path: String,
    kind: String,
    default: String,
    example: String,
    about: String,
}

/// The whole reference.
pub fn reference(schema: &Value) -> String {
    let mut writer = Writer { schema, written: BTreeMap::new(), out: String::new() };
    writer.all();
    writer.out
}

struct Writer<'s> {
    schema: &'s Value,
    /// Where a definition was written first.
    written: BTreeMap<String, String>,
    out: String,
}

impl Writer<'_> {
    fn all(&mut self) {
        let schema = self.schema;
        let properties = schema["properties"].as_object().unwrap();
        let required = names(schema);
        self.heading("The top level", "Fields with an entry of their own are told below.");
        let of_maps = |field: &Value| field.get("items").is_some_and(|items| self.fields_of(items).is_some());
        let own = |field: &Value| self.fields_of(field).is_some() || of_maps(field);
        let (rooms, plain): (Vec<_>, Vec<_>) =
            properties.iter().filter(|(name, _)| *name != "credentials").partition(|(_, field)| own(field));
        let rows: Vec<Row> =
            plain.iter().map(|(name, field)| self.row(name, field, required.contains(&name.as_str()))).collect();
        self.table(&rows);
        // In the order in which a file is written; what is new stands where the schema has it.
        let first = ["listeners", "routes"];
        for name in first {
            self.room(name, &properties[name]);
        }
        self.credentials(&properties["credentials"]);
        for (name, field) in rooms {
            if !first.contains(&name.as_str()) {
                self.room(name, field);
            }
        }
    }

    /// A top-level field that has fields itself.
    fn room(&mut self, name: &str, field: &Value) {
        self.heading(&format!("`{name}`"), &text(field, "description"));
        let (path, object) = match field.get("items") {
            Some(items) => (format!("{name}[]"), items),
            None => (name.to_owned(), field),
        };
        let mut rows = Vec::new();
        self.below(&path, object, &mut rows);
        self.table(&rows);
    }

    fn credentials(&mut self, field: &Value) {
        let about = text(field, "description");
        self.heading("`credentials`", &format!("{about} Every provider takes these fields; its own are told below."));
        let providers = field["additionalProperties"]["oneOf"].as_array().unwrap();
        let first = providers[0]["properties"].as_object().unwrap();
        let common: Vec<&String> = first
            .iter()
            .filter(|(name, field)| providers.iter().all(|p| p["properties"].get(name.as_str()) == Some(*field)))
            .map(|(name, _)| name)
            .collect();
        let kinds: Vec<String> = providers.iter().map(|p| format!("`{}`", text(p, "title"))).collect();
        let mut rows = vec![Row {
            path: "credentials.NAME.provider".to_owned(),
            kind: kinds.join(", "),
            default: "required".to_owned(),
            example: String::new(),
            about: "Who logs in, and how.".to_owned(),
        }];
        for name in &common {
            self.member("credentials.NAME", name, &first[name.as_str()], false, &mut rows);
        }
        self.table(&rows);
        for provider in providers {
            let title = text(provider, "title");
            self.sub(&format!("`provider: {title}`"), &text(provider, "description"));
            let required = names(provider);
            let mut rows = Vec::new();
            for (name, field) in provider["properties"].as_object().unwrap() {
                if name != "provider" && !common.contains(&name) {
                    self.member("credentials.NAME", name, field, required.contains(&name.as_str()), &mut rows);
                }
            }
            if rows.is_empty() {
                self.out.push_str("No fields of its own.\n\n");
            } else {
                self.table(&rows);
            }
        }
    }

    /// The fields of an object, and theirs.
    fn below(&mut self, path: &str, object: &Value, rows: &mut Vec<Row>) {
        let Some((definition, object)) = self.fields_of(object) else { return };
        if let Some(definition) = definition {
            self.written.entry(definition).or_insert_with(|| path.to_owned());
        }
        let required = names(&object);
        for (name, field) in object["properties"].as_object().unwrap() {
            self.member(path, name, field, required.contains(&name.as_str()), rows);
        }
    }

    fn member(&mut self, path: &str, name: &str, field: &Value, required: bool, rows: &mut Vec<Row>) {
        let path = format!("{path}.{name}");
        let mut row = self.row(&path, field, required);
        let list = self.element(field);
        let inner = list.as_ref().unwrap_or(field);
        let deeper =
            self.fields_of(inner).map(|(definition, _)| definition.and_then(|d| self.written.get(&d).cloned()));
        match deeper {
            Some(Some(before)) => {
                let _ = write!(row.about, " The same fields as `{before}`.");
                rows.push(row);
            }
            Some(None) => {
                rows.push(row);
                let below = if list.is_some() { format!("{path}[]") } else { path };
                let inner = inner.clone();
                self.below(&below, &inner, rows);
            }
            None => rows.push(row),
        }
    }

    /// What a list that holds objects holds.
    fn element(&self, field: &Value) -> Option<Value> {
        let field = self.resolved(field);
        if let Some(items) = field.get("items") {
            return self.fields_of(items).map(|_| items.clone());
        }
        let choices = field.get("anyOf")?.as_array()?;
        choices.iter().filter(|c| self.fields_of(c).is_none()).find_map(|c| self.element(c))
    }

    fn row(&self, path: &str, field: &Value, required: bool) -> Row {
        let whole = self.resolved(field);
        let said =
            Some(text(field, "description")).filter(|t| !t.is_empty()).unwrap_or_else(|| text(&whole, "description"));
        let (mut about, told) = split_default(&said);
        let default = match (required, field.get("default").or_else(|| whole.get("default")), told) {
            (true, ..) => "required".to_owned(),
            (false, Some(value), _) => format!("`{}`", plain(value)),
            (false, None, Some(told)) => told,
            (false, None, None) => String::new(),
        };
        for (word, meaning) in self.meanings(field) {
            let _ = write!(about, "<br>`{word}`: {meaning}");
        }
        Row { path: path.to_owned(), kind: self.kind(field), default, example: self.example(field), about }
    }

    /// Up to two examples.
    fn example(&self, field: &Value) -> String {
        let field = self.resolved(field);
        let own = |field: &Value| {
            let examples = field.get("examples")?.as_array()?;
            Some(examples.iter().take(2).map(|e| format!("`{}`", plain(e))).collect::<Vec<_>>().join(", "))
        };
        own(&field)
            .or_else(|| own(&self.resolved(field.get("items")?)))
            .or_else(|| own(&self.resolved(field.get("additionalProperties")?)))
            .or_else(|| field.get("anyOf")?.as_array()?.iter().find_map(|c| own(&self.resolved(c))))
            .unwrap_or_default()
    }

    /// What a field's words mean, where it is one of several.
    fn meanings(&self, field: &Value) -> Vec<(String, String)> {
        let field = self.resolved(field);
        let list = |key: &str| field.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        let mut found = Vec::new();
        for choice in list("oneOf").iter().chain(&list("anyOf")) {
            match choice.get("const") {
                Some(word) if choice.get("description").is_some() => {
                    found.push((plain(word), text(choice, "description")));
                }
                Some(_) => {}
                None => found.extend(self.meanings(choice)),
            }
        }
        found
    }

    /// How a field is written, in words.
    fn kind(&self, field: &Value) -> String {
        let field = self.resolved(field);
        for key in ["oneOf", "anyOf"] {
            if let Some(choices) = field.get(key).and_then(Value::as_array) {
                let mut kinds: Vec<String> = choices.iter().map(|c| self.kind(c)).filter(|k| !k.is_empty()).collect();
                kinds.dedup();
                return kinds.join(", ");
            }
        }
        if let Some(word) = field.get("const") {
            return format!("`{}`", plain(word));
        }
        if let Some(words) = field.get("enum").and_then(Value::as_array) {
            return words
                .iter()
                .filter(|w| !w.is_null())
                .map(|w| format!("`{}`", plain(w)))
                .collect::<Vec<_>>()
                .join(", ");
        }
        if field.get("writeOnly") == Some(&Value::Bool(true)) {
            return "secret".to_owned();
        }
        let kinds: Vec<&str> = match &field["type"] {
            Value::String(kind) => vec![kind],
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            _ => vec![],
        };
        let pattern = text(&field, "pattern");
        let of = |inner: Option<&Value>| inner.map(|i| self.kind(i)).unwrap_or_default();
        if pattern.contains("(ms|s|m|h)") {
            "duration".to_owned()
        } else if pattern.contains("[kKmMgG][bB]") {
            "size".to_owned()
        } else if kinds.contains(&"boolean") && !kinds.contains(&"number") {
            "`true`, `false`".to_owned()
        } else if kinds.contains(&"integer") || kinds == ["number"] || kinds == ["number", "string"] {
            "number".to_owned()
        } else if kinds.contains(&"array") {
            format!("list: {}", of(field.get("items")))
        } else if kinds.contains(&"object") && field.get("properties").is_some() {
            "map".to_owned()
        } else if kinds.contains(&"object") {
            format!("map of names to: {}", of(field.get("additionalProperties")))
        } else if kinds == ["null"] {
            String::new()
        } else if text(&field, "format") == "uri" {
            "URL".to_owned()
        } else if kinds.is_empty() {
            "anything".to_owned()
        } else {
            "text".to_owned()
        }
    }

    /// The object that a field is or may be, and the name of its definition.
    fn fields_of(&self, field: &Value) -> Option<(Option<String>, Value)> {
        if let Some(reference) = field.get("$ref").and_then(Value::as_str) {
            let name = reference.rsplit('/').next().unwrap();
            let (deeper, object) = self.fields_of(&self.schema["$defs"][name])?;
            return Some((deeper.or_else(|| Some(name.to_owned())), object));
        }
        // A choice beside them is between what must be there of them.
        if field.get("properties").is_some_and(Value::is_object) {
            return Some((None, field.clone()));
        }
        field.get("anyOf").and_then(Value::as_array)?.iter().find_map(|c| self.fields_of(c))
    }

    /// A field without the reference and without the choice of nothing.
    fn resolved(&self, field: &Value) -> Value {
        if let Some(reference) = field.get("$ref").and_then(Value::as_str) {
            let mut target = self.schema["$defs"][reference.rsplit('/').next().unwrap()].clone();
            // What stands beside a reference is about this use of it.
            for (key, value) in field.as_object().unwrap().iter().filter(|(key, _)| *key != "$ref") {
                target[key] = value.clone();
            }
            return self.resolved(&target);
        }
        let Some(choices) = field.get("anyOf").and_then(Value::as_array) else { return field.clone() };
        let real: Vec<&Value> = choices.iter().filter(|c| c.get("type").is_none_or(|t| t != "null")).collect();
        if real.len() != 1 {
            return field.clone();
        }
        let mut only = self.resolved(real[0]);
        for (key, value) in field.as_object().unwrap().iter().filter(|(key, _)| *key != "anyOf") {
            only[key] = value.clone();
        }
        only
    }

    fn heading(&mut self, title: &str, about: &str) {
        let _ = write!(self.out, "## {title}\n\n{about}\n\n");
    }

    fn sub(&mut self, title: &str, about: &str) {
        let _ = write!(self.out, "### {title}\n\n{about}\n\n");
    }

    fn table(&mut self, rows: &[Row]) {
        assert!(!rows.is_empty(), "a table without a row behind {}", self.out.lines().last().unwrap_or_default());
        self.out.push_str("| field | written as | default | example | meaning |\n| --- | --- | --- | --- | --- |\n");
        for row in rows {
            let cells = [&row.kind, &row.default, &row.example, &row.about].map(|cell| cell.replace('|', "\\|"));
            let _ = writeln!(self.out, "| `{}` | {} |", row.path, cells.join(" | "));
        }
        self.out.push('\n');
    }
}

fn names(object: &Value) -> Vec<&str> {
    object.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

fn text(of: &Value, key: &str) -> String {
    of.get(key).and_then(Value::as_str).unwrap_or_default().replace('\n', " ")
}

/// A value as it is written in the file.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(plain).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => format!("{{{}}}", pairs(map)),
        other => other.to_string(),
    }
}

fn pairs(map: &Map<String, Value>) -> String {
    map.iter().map(|(name, value)| format!("{name}: {}", plain(value))).collect::<Vec<_>>().join(", ")
}

/// What is said of a field, and what of its default.
fn split_default(about: &str) -> (String, Option<String>) {
    let Some((before, after)) = about.split_once("Default: ") else { return (about.to_owned(), None) };
    // A sentence ends where another begins, or the text.
    let end = after.find(". ").map_or(after.len(), |at| at + 1);
    let (told, rest) = after.split_at(end);
    let about = format!("{} {}", before.trim_end(), rest.trim_start());
    (about.trim_end().to_owned(), Some(told.trim_end_matches('.').to_owned()))
}
