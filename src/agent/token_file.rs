//! The file that gives the app the client token: the same bytes that `init` and the sidecar send to the server.

use super::volume::{RenderedFile, shown_name};
use crate::plan::TokenFile;
use crate::vault::Session;

/// The file with the token of this session.
pub(super) fn rendered(file: &TokenFile, session: &Session) -> RenderedFile {
    RenderedFile {
        place: place(file),
        mode: file.mode.bits(),
        bytes: session.client_token().clone(),
    }
}

/// The shown name of the file.
pub(super) fn shown(file: &TokenFile) -> String {
    shown_name(&place(file)).into_owned()
}

fn place(file: &TokenFile) -> String {
    // The place of a file in a directory of its own does not depend on the number of the file.
    file.file.place(0)
}
