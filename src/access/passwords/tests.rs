use super::*;

/// A hash of "right" whose check takes some milliseconds.
fn hash() -> PasswordHash {
    use argon2::{Argon2, Params, PasswordHasher as _};
    let params = Params::new(4096, 2, 1, None).unwrap();
    PasswordHash::parse(&Argon2::from(params).hash_password(b"right").unwrap().to_string()).unwrap()
}

async fn check(passwords: &Arc<Passwords>, hash: &PasswordHash, password: &str) -> Result<bool, Denied> {
    let mark = passwords.mark(hash, password.as_bytes());
    passwords.check(mark, hash, Zeroizing::new(password.as_bytes().to_vec()), true).await
}

#[tokio::test]
async fn a_right_password_is_remembered_with_its_hash_and_a_wrong_one_is_not() {
    let passwords = Passwords::new(Handle::current());
    let (one, other) = (hash(), hash());
    let known = |hash, password: &str| passwords.is_known(&passwords.mark(hash, password.as_bytes()));
    assert_eq!(check(&passwords, &one, "wrong").await, Ok(false));
    assert_eq!(check(&passwords, &one, "right").await, Ok(true));
    assert!(known(&one, "right") && !known(&one, "wrong") && !known(&other, "right"));
    assert!(passwords.lock().is_empty());
    // What an unknown user is judged by is not theirs.
    let mark = passwords.mark(&other, b"right");
    let checked = passwords.check(mark, &other, Zeroizing::new(b"right".to_vec()), false).await;
    assert!(checked == Ok(true) && !passwords.is_known(&mark));
}

#[tokio::test]
async fn what_waits_is_bounded_and_the_same_password_is_checked_once() {
    let passwords = Passwords::new(Handle::current());
    let hash = hash();
    let flood = |count: usize, name: fn(usize) -> String| {
        let tasks: Vec<_> = (0..count)
            .map(|n| {
                let (passwords, hash) = (Arc::clone(&passwords), hash.clone());
                tokio::spawn(async move { check(&passwords, &hash, &name(n)).await })
            })
            .collect();
        async move {
            let mut all = Vec::new();
            for task in tasks {
                all.push(task.await.unwrap());
            }
            all
        }
    };
    let bound = passwords.queue.available_permits();
    let told = flood(bound + 20, |n| format!("wrong {n}")).await;
    // Fewer are checked where they have to wait for too long.
    let checked = told.iter().filter(|told| **told == Ok(false)).count();
    let crowded = told.iter().filter(|told| **told == Err(Denied::Crowded)).count();
    assert!(checked > 0 && crowded >= 20 && checked + crowded == bound + 20, "{checked} {crowded}");
    // The same one, however often, takes one place.
    let told = flood(bound + 20, |_| "right".to_owned()).await;
    assert!(told.iter().all(|told| *told == Ok(true)), "{told:?}");
    assert!(passwords.lock().is_empty());
    assert_eq!(passwords.queue.available_permits(), bound);
}

#[tokio::test]
async fn who_goes_away_leaves_no_check_behind() {
    let passwords = Passwords::new(Handle::current());
    let hash = hash();
    let gone = tokio::time::timeout(Duration::ZERO, check(&passwords, &hash, "right")).await;
    assert!(gone.is_err() && passwords.lock().is_empty());
    assert_eq!(check(&passwords, &hash, "right").await, Ok(true));
}
