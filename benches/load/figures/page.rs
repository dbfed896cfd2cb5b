//! The report as one page that needs nothing else.

use super::plot;
use super::rows::{Verdict, heading, judge, noise};
use super::sample::{Mark, Run, Sample};
use super::summary::summary;
use std::fmt::Write as _;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1d2430; --soft: #5c6675; --line: #d9dee6; --paper: #fff; --card: #f6f8fa; --good: #1a7f45; --bad: #c22f2f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --soft: #98a3b3; --line: #343c48; --paper: #12161c; --card: #1a2029; --good: #4cc483; --bad: #ff7b72; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 2rem 1.5rem 4rem; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2.6rem 0 .5rem; } h3 { font-size: .95rem; margin: 1.2rem 0 .2rem; color: var(--soft); font-weight: 600; }
p { margin: .3rem 0; color: var(--soft); }
nav { display: flex; flex-wrap: wrap; gap: .3rem .9rem; margin-top: 1rem; } a { color: inherit; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; margin: .6rem 0; }
th, td { padding: .35rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; } th:first-child, td:first-child { text-align: left; padding-left: 0; }
.holds { color: var(--good); font-weight: 600; } .failed { color: var(--bad); font-weight: 700; }
.plot { background: var(--card); border-radius: 8px; padding: .4rem; margin: .4rem 0 1rem; max-width: 54rem; }
.plot svg { display: block; width: 100%; height: auto; }
.plot svg text { fill: var(--ink); font-family: system-ui, sans-serif; }
.plot svg [stroke='#000000'] { stroke: var(--soft); } .plot svg [fill='#000000']:not(text) { fill: var(--soft); }
";

/// Scenarios of which one after the other is shown over time, with what happened in it.
const MARKED: [&str; 2] = ["rotation", "reloads"];

/// The whole page; `baseline` is the comparison's table, heading first, if there was one.
pub(crate) fn page(run: &Run, title: &dyn Fn(&str) -> String, baseline: Option<&[Vec<String>]>) -> String {
    let mut body = format!("<h1>tokenferry under load</h1>\n<p>{}</p>\n<nav>", escape(&describe(run)));
    for scenario in run.scenarios() {
        let _ = write!(body, "<a href=\"#{0}\">{0}</a>", escape(scenario));
    }
    body.push_str("</nav>\n");
    let judged = judge(run);
    if !judged.is_empty() {
        body.push_str("<h2>What must hold</h2>\n");
        body.push_str(
            "<p>CPU time a request, ratios round by round: the median, with the least and the greatest.</p>\n",
        );
        let rows: Vec<_> = judged.iter().map(|judged| (judged.cells.as_slice(), class(judged.verdict))).collect();
        body.push_str(&table(&heading(), &rows));
        if let Some(noise) = noise(run, "get-1k") {
            let _ = writeln!(
                body,
                "<p>The machine's noise: nginx's rounds of get-1k over their own median, {noise:.2}.</p>"
            );
        }
    }
    if let Some([heading, rows @ ..]) = baseline {
        body.push_str("<h2>Against an earlier run</h2>\n");
        let rows: Vec<_> = rows.iter().map(|row| (row.as_slice(), "")).collect();
        body.push_str(&table(heading, &rows));
    }
    for scenario in run.scenarios() {
        let _ = writeln!(body, "<h2 id=\"{}\">{}</h2>", escape(scenario), escape(&title(scenario)));
        if let [heading, rows @ ..] = summary(run, scenario).as_slice() {
            let rows: Vec<_> = rows.iter().map(|row| (row.as_slice(), "")).collect();
            body.push_str(&table(heading, &rows));
        }
        body.push_str(&plots(run, scenario));
    }
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>tokenferry under load</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
}

/// What the run was: its setting as words, in the order it was told.
fn describe(run: &Run) -> String {
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let setting = run.setting.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    setting.map(|(name, value)| format!("{}: {}", name.replace('_', " "), text(value))).collect::<Vec<_>>().join("; ")
}

/// The latency of all targets, each by the middle one of its rounds; then answers over time.
fn plots(run: &Run, scenario: &str) -> String {
    let middle: Vec<&Sample> =
        run.targets(scenario).into_iter().filter_map(|target| middle_round(run, scenario, target)).collect();
    let mut html = String::new();
    let curves: Vec<_> = middle
        .iter()
        .filter(|sample| !sample.round.latency.is_empty())
        .map(|sample| (sample.target.as_str(), sample.round.latency.clone()))
        .collect();
    if !curves.is_empty() {
        figure(&mut html, "Latency", plot::latency(&curves));
    }
    let series: Vec<_> = middle
        .iter()
        // What goes without a proxy is many times as fast, and would press the others to the ground.
        .filter(|sample| sample.round.series.len() > 1 && sample.target != "direct")
        .map(|sample| (sample.target.as_str(), sample.round.series.as_slice()))
        .collect();
    if !series.is_empty() {
        let marks: Vec<Mark> = middle.iter().flat_map(|sample| sample.round.marks.clone()).collect();
        let heading = match marks.first().filter(|_| MARKED.contains(&scenario)) {
            Some(mark) => format!("Throughput; each line is a {}, {} in all", mark.what, marks.len()),
            None => "Throughput".to_owned(),
        };
        figure(&mut html, &heading, plot::throughput(&series, &marks));
    }
    html
}

/// The round with the middle p99: one that happened, not a mixture.
fn middle_round<'a>(run: &'a Run, scenario: &str, target: &str) -> Option<&'a Sample> {
    let mut rounds: Vec<&Sample> = run.of(scenario, target).collect();
    rounds.sort_by(|a, b| a.round.p99_us.total_cmp(&b.round.p99_us));
    rounds.get(rounds.len() / 2).copied()
}

fn figure(html: &mut String, heading: &str, svg: Result<String, Box<dyn std::error::Error>>) {
    match svg {
        Ok(svg) => {
            let _ = writeln!(html, "<h3>{}</h3>\n<div class=\"plot\">{}</div>", escape(heading), fluid(&svg));
        }
        Err(problem) => {
            let _ = writeln!(html, "<p>{}: no plot: {}</p>", escape(heading), escape(&problem.to_string()));
        }
    }
}

/// With a box instead of a size, so that it takes the page's width.
fn fluid(svg: &str) -> String {
    svg.find("<svg").map_or_else(|| svg.to_owned(), |at| svg[at..].to_owned())
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "holds",
        Verdict::Failed => "failed",
        Verdict::NotMeasured => "",
    }
}

/// Each row with the class of its last cell.
fn table(heading: &[String], rows: &[(&[String], &str)]) -> String {
    let mut html = String::from("<div class=\"wide\"><table>\n<thead><tr>");
    for cell in heading {
        let _ = write!(html, "<th>{}</th>", escape(cell));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for (cells, class) in rows {
        html.push_str("<tr>");
        for (column, cell) in cells.iter().enumerate() {
            let class = if column + 1 == cells.len() && !class.is_empty() {
                format!(" class=\"{class}\"")
            } else {
                String::new()
            };
            let _ = write!(html, "<td{class}>{}</td>", escape(cell));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table></div>\n");
    html
}

/// Text as it may stand in an element or a quoted attribute.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
