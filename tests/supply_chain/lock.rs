//! The lock files, the crate's and the fuzz targets': whatever could be built, for any platform and with
//! any feature.

use std::fs;

use super::root;
use super::tree::Package;

/// All that both name. They tell no licences.
pub fn locked() -> Vec<Package> {
    let mut packages = Vec::new();
    for file in ["Cargo.lock", "fuzz/Cargo.lock"] {
        let read = parse(&fs::read_to_string(root().join(file)).unwrap());
        assert!(read.len() > 200, "the crates of {file} were not found");
        packages.extend(read);
    }
    packages
}

fn parse(text: &str) -> Vec<Package> {
    let package = |block: &str| {
        let field = |name: &str| {
            let line = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(" = \"")?.strip_suffix('"')?.to_owned());
            block.lines().find_map(line)
        };
        let (name, version) = (field("name").unwrap(), field("version").unwrap());
        // What comes from a registry has a checksum.
        let source = field("source").map(|source| match field("checksum") {
            None if source.starts_with("registry+") => format!("{source}, without a checksum"),
            _ => source,
        });
        Package { name, version, licence: String::new(), source }
    };
    text.split("[[package]]").skip(1).map(package).collect()
}

#[test]
fn a_crate_from_elsewhere_or_without_a_checksum_is_seen_in_a_lock_file() {
    let text = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.2.3\"\nsource = \"git+https://example.com/a#0\"\n\n\
                [[package]]\nname = \"b\"\nversion = \"0.1.0+x\"\nsource = \"registry+x\"\ndependencies = [\n \"name = \",\n]\n\n\
                [[package]]\nname = \"c\"\nversion = \"1.0.0\"\n";
    let told: Vec<_> = parse(text).into_iter().map(|p| (p.name, p.version, p.source.unwrap_or_default())).collect();
    let expected = [
        ("a", "1.2.3", "git+https://example.com/a#0"),
        ("b", "0.1.0+x", "registry+x, without a checksum"),
        ("c", "1.0.0", ""),
    ];
    assert_eq!(told, expected.map(|(name, version, source)| (name.to_owned(), version.to_owned(), source.to_owned())));
}
