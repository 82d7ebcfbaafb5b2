//! What is wrong with a request for this pod: each file asks one question of the survey, and none asks what another found.

pub(crate) mod advice;
pub(crate) mod destinations;
pub(crate) mod engines;
pub(crate) mod exec;
pub(crate) mod hooks;
pub(crate) mod policy;
pub(crate) mod present;
pub(crate) mod programs;
pub(crate) mod references;
pub(crate) mod refresh;
pub(crate) mod rules;
pub(crate) mod runner;
