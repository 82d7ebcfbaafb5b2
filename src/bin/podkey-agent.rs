//! `podkey-agent`: in the making.
fn main() {}
