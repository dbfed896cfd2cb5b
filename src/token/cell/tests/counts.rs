//! What a cell counts, and the life that it tells.

use super::*;
use crate::token::{Carried, TokenCounts};

fn counts(cell: &Arc<Cell>) -> TokenCounts {
    cell.status().counts
}

#[tokio::test(start_paused = true)]
async fn tokens_and_logins_are_counted_by_the_logs_words() {
    let script = Script::new(|_| slow(5, Reply::Good(60)));
    let cell = cell(&script);
    assert_eq!(counts(&cell), TokenCounts::default());
    used(&cell).await;
    assert_eq!(counts(&cell), TokenCounts { obtained: 1, ..Default::default() });
    for _ in 0..10 {
        cell.refused(1);
    }
    used(&cell).await;
    assert_eq!(counts(&cell), TokenCounts { obtained: 1, refused: 1, replaced: 1, ..Default::default() });
    load(&cell, seconds(55)).await;
    let renewed = TokenCounts { obtained: 1, refused: 1, replaced: 1, renewed: 1, ..Default::default() };
    assert_eq!(counts(&cell), renewed);

    script.turn(|_| slow(5, down()));
    load(&cell, seconds(70)).await;
    let failed = counts(&cell).failed;
    assert!(failed > 2, "{failed} failed logins");
    assert_eq!(failed + 3, script.calls());
    script.turn(|_| Reply::Good(60));
    sleep(seconds(4)).await;
    used(&cell).await;
    assert_eq!(counts(&cell), TokenCounts { failed, recovered: 1, ..renewed });
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_refused_stays_and_is_refused_again_is_one_refused_token() {
    let script = Script::good();
    let cell = cell(&script);
    used(&cell).await;
    assert_eq!(cell.refused(1), AfterRefusal::Again);
    used(&cell).await;
    for _ in 0..10 {
        assert_eq!(cell.refused(2), AfterRefusal::Pass);
    }
    assert_eq!(counts(&cell).refused, 2);
    sleep(seconds(6)).await;
    assert_eq!(cell.refused(2), AfterRefusal::Again);
    assert_eq!(counts(&cell).refused, 2);
}

#[tokio::test(start_paused = true)]
async fn a_failure_with_an_earlier_secret_is_counted_apart() {
    let (old, new) = (Script::new(|_| slow(500, wrong())), Script::good());
    let cell = cell(&old);
    let waiter = tokio::spawn({
        let cell = Arc::clone(&cell);
        async move { used(&cell).await }
    });
    sleep(millis(100)).await;
    cell.configure(with_secret(&new, "second"));
    waiter.await.unwrap();
    assert_eq!(counts(&cell), TokenCounts { superseded: 1, obtained: 1, ..Default::default() });
}

#[tokio::test(start_paused = true)]
async fn a_token_that_came_without_a_login_is_counted_apart() {
    let cell = cell(&Script::good());
    cell.adopt(Carried {
        fence: 7,
        token: crate::secret::Secret::new("theirs"),
        left: seconds(40),
        life: seconds(100),
        source: LifetimeSource::Answer,
        secret: version("first"),
        of_refusal: false,
        suspect: false,
    });
    let status = cell.status();
    assert_eq!(status.counts, TokenCounts { adopted: 1, ..Default::default() });
    assert_eq!((status.expires_in, status.lifetime), (Some(seconds(40)), Some(seconds(100))));
}

#[tokio::test(start_paused = true)]
async fn the_whole_life_is_told_while_the_token_lives() {
    let cell = cell(&Script::new(|_| Reply::Good(60)));
    assert_eq!(cell.status().lifetime, None, "no token yet");
    used(&cell).await;
    sleep(seconds(20)).await;
    let status = cell.status();
    assert_eq!((status.expires_in, status.lifetime), (Some(seconds(40)), Some(seconds(60))));
    sleep(seconds(41)).await;
    assert_eq!(cell.status().lifetime, None, "it is over");

    let fixed = cell_with(CellSettings { lifetime: None, ..settings(&Script::new(|_| Reply::Silent("key".into()))) });
    used(&fixed).await;
    assert_eq!((fixed.status().live, fixed.status().lifetime), (true, None), "for ever");
}

#[test]
fn every_outcome_has_a_word_of_its_own_and_its_own_count() {
    let counts = TokenCounts {
        obtained: 1,
        renewed: 2,
        replaced: 3,
        recovered: 4,
        adopted: 5,
        failed: 6,
        superseded: 7,
        refused: 8,
    };
    let words = ["obtained", "renewed", "replaced", "recovered", "adopted", "failed", "superseded"];
    assert_eq!(counts.outcomes().map(|(word, _)| word), words);
    assert_eq!(counts.outcomes().map(|(_, count)| count), [1, 2, 3, 4, 5, 6, 7]);
}
