//! Which connections make room, and how long a connection may stay in a phase.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::open::STALLED;
use super::table::TableEntry;
use super::{ConnectionTable, WEBHOOK_TIMES};
use crate::webhook::metrics::{ConnectionMetrics, CutReason};

fn table(max_connections: usize) -> Arc<ConnectionTable> {
    ConnectionTable::new(max_connections, WEBHOOK_TIMES, ConnectionMetrics::default())
}

/// Enters a connection from 127.0.0.x.
async fn enter(table: &Arc<ConnectionTable>, peer: u8, is_proven: bool) -> TableEntry {
    let entry = table.enter([127, 0, 0, peer].into()).await.unwrap();
    entry.connection.shook_hands();
    if is_proven {
        entry.connection.proved();
    }
    tokio::time::advance(Duration::from_millis(1)).await;
    entry
}

fn is_cut(entry: &TableEntry) -> bool {
    entry.connection.has_been_cut()
}

#[tokio::test(start_paused = true)]
async fn the_oldest_unproven_connection_of_the_address_with_most_unproven_connections_makes_room() {
    let table = table(4);
    let mine = enter(&table, 1, false).await;
    let proven = enter(&table, 2, true).await;
    let (old, new) = (enter(&table, 2, false).await, enter(&table, 2, false).await);
    let newest = enter(&table, 2, false).await;
    assert!(is_cut(&old) && !is_cut(&mine) && !is_cut(&proven) && !is_cut(&new));
    drop((newest, new));
    // Two entries are free again.
    let _more = (enter(&table, 3, false).await, enter(&table, 3, false).await);
    assert!(!is_cut(&mine));
}

#[tokio::test(start_paused = true)]
async fn beyond_three_quarters_the_longest_idle_connection_of_the_largest_address_makes_room() {
    let table = table(8);
    let mine = enter(&table, 1, true).await;
    let working = enter(&table, 2, true).await;
    working.connection.request_began();
    let mut idle = Vec::new();
    for _ in 0..5 {
        idle.push(enter(&table, 2, true).await);
    }
    let newcomer = enter(&table, 3, false).await;
    let _another = enter(&table, 2, false).await;
    assert!(is_cut(&idle[0]) && !is_cut(&idle[1]));
    assert!(!is_cut(&mine) && !is_cut(&working) && !is_cut(&newcomer));
}

#[tokio::test(start_paused = true)]
async fn an_unproven_client_that_reads_no_answer_makes_room() {
    let table = table(2);
    let (first, second) = (enter(&table, 1, false).await, enter(&table, 1, false).await);
    for entry in [&first, &second] {
        entry.connection.request_began();
        entry.connection.answering();
    }
    assert!(table.enter([127, 0, 0, 2].into()).await.is_some());
    assert!(is_cut(&first) && !is_cut(&second));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_no_answer_makes_room_before_a_client_that_has_just_connected() {
    let table = table(4);
    let (stuck, mine) = (enter(&table, 1, true).await, enter(&table, 2, false).await);
    stuck.connection.request_began();
    stuck.connection.answering();
    let _others = (enter(&table, 3, true).await, enter(&table, 4, true).await);
    tokio::time::advance(STALLED).await;
    assert!(table.enter([127, 0, 0, 5].into()).await.is_some());
    assert!(is_cut(&stuck) && !is_cut(&mine));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_no_answer_makes_room() {
    let table = table(2);
    let (stuck, works) = (enter(&table, 1, true).await, enter(&table, 1, true).await);
    for entry in [&stuck, &works] {
        entry.connection.request_began();
        entry.connection.answering();
    }
    let waits = works.connection.waits_for_memory();
    tokio::time::advance(STALLED).await;
    assert!(table.enter([127, 0, 0, 2].into()).await.is_some());
    assert!(is_cut(&stuck) && !is_cut(&works), "one waits for memory");
    drop(waits);
}

#[tokio::test(start_paused = true)]
async fn one_address_whose_connections_all_work_makes_room_for_other_addresses() {
    let table = table(4);
    let mut working = Vec::new();
    for _ in 0..4 {
        let entry = enter(&table, 1, true).await;
        entry.connection.deciding();
        working.push(entry);
    }
    assert!(
        table.enter([127, 0, 0, 1].into()).await.is_none(),
        "a new connection of the same address"
    );
    assert!(table.enter([127, 0, 0, 2].into()).await.is_some());
    assert!(is_cut(&working[0]) && !is_cut(&working[1]));
}

#[tokio::test(start_paused = true)]
async fn a_new_connection_is_refused_if_all_connections_work() {
    let table = table(2);
    let working = [enter(&table, 1, true).await, enter(&table, 2, true).await];
    for entry in &working {
        entry.connection.request_began();
    }
    assert!(table.enter([127, 0, 0, 3].into()).await.is_none());
    assert!(!working.iter().any(is_cut));
}

#[tokio::test(start_paused = true)]
async fn each_phase_of_a_connection_has_its_time_limit() {
    let table = table(1);
    let entry = table.enter([127, 0, 0, 1].into()).await.unwrap();
    let connection = &entry.connection;
    let start = Instant::now();
    let seconds = || (connection.deadline().0 - start).as_secs();
    assert_eq!((seconds(), connection.deadline().1), (5, CutReason::Handshake));
    connection.shook_hands();
    assert_eq!((seconds(), connection.deadline().1), (10, CutReason::Unproven));
    tokio::time::advance(Duration::from_secs(9)).await;
    connection.received(1);
    tokio::time::advance(Duration::from_secs(1)).await;
    connection.received(1);
    connection.request_began();
    assert_eq!((seconds(), connection.deadline().1), (9 + 6, CutReason::SlowRequest));
    connection.deciding();
    connection.proved();
    connection.answering();
    connection.flushed();
    connection.sent(1);
    assert_eq!((seconds(), connection.deadline().1), (10 + 5, CutReason::SlowAnswer));
    connection.handed_over();
    connection.flushed();
    assert_eq!((seconds(), connection.deadline().1), (10 + 120, CutReason::Idle));
}
