//! What NetworkPolicies allow, by their rules alone: <https://kubernetes.io/docs/concepts/services-networking/network-policies/>.

use std::net::IpAddr;

use serde_json::Value;

use crate::cli::doctor::cluster::selector;
use crate::cli::doctor::situation::{items, text};

/// What rules say to a connection. The order is the order of certainty: the better of two rules counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    Denied,
    /// The rules name something that the doctor does not see.
    Unknown,
    Allowed,
}

/// Where a connection ends.
#[derive(Debug, Clone, Default)]
pub(super) struct Target {
    /// None: not known.
    pub(super) ip: Option<IpAddr>,
    /// None: only the name of the port is known.
    pub(super) port: Option<u16>,
    /// The name that the pod gives the port.
    pub(super) port_name: Option<String>,
    /// None: not a pod, as far as the doctor sees.
    pub(super) pod: Option<TargetPod>,
    /// Whether the address may be a Service's, whose pods the doctor does not see: rules are about the pods.
    pub(super) may_be_service: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct TargetPod {
    pub(super) namespace: String,
    pub(super) namespace_labels: Value,
    pub(super) labels: Value,
    /// The labels by which the Service chooses the pod.
    pub(super) selector: Value,
}

/// The policies that limit where the pod connects to.
pub(super) fn limiting<'v>(list: &'v Value, pod_labels: &Value) -> Vec<&'v Value> {
    let limits = |policy: &&Value| {
        let types = policy["spec"]["policyTypes"].as_array();
        let egress = match types {
            Some(types) => types.iter().any(|kind| kind == "Egress"),
            None => !policy["spec"]["egress"].is_null(),
        };
        egress && selector::matches(&policy["spec"]["podSelector"], pod_labels)
    };
    items(list, "/items").filter(limits).collect()
}

/// Whether the policies let a pod of the namespace connect to the target by TCP.
pub(super) fn to_target(policies: &[&Value], namespace: &str, target: &Target) -> Verdict {
    let verdict = best(policies, |rule| {
        ports(rule, "TCP", target.port, target.port_name.as_deref()).min(peers(rule, namespace, target))
    });
    let has_rules = policies
        .iter()
        .any(|policy| items(policy, "/spec/egress").next().is_some());
    match target.may_be_service && has_rules {
        true => verdict.max(Verdict::Unknown),
        false => verdict,
    }
}

/// Whether the policies let a pod ask a server for names. Rules are about the port of the server's pods, which need not be 53: in
/// OpenShift it is 5353.
pub(super) fn to_dns(policies: &[&Value]) -> Verdict {
    best(policies, |rule| {
        let is_udp = |port: &Value| port["protocol"] == "UDP";
        match ports(rule, "UDP", Some(53), Some("dns")) {
            Verdict::Denied if items(rule, "/ports").any(is_udp) => Verdict::Unknown,
            verdict => verdict,
        }
    })
}

fn best(policies: &[&Value], verdict: impl Fn(&Value) -> Verdict) -> Verdict {
    let rules = policies.iter().flat_map(|policy| items(policy, "/spec/egress"));
    rules.map(verdict).max().unwrap_or(Verdict::Denied)
}

fn ports(rule: &Value, protocol: &str, port: Option<u16>, name: Option<&str>) -> Verdict {
    let listed = items(rule, "/ports").map(|known| {
        let is_protocol = known["protocol"].as_str().unwrap_or("TCP") == protocol;
        match (&known["port"], is_protocol) {
            (_, false) => Verdict::Denied,
            (Value::Null, true) => Verdict::Allowed,
            (Value::String(known), true) => match name {
                Some(name) if name == known => Verdict::Allowed,
                Some(_) => Verdict::Denied,
                None => Verdict::Unknown,
            },
            (first, true) => {
                let Some(port) = port.map(u64::from) else {
                    return Verdict::Unknown;
                };
                let first = first.as_u64().unwrap_or_default();
                let last = known["endPort"].as_u64().unwrap_or(first);
                allowed_if((first..=last).contains(&port))
            }
        }
    });
    // A rule without a list of ports is for all ports.
    match items(rule, "/ports").next() {
        None => Verdict::Allowed,
        Some(_) => listed.max().unwrap_or(Verdict::Denied),
    }
}

fn peers(rule: &Value, namespace: &str, target: &Target) -> Verdict {
    match items(rule, "/to").next() {
        None => Verdict::Allowed,
        Some(_) => items(rule, "/to")
            .map(|peer| to_peer(peer, namespace, target))
            .max()
            .unwrap_or(Verdict::Denied),
    }
}

fn to_peer(peer: &Value, namespace: &str, target: &Target) -> Verdict {
    if let Some(block) = peer.get("ipBlock") {
        let Some(ip) = target.ip else {
            return Verdict::Unknown;
        };
        let excepted = items(block, "/except")
            .filter_map(Value::as_str)
            .any(|cidr| contains(cidr, ip));
        return allowed_if(contains(text(block, "/cidr"), ip) && !excepted);
    }
    // An address may be a pod's or a Service's without the doctor's knowledge.
    let Some(pod) = &target.pod else {
        return Verdict::Unknown;
    };
    let namespaces = match peer.get("namespaceSelector") {
        Some(selector) => selector::matches(selector, &pod.namespace_labels),
        None => pod.namespace == namespace,
    };
    allowed_if(namespaces && selector::matches(&peer["podSelector"], &pod.labels))
}

fn allowed_if(is_allowed: bool) -> Verdict {
    if is_allowed { Verdict::Allowed } else { Verdict::Denied }
}

