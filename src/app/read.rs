//! Reads configurations and makes them ready to run.

use http::header::AUTHORIZATION;

use super::directory::directory;
use super::{AppError, Start};
use crate::assemble::{Assembled, Assembly};
use crate::config::{Loaded, Problems, load};
use crate::live::Entry;
use crate::model::{Place, Problem, Severity, TokenEndpoint};
use crate::route::Action;

/// An error, with the assembly where it is not lost.
pub(super) type Failed = Box<(Option<Assembly>, AppError)>;

pub(super) async fn read(start: &Start, assembly: Assembly) -> Result<(Assembly, Loaded, Assembled), Failed> {
    match read_changed(start, assembly, [0; 32]).await? {
        (assembly, Some((loaded, assembled))) => Ok((assembly, loaded, assembled)),
        (assembly, None) => Err(Box::new((Some(assembly), AppError::Interrupted))),
    }
}

/// Reads and assembles on a thread for blocking work: a large file must not keep the control thread
/// from accepting connections. `None` where the content is the one of `before`.
pub(super) async fn read_changed(
    start: &Start,
    mut assembly: Assembly,
    before: [u8; 32],
) -> Result<(Assembly, Option<(Loaded, Assembled)>), Failed> {
    let (path, environment) = (start.config.clone(), start.environment.clone());
    let task = tokio::task::spawn_blocking(move || {
        let loaded = match load(&path, &*environment) {
            Ok(loaded) => loaded,
            Err(problems) => return Err(Box::new((Some(assembly), AppError::Config(problems)))),
        };
        if loaded.settings.fingerprint == before {
            return Ok((assembly, None));
        }
        match assemble(loaded, &mut assembly) {
            Ok(both) => Ok((assembly, Some(both))),
            Err(problems) => Err(Box::new((Some(assembly), AppError::Config(problems)))),
        }
    });
    task.await.unwrap_or_else(|_| Err(Box::new((None, AppError::Interrupted))))
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
