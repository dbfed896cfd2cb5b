use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use super::*;

fn keys(bytes: &[u8]) -> std::sync::Arc<SealKeys> {
    let texts: Vec<_> = bytes.iter().map(|byte| Secret::new(STANDARD.encode([*byte; 32]))).collect();
    std::sync::Arc::new(SealKeys::new(&texts).unwrap())
}

fn in_file(path: &Path, key_bytes: &[u8], first: &str, before: Option<&LocalKeep>) -> LocalKeep {
    let file = StateFile { path: path.to_owned(), keys: keys(key_bytes) };
    LocalKeep::new("partner", "purpose".to_owned(), &Secret::new(first), Some(file), before)
}

async fn loaded(keep: &LocalKeep) -> Option<String> {
    keep.load().await.unwrap().map(|token| token.expose().to_owned())
}

#[tokio::test]
async fn what_was_saved_is_there_after_a_restart_sealed_and_for_its_owner_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state");
    let keep = in_file(&path, &[1], "first", None);
    assert_eq!(loaded(&keep).await, None);
    keep.save(&Secret::new("second")).await.unwrap();
    assert_eq!(loaded(&in_file(&path, &[1], "first", None)).await.as_deref(), Some("second"));
    let bytes = fs::read(&path).unwrap();
    assert!(!bytes.windows(6).any(|part| part == b"second"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[tokio::test]
async fn another_configured_token_supersedes_the_kept_one() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state");
    let keep = in_file(&path, &[1], "first", None);
    keep.save(&Secret::new("second")).await.unwrap();
    assert_eq!(loaded(&in_file(&path, &[1], "other", Some(&keep))).await, None);
    assert_eq!(loaded(&in_file(&path, &[1], "first", Some(&keep))).await.as_deref(), Some("second"));
}

#[tokio::test]
async fn the_first_key_seals_and_all_open() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state");
    in_file(&path, &[1], "first", None).save(&Secret::new("second")).await.unwrap();
    let both = in_file(&path, &[2, 1], "first", None);
    assert_eq!(loaded(&both).await.as_deref(), Some("second"));
    both.save(&Secret::new("third")).await.unwrap();
    assert_eq!(loaded(&in_file(&path, &[2], "first", None)).await.as_deref(), Some("third"));
    let gone = in_file(&path, &[1], "first", None);
    assert_eq!(gone.load().await, Err(Unkept), "the configured one was used long ago");
}

#[tokio::test]
async fn a_file_that_was_changed_or_cut_is_no_leave_to_use_an_older_token() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state");
    in_file(&path, &[1], "first", None).save(&Secret::new("second")).await.unwrap();
    let sound = fs::read(&path).unwrap();
    for bytes in [&b"x"[..], &sound[..sound.len() - 1], &[&sound[..], b"x"].concat()] {
        fs::write(&path, bytes).unwrap();
        assert_eq!(in_file(&path, &[1], "first", None).load().await, Err(Unkept));
    }
    // One that was made to be written to.
    fs::write(&path, b"").unwrap();
    assert_eq!(loaded(&in_file(&path, &[1], "first", None)).await, None);
}

#[tokio::test]
async fn a_token_that_could_not_be_written_is_not_lost_and_not_used_before_it_is() {
    let folder = TempDir::new().unwrap();
    let below = folder.path().join("below");
    let path = below.join("state");
    fs::create_dir(&below).unwrap();
    let keep = in_file(&path, &[1], "first", None);
    keep.save(&Secret::new("second")).await.unwrap();
    fs::remove_dir_all(&below).unwrap();
    assert_eq!(keep.save(&Secret::new("third")).await, Err(Unkept));
    assert_eq!(keep.load().await, Err(Unkept));
    fs::create_dir(&below).unwrap();
    let reloaded = in_file(&path, &[1], "first", Some(&keep));
    assert_eq!(loaded(&reloaded).await.as_deref(), Some("third"));
    assert_eq!(loaded(&in_file(&path, &[1], "first", None)).await.as_deref(), Some("third"), "it is written now");
}

#[tokio::test]
async fn while_the_new_token_cannot_be_written_the_old_one_in_the_file_is_not_used_instead() {
    let folder = TempDir::new().unwrap();
    let short = folder.path().join("state");
    in_file(&short, &[1], "first", None).save(&Secret::new("second")).await.unwrap();
    // A name that leaves no room for that of the file beside it, so that it can be read and not replaced.
    let long = folder.path().join("s".repeat(250));
    fs::copy(&short, &long).unwrap();
    let keep = in_file(&long, &[1], "first", None);
    assert_eq!(keep.load().await, Err(Unkept), "what it brings could not be kept");
    assert_eq!(keep.save(&Secret::new("third")).await, Err(Unkept));
    assert_eq!(keep.load().await, Err(Unkept));
    assert_eq!(loaded(&in_file(&short, &[1], "first", Some(&keep))).await.as_deref(), Some("third"));
}

#[tokio::test]
async fn what_was_kept_in_memory_goes_into_a_file_that_is_configured_later() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state");
    let first = Secret::new("first");
    let memory = LocalKeep::new("partner", "purpose".to_owned(), &first, None, None);
    memory.save(&Secret::new("second")).await.unwrap();
    assert_eq!(loaded(&in_file(&path, &[1], "first", Some(&memory))).await.as_deref(), Some("second"));
    assert_eq!(loaded(&in_file(&path, &[1], "first", None)).await.as_deref(), Some("second"));
}

#[test]
fn what_is_sealed_for_one_client_does_not_open_for_another() {
    let kept = Kept { first: First::of(&Secret::new("first")), token: Secret::new("second") };
    let identity = |id: &str, scope: &str, token: &str| Identity {
        parts: vec![
            ("client_id", id.to_owned()),
            ("scope", scope.to_owned()),
            ("refresh_token", format!("sha256:{token}")),
        ],
        secrets: Vec::new(),
    };
    let purpose = |id: &str, scope: &str, token: &str| Kept::purpose(&Kept::key("oauth2", &identity(id, scope, token)));
    let sealed = kept.seal(&keys(&[1]), &purpose("a", "read", "x")).unwrap();
    let opened = |purpose: &str| Kept::open(&sealed, &keys(&[1]), purpose);
    assert_eq!(opened(&purpose("a", "write", "y")).unwrap(), kept, "the client is the same");
    assert_eq!(opened(&purpose("b", "read", "x")), Err(Unsealed::Damaged));
    assert!(!format!("{kept:?}").contains("second"));
}