/// Whether the block, such as `10.0.0.0/8`, has the address.
fn contains(cidr: &str, ip: IpAddr) -> bool {
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => (u128::from(u32::from(ip)) << 96, 32),
        IpAddr::V6(ip) => (u128::from(ip), 128),
    };
    let Some((base, length)) = cidr.split_once('/') else {
        return false;
    };
    let (Ok(base), Ok(length)) = (base.parse::<IpAddr>(), length.parse::<u32>()) else {
        return false;
    };
    let ((base, most), (ip, of_ip)) = (bits(base), bits(ip));
    let mask = u128::MAX.checked_shl(128 - length.min(128)).unwrap_or(0);
    most == of_ip && length <= most && base & mask == ip & mask
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn verdict(egress: Value) -> Verdict {
        let policy = json!({"spec": {"policyTypes": ["Egress"], "egress": egress}});
        let target = Target {
            ip: "10.1.2.3".parse().ok(),
            port: Some(8200),
            ..Target::default()
        };
        to_target(&[&policy], "team", &target)
    }

    #[test]
    fn rules_by_address_and_port_are_read_as_the_network_reads_them() {
        use Verdict::{Allowed, Denied, Unknown};
        for (egress, expected) in [
            (json!([]), Denied),
            (json!([{}]), Allowed),
            (json!([{"ports": [{"port": 443}]}]), Denied),
            (json!([{"ports": [{"port": 443}, {"port": 8200}]}]), Allowed),
            (json!([{"ports": [{"port": 8000, "endPort": 9000}]}]), Allowed),
            (json!([{"ports": [{"port": 8200, "protocol": "UDP"}]}]), Denied),
            (json!([{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]), Allowed),
            (
                json!([{"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.1.0.0/16"]}}]}]),
                Denied,
            ),
            (json!([{"to": [{"ipBlock": {"cidr": "10.1.2.4/32"}}]}]), Denied),
            (json!([{"to": [{"podSelector": {}}]}]), Unknown),
            (json!([{"to": [{"podSelector": {}}], "ports": [{"port": 443}]}]), Denied),
        ] {
            assert_eq!(verdict(egress.clone()), expected, "{egress}");
        }
    }

    #[test]
    fn rules_by_selector_need_the_right_namespace_and_pod() {
        use Verdict::{Allowed, Denied};
        let target = Target {
            port: Some(8200),
            pod: Some(TargetPod {
                namespace: "vault".to_owned(),
                namespace_labels: json!({"kubernetes.io/metadata.name": "vault"}),
                labels: json!({"app": "vault"}),
                ..TargetPod::default()
            }),
            ..Target::default()
        };
        let vault = json!({"matchLabels": {"kubernetes.io/metadata.name": "vault"}});
        for (peer, expected) in [
            (json!({"namespaceSelector": vault}), Allowed),
            (
                json!({"namespaceSelector": vault, "podSelector": {"matchLabels": {"app": "vault"}}}),
                Allowed,
            ),
            (
                json!({"namespaceSelector": vault, "podSelector": {"matchLabels": {"app": "web"}}}),
                Denied,
            ),
            // Without a namespaceSelector the policy's own namespace is meant.
            (json!({"podSelector": {"matchLabels": {"app": "vault"}}}), Denied),
        ] {
            let policy = json!({"spec": {"egress": [{"to": [peer]}]}});
            assert_eq!(to_target(&[&policy], "team", &target), expected, "{policy}");
        }
    }

    #[test]
    fn a_rule_for_the_pods_of_an_address_that_is_a_service_is_no_fault() {
        let policy = json!({"spec": {"egress": [{"ports": [{"port": 8200}]}]}});
        let mut target = Target {
            ip: "10.96.0.9".parse().ok(),
            port: Some(443),
            may_be_service: true,
            ..Target::default()
        };
        assert_eq!(to_target(&[&policy], "team", &target), Verdict::Unknown);
        let none = json!({"spec": {"policyTypes": ["Egress"]}});
        assert_eq!(to_target(&[&none], "team", &target), Verdict::Denied);
        target.may_be_service = false;
        assert_eq!(to_target(&[&policy], "team", &target), Verdict::Denied);
    }

    #[test]
    fn a_named_port_whose_number_is_not_seen_is_no_fault() {
        let target = Target {
            port_name: Some("api".to_owned()),
            pod: Some(TargetPod::default()),
            ..Target::default()
        };
        let policy = |port: Value| json!({"spec": {"egress": [{"ports": [{"port": port}]}]}});
        assert_eq!(to_target(&[&policy(json!(8200))], "team", &target), Verdict::Unknown);
        assert_eq!(to_target(&[&policy(json!("api"))], "team", &target), Verdict::Allowed);
    }

    #[test]
    fn dns_on_the_port_of_its_pods_is_no_fault() {
        for (egress, expected) in [
            (json!([{"ports": [{"port": 53, "protocol": "UDP"}]}]), Verdict::Allowed),
            (
                json!([{"ports": [{"port": 5353, "protocol": "UDP"}]}]),
                Verdict::Unknown,
            ),
            (
                json!([{"ports": [{"port": "dns-udp", "protocol": "UDP"}]}]),
                Verdict::Unknown,
            ),
            (json!([{"ports": [{"port": 8200}]}]), Verdict::Denied),
        ] {
            let policy = json!({"spec": {"egress": egress}});
            assert_eq!(to_dns(&[&policy]), expected, "{policy}");
        }
    }

    #[test]
    fn blocks_of_both_families_are_compared_by_their_length() {
        let ip = |text: &str| text.parse().unwrap();
        assert!(contains("0.0.0.0/0", ip("1.2.3.4")));
        assert!(!contains("::/0", ip("1.2.3.4")));
        assert!(contains("fd00::/8", ip("fd12::1")));
        assert!(!contains("10.0.0.0/33", ip("10.0.0.0")));
        assert!(!contains("nonsense", ip("10.0.0.0")));
    }
}
