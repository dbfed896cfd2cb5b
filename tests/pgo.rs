//! Releases are built from a recorded profile: `benches/pgo`.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Another checkout, whose scripts are ours and which has no profile.
fn checkout() -> TempDir {
    let folder = tempfile::Builder::new().prefix("a folder with spaces").tempdir().unwrap();
    let link = |from: &Path, to: &Path| {
        for entry in fs::read_dir(from).unwrap() {
            let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
            if !to.join(&name).exists() {
                symlink(path, to.join(name)).unwrap();
            }
        }
    };
    fs::create_dir_all(scripts(&folder)).unwrap();
    for script in ["key.sh", "use.sh"] {
        fs::copy(top().join("benches/pgo").join(script), scripts(&folder).join(script)).unwrap();
    }
    link(&top().join("benches"), &folder.path().join("benches"));
    link(top(), folder.path());
    folder
}

fn scripts(checkout: &TempDir) -> PathBuf {
    checkout.path().join("benches/pgo")
}

/// The name of the profile that fits.
fn key(scripts: &Path) -> String {
    let told = Command::new("sh").arg(scripts.join("key.sh")).output().unwrap();
    assert!(told.status.success(), "{told:?}");
    text(&told.stdout).trim().to_owned()
}

/// What a command sees of the flags.
fn seen(checkout: &TempDir) -> Output {
    seen_with(checkout, "")
}

/// The same, beside further flags.
fn seen_with(checkout: &TempDir, flags: &str) -> Output {
    let script = "echo \"$CARGO_BUILD_TARGET\"; printf %s \"${CARGO_ENCODED_RUSTFLAGS-none}\" | tr '\\037' '\\n'";
    Command::new("sh")
        .arg(scripts(checkout).join("use.sh"))
        .args(["sh", "-c", script])
        .env("RUSTFLAGS", format!("  -C target-feature=+crt-static {flags} "))
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .unwrap()
}

#[test]
fn a_build_is_told_of_the_profile_that_fits_beside_the_flags_that_it_has() {
    let checkout = checkout();
    let key = key(&scripts(&checkout));
    let profile = scripts(&checkout).join(format!("{key}.profdata"));
    fs::write(&profile, "").unwrap();
    let output = seen(&checkout);
    // What the linker is asked for depends on the linker.
    let lines: Vec<&str> = text(&output.stdout).lines().filter(|line| !line.starts_with("-Clink-arg=")).collect();
    let profile = format!("-Cprofile-use={}", profile.display());
    let (muted, placed) = ("-Cllvm-args=-no-pgo-warn-mismatch", "-Cllvm-args=-enable-ext-tsp-block-placement");
    assert_eq!(lines[1..], ["-C", "target-feature=+crt-static", profile.as_str(), muted, placed], "{output:?}");
    assert!(key.contains(lines[0]), "{output:?}");
    assert!(!text(&output.stderr).contains("no profile"), "{output:?}");
}

/// A linker that takes all but what is of this pattern of the shell's.
fn linker_without(pattern: &str) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("linker");
    let script = format!("#!/bin/sh\nfor flag; do case $flag in {pattern}) exit 1 ;; esac; done\nexec cc \"$@\"\n");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    (folder, path)
}

#[test]
fn a_linker_is_asked_for_what_it_knows() {
    let checkout = checkout();
    let key = key(&scripts(&checkout));
    fs::write(scripts(&checkout).join(format!("{key}.profdata")), "").unwrap();
    let order = scripts(&checkout).join(format!("{key}.order"));
    fs::write(&order, "main\n").unwrap();
    let ordered = format!("-Clink-arg=-Wl,--no-warn-symbol-ordering,--symbol-ordering-file={}", order.display());
    let packed = "-Clink-arg=-Wl,-z,pack-relative-relocs".to_owned();
    // Rust's own linker, which x86-64 has unless one says otherwise, orders; packed relocations ask for a C library
    // that knows them.
    let ordered: Vec<String> = if cfg!(target_arch = "x86_64") { vec![ordered] } else { Vec::new() };
    let packed: Vec<String> = if packs(checkout.path(), &packed) { vec![packed] } else { Vec::new() };
    for (unknown, expected) in [("*order*|*pack*", Vec::new()), ("*order*", packed), ("*pack*", ordered)] {
        let (_folder, linker) = linker_without(unknown);
        let output = seen_with(&checkout, &format!("-Clinker={}", linker.display()));
        let flags: Vec<&str> = text(&output.stdout).lines().filter(|line| line.starts_with("-Clink-arg=")).collect();
        assert_eq!(flags, expected, "{output:?}");
        assert_eq!(text(&output.stderr).lines().count(), 2 - flags.len(), "{output:?}");
    }
}

