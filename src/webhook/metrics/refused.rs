//! Refused pods by namespace and reason. Whoever reaches the webhook's port chooses the names of namespaces, so only some names have
//! series: podkey's memory does not grow with the number of names, and Prometheus gets at most 192 new names an hour from each replica.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::{Registry, labelled, registered};
use crate::inject::RefusalReason;

/// The most namespaces that have series of their own.
const MAX_NAMESPACES: usize = 64;
/// A namespace keeps its series for this long after a refusal, also if other namespaces need the place: at most [`MAX_NAMESPACES`]
/// namespaces get new series in this time. Longer than the longest pause between two tries of a ReplicaSet, which is 1000 seconds
/// (<https://github.com/kubernetes/client-go/blob/master/util/workqueue/default_rate_limiters.go>).
const KEPT: Duration = Duration::from_secs(20 * 60);
/// After this long without a refusal, the earlier refusals of a namespace keep its place no longer.
const FORGOTTEN: Duration = Duration::from_secs(60 * 60);
/// Stands for all namespaces without series of their own. No namespace has this name: a DNS label has no underscore.
const OTHERS: &str = "_others";
/// The longest name of a namespace (<https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names>).
const MAX_NAME_BYTES: usize = 63;

/// `pod_namespace`, because Prometheus gives each target a label `namespace`: podkey's own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabel {
    pod_namespace: String,
    reason: &'static str,
}

impl RefusedLabel {
    fn new(namespace: &str, reason: RefusalReason) -> Self {
        Self {
            pod_namespace: namespace.to_owned(),
            reason: reason.as_str(),
        }
    }
}

/// The counters, and the namespaces that have some.
pub(super) struct RefusedPods {
    counters: Family<RefusedLabel, Counter>,
    /// How many namespaces have series of their own.
    shown: Gauge,
    namespaces: Mutex<BTreeMap<String, Refusals>>,
}

/// The refusals in a namespace that has series of its own.
struct Refusals {
    number: u64,
    last: Instant,
}

impl Refusals {
    /// The namespace with the lowest rank gives way first. None: it gives way to no other namespace yet.
    fn rank(&self, now: Instant) -> Option<(u64, Instant)> {
        let quiet = now.saturating_duration_since(self.last);
        let number = if quiet >= FORGOTTEN { 0 } else { self.number };
        (quiet >= KEPT).then_some((number, self.last))
    }
}

impl RefusedPods {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let others = RefusalReason::ALL.map(|reason| RefusedLabel::new(OTHERS, reason));
        Self {
            counters: registered(
                registry,
                "refused_pods",
                "Refused pods by their namespace and by reason, counted as podkey_pods_total. At most 64 namespaces have \
                 series, the rest is pod_namespace=\"_others\"",
                labelled(others),
            ),
            shown: registered(
                registry,
                "refused_namespaces",
                "Namespaces that have series of podkey_refused_pods_total. At 64, further namespaces count as _others",
                Gauge::default(),
            ),
            namespaces: Mutex::default(),
        }
    }

    /// Counts a refused pod.
    pub(super) fn count(&self, namespace: &str, reason: RefusalReason, now: Instant) {
        let mut namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = match self.has_place(&mut namespaces, namespace, now) {
            true => {
                let first = Refusals { number: 0, last: now };
                let refusals = namespaces.entry(namespace.to_owned()).or_insert(first);
                refusals.number += 1;
                refusals.last = now;
                namespace
            }
            false => OTHERS,
        };
        self.shown.set(namespaces.len() as i64);
        self.counters.get_or_create(&RefusedLabel::new(shown, reason)).inc();
    }

    /// Whether the namespace has series of its own or can get some. If all places are taken, removes the series of the namespace with
    /// the fewest refusals among those that were quiet for long enough.
    fn has_place(&self, namespaces: &mut BTreeMap<String, Refusals>, namespace: &str, now: Instant) -> bool {
        if namespaces.contains_key(namespace) {
            return true;
        }
        if !is_a_name(namespace) {
            return false;
        }
        if namespaces.len() < MAX_NAMESPACES {
            return true;
        }
        let ranked = namespaces.iter().filter_map(|(name, of)| Some((of.rank(now)?, name)));
        let Some((_, name)) = ranked.min() else {
            return false;
        };
        let name = name.clone();
        for reason in RefusalReason::ALL {
            self.counters.remove(&RefusedLabel::new(&name, reason));
        }
        namespaces.remove(&name);
        true
    }
}

