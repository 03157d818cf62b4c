//! Known addresses of nodes, and which of them answer.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use kahuna_protocol::{ErrorReply, NodeId};

use super::backoff::Backoff;

/// One address.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: String,
    /// The client was started with it: it is never forgotten.
    given: bool,
    /// The node there: from its handshake, or from the map.
    pub(crate) node: Option<NodeId>,
    /// Not to be tried before this.
    pub(crate) down_until: Duration,
    failures: u32,
    trouble: Option<String>,
    /// The node there, by its last word, serves no such client: to repeat it cannot help.
    refusal: Option<ErrorReply>,
}

/// All addresses that are worth a try, those the client was started with first. Each keeps its index as long as it is here, and
/// no index is used twice.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    list: BTreeMap<usize, Endpoint>,
    added: usize,
    next: usize,
}

impl Endpoints {
    /// Adds an address that the client is started with.
    pub(crate) fn give(&mut self, address: &str) {
        let index = self.index(address);
        self.get_mut(index).given = true;
    }

    /// The index of this address, added if it is new.
    pub(crate) fn index(&mut self, address: &str) -> usize {
        if let Some((&index, _)) = self.list.iter().find(|(_, endpoint)| endpoint.address == address) {
            return index;
        }
        let index = self.added;
        self.added += 1;
        let endpoint = Endpoint {
            address: address.to_owned(),
            given: false,
            node: None,
            down_until: Duration::ZERO,
            failures: 0,
            trouble: None,
            refusal: None,
        };
        self.list.insert(index, endpoint);
        index
    }

    /// Forgets every address that the client was not started with, that no map names (`is_named`), and that is not in use.
    /// In a cluster whose nodes move, old addresses would pile up, and each would be tried.
    pub(crate) fn forget(&mut self, is_named: impl Fn(&str) -> bool, is_used: impl Fn(usize) -> bool) {
        self.list.retain(|&index, endpoint| endpoint.given || is_named(&endpoint.address) || is_used(index));
    }

    /// The endpoint of an index in use.
    pub(crate) fn get(&self, index: usize) -> &Endpoint {
        self.list.get(&index).expect("what is in use is not forgotten")
    }

    fn get_mut(&mut self, index: usize) -> &mut Endpoint {
        self.list.get_mut(&index).expect("what is in use is not forgotten")
    }

    pub(crate) fn set_node(&mut self, index: usize, node: NodeId) {
        self.get_mut(index).node = Some(node);
    }

    pub(crate) fn works(&mut self, index: usize) {
        let endpoint = self.get_mut(index);
        (endpoint.failures, endpoint.trouble, endpoint.down_until) = (0, None, Duration::ZERO);
        endpoint.refusal = None;
    }

    pub(crate) fn failed(&mut self, index: usize, trouble: &str, now: Duration, backoff: &mut Backoff) {
        let endpoint = self.get_mut(index);
        endpoint.failures = endpoint.failures.saturating_add(1);
        endpoint.trouble = Some(trouble.to_owned());
        endpoint.refusal = None;
        endpoint.down_until = now.saturating_add(backoff.pause(endpoint.failures));
    }

    /// The node there refused the client itself, after the failure that this counts as.
    pub(crate) fn set_refusal(&mut self, index: usize, refusal: ErrorReply) {
        self.get_mut(index).refusal = Some(refusal);
    }

    /// Why the node there refused the client, if that was its last word.
    pub(crate) fn refusal(&self, index: usize) -> Option<ErrorReply> {
        let endpoint = self.get(index);
        let refusal = endpoint.refusal.as_ref()?;
        Some(ErrorReply { text: format!("{}: {}", endpoint.address, refusal.text), ..refusal.clone() })
    }

    /// Why no node serves this client: the first refusal, and the text of all, once every endpoint has refused it.
    pub(crate) fn refusal_of_all(&self) -> Option<ErrorReply> {
        let refusals: Vec<ErrorReply> = self.list.keys().map(|&index| self.refusal(index)).collect::<Option<_>>()?;
        let text = refusals.iter().map(|refusal| refusal.text.as_str()).collect::<Vec<_>>().join("; ");
        refusals.into_iter().next().map(|first| ErrorReply { text, ..first })
    }

    /// Where node `node` can be tried now: of several places the one that failed least since it last worked. The place that a
    /// node has left fails at every attempt, and is not preferred again each time its pause is over.
    pub(crate) fn of_node(&self, node: NodeId, now: Duration) -> Option<usize> {
        let open = self.list.iter().filter(|(_, endpoint)| endpoint.node == Some(node) && endpoint.down_until <= now);
        open.min_by_key(|(_, endpoint)| endpoint.failures).map(|(&index, _)| index)
    }

    /// The next endpoint, round robin, that can be tried now and that `skip` does not exclude.
    pub(crate) fn next(&mut self, now: Duration, skip: impl Fn(usize, &Endpoint) -> bool) -> Option<usize> {
        let in_turn = self.list.range(self.next..).chain(self.list.range(..self.next));
        let mut open = in_turn.filter(|(_, endpoint)| endpoint.down_until <= now);
        let found = open.find(|&(&index, endpoint)| !skip(index, endpoint)).map(|(&index, _)| index)?;
        self.next = found + 1;
        Some(found)
    }

    /// When the first of those that are down now may be tried again.
    pub(crate) fn next_up(&self, now: Duration) -> Option<Duration> {
        self.list.values().map(|endpoint| endpoint.down_until).filter(|&until| until > now).min()
    }

    /// What is wrong with each, for a person; empty when nothing is.
    pub(crate) fn troubles(&self) -> String {
        let mut text = String::new();
        for endpoint in self.list.values() {
            if let Some(trouble) = &endpoint.trouble {
                let separator = if text.is_empty() { "" } else { "; " };
                write!(text, "{separator}{}: {trouble}", endpoint.address).expect("a String takes everything");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_millis(1);

    #[test]
    fn a_node_that_moved_is_not_looked_for_where_it_was() {
        let mut backoff = Backoff::new(PAUSE, PAUSE, 1);
        let mut endpoints = Endpoints::default();
        let (left, new) = (endpoints.index("left:1"), endpoints.index("new:1"));
        endpoints.set_node(left, NodeId(2));
        assert_eq!(endpoints.of_node(NodeId(2), Duration::ZERO), Some(left));
        endpoints.failed(left, "refused", Duration::ZERO, &mut backoff);
        endpoints.set_node(new, NodeId(2));
        for at in [Duration::ZERO, PAUSE, 100 * PAUSE] {
            assert_eq!(endpoints.of_node(NodeId(2), at), Some(new), "at {at:?}");
        }
        endpoints.works(left);
        assert_eq!(endpoints.of_node(NodeId(2), PAUSE), Some(left), "it is back where the client was told");
    }

    #[test]
    fn only_what_is_given_named_or_in_use_stays_and_keeps_its_index() {
        let mut endpoints = Endpoints::default();
        endpoints.give("given:1");
        let [gone, named, used] = ["gone:1", "named:1", "used:1"].map(|address| endpoints.index(address));
        assert_eq!(endpoints.next(PAUSE, |index, _| index < used), Some(used));
        endpoints.forget(|address| address == "named:1", |index| index == used);
        let turns: Vec<_> = (0..4).filter_map(|_| endpoints.next(PAUSE, |_, _| false)).collect();
        assert_eq!(turns, [0, named, used, 0]);
        assert!(endpoints.index("gone:1") > used && gone < used, "an index stands for one address for ever");
    }
}
