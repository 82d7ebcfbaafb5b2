//! Fifty runners at once, beside fifty without podkey. No other test may run at the same time.

use serde_json::{Value, json};

use super::scale_set::{STEP, ScaleSet};

/// Seconds from the job's queueing to this moment of it.
fn seconds(job: &Value, moment: &str) -> f64 {
    let at = |key: &str| humantime::parse_rfc3339_weak(job[key].as_str().unwrap()).unwrap();
    at(moment).duration_since(at("queued")).unwrap().as_secs_f64()
}

#[test]
fn fifty_runners_at_once_have_their_secrets() {
    for (what, annotated) in [("without podkey", false), ("with podkey", true)] {
        let Some(set) = ScaleSet::new("fifty runners") else {
            return;
        };
        let vault = set.vault();
        // The chart renders no valid set without any annotation.
        let annotations = match annotated {
            true => set.annotations(&vault),
            false => json!({"example.com/plain": "true"}),
        };
        set.install(&annotations, &json!({}));
        set.queue(50, if annotated { STEP } else { "echo plain" });
        let (jobs, _) = if annotated { set.delivers() } else { set.finish() };
        let mut started: Vec<_> = jobs.iter().map(|job| seconds(job, "started")).collect();
        started.sort_by(f64::total_cmp);
        let all = jobs.iter().map(|job| seconds(job, "ended")).fold(0.0, f64::max);
        println!(
            "50 jobs {what}: a runner takes the job after p50 {:.1} s, p95 {:.1} s; all are done after {all:.1} s",
            started[25], started[47]
        );
    }
}
