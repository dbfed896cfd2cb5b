//! The nearest known name to one that is not known.

/// Of more candidates than this, the first: ten thousand credentials times as many slips would take
/// a while.
const MOST: usize = 1000;

/// The candidate that differs least from `name`, where it differs little enough to have been meant.
pub fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let name = name.to_lowercase().replace('-', "_");
    if name.len() > 64 {
        return None;
    }
    let bound = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .take(MOST)
        .filter(|candidate| candidate.len() <= 64)
        .map(|candidate| (distance(&name, &candidate.to_lowercase().replace('-', "_")), candidate))
        .filter(|(steps, _)| *steps <= bound)
        .min_by_key(|(steps, _)| *steps)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (above[j] + usize::from(x != y)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *y && *x == b[j - 1] {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood_and_another_word_is_not() {
        let names = ["client_id", "client_secret", "credential", "path"];
        assert_eq!(nearest("clinet_id", names), Some("client_id"));
        assert_eq!(nearest("client-secret", names), Some("client_secret"));
        assert_eq!(nearest("credentials", names), Some("credential"));
        assert_eq!(nearest("Path", names), Some("path"));
        assert_eq!(nearest("hunter2", names), None);
        assert_eq!(distance("ab", "ba"), 1);
    }
}
