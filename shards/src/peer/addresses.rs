//! Addresses of another node: from its own introduction, from the meta group's record, and from the operator.
//!
//! ```text
//!   introduced ─ recorded ─ told (--peers of this start) ─ reached, recorded before this start ─ listed (--peers of the founding)
//!       └─ tried in this order, each second time where it was reached last; what was just learned comes next
//! ```
//! An address is a hint and nothing else: the handshake there judges node, cluster and data directory, so a wrong one costs
//! one attempt. A change of addresses never touches a connection that is open.

use kahuna_protocol::limits::MAX_NAME_BYTES;
use kahuna_protocol::{Incarnation, NodeId};

/// Where an address comes from. One address per source; the order is the order of trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddressSource {
    /// The node, when it introduced itself.
    Introduced,
    /// The address that the meta group has on record.
    Recorded,
    /// The operator, at this start.
    Told,
    /// It was reached there before this start.
    ReachedBefore,
    /// The meta group, before this start.
    RecordedBefore,
    /// The operator, when the cluster was founded.
    Listed,
}

/// Where a node was last, for its next start to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastAddresses {
    /// Number that the operator gave the node.
    pub node: NodeId,
    /// Data directory that was reached there.
    pub incarnation: Incarnation,
    /// Where it was reached last, `host:port`; empty if it never was.
    pub reached: String,
    /// What the meta group had on record last; empty if nothing was.
    pub recorded: String,
}

/// The addresses of one node, each `host:port`, at most one of each source.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// In order of their sources.
    known: Vec<(AddressSource, String)>,
    /// The one that worked last.
    reached: Option<String>,
    /// Learned since the last attempt: comes next.
    fresh: Option<String>,
    /// Attempts that failed since one worked.
    failures: usize,
}

impl Addresses {
    /// Stores an address unless it is empty or longer than a name may be. Returns whether the source had another address
    /// before and the node was not reached at this one last.
    pub(super) fn put(&mut self, source: AddressSource, address: &str) -> bool {
        if address.is_empty() || address.len() > MAX_NAME_BYTES {
            return false;
        }
        if self.known.iter().any(|(before, known)| *before == source && known == address) {
            return false;
        }
        let new = self.reached.as_deref() != Some(address);
        self.known.retain(|(before, _)| *before != source);
        let at = self.known.partition_point(|(before, _)| *before < source);
        self.known.insert(at, (source, address.to_owned()));
        // A remembered address does not go before the operator's present one.
        let is_older = matches!(source, AddressSource::ReachedBefore | AddressSource::RecordedBefore)
            && self.said_by(AddressSource::Told).is_some();
        if new && !is_older {
            self.fresh = Some(address.to_owned());
        }
        new
    }

    fn said_by(&self, source: AddressSource) -> Option<&str> {
        self.known.iter().find(|(known, _)| *known == source).map(|(_, address)| address.as_str())
    }

    /// Where the node was reached last, and the meta group's address, in this start or before; empty if there is none.
    pub(super) fn last(&self) -> (&str, &str) {
        let reached = self.reached.as_deref().or_else(|| self.said_by(AddressSource::ReachedBefore));
        let recorded = self.said_by(AddressSource::Recorded).or_else(|| self.said_by(AddressSource::RecordedBefore));
        (reached.unwrap_or_default(), recorded.unwrap_or_default())
    }

    /// Where to dial next; empty if nothing is known.
    pub(super) fn next(&self) -> &str {
        if let Some(fresh) = &self.fresh {
            return fresh;
        }
        let mut others: Vec<&str> = Vec::new();
        for (_, address) in &self.known {
            if Some(address) != self.reached.as_ref() && !others.contains(&address.as_str()) {
                others.push(address);
            }
        }
        match &self.reached {
            Some(reached) if self.failures.is_multiple_of(2) || others.is_empty() => reached,
            Some(_) => others[self.failures / 2 % others.len()],
            None => others.get(self.failures % others.len().max(1)).copied().unwrap_or_default(),
        }
    }

