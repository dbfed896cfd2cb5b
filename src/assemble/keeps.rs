//! Who keeps the refresh tokens of credentials that log in with one.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::CredentialSettings;
use crate::token::{First, Keep, Kept, LocalKeep, StateFile, Store};

/// Keeps by what they are sealed for and what they descend from, so that a change of anything else
/// about the credential goes on with what was kept.
pub(super) type Keeps = HashMap<(String, First), LocalKeep>;

/// The keep of this credential, where it needs one: its file, else the store that replicas share, else
/// this process's memory. What those of before kept is kept on.
pub(super) fn keep(
    credential: &CredentialSettings,
    store: Option<&Store>,
    before: &Keeps,
    next: &mut Keeps,
) -> Option<Arc<dyn Keep>> {
    let first = credential.vendor.first_refresh_token()?;
    let client = Kept::key(credential.vendor.provider(), &credential.vendor.identity());
    if let Some(store) = store.filter(|_| credential.state.is_none()) {
        return Some(Arc::new(store.keep(&client, first)));
    }
    let file = credential.state.clone().map(|state| StateFile { path: state.path, keys: state.keys });
    let purpose = Kept::purpose(&client);
    let key = (purpose.clone(), First::of(first));
    let earlier = next.get(&key).or_else(|| before.get(&key));
    let keep = LocalKeep::new(&credential.name, purpose, first, file, earlier);
    next.insert(key, keep.clone());
    Some(Arc::new(keep))
}
