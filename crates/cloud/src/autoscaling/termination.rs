//! Which instance goes when a group shrinks. Pure.

use super::model::{Group, TerminationPolicy};
use super::plan::Seen;
use crate::clock::Timestamp;

/// One of `candidates` (never empty), which are already those of the fullest zones.
///
/// What does not serve yet goes before what serves; then each of the group's policies narrows the
/// choice; then the oldest goes.
pub fn choose<'a>(group: &Group, mut candidates: Vec<&'a Seen>, now: Timestamp) -> &'a Seen {
    keep_least(&mut candidates, |seen| seen.serves());
    for policy in &group.termination_policies {
        match policy {
            TerminationPolicy::Default => {
                oldest_template(group, &mut candidates);
                closest_to_next_hour(&mut candidates, now);
            }
            TerminationPolicy::OldestLaunchTemplate => oldest_template(group, &mut candidates),
            TerminationPolicy::ClosestToNextInstanceHour => {
                closest_to_next_hour(&mut candidates, now);
            }
            TerminationPolicy::OldestInstance => keep_least(&mut candidates, |s| s.member.launched),
            TerminationPolicy::NewestInstance => {
                keep_least(&mut candidates, |s| std::cmp::Reverse(s.member.launched));
            }
        }
    }
    candidates
        .into_iter()
        .min_by_key(|seen| (seen.member.launched, seen.member.instance_id.as_str()))
        .expect("there is a candidate")
}

/// Those not of the group's template first, then those of its lowest version.
fn oldest_template(group: &Group, candidates: &mut Vec<&Seen>) {
    keep_least(candidates, |seen| {
        let current = seen.member.template.id == group.launch_template.id;
        (current, if current { seen.member.template_version } else { 0 })
    });
}

fn closest_to_next_hour(candidates: &mut Vec<&Seen>, now: Timestamp) {
    const HOUR_MS: u128 = 3_600_000;
    keep_least(candidates, |seen| HOUR_MS - now.since(seen.member.launched).as_millis() % HOUR_MS);
}

fn keep_least<'a, K: Ord>(candidates: &mut Vec<&'a Seen>, key: impl Fn(&'a Seen) -> K) {
    let Some(least) = candidates.iter().map(|seen| key(seen)).min() else { return };
    candidates.retain(|seen| key(seen) == least);
}
