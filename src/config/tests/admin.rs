//! The admin port is found in a file that is broken elsewhere.

use super::*;
use crate::config::{AdminSettings, admin};
use crate::secret::Secret;

fn found(yaml: &str, token: Option<&str>) -> Result<Option<AdminSettings>, Problems> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.yaml");
    std::fs::write(&path, yaml).unwrap();
    let environment = |name: &str| (name == "ADMIN").then(|| "t0ken-of-the-admin-port".to_owned());
    admin(&path, &environment, token.map(Secret::new).as_ref())
}

const ADMIN: &str = "admin:\n  address: 127.0.0.1:9901\n  # a comment\n\n  token: ${ADMIN}\n";

#[test]
fn whatever_else_is_wrong() {
    for rest in [
        "",
        "listeners: [{address: x}]\nroutes: ${MISSING}\n",
        "routes:\n  - {name: one\n",
        "routes:\n\t- name: one\n",
        "credentials: {a: 1, a: 2}\nadmins: x\n",
        "routes: \"never closed\n",
    ] {
        for yaml in [format!("{ADMIN}{rest}"), format!("{rest}{ADMIN}")] {
            let Ok(Some(found)) = found(&yaml, None) else { panic!("not found in:\n{yaml}") };
            assert_eq!(found.address, ListenAddress::Tcp("127.0.0.1:9901".parse().unwrap()), "{yaml}");
            assert_eq!(found.token.unwrap().expose(), "t0ken-of-the-admin-port", "{yaml}");
        }
    }
}

#[test]
fn what_is_wrong_with_it_is_told_and_nothing_else() {
    let problems = found("admin:\n  address: 127.0.0.1\n  token: ${MISSING}\nroutes: 3\n", None).unwrap_err();
    let places: Vec<_> = problems.list.iter().map(|problem| (problem.path.as_str(), problem.line)).collect();
    assert_eq!(places, [("admin.token", 3), ("admin.address", 2)], "{problems}");
    assert_eq!(found("routes: []\n", None).unwrap(), None);
    assert_eq!(found("", None).unwrap(), None);
    assert!(admin(Path::new("/no/such/file"), &|_| None, None).is_err());
}

#[test]
fn a_token_that_is_given_stands_in_for_one_that_cannot_be_read_here() {
    let yaml = "admin: {address: '0.0.0.0:9901', token: '${MISSING}'}\n";
    assert!(found(yaml, None).is_err());
    let given = found(yaml, Some("gi$en-t0ken-with-a-${dollar}")).unwrap().unwrap();
    assert_eq!(given.token.unwrap().expose(), "gi$en-t0ken-with-a-${dollar}");
}
