//! podkey or OpenBao are away while ARC makes runners. No other test may run at the same time.

use std::time::{Duration, Instant};

use serde_json::json;

use super::scale_set::{STEP, ScaleSet};
use crate::harness::control::control;
use crate::harness::install;

/// Starts both replicas again, however the test ends.
struct ScaledToNone;

impl Drop for ScaledToNone {
    fn drop(&mut self) {
        install::scale(2);
    }
}

#[test]
fn runners_wait_for_the_webhook_that_is_away_for_60_seconds() {
    let Some(set) = ScaleSet::new("the webhook away") else {
        return;
    };
    let vault = set.vault();
    set.install(&set.annotations(&vault), &json!({}));
    let away = ScaledToNone;
    install::scale(0);
    let begun = Instant::now();
    set.queue(5, STEP);
    std::thread::sleep(Duration::from_secs(60).saturating_sub(begun.elapsed()));
    assert!(set.pods().is_empty());
    drop(away);
    let back = Instant::now();
    set.delivers();
    println!("5 of 5 jobs are done {:.1?} after the webhook's return", back.elapsed());
}

#[test]
fn runners_wait_for_openbao_that_is_sealed_and_stopped() {
    let Some(control) = control("ARC's runners without OpenBao") else {
        return;
    };
    let Some(set) = ScaleSet::new("OpenBao sealed and stopped") else {
        return;
    };
    let vault = set.vault();
    set.install(&set.annotations(&vault), &json!({}));
    for (what, count) in [("sealed", 5), ("stopped", 10)] {
        let away = match what {
            "sealed" => control.seal_openbao(),
            _ => control.stop("openbao"),
        };
        set.queue(5, STEP);
        std::thread::sleep(Duration::from_secs(20));
        drop(away);
        let back = Instant::now();
        let (jobs, _) = set.delivers();
        assert_eq!(jobs.len(), count);
        println!(
            "{what} for 20 s: 5 of 5 jobs are done {:.1?} after OpenBao's return",
            back.elapsed()
        );
    }
}
