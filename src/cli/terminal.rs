//! How a command's text looks on a terminal. `anstream` writes the styles, and leaves them out where the reader is no terminal or
//! where `NO_COLOR` is set: <https://no-color.org>.

use anstyle::{AnsiColor, Style};

/// Something that must be mended.
pub(super) const FAULT: Style = AnsiColor::Red.on_default().bold();
/// Something that somebody should look at.
pub(super) const WARNING: Style = AnsiColor::Yellow.on_default();
/// Something that is as it should be.
pub(super) const OK: Style = AnsiColor::Green.on_default();
/// Something that matters less.
pub(super) const FAINT: Style = Style::new().dimmed();
/// What a part of the text is about.
pub(super) const HEADING: Style = Style::new().bold();
