//! `podkey doctor` on a real cluster with a real OpenBao: each seeded fault is the first that the doctor names, and the command
//! that the doctor prints mends the fault. Healthy set-ups have no false alarm.

pub mod bench;
mod healthy;
mod manifests;
mod namespaced;
pub mod pods;
mod vault;
mod vault_harm;
mod vault_jwt;
