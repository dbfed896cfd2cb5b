//! A problem of a configuration, told to people: where, what, and the mend. Holds no secret.

use serde::{Deserialize, Serialize};

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The configuration is taken all the same.
    Warning,
    /// The configuration is not taken.
    Error,
}

/// One problem, located. Nothing in it was resolved from a reference or stands in a secret field. As JSON
/// it is what `check --format json` and the admin port tell.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// The file, as it was named.
    pub file: String,
    /// From 1; 0 where the problem is the whole file's.
    pub line: usize,
    /// From 1, in characters; 0 where the problem is the whole file's.
    pub column: usize,
    /// Where in the document, such as `routes[1].match.path`; empty for the whole file.
    pub path: String,
    /// What is wrong, in lower case, without a full stop.
    pub message: String,
    /// What to do about it; may be empty.
    pub mend: String,
    /// The source line with secrets blanked; empty for the whole file.
    pub source: String,
    /// From 1, in characters: the place in `source` that stands for `column`, which it differs
    /// from where something before it was blanked; 0 where the problem is the whole file's.
    pub caret: usize,
}
