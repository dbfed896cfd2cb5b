//! The handover socket: a place where it can be made.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::config::check::Check;
use crate::config::file::General;
use crate::config::spot::Spot;
use crate::config::tree::{Node, Value};
use crate::config::{ListenAddress, ListenerSettings};

/// `sockaddr_un` holds 108 bytes with the final NUL (unix(7)).
const LONGEST: usize = 107;

impl Check<'_> {
    pub(super) fn handover(
        &mut self,
        root: &Node,
        general: &General,
        listeners: &[ListenerSettings],
    ) -> Option<PathBuf> {
        let path = self.files.path(&general.handover.as_ref()?.0);
        let spot = Spot::ROOT.key("handover");
        if matches!(root.get("handover")?.value, Value::Bool(..)) {
            self.report.error(&spot, "must be the path of a socket", "write /run/tokenferry/handover.sock");
            return None;
        }
        // A path without a folder is one in the working directory.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if path.as_os_str().len() > LONGEST {
            self.report.error(&spot, "the path of a Unix socket may have 107 bytes at most", "choose a shorter path");
        } else if !folder.is_dir() {
            self.report.error(&spot, "is in a folder that does not exist", "make the folder, or name another one");
        } else if path.is_dir() {
            self.report.error(&spot, "is a folder", "name a file in it, such as handover.sock");
        } else if path.symlink_metadata().is_ok_and(|there| !there.file_type().is_socket()) {
            self.report.error(&spot, "is a file, not a socket", "remove the file, or name another path");
        }
        if listeners.iter().any(|listener| listener.address == ListenAddress::Unix(path.clone())) {
            self.report.error(&spot, "a listener has this path", "give the handover a socket of its own");
        }
        Some(path)
    }
}