/// Whether a program that is linked with this flag runs here.
fn packs(folder: &Path, flag: &str) -> bool {
    let (source, program) = (folder.join("probe.rs"), folder.join("probe"));
    fs::write(&source, "fn main() {}").unwrap();
    let flags = ["-Ctarget-feature=+crt-static", flag, "-o"];
    let built = Command::new("rustc").args(flags).args([&program, &source]).output().unwrap();
    built.status.success() && Command::new(program).status().unwrap().success()
}

#[test]
fn without_a_profile_that_fits_a_build_is_as_ever_and_that_is_told() {
    let checkout = checkout();
    let key = key(&scripts(&checkout));
    fs::write(scripts(&checkout).join(format!("{key}0.profdata")), "").unwrap();
    let output = seen(&checkout);
    assert_eq!(text(&output.stdout).lines().nth(1), Some("none"), "{output:?}");
    assert!(text(&output.stderr).contains(&format!("no profile fits ({key})")), "{output:?}");
}

#[test]
fn a_command_is_asked_for_where_there_is_none() {
    let told = Command::new("sh").arg(top().join("benches/pgo/use.sh")).output().unwrap();
    assert_eq!(told.status.code(), Some(2), "{told:?}");
    assert!(text(&told.stderr).contains("usage: "), "{told:?}");
}

#[test]
fn a_profile_fits_as_long_as_the_names_of_functions_stay() {
    let checkout = checkout();
    let before = key(&scripts(&checkout));
    let manifest = checkout.path().join("Cargo.toml");
    let original = fs::read_to_string(&manifest).unwrap();
    for (line, instead, fits) in [
        ("codegen-units = 1\n", "codegen-units = 1 # said\n", true),
        ("codegen-units = 1\n", "codegen-units = 2\n", false),
        ("[profile.soak]\n", "[profile.soak]\nopt-level = 2\n", true),
    ] {
        assert!(original.contains(line), "{line}");
        fs::remove_file(&manifest).unwrap();
        fs::write(&manifest, original.replacen(line, instead, 1)).unwrap();
        assert_eq!(key(&scripts(&checkout)) == before, fits, "{instead}");
    }
}

#[test]
fn the_profile_that_is_kept_for_this_compiler_fits() {
    let scripts = top().join("benches/pgo");
    let key = key(&scripts);
    let (compiler, _) = key.rsplit_once('-').unwrap();
    let names = fs::read_dir(&scripts).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut kept: Vec<String> = names.filter(|name| name.starts_with(&format!("{compiler}-"))).collect();
    kept.sort();
    let fit = [format!("{key}.order"), format!("{key}.profdata")];
    assert!(
        kept.is_empty() || kept == fit,
        "{kept:?} for {key}: record anew by `make pgo`, or do without and delete them"
    );
}

#[test]
fn what_is_released_and_measured_is_built_from_it() {
    let read = |name: &str| fs::read_to_string(top().join(name)).unwrap();
    for name in ["Makefile", "Dockerfile", "deploy/release/release.sh"] {
        assert!(read(name).contains("benches/pgo/use.sh"), "{name}");
    }
    // Of x86-64, a profile that is kept is for the image's compiler.
    let dockerfile = read("Dockerfile");
    let image = dockerfile.lines().find_map(|line| line.strip_prefix("ARG RUST_IMAGE=rust:")).unwrap();
    let host = "-x86_64-unknown-linux-gnu-";
    let compiler = format!("{}{host}", image.split('-').next().unwrap());
    for entry in fs::read_dir(top().join("benches/pgo")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name.starts_with(&compiler) || !name.contains(host), "{name}, and the image is {image}");
    }
}
