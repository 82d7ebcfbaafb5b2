//! Warnings about a pod that podkey does not refuse.

/// Warnings to whoever creates the pod: one short ASCII line each, at most five. (The API server drops texts that are not valid in a
/// header, and cuts long ones.)
pub type Warnings = Vec<String>;
