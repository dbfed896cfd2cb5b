//! Every field says what it is for, what holds without it, and how it is written.

use serde_json::{Map, Value as Json};

use crate::config::schema;

type Object = Map<String, Json>;

/// What to do about a field that is told too little of. Its struct is the mirror of the file in
/// `src/config/file`, or a vendor's settings in `src/vendor`.
const DOCUMENT: &str = "no description: write a doc comment above the field";
const SAY_WHAT_HOLDS: &str = "no default: write #[schemars(extend(\"default\" = ...))] or #[schemars(required)] above \
     it, or let its doc comment say `Default: ...` or `Required ...`";
const SHOW_ONE: &str = "no example: write #[schemars(extend(\"examples\" = [...]))] above it, or give its `Form` one";

struct Walk {
    root: Json,
    missing: Vec<String>,
    fields: usize,
}

impl Walk {
    /// The schema itself, or the one that it refers to.
    fn resolved<'j>(&'j self, schema: &'j Json) -> &'j Json {
        match schema.get("$ref").and_then(Json::as_str) {
            Some(reference) => self.root.pointer(reference.trim_start_matches('#')).unwrap(),
            None => schema,
        }
    }

    /// The schema, with those that it refers to and chooses from.
    fn choices<'j>(&'j self, schema: &'j Json) -> Vec<&'j Json> {
        let schema = self.resolved(schema);
        let listed = ["anyOf", "oneOf", "allOf"].iter().filter_map(|word| schema.get(*word)?.as_array()).flatten();
        let mut all = vec![schema];
        all.extend(listed.filter(|choice| choice.get("const").is_none()).flat_map(|choice| self.choices(choice)));
        all
    }

    /// The same, with what lists are made of.
    fn parts<'j>(&'j self, schema: &'j Json) -> Vec<&'j Json> {
        let choices = self.choices(schema);
        let items: Vec<&Json> = choices.iter().filter_map(|choice| choice.get("items")).collect();
        choices.into_iter().chain(items.into_iter().flat_map(|items| self.parts(items))).collect()
    }

    fn is_described(&self, field: &Json) -> bool {
        let said = |schema: &Json| schema.get("description").and_then(Json::as_str).is_some_and(|text| text.len() > 3);
        said(field) || said(self.resolved(field))
    }

    /// Whether the reader knows what holds without it. Maps of fields have those of their fields.
    fn is_settled(&self, field: &Json, is_required: bool) -> bool {
        let text = field.get("description").and_then(Json::as_str).unwrap_or_default();
        let nested = self.parts(field).iter().any(|part| part.get("properties").is_some());
        is_required
            || nested
            || field.get("default").is_some()
            || text.contains("Default: ")
            || text.contains("Required")
    }

    /// Whether it takes what nobody can guess: text, numbers, or a map with keys of one's own.
    fn is_free(&self, field: &Json) -> bool {
        let parts = self.parts(field);
        let words = parts.iter().any(|part| part.get("oneOf").is_some_and(is_words) || part.get("enum").is_some());
        let free = |part: &&&Json| {
            let is = |kind: &str| part.get("type").is_some_and(|types| types == kind || has(types, kind));
            let map = part.get("additionalProperties").is_some_and(Json::is_object);
            // Of a truth value the text is a reference.
            !is("boolean") && (is("string") || is("number") || is("integer") || map)
        };
        let anything = field.as_object().is_some_and(|members| members.keys().all(|key| key == "description"));
        (anything || parts.iter().filter(free).count() > 0) && !words && field.get("const").is_none()
    }

    fn is_shown(&self, field: &Json) -> bool {
        let shown = |schema: &Json| schema.get("examples").and_then(Json::as_array).is_some_and(|all| !all.is_empty());
        shown(field) || self.parts(field).into_iter().any(shown)
    }

    fn object(&mut self, at: &str, object: &Object) {
        let title = object.get("title").and_then(Json::as_str);
        let at = title.filter(|_| !at.is_empty()).map_or_else(|| at.to_owned(), |title| format!("{at} ({title})"));
        let required = object.get("required").and_then(Json::as_array).cloned().unwrap_or_default();
        for (name, field) in object.get("properties").and_then(Json::as_object).into_iter().flatten() {
            self.fields += 1;
            let mut missed = Vec::new();
            if !self.is_described(field) {
                missed.push(DOCUMENT);
            }
            if !self.is_settled(field, required.iter().any(|required| required == name)) {
                missed.push(SAY_WHAT_HOLDS);
            }
            if self.is_free(field) && !self.is_shown(field) {
                missed.push(SHOW_ONE);
            }
            self.missing.extend(missed.into_iter().map(|what| format!("{at}: `{name}` has {what}")));
        }
    }

    /// Every map of fields below.
    fn walk(&mut self, at: &str, schema: &Json) {
        match schema {
            Json::Object(members) => {
                if members.contains_key("properties") {
                    self.object(at, members);
                }
                for (name, member) in
                    members.iter().filter(|(name, _)| !matches!(name.as_str(), "examples" | "default"))
                {
                    let plain = matches!(
                        name.as_str(),
                        "properties" | "$defs" | "items" | "additionalProperties" | "anyOf" | "oneOf"
                    );
                    self.walk(&if plain { at.to_owned() } else { format!("{at}/{name}") }, member);
                }
            }
            Json::Array(elements) => elements.iter().for_each(|element| self.walk(at, element)),
            _ => {}
        }
    }
}

fn has(types: &Json, kind: &str) -> bool {
    types.as_array().is_some_and(|types| types.iter().any(|other| other == kind))
}

/// A choice of words, each with what it means.
fn is_words(choices: &Json) -> bool {
    choices.as_array().is_some_and(|choices| choices.iter().any(|choice| choice.get("const").is_some()))
}

fn told(schema: &Json) -> (Vec<String>, usize) {
    let mut walk = Walk { root: schema.clone(), missing: Vec::new(), fields: 0 };
    walk.walk("", schema);
    (walk.missing, walk.fields)
}

#[test]
fn every_field_has_its_documentation_its_default_and_an_example() {
    let (missing, fields) = told(&schema());
    assert!(fields > 150, "the walk sees {fields} fields");
    assert!(missing.is_empty(), "the schema tells too little:\n  {}", missing.join("\n  "));
}

#[test]
fn a_field_that_is_told_too_little_of_is_found_wherever_it_stands() {
    for place in [
        "/properties/workers",
        "/properties/credentials/additionalProperties/oneOf/0/properties/client_id",
        "/properties/credentials/additionalProperties/oneOf/3/properties/lifetime",
        "/$defs/RouteLimits/properties/connections",
        "/$defs/Match/properties/headers",
    ] {
        for (word, told_of) in [("description", DOCUMENT), ("examples", SHOW_ONE)] {
            let mut schema = schema();
            let field = schema.pointer_mut(place).and_then(Json::as_object_mut).unwrap_or_else(|| panic!("{place}"));
            field.remove(word);
            let (missing, _) = told(&schema);
            let (_, name) = place.rsplit_once('/').unwrap();
            assert!(missing.iter().any(|m| m.contains(name) && m.ends_with(told_of)), "{place} {word}: {missing:?}");
        }
    }
    let mut schema = schema();
    schema["$defs"]["RouteTimeouts"]["properties"]["token"].as_object_mut().unwrap().remove("default");
    assert_eq!(told(&schema).0, [format!("/RouteTimeouts: `token` has {SAY_WHAT_HOLDS}")]);
}
