//! What was found while reading and checking, before it is located in the text.

use crate::config::spot::{Path, Spot};
use crate::model::Severity;

/// Beyond so many errors (and so many warnings) of one file, more help nobody.
const MOST: usize = 100;

/// Whether a problem is shown at a value or at the key before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum At {
    /// The key.
    Key,
    /// The key, which may be part of a secret, and so is neither named nor shown.
    HiddenKey,
    /// The value.
    Value,
}

/// One problem, by its place in the document. Holds no value of the file.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    /// Error or warning.
    pub(crate) severity: Severity,
    /// Where.
    pub(crate) path: Path,
    /// At the key or the value there.
    pub(crate) at: At,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) mend: String,
}

/// Everything found so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    findings: Vec<Finding>,
    errors: usize,
    warnings: usize,
}

impl Report {
    /// Adds an error at the value.
    pub(crate) fn error(&mut self, spot: &Spot<'_>, message: impl Into<String>, mend: impl Into<String>) {
        self.add(Severity::Error, spot, At::Value, message, mend);
    }

    /// Adds an error at the key.
    pub(crate) fn error_at_key(&mut self, spot: &Spot<'_>, message: impl Into<String>, mend: impl Into<String>) {
        self.add(Severity::Error, spot, At::Key, message, mend);
    }

    /// Adds an error at a key that may be part of a secret.
    pub(crate) fn error_at_hidden_key(&mut self, spot: &Spot<'_>, message: impl Into<String>, mend: impl Into<String>) {
        self.add(Severity::Error, spot, At::HiddenKey, message, mend);
    }

    /// Adds a warning at the value.
    pub(crate) fn warning(&mut self, spot: &Spot<'_>, message: impl Into<String>, mend: impl Into<String>) {
        self.add(Severity::Warning, spot, At::Value, message, mend);
    }

    /// Adds a warning at the key.
    pub(crate) fn warning_at_key(&mut self, spot: &Spot<'_>, message: impl Into<String>, mend: impl Into<String>) {
        self.add(Severity::Warning, spot, At::Key, message, mend);
    }

    /// Adds a warning at the value that this path leads to.
    pub(crate) fn warning_there(&mut self, path: Path, message: impl Into<String>, mend: impl Into<String>) {
        self.put(Severity::Warning, path, At::Value, message, mend);
    }

    fn add(
        &mut self,
        severity: Severity,
        spot: &Spot<'_>,
        at: At,
        message: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.put(severity, spot.path(), at, message, mend);
    }

    fn put(&mut self, severity: Severity, path: Path, at: At, message: impl Into<String>, mend: impl Into<String>) {
        let count = if severity == Severity::Error { &mut self.errors } else { &mut self.warnings };
        *count += 1;
        if *count <= MOST {
            let (message, mend) = (message.into(), mend.into());
            self.findings.push(Finding { severity, path, at, message, mend });
        }
    }

    /// Whether no error was found.
    pub(crate) fn is_sound(&self) -> bool {
        self.errors == 0
    }

    /// All findings, and how many errors and warnings were left out.
    pub(crate) fn into_findings(self) -> (Vec<Finding>, usize, usize) {
        (self.findings, self.errors.saturating_sub(MOST), self.warnings.saturating_sub(MOST))
    }
}
