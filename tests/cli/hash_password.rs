//! `hash-password`: what goes into `access.users`.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

use super::{Ran, ran};
use crate::harness::process;

fn hashed(input: &[u8]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let mut command = process::command(folder.path());
    command.arg("hash-password").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that refuses may not read it all.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap().into()
}

fn is_of(hash: &str, password: &str) -> bool {
    use argon2::PasswordVerifier as _;
    argon2::Argon2::default()
        .verify_password(password.as_bytes(), &argon2::PasswordHash::new(hash.trim()).unwrap())
        .is_ok()
}

#[test]
fn a_password_from_stdin_becomes_a_hash_that_the_configuration_takes() {
    for input in ["hunter 2", "hunter 2\n", "hunter 2\r\n"] {
        let hash = hashed(input.as_bytes()).done();
        assert!(hash.starts_with("$argon2id$v=19$") && hash.ends_with('\n') && hash.lines().count() == 1, "{hash}");
        assert!(is_of(&hash, "hunter 2") && !hash.contains("hunter"), "{hash}");
        let yaml = format!(
            "listeners: [{{address: 127.0.0.1:8080}}]\nroutes:\n  - name: one\n    respond: 204\n    \
             access: {{users: [{{name: alice, password: \"{}\"}}]}}\n",
            hash.trim()
        );
        assert_eq!(ran(&yaml, &["check"]).done(), "proxy.yaml: ok, 1 route, 0 credentials\n");
    }
    assert_ne!(hashed(b"same").done(), hashed(b"same").done(), "each has a salt of its own");
}

#[test]
fn what_is_no_password_is_refused_and_not_shown() {
    for (input, code) in
        [(&b""[..], 2), (b"\n", 2), (b"hunter2\nhunter3\n", 1), (b"hunter2\xff", 1), (&[b'x'; 5000], 1)]
    {
        let ran = hashed(input);
        assert_eq!((ran.code, ran.out.as_str()), (Some(code), ""), "{}", ran.err);
        assert!(!ran.err.is_empty() && !ran.err.contains("hunter") && !ran.err.contains("xxx"), "{}", ran.err);
    }
}

/// Runs it on a terminal, where these are typed; gives what is seen there, and what is on stdout.
fn typed(lines: [&str; 2]) -> (String, Ran) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let ours = openpt(flags | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let theirs: File = ioctl_tiocgptpeer(&ours, flags | OpenptFlags::CLOEXEC).unwrap().into();
    let mut ours = File::from(ours);
    let folder = tempfile::tempdir().unwrap();
    let mut command = process::command(folder.path());
    command.arg("hash-password").stdin(theirs.try_clone().unwrap()).stderr(theirs).stdout(Stdio::piped());
    let child = command.spawn().unwrap();
    drop(command);
    let mut seen = Vec::new();
    for (prompt, line) in ["Password: ", "Again: "].into_iter().zip(lines) {
        while !seen.ends_with(prompt.as_bytes()) {
            let mut byte = [0];
            ours.read_exact(&mut byte).unwrap();
            seen.push(byte[0]);
        }
        ours.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
    let ran = child.wait_with_output().unwrap().into();
    // Ends with EIO, once nobody has the other end.
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = ours.read(&mut buffer) {
        seen.extend_from_slice(&buffer[..read]);
    }
    (String::from_utf8(seen).unwrap(), ran)
}

#[test]
fn what_is_typed_on_a_terminal_is_asked_for_twice_and_not_shown() {
    let (seen, ran) = typed(["hunter2", "hunter2"]);
    assert_eq!((ran.code, seen.as_str()), (Some(0), "Password: \r\nAgain: \r\n"));
    assert!(is_of(&ran.out, "hunter2"));
    let (seen, ran) = typed(["hunter2", "hunter3"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    assert!(seen.ends_with("tokenferry: the two are not alike\r\n") && !seen.contains("hunter"), "{seen}");
}
