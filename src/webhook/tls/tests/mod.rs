//! The upkeep of the certificate as a whole: the task survives faults, and many replicas agree.

mod simulation;

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_fault_does_not_end_the_upkeep_of_the_certificate() {
    let metrics = Arc::new(Metrics::new());
    let (started, alive) = (Arc::new(AtomicU32::new(0)), Arc::new(()));
    let start = {
        let (started, alive) = (started.clone(), alive.clone());
        move || {
            let (turn, alive) = (started.fetch_add(1, Ordering::Relaxed), alive.clone());
            async move {
                match turn {
                    0 => panic!("a fault"),
                    1 => {}
                    _ => std::future::pending().await,
                }
                drop(alive);
            }
        }
    };
    let task = tokio::spawn(restarting(metrics.clone(), start));
    tokio::time::sleep(10 * PAUSE_AFTER_FAULT).await;
    assert_eq!((started.load(Ordering::Relaxed), metrics.panics.get()), (3, 2));
    assert!(!task.is_finished());
    task.abort();
    let _ = task.await;
    tokio::task::yield_now().await;
    assert_eq!(Arc::strong_count(&alive), 1, "the task goes on after the end");
}
