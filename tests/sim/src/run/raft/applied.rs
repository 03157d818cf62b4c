//! State machine safety: "if a server has applied a log entry at a given index to its state machine, no other server will
//! ever apply a different log entry for the same index."

use std::collections::BTreeMap;

use kahuna_protocol::GroupId;

use crate::cluster::{GroupView, LogEntry};

/// What was applied, by whomever.
#[derive(Debug, Default)]
pub(super) struct StateMachineSafety {
    applied: BTreeMap<(GroupId, u64), LogEntry>,
}

impl StateMachineSafety {
    /// Whether some replica was seen to have applied this entry.
    pub(super) fn is_known(&self, group: GroupId, entry: &LogEntry) -> bool {
        self.applied.get(&(group, entry.index)) == Some(entry)
    }

    /// Takes down what a replica has applied; what others applied otherwise, if anything.
    pub(super) fn see(&mut self, view: &GroupView, entries: &[LogEntry]) -> Option<String> {
        for entry in entries.iter().take_while(|entry| entry.index <= view.applied_index) {
            let known = self.applied.entry((view.group, entry.index)).or_insert(*entry);
            if known != entry {
                return Some(format!(
                    "replica {} of group {} has applied {entry:?}, where {known:?} was applied",
                    view.replica, view.group
                ));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::replica, *};

    #[test]
    fn one_entry_is_applied_at_an_index() {
        let mut safety = StateMachineSafety::default();
        let (view, entries) = replica(1, 1, false, 1, &[1, 1, 1]);
        assert_eq!(safety.see(&view, &entries), None);
        let (view, entries) = replica(2, 2, false, 1, &[1, 1, 2]);
        assert_eq!(safety.see(&view, &entries), None, "the third one is not applied");
        let (view, entries) = replica(2, 2, false, 2, &[1, 1, 2]);
        assert_eq!(safety.see(&view, &entries), None, "nobody else applied a third one");
        let (view, entries) = replica(1, 2, false, 2, &[1, 1, 1]);
        assert!(safety.see(&view, &entries).is_some_and(|text| text.contains("replica 1")));
    }

    #[test]
    fn the_same_term_with_another_content_is_another_entry() {
        let mut safety = StateMachineSafety::default();
        let (view, mut entries) = replica(1, 1, false, 1, &[1, 1]);
        assert_eq!(safety.see(&view, &entries), None);
        entries[1].digest += 1;
        assert!(safety.see(&view, &entries).is_some());
    }
}
