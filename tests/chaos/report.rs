//! The figures of a run, as tables and as files, and what of them is a fault.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use crate::Asked;
use crate::admissions::{Admissions, Attempt, Outcome};
use crate::kills::{Kills, Victim};
use crate::left::Left;
use crate::pods::{End, Ended, Pods, Summary};
use crate::replicas::{Replicas, State};

/// A kill and what comes of it may overlap a pod's life by so much more, in seconds.
const AROUND: f64 = 15.0;

pub struct Report<'a> {
    pub asked: &'a Asked,
    pub took: Duration,
    pub kills: &'a Kills,
    pub admissions: &'a Admissions,
    pub replicas: &'a Replicas,
    pub pods: &'a Pods,
    pub left: &'a Left,
}

impl Report<'_> {
    /// Writes the files, prints the tables, and gives the faults.
    pub fn write(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut text = format!(
            "Seed {}, {:.1} minutes, {} admissions a second asked for.\n",
            self.asked.seed,
            self.took.as_secs_f64() / 60.0,
            self.asked.rate
        );
        text += &self.killed();
        text += &self.admitted(&mut faults);
        text += &self.pods.with(|pods| self.started(pods, &mut faults));
        text += &self.memory();
        text += &self.left(&mut faults);
        let _ = writeln!(text, "\nFaults: {}", faults.len());
        println!("{text}");
        let folder = &self.asked.folder;
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("report.md"), text + &faults.join("\n")).unwrap();
        fs::write(folder.join("events.csv"), self.events()).unwrap();
        faults
    }

    fn killed(&self) -> String {
        let mut text = String::from("\n| killed | times | seconds away in all |\n| --- | --- | --- |\n");
        for (victim, (times, away)) in self.kills.counts() {
            let _ = writeln!(text, "| {victim:?} | {times} | {away:.0} |");
        }
        text
    }

    fn admitted(&self, faults: &mut Vec<String>) -> String {
        let attempts = self.admissions.attempts();
        let mut text = String::from("\n| admissions | |\n| --- | --- |\n");
        for (outcome, count) in self.admissions.counts() {
            let _ = writeln!(text, "| {outcome:?} | {count} |");
        }
        let mut unreached = BTreeMap::<State, usize>::new();
        for attempt in &attempts {
            match attempt.outcome {
                Outcome::Unreached => {
                    let state = self.replicas.worst(attempt.from, attempt.to);
                    *unreached.entry(state).or_default() += 1;
                    if state == State::Good {
                        faults.push(told("refused while every replica listened", attempt));
                    }
                }
                Outcome::NotInjected => faults.push(told("admitted without podkey", attempt)),
                Outcome::Denied => faults.push(told("denied", attempt)),
                Outcome::Injected | Outcome::NoAnswer => {}
            }
        }
        for (state, count) in unreached {
            let _ = writeln!(text, "| of the unreached, with the replicas {state:?} | {count} |");
        }
        for (state, seconds) in self.replicas.lasted() {
            let _ = writeln!(text, "| seconds with the replicas {state:?} | {seconds:.0} |");
        }
        let mut no_answer = BTreeMap::<String, usize>::new();
        for attempt in attempts.iter().filter(|attempt| attempt.outcome == Outcome::NoAnswer) {
            let short: String = attempt.told.chars().take(160).collect();
            *no_answer.entry(short).or_default() += 1;
        }
        for (why, count) in no_answer {
            let _ = writeln!(text, "| no answer: {why} | {count} |");
        }
        text
    }

    fn started(&self, pods: &Summary<'_>, faults: &mut Vec<String>) -> String {
        let mut ends = BTreeMap::<&End, usize>::new();
        for pod in pods.ended {
            *ends.entry(&pod.end).or_default() += 1;
            let is_fault = match pod.end {
                End::Succeeded | End::Deleted => false,
                End::BudgetSpent => !self.away(Victim::OpenBao, pod),
                End::Lost => ![Victim::Kubelet, Victim::Containerd]
                    .iter()
                    .any(|victim| self.away(*victim, pod)),
                End::WithoutSecret | End::InitFailed | End::NotInjected => true,
            };
            if is_fault {
                faults.push(format!(
                    "{:?}: {} ({:.0} to {:.0} s): {}",
                    pod.end, pod.name, pod.created, pod.ended, pod.told
                ));
            }
        }
        let mut text = String::from("\n| pods that were started | |\n| --- | --- |\n");
        for (end, count) in ends {
            let _ = writeln!(text, "| {end:?} | {count} |");
        }
        for (tries, count) in pods.succeeded_after {
            let _ = writeln!(text, "| succeeded after {tries} failed tries | {count} |");
        }
        let _ = writeln!(text, "| most at once | {} |", pods.most_at_once);
        let mut restarts = BTreeMap::<&str, i64>::new();
        for (container, count) in pods.restarts {
            let container = container.rsplit('/').next().unwrap_or_default();
            *restarts.entry(container).or_default() += count;
        }
        for (container, count) in restarts {
            let _ = writeln!(text, "| restarts of {container} | {count} |");
        }
        for (kind, tries) in pods.again {
            faults.push(format!("a pod did not succeed: {kind:?} after {tries} tries"));
        }
        text
    }

    /// Whether this was away at a time of the pod's life.
    fn away(&self, victim: Victim, pod: &Ended) -> bool {
        let kills = self.kills.all();
        let mut of_it = kills.iter().filter(|kill| kill.victim == victim);
        of_it.any(|kill| kill.from < pod.ended && pod.created < kill.to + AROUND)
    }

    fn memory(&self) -> String {
        let memory = self.replicas.memory();
        let mut lives = BTreeMap::<i32, u64>::new();
        for sample in &memory {
            lives.insert(sample.pid, sample.peak_kib);
        }
        let highest = lives.values().max().copied().unwrap_or_default();
        let mut rss: Vec<u64> = memory.iter().map(|sample| sample.rss_kib).collect();
        rss.sort_unstable();
        let median = rss.get(rss.len() / 2).copied().unwrap_or_default();
        format!(
            "\n| webhook | |\n| --- | --- |\n| processes | {} |\n| median of VmRSS, KiB | {median} |\n| highest VmHWM, KiB | {highest} |\n",
            lives.len()
        )
    }

    fn left(&self, faults: &mut Vec<String>) -> String {
        let left = self.left;
        let bounded = crate::secrets::TOKEN_TTL.as_secs() as i64;
        for token in &left.tokens {
            if !(1..=bounded).contains(&token.ttl) {
                faults.push(format!("a token without a near end: {token:?}"));
            }
        }
        for (what, count) in [
            ("tokens", left.tokens_then.len()),
            ("leases", left.leases_then),
            ("database users", left.users_then),
            ("files with a secret on the disk", left.files.len()),
        ] {
            if count > 0 {
                faults.push(format!("left: {count} {what}: {:?} {:?}", left.tokens_then, left.files));
            }
        }
        for what in &left.never_seen {
            faults.push(format!(
                "there were no {what} during the run: the count at the end says nothing"
            ));
        }
        let mut text = String::from("\n| left | 5 s after the last pod | after the TTLs |\n| --- | --- | --- |\n");
        let longest = left.tokens.iter().map(|token| token.ttl).max().unwrap_or_default();
        for (what, now, then) in [
            ("tokens", left.tokens.len(), left.tokens_then.len()),
            ("leases", left.leases, left.leases_then),
            ("database users", left.users, left.users_then),
        ] {
            let _ = writeln!(text, "| {what} | {now} | {then} |");
        }
        let _ = writeln!(
            text,
            "\nThe longest TTL of a token that was left: {longest} s. Files with a secret on the disk: {}.",
            left.files.len()
        );
        text
    }

    /// What happened, in the order of time, for whoever looks for a cause.
    fn events(&self) -> String {
        let mut lines: Vec<(f64, String)> = Vec::new();
        for kill in self.kills.all() {
            lines.push((
                kill.from,
                format!("killed,{:?},{:.1}", kill.victim, kill.to - kill.from),
            ));
        }
        for attempt in self
            .admissions
            .attempts()
            .iter()
            .filter(|attempt| attempt.outcome != Outcome::Injected)
        {
            let state = self.replicas.worst(attempt.from, attempt.to);
            let line = format!(
                "{:?},{state:?},{:.1},{:?}",
                attempt.outcome,
                attempt.to - attempt.from,
                attempt.told
            );
            lines.push((attempt.from, line));
        }
        self.pods.with(|pods| {
            for pod in pods.ended.iter().filter(|pod| pod.end != End::Succeeded) {
                lines.push((
                    pod.ended,
                    format!(
                        "{:?},{},{:.1},{:?}",
                        pod.end,
                        pod.name,
                        pod.ended - pod.created,
                        pod.told
                    ),
                ));
            }
        });
        for sample in self.replicas.memory() {
            lines.push((
                sample.at,
                format!("memory,{},{},{}", sample.pid, sample.rss_kib, sample.peak_kib),
            ));
        }
        lines.sort_by(|one, other| one.0.total_cmp(&other.0));
        lines.iter().map(|(at, line)| format!("{at:.1},{line}\n")).collect()
    }
}

fn told(what: &str, attempt: &Attempt) -> String {
    format!(
        "{what} at {:.1} s, for {:.1} s: {}",
        attempt.from,
        attempt.to - attempt.from,
        attempt.told
    )
}
