use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;
use crate::config::source::Source;
use crate::config::tree::{Marks, parse};
use crate::secret::Secret;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Door {
    name: String,
    width: u16,
    #[serde(default)]
    open: bool,
    colour: Option<Colour>,
    key: Option<Secret>,
    #[serde(default)]
    visitors: Vec<String>,
    #[serde(default)]
    shares: BTreeMap<String, f64>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Colour {
    Red,
    Green,
}

fn door(yaml: &str) -> (Option<Door>, Vec<String>, Node) {
    let node = parse(&Source::new(yaml.as_bytes()).0, Marks::None).0.unwrap();
    let mut report = Report::default();
    let door = read(&node, Keep::All, &[], &Spot::ROOT, &mut report, Door::deserialize);
    let told =
        report.into_findings().0.into_iter().map(|f| format!("{}: {} | {}", f.path, f.message, f.mend)).collect();
    (door, told, node)
}

#[test]
fn numbers_and_truth_values_are_taken_as_text_where_text_is_wanted() {
    let (door, told, node) = door("name: 1.10\nwidth: 7\nkey: 007\nvisitors: [true, 1e3, ann]\n");
    let door = door.unwrap();
    assert_eq!(told, Vec::<String>::new());
    assert_eq!(door.name, "1.10");
    assert_eq!(door.key.unwrap().expose(), "007");
    assert_eq!(door.visitors, ["true", "1e3", "ann"]);
    assert!(node.get("key").unwrap().secret.get());
}

#[test]
fn every_error_is_told_once_by_its_place_and_none_shows_a_value() {
    let (door, told, _) = door(
        "name: {CANARY: CANARY}\nwidth: CANARY\nopen: CANARY\ncolour: CANARYx\nkey: [CANARY]\nvisitors: [a, {CANARY: 1}, [CANARY]]\nshares: {a: CANARY, b: 1}\nvisitorz: CANARY\n",
    );
    assert_eq!(door, None);
    assert_eq!(
        told,
        [
            "name: must be text, not a map | write one value; put text that begins with '{' or '[' into quotes",
            "width: must be a whole number, not text | write the number without unit and quotes",
            "open: must be true or false, not text | write true or false",
            "colour: must be `red` or `green` | write one of them",
            "key: must be text, not a list | write one value; put text that begins with '{' or '[' into quotes",
            "visitors[1]: must be text, not a map | write one value; put text that begins with '{' or '[' into quotes",
            "visitors[2]: must be text, not a list | write one value; put text that begins with '{' or '[' into quotes",
            "shares.a: must be a number, not text | write a number",
            "visitorz: unknown field `visitorz` | did you mean `visitors`?",
        ]
    );
}

#[test]
fn what_is_missing_is_told_unless_it_was_wrong() {
    let (_, told, _) = door("open: true\n");
    assert_eq!(told, [": `name` is missing | add `name: ...` here"]);
    let (_, told, _) = door("name: x\nwidth: 70000\n");
    assert_eq!(told, ["width: must be a whole number up to 65535 | write a whole number up to 65535"]);
}
