//! From `OpenMetrics` 1.0 to Prometheus' text format 0.0.4, which older scrapers and `promtool` read.
//!
//! Samples are the same in both. What differs is what is said of them: `OpenMetrics` names a counter
//! without its `_total` and an info without its `_info`, has units, and an end. The one names the
//! family, the other the samples.

/// The same page in text format 0.0.4. `page` is as prometheus-client writes it: `HELP` before
/// `TYPE`, help texts without line breaks.
pub(super) fn as_text(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    let mut help = None;
    for line in page.lines() {
        match line.strip_prefix("# ").map(|said| said.splitn(3, ' ').collect::<Vec<_>>()).as_deref() {
            // Under which name it stands, the type says.
            Some(["HELP", _, words]) => help = Some(*words),
            Some(["TYPE", family, kind]) => {
                let (suffix, kind) = match *kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    "unknown" => ("", "untyped"),
                    kind => ("", kind),
                };
                if let Some(words) = help.take() {
                    text.extend(["# HELP ", family, suffix, " ", words, "\n"]);
                }
                text.extend(["# TYPE ", family, suffix, " ", kind, "\n"]);
            }
            // Units, which the names say too, and the end.
            Some(_) => {}
            None => {
                text += line;
                text.push('\n');
            }
        }
    }
    text
}
