//! Reads configurations and makes them ready to run.

use std::time::SystemTime;

use http::header::AUTHORIZATION;

use super::directory::directory;
use super::expiry::worse;
use super::{AppError, Start};
use crate::assemble::{Assembled, Assembly};
use crate::config::{Loaded, Problems, load};
use crate::live::Entry;
use crate::model::{Dated, Place, Problem, Severity, TokenEndpoint};
use crate::route::Action;

/// What is in force, as far as the next configuration is compared with it.
#[derive(Default)]
pub(super) struct Before {
    pub(super) fingerprint: [u8; 32],
    pub(super) certificates: Vec<Dated>,
}

/// An error, with the assembly where it is not lost.
pub(super) type Failed = Box<(Option<Assembly>, AppError)>;

pub(super) async fn read(start: &Start, assembly: Assembly) -> Result<(Assembly, Loaded, Assembled), Failed> {
    match read_changed(start, assembly, Before::default()).await? {
        (assembly, Some((loaded, assembled))) => Ok((assembly, loaded, assembled)),
        (assembly, None) => Err(Box::new((Some(assembly), AppError::Interrupted))),
    }
}

/// Reads and assembles on a thread for blocking work: a large file must not keep the control thread
/// from accepting connections. `None` where the content is the one of `before`.
pub(super) async fn read_changed(
    start: &Start,
    mut assembly: Assembly,
    before: Before,
) -> Result<(Assembly, Option<(Loaded, Assembled)>), Failed> {
    let (path, environment) = (start.config.clone(), start.environment.clone());
    let task = tokio::task::spawn_blocking(move || {
        let loaded = match load(&path, &*environment) {
            Ok(loaded) => loaded,
            Err(problems) => return Err(Box::new((Some(assembly), AppError::Config(problems)))),
        };
        if loaded.settings.fingerprint == before.fingerprint {
            return Ok((assembly, None));
        }
        if let Some(problems) = made_worse(&before.certificates, &loaded) {
            return Err(Box::new((Some(assembly), AppError::Config(problems))));
        }
        match assemble(loaded, &mut assembly) {
            Ok(both) => Ok((assembly, Some(both))),
            Err(problems) => Err(Box::new((Some(assembly), AppError::Config(problems)))),
        }
    });
    task.await.unwrap_or_else(|_| Err(Box::new((None, AppError::Interrupted))))
}

/// A certificate that has expired never takes the place of one that has not: every client would break.
fn made_worse(before: &[Dated], loaded: &Loaded) -> Option<Problems> {
    let worse = worse(before, &loaded.settings.certificates, SystemTime::now());
    if worse.is_empty() {
        return None;
    }
    let mut list = loaded.warnings.clone();
    list.retain(|warning| worse.iter().all(|dated| dated.field != warning.path));
    list.extend(worse.iter().map(|dated| {
        let message = "the certificate has expired; the one in force has not, and stays";
        let mend = "put one there that is valid, or restart to have it all the same";
        loaded.locator.problem(Severity::Error, &dated.field, message, mend)
    }));
    list.sort_by_key(|problem| (problem.line, problem.column));
    Some(Problems { list, files: loaded.settings.files.clone() })
}

/// Makes a configuration ready to run. What stands in the way is told beside its warnings.
pub fn assemble(loaded: Loaded, assembly: &mut Assembly) -> Result<(Loaded, Assembled), Problems> {
    match assembly.build(&loaded.settings) {
        Ok(mut assembled) => {
            assembled.snapshot.directory = directory(&loaded, &assembled);
            Ok((loaded, assembled))
        }
        Err(errors) => {
            let mut list = loaded.warnings;
            list.extend(errors.iter().map(|error| error.problem(&loaded.locator)));
            list.sort_by_key(|problem| (problem.line, problem.column));
            Err(Problems { list, files: loaded.settings.files })
        }
    }
}

/// All warnings of a configuration: those of its check and those of its routes' order.
pub fn warnings(loaded: &Loaded, assembled: &Assembled) -> Vec<Problem> {
    let mut warnings = loaded.warnings.clone();
    warnings.extend(assembled.shadowed.iter().map(|(hidden, first)| {
        let name = |place: &usize| loaded.settings.routes.get(*place).map_or("", |route| route.label.as_str());
        loaded.locator.problem(
            Severity::Warning,
            &format!("routes[{hidden}]"),
            format!("the route {} can never match: {} always goes first", name(hidden), name(first)),
            "narrow the other route's match, or remove this one",
        )
    }));
    let entries = assembled.snapshot.entries.iter().enumerate();
    warnings.extend(entries.filter(|(_, entry)| answers_in_vain(entry)).map(|(place, _)| {
        loaded.locator.problem(
            Severity::Warning,
            &format!("routes[{place}]"),
            "logins of clients' own are answered, but cannot work: their token would stand in Authorization, which is \
             for the user or the token that `access` asks for",
            "write `token_endpoint: refuse`, or let such clients in by `api_keys` on a route of their own",
        )
    }));
    warnings
}

/// Whether whoever logs in through this route is refused with the very token that the proxy gives them.
fn answers_in_vain(entry: &Entry) -> bool {
    let Action::Forward(forward) = &entry.route.action else { return false };
    forward.credential.as_ref().is_some_and(|credential| {
        let in_authorization = |place: &Place| matches!(place, Place::Header { name, .. } if *name == AUTHORIZATION);
        entry.access.claims_authorization()
            && credential.token_endpoint == TokenEndpoint::Answer
            && !credential.own_endpoints.is_empty()
            && credential.placement.iter().any(in_authorization)
    })
}
