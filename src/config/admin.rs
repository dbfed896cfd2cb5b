//! The admin port of a file that may be broken elsewhere: whoever asks the running proxy what is wrong
//! with its file has just that file to find it by.

use std::path::Path;

use crate::config::check::check_admin;
use crate::config::files::Files;
use crate::config::interpolate::{Environment, References};
use crate::config::load::read;
use crate::config::locate::Locator;
use crate::config::report::Report;
use crate::config::source::Source;
use crate::config::tree::{Marks, Node, Value, parse};
use crate::config::{AdminSettings, Problems};
use crate::model::Severity;
use crate::secret::Secret;

/// What a file says of the admin port; `None` where it says nothing of one. `token` stands in for the
/// file's own. Only what is wrong with `admin` itself is an error, and what leaves nothing to look at.
pub fn admin(
    path: &Path,
    environment: Environment<'_>,
    token: Option<&Secret>,
) -> Result<Option<AdminSettings>, Problems> {
    let file = path.display().to_string();
    let unreadable = |(message, mend): (String, String)| {
        let locator = Locator::new(file.clone(), Source::new(b"").0);
        Problems { list: vec![locator.of_file(Severity::Error, message, mend)], files: vec![path.to_owned()] }
    };
    let (bytes, _) = read(path).map_err(unreadable)?;
    let Some((source, mut root)) = tree(&bytes).or_else(|| tree(block(&bytes).as_bytes())) else { return Ok(None) };
    let mut locator = Locator::new(file.clone(), source);
    let Value::Map(entries) = &mut root.value else { return Ok(None) };
    entries.retain(|entry| entry.key == "admin");
    let Some(admin) = entries.first_mut() else { return Ok(None) };
    if let (Some(token), Value::Map(fields)) = (token, &mut admin.node.value)
        && let Some(written) = fields.iter_mut().find(|field| field.key == "token")
    {
        written.node.value = Value::Text(token.expose().replace('$', "$$"));
    }
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let (mut files, mut report) = (Files::new(folder), Report::default());
    References::new(environment, &mut files, &mut report).resolve(&mut root);
    let settings = check_admin(&root, &mut report, &mut files);
    locator.note_secrets(&root);
    if report.is_sound() {
        return Ok(settings);
    }
    let list = report.into_findings().0.iter().map(|finding| locator.locate(finding)).collect();
    Err(Problems { list, files: vec![path.to_owned()] })
}

fn tree(bytes: &[u8]) -> Option<(Source, Node)> {
    let (source, verdict) = Source::new(bytes);
    verdict.ok()?;
    let root = parse(&source, Marks::None).0?;
    Some((source, root))
}

/// The lines of `admin` alone, where they stood: for a file that is no YAML.
fn block(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut inside = false;
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let goes_on = line.starts_with([' ', '\t', '#', '}']) || line.trim().is_empty();
        inside = line.starts_with("admin:") || inside && goes_on;
        if inside {
            out.push_str(line);
        }
        out.push('\n');
    }
    out
}
