//! Configuration text: whatever it is, it is read or refused, and nothing that is told of it shows
//! what a reference stands for.

use std::path::Path;

use tokenferry::config::{Format, effective, load_bytes, render, to_json};

/// What every environment variable holds, but those that are not there.
const CANARY: &str = "c4nary-0f-the-env1ronment";

/// The input is the file. `${NAME}` stands for a canary, unless the name has `MISSING` in it.
pub fn configuration(data: &[u8]) {
    if data.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()) {
        return; // written there openly
    }
    // Who is asked for a way out is told, as it stands in no reference.
    let is_there = |name: &str| !name.contains("MISSING") && !name.to_ascii_lowercase().ends_with("_proxy");
    let environment = |name: &str| is_there(name).then(|| CANARY.to_owned());
    let told = match load_bytes(Path::new("/nowhere/at/all/proxy.yaml"), data, &environment) {
        Ok(loaded) => vec![
            effective(&loaded, Format::Yaml),
            effective(&loaded, Format::Json),
            render(&loaded.warnings, true),
            to_json(&loaded.warnings).to_string(),
        ],
        Err(problems) => {
            assert!(!problems.list.is_empty(), "refused, but not told why");
            vec![render(&problems.list, false), to_json(&problems.list).to_string(), format!("{problems:?}")]
        }
    };
    for text in told {
        assert!(!text.contains(CANARY), "what a reference stands for is told:\n{text}");
    }
}
