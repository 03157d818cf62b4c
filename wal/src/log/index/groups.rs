//! Groups by id, found in little time: every record that is appended asks for its own.

use rustc_hash::FxHashMap;

use crate::format::record::GroupId;

/// State of each group. The node assigns the ids, so no attacker can choose colliding ones.
#[derive(Debug)]
pub struct Groups<T>(FxHashMap<GroupId, T>);

impl<T> Default for Groups<T> {
    fn default() -> Self {
        Self(FxHashMap::default())
    }
}

impl<T: Default> Groups<T> {
    /// What is kept for `group`, if there is something.
    pub fn get(&self, group: GroupId) -> Option<&T> {
        self.0.get(&group)
    }

    /// What is kept for `group`, from now on at least.
    pub fn get_or_default(&mut self, group: GroupId) -> &mut T {
        self.0.entry(group).or_default()
    }

    /// Keeps nothing for `group` any more.
    pub fn remove(&mut self, group: GroupId) -> Option<T> {
        self.0.remove(&group)
    }

    /// All groups, in order of id.
    pub fn in_order(&self) -> impl Iterator<Item = (GroupId, &T)> {
        let mut groups: Vec<_> = self.0.iter().map(|(&group, kept)| (group, kept)).collect();
        groups.sort_unstable_by_key(|(group, _)| *group);
        groups.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_come_in_order_of_id_and_go() {
        let mut groups = Groups::<u32>::default();
        for group in (0..500).rev().chain([u32::MAX]) {
            *groups.get_or_default(group) += group;
        }
        assert!(
            groups.in_order().map(|(group, &kept)| (group, kept)).eq((0..500).chain([u32::MAX]).map(|id| (id, id)))
        );
        assert_eq!((groups.remove(7), groups.remove(7), groups.get(7), groups.get(8)), (Some(7), None, None, Some(&8)));
    }
}