    /// The node was reached there.
    pub(super) fn worked(&mut self, address: &str) {
        self.reached = Some(address.to_owned());
        self.failures = 0;
        self.fresh.take_if(|fresh| fresh == address);
    }

    /// The node was not reached at `address`. Attempts of several links that failed together count as one.
    pub(super) fn failed(&mut self, address: &str) {
        if self.next() == address && self.fresh.take().is_none() {
            self.failures += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::AddressSource::{Introduced, Listed, ReachedBefore, Recorded, RecordedBefore, Told};
    use super::*;

    /// The next `count` attempts, all of which fail.
    fn attempts(addresses: &mut Addresses, count: usize) -> Vec<String> {
        let mut tried = Vec::new();
        for _ in 0..count {
            let address = addresses.next().to_owned();
            addresses.failed(&address);
            tried.push(address);
        }
        tried
    }

    #[test]
    fn every_address_is_tried_in_turn() {
        let mut addresses = Addresses::default();
        assert_eq!(addresses.next(), "");
        for (source, address) in [(Listed, "old:1"), (Recorded, "rec:1"), (Told, "old:1")] {
            addresses.put(source, address);
        }
        let tried = attempts(&mut addresses, 5);
        assert!(["old:1", "rec:1"].iter().all(|address| tried.contains(&(*address).to_owned())), "{tried:?}");
    }

    #[test]
    fn every_second_attempt_goes_where_it_was_reached_last() {
        let mut addresses = Addresses::default();
        for (source, address) in [(Listed, "a:1"), (Recorded, "b:1"), (Told, "c:1")] {
            addresses.put(source, address);
        }
        addresses.worked("b:1");
        attempts(&mut addresses, 1);
        let tried = attempts(&mut addresses, 8);
        assert_eq!(tried.iter().filter(|address| *address == "b:1").count(), 4, "{tried:?}");
        assert!(["a:1", "c:1"].iter().all(|address| tried.contains(&(*address).to_owned())), "{tried:?}");
    }

    #[test]
    fn what_was_just_learned_comes_next_and_a_lie_costs_one_attempt() {
        let mut addresses = Addresses::default();
        addresses.put(Listed, "a:1");
        addresses.worked("a:1");
        assert!(addresses.put(Introduced, "b:1"));
        assert_eq!(attempts(&mut addresses, 2), ["b:1", "a:1"]);
        assert!(!addresses.put(Introduced, "b:1"), "known already");
        for _ in 0..100 {
            addresses.put(Introduced, "b:1");
            addresses.put(Recorded, "b:1");
        }
        assert_eq!(addresses.known.len(), 3);
        assert!(!addresses.put(Introduced, "") && !addresses.put(Introduced, &"x".repeat(MAX_NAME_BYTES + 1)));
    }

    #[test]
    fn what_is_remembered_is_tried_before_the_list_and_after_what_the_operator_says() {
        let mut addresses = Addresses::default();
        addresses.put(Listed, "listed:1");
        addresses.put(RecordedBefore, "recorded:1");
        addresses.put(ReachedBefore, "reached:1");
        assert_eq!(addresses.last(), ("reached:1", "recorded:1"));
        assert_eq!(attempts(&mut addresses, 3), ["reached:1", "reached:1", "recorded:1"]);
        let mut addresses = Addresses::default();
        addresses.put(Told, "told:1");
        addresses.put(ReachedBefore, "reached:1");
        assert_eq!(attempts(&mut addresses, 1), ["told:1"]);
        addresses.worked("told:1");
        assert_eq!(addresses.last(), ("told:1", ""));
    }

    /// Two links that fail together must not skip an address, for ever in step.
    #[test]
    fn attempts_that_fail_together_count_as_one() {
        let mut addresses = Addresses::default();
        addresses.put(Listed, "a:1");
        addresses.put(Recorded, "b:1");
        let mut tried = Vec::new();
        for _ in 0..4 {
            let address = addresses.next().to_owned();
            addresses.failed(&address);
            addresses.failed(&address);
            tried.push(address);
        }
        assert!(["a:1", "b:1"].iter().all(|address| tried.contains(&(*address).to_owned())), "{tried:?}");
    }
}