/// Whether the text may be the name of a namespace. A client that is not an API server may send any text.
fn is_a_name(text: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    struct Shown(Registry, RefusedPods);

    impl Shown {
        fn new() -> Self {
            let mut registry = Registry::with_prefix("podkey");
            let refused = RefusedPods::new(&mut registry);
            Self(registry, refused)
        }

        fn text(&self) -> String {
            let mut text = String::new();
            encode(&mut text, &self.0).unwrap();
            text
        }

        fn value(&self, namespace: &str, reason: &str) -> Option<u64> {
            let series = format!("podkey_refused_pods_total{{pod_namespace=\"{namespace}\",reason=\"{reason}\"}} ");
            let text = self.text();
            let line = text.lines().find_map(|line| line.strip_prefix(&series))?;
            Some(line.parse().unwrap())
        }
    }

    #[test]
    fn ten_thousand_namespaces_have_no_more_series_than_sixty_four() {
        let shown = Shown::new();
        let now = Instant::now();
        for number in 0..10_000 {
            for reason in RefusalReason::ALL {
                shown.1.count(&format!("team-{number}"), reason, now);
            }
        }
        let text = shown.text();
        let lines = text.lines().filter(|line| !line.starts_with('#')).count();
        // The last line is podkey_refused_namespaces.
        assert_eq!(lines, (MAX_NAMESPACES + 1) * RefusalReason::ALL.len() + 1);
        assert!(text.len() < 32 * 1024, "{} bytes", text.len());
        assert_eq!(shown.value("team-63", "annotations"), Some(1));
        assert_eq!(shown.value("team-64", "annotations"), None);
        assert_eq!(shown.value(OTHERS, "annotations"), Some(10_000 - 64));
    }

    #[test]
    fn a_namespace_that_is_quiet_makes_room_and_no_other_does() {
        let shown = Shown::new();
        let start = Instant::now();
        let later = start + KEPT;
        for number in 0..MAX_NAMESPACES {
            shown.1.count(&format!("team-{number}"), RefusalReason::Pod, start);
        }
        let count = |namespace: &str, now| shown.1.count(namespace, RefusalReason::Config, now);
        count("new", later - Duration::from_secs(1));
        assert_eq!(
            (shown.value("new", "config"), shown.value(OTHERS, "config")),
            (None, Some(1))
        );
        // All but one are refused again.
        for number in 1..MAX_NAMESPACES {
            count(&format!("team-{number}"), later);
        }
        count("new", later);
        count("late", later);
        assert_eq!(
            (shown.value("new", "config"), shown.value("late", "config")),
            (Some(1), None)
        );
        assert_eq!(
            (shown.value("team-0", "pod"), shown.value("team-1", "pod")),
            (None, Some(1))
        );
        assert_eq!(shown.value(OTHERS, "config"), Some(2));
        assert!(shown.text().contains("\npodkey_refused_namespaces 64\n"));
    }

    #[test]
    fn made_up_namespaces_do_not_keep_a_real_namespace_out_for_an_hour() {
        let shown = Shown::new();
        let start = Instant::now();
        for number in 0..MAX_NAMESPACES {
            for _ in 0..1000 {
                shown.1.count(&format!("made-up-{number}"), RefusalReason::Pod, start);
            }
        }
        // Tries of a ReplicaSet, in minutes after the last request of the attacker.
        let shop = |minutes: u64| {
            let now = start + Duration::from_secs(minutes * 60);
            shown.1.count("shop", RefusalReason::NoRule, now);
        };
        shop(19);
        assert_eq!(shown.value("shop", "no_rule"), None);
        for minutes in [21, 38, 55] {
            shop(minutes);
        }
        assert_eq!(shown.value("shop", "no_rule"), Some(3));
    }

    #[test]
    fn names_that_are_refused_once_do_not_displace_a_namespace_that_is_refused_again_and_again() {
        let shown = Shown::new();
        let start = Instant::now();
        for _ in 0..13 {
            shown.1.count("shop", RefusalReason::NoRule, start);
        }
        let made_up = |minutes: u64| {
            for number in 1..MAX_NAMESPACES {
                let now = start + Duration::from_secs(minutes * 60);
                let name = format!("made-up-{minutes}-{number}");
                shown.1.count(&name, RefusalReason::Pod, now);
            }
        };
        made_up(0);
        made_up(20);
        assert_eq!(shown.value("shop", "no_rule"), Some(13));
        assert_eq!(shown.value("made-up-20-63", "pod"), Some(1));
        // After an hour without a refusal, 13 refusals are worth no more than one.
        shown.1.count("new", RefusalReason::Pod, start + FORGOTTEN);
        assert_eq!(shown.value("shop", "no_rule"), None);
    }

    #[test]
    fn prometheus_gets_no_more_names_an_hour_than_the_first_line_says() {
        let shown = Shown::new();
        let start = Instant::now();
        let mut names = std::collections::BTreeSet::new();
        // The first hour, then the second, in steps of 10 seconds.
        let mut hour = |hour: u64| {
            let before = names.len();
            for step in 0..360 {
                let now = start + Duration::from_secs(hour * 3600 + step * 10);
                for number in 0..MAX_NAMESPACES {
                    let name = format!("made-up-{hour}-{step}-{number}");
                    shown.1.count(&name, RefusalReason::Pod, now);
                }
                names.extend(shown.1.namespaces.lock().unwrap().keys().cloned());
            }
            names.len() - before
        };
        assert_eq!([hour(0), hour(1)], [192, 192]);
    }

    #[test]
    fn a_text_that_no_namespace_has_as_its_name_is_not_a_label() {
        let shown = Shown::new();
        for text in ["", "Team", "a\"} 1\nx 2", "ä", "_others", &"a".repeat(64)] {
            shown.1.count(text, RefusalReason::Unreadable, Instant::now());
        }
        assert_eq!(shown.value(OTHERS, "unreadable"), Some(6));
        assert!(shown.1.namespaces.lock().unwrap().is_empty());
    }
}
