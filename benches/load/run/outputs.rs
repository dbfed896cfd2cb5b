//! Tables on stdout, and the files that were asked for.

use crate::args::Options;
use crate::figures::baseline::compare;
use crate::figures::page::page;
use crate::figures::rows::{Verdict, heading, judge, noise};
use crate::figures::sample::Run;
use crate::figures::summary::summary;
use crate::figures::table::aligned;
use crate::scenario::Scenario;
use serde_json::Value;
use std::fs;
use std::path::Path;

pub(crate) fn describe(setting: &Value) -> String {
    let pinned = match (&setting["proxies_on_cpu"], &setting["rest_on_cpu"]) {
        (Value::String(proxies), Value::String(rest)) => {
            format!("proxies of one worker pinned to CPU {proxies}, load and upstream to CPU {rest}")
        }
        _ => "nothing is pinned: figures will swing more".to_owned(),
    };
    let mut lines = vec![format!("{} rounds of {} s; {pinned}", setting["rounds"], setting["seconds"])];
    if let Value::String(driven) =
        [&setting["url"], &setting["config"]].into_iter().find(|it| it.is_string()).unwrap_or(&Value::Null)
    {
        lines.push(format!("driving {driven}"));
    } else {
        lines.push(format!("measuring {}", setting["proxy"].as_str().unwrap_or_default()));
        for (peer, package) in [("nginx", "nginx-light"), ("haproxy", "haproxy")] {
            lines.push(match &setting[peer] {
                Value::String(version) => format!("beside {version}"),
                _ => format!("{peer} is not installed and left out (Debian: apt-get install {package})"),
            });
        }
    }
    lines.join("\n")
}

/// The scenario's table.
pub(crate) fn table(run: &Run, scenario: Scenario) {
    println!("\n{}", scenario.title());
    print!("{}", aligned(&summary(run, scenario.name())));
}

/// All that comes at the end; whether every request was answered and every row holds.
pub(crate) fn tell(options: &Options, run: &Run, earlier: Option<&Run>) -> Result<bool, String> {
    let comparison = earlier.map(|earlier| compare(run, earlier));
    if let Some(comparison) = &comparison {
        println!("\nagainst {}", options.baseline.as_deref().unwrap_or(Path::new("-")).display());
        print!("{}", aligned(comparison));
    }
    let own = options.url.is_some() || options.config.is_some();
    let judged = if own { Vec::new() } else { judge(run) };
    if !judged.is_empty() {
        println!(
            "\nwhat must hold: CPU time a request and its ratios, medians of {} rounds with the least and the greatest; what is counted is counted once",
            options.rounds
        );
        let mut rows = vec![heading()];
        rows.extend(judged.iter().map(|judged| judged.cells.clone()));
        print!("{}", aligned(&rows));
        if let Some(told) = noises(run) {
            println!("the machine's noise, as nginx's rounds over their own median: {told}");
        }
    }
    if let Some(file) = &options.json {
        write(file, &json(run))?;
    }
    if let Some(file) = &options.html {
        let title = |name: &str| Scenario::named(name).map_or_else(|| name.to_owned(), Scenario::title);
        write(file, &page(run, &title, comparison.as_deref()))?;
        println!("the report is in {}", file.display());
    }
    for error in run.errors() {
        println!("error: {error}");
    }
    let failed = judged.iter().any(|judged| judged.verdict == Verdict::Failed);
    Ok(run.errors().is_empty() && (options.report_only || !failed))
}

/// A round a line, for those who look at it with their eyes.
fn json(run: &Run) -> String {
    let rounds = run.rounds.iter().map(|round| serde_json::to_string(round).expect("figures are JSON"));
    let rounds = rounds.collect::<Vec<_>>().join(",\n");
    format!("{{\"setting\": {},\n\"rounds\": [\n{rounds}\n]}}\n", run.setting)
}

fn noises(run: &Run) -> Option<String> {
    let told = |scenario| {
        let noise = noise(run, scenario)?;
        Some(format!("{scenario} {:.2}-{:.2}", noise.least, noise.greatest))
    };
    let all: Vec<String> = run.scenarios().into_iter().filter_map(told).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    fs::write(file, text).map_err(|e| format!("{}: {e}", file.display()))
}

pub(crate) fn read(file: &Path) -> Result<Run, String> {
    let text = fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    serde_json::from_str(&text).map_err(|e| format!("{}: not what --json writes: {e}", file.display()))
}
