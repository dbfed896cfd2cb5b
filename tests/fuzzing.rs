//! The fuzz targets on a stable compiler: over every input that is kept, and over changed ones.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[path = "../fuzz/src/lib.rs"]
mod bodies;

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs = Vec::new();
    for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        inputs.push((path.clone(), fs::read(path).unwrap()));
    }
    inputs.sort();
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    inputs
}

/// The longest that one input may take here, on a busy machine and without optimisation.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn every_input_that_is_kept_still_holds() {
    let mut failures = Vec::new();
    for (target, body) in bodies::TARGETS {
        for (path, input) in corpus(target) {
            let begun = Instant::now();
            if catch_unwind(AssertUnwindSafe(|| body(&input))).is_err() {
                failures.push(path.display().to_string());
            }
            assert!(begun.elapsed() < PATIENCE, "{}: {:?}", path.display(), begun.elapsed());
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn changed_inputs_hold_too() {
    // Chosen by a number, so that a failure can be had again.
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for (target, body) in bodies::TARGETS {
        let inputs: Vec<Vec<u8>> = corpus(target).into_iter().map(|(_, input)| input).collect();
        let end = Instant::now() + Duration::from_millis(500);
        while Instant::now() < end {
            let mut input = random.choice(&inputs).unwrap().clone();
            for _ in 0..random.usize(1..4) {
                change(&mut input, &inputs, &mut random);
            }
            let held = catch_unwind(AssertUnwindSafe(|| body(&input)));
            assert!(held.is_ok(), "{target}, seed {seed}: {:?}", String::from_utf8_lossy(&input));
        }
    }
}

fn change(input: &mut Vec<u8>, inputs: &[Vec<u8>], random: &mut fastrand::Rng) {
    let at = random.usize(0..=input.len());
    match random.u8(0..5) {
        0 => input.truncate(at),
        1 => input.insert(at, random.u8(..)),
        2 if at < input.len() => drop(input.remove(at)),
        3 if at < input.len() => input[at] ^= 1 << random.u8(0..8),
        // The end of another one.
        _ => {
            let other = random.choice(inputs).unwrap();
            input.truncate(at);
            input.extend_from_slice(&other[random.usize(0..=other.len())..]);
        }
    }
}
