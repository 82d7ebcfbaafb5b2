//! `podkey`: in the making.
fn main() {}
