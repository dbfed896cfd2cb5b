//! Medians and ranges.

use std::fmt::{self, Display};

/// The middle of some figures, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) greatest: f64,
    count: usize,
}

impl Spread {
    /// None of no figures.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        Some(Self {
            median: median(values)?,
            least: values.iter().copied().reduce(f64::min)?,
            greatest: values.iter().copied().reduce(f64::max)?,
            count: values.len(),
        })
    }

    /// Whether no figure of the one lies among those of the other. One figure alone says nothing of its spread.
    pub(crate) fn apart(&self, other: &Self) -> bool {
        self.count > 1 && other.count > 1 && (self.least > other.greatest || self.greatest < other.least)
    }
}

/// `median [least-greatest]`, with so many digits behind the point.
impl Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        write!(f, "{:.digits$}", self.median)?;
        if self.count > 1 {
            write!(f, " [{:.digits$}-{:.digits$}]", self.least, self.greatest)?;
        }
        Ok(())
    }
}

/// The middle one; of an even number the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match (sorted.get(half), sorted.len() % 2) {
        (Some(&middle), 1) => Some(middle),
        (Some(&upper), _) => Some(f64::midpoint(sorted[half - 1], upper)),
        (None, _) => None,
    }
}

/// The spread as text, or a dash.
pub(crate) fn told(values: &[f64], digits: usize) -> String {
    Spread::of(values).map_or_else(|| "-".to_owned(), |spread| format!("{spread:.digits$}"))
}
