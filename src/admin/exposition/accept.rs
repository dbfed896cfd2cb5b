//! Which form the scraper asks for.

/// A form of the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// Prometheus' text format 0.0.4: what a browser, `curl` and `promtool` get.
    Text,
    /// `OpenMetrics` 1.0: for whoever asks for it.
    OpenMetrics,
}

impl Form {
    /// By the request's `Accept` (RFC 9110 section 12.5.1). `OpenMetrics` must be named, and be wanted
    /// as much as plain text where that is named too.
    pub fn of(accept: Option<&str>) -> Self {
        let (mut open, mut plain) = (0.0_f32, 0.0_f32);
        for range in accept.unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let (mut weight, mut known) = (1.0, true);
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                match name.trim().to_ascii_lowercase().as_str() {
                    "q" => weight = value.trim().parse().unwrap_or(0.0),
                    "version" => known = matches!(value.trim().trim_matches('"'), "1.0.0" | "0.0.1" | "0.0.4"),
                    _ => {}
                }
            }
            if !known {
                continue;
            }
            if media.eq_ignore_ascii_case("application/openmetrics-text") {
                open = open.max(weight);
            } else if media.eq_ignore_ascii_case("text/plain") {
                plain = plain.max(weight);
            }
        }
        if open > 0.0 && open >= plain { Self::OpenMetrics } else { Self::Text }
    }

    /// The answer's `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_for_whoever_asks_for_it() {
        for (accept, form) in [
            (None, Form::Text),
            (Some(""), Form::Text),
            (Some("*/*"), Form::Text),
            (Some("text/html,application/xhtml+xml,*/*;q=0.8"), Form::Text),
            (Some("text/plain;version=0.0.4"), Form::Text),
            (Some("application/openmetrics-text"), Form::OpenMetrics),
            (Some("Application/OpenMetrics-Text ; Version = \"1.0.0\" ; Q = 0.5"), Form::OpenMetrics),
            (Some("application/openmetrics-text;q=0"), Form::Text),
            (Some("application/openmetrics-text;q=nonsense"), Form::Text),
            (Some("application/openmetrics-text;version=7.0.0"), Form::Text),
            (Some("application/openmetrics-text;q=0.2,text/plain;q=0.5"), Form::Text),
            // What Prometheus 2 and 3 send.
            (
                Some(
                    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                     text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                ),
                Form::OpenMetrics,
            ),
            (
                Some(
                    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                     application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
                     text/plain;version=0.0.4;q=0.2,/;q=0.1",
                ),
                Form::OpenMetrics,
            ),
        ] {
            assert_eq!(Form::of(accept), form, "{accept:?}");
        }
    }
}
