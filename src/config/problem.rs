//! Problems as people and programs read them.

use std::fmt;
use std::path::PathBuf;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use crate::model::{Problem, Severity};

/// Why a configuration was not taken: every error, and the warnings beside them.
#[derive(Clone, Debug)]
pub struct Problems {
    /// In the order of the file.
    pub list: Vec<Problem>,
    /// Every file that was named, the configuration itself first: a change of one may be the mend.
    pub files: Vec<PathBuf>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&render(&self.list, false))
    }
}

impl std::error::Error for Problems {}

/// Problems as text: what is wrong, `FILE:LINE:COLUMN`, the source line, and the mend.
pub fn render(problems: &[Problem], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let mut out = String::new();
    for problem in problems {
        for line in renderer.render(&[group(problem)]).lines().filter(|line| !is_joint(line)) {
            out.push_str(line);
            out.push('\n');
        }
        out.push('\n');
    }
    out
}

/// The `:::` between an origin and its snippet, with or without colour.
fn is_joint(line: &str) -> bool {
    let mut bare = String::new();
    let mut in_colour = false;
    for c in line.chars() {
        match c {
            '\x1b' => in_colour = true,
            'm' if in_colour => in_colour = false,
            c if !in_colour => bare.push(c),
            _ => {}
        }
    }
    bare.trim() == ":::"
}

fn group(problem: &Problem) -> Group<'_> {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = if problem.path.is_empty() {
        problem.message.clone()
    } else {
        format!("{}: {}", problem.path, problem.message)
    };
    let mut origin = Origin::path(problem.file.as_str());
    if problem.line > 0 {
        origin = origin.line(problem.line).char_column(problem.column);
    }
    let mut group = level.primary_title(title).element(origin);
    if problem.line > 0 && !problem.source.trim().is_empty() {
        let start =
            problem.source.char_indices().nth(problem.caret.saturating_sub(1)).map_or(problem.source.len(), |c| c.0);
        let end = problem.source[start..].chars().next().map_or(start, |c| start + c.len_utf8());
        let caret = AnnotationKind::Primary.span(start..end);
        let snippet = Snippet::source(problem.source.as_str()).line_start(problem.line).annotation(caret);
        group = group.element(snippet);
    }
    if !problem.mend.is_empty() {
        group = group.element(Level::HELP.message(problem.mend.as_str()));
    }
    group
}

/// Problems as JSON: a list of objects with `severity`, `file`, `line`, `column`, `path`, `message`,
/// `mend`, `source` and `caret`.
pub fn to_json(problems: &[Problem]) -> serde_json::Value {
    // Text and numbers always serialize.
    serde_json::to_value(problems).unwrap_or_default()
}
