//! Values by name, which remember the order in which they were made.

use std::collections::BTreeMap;

/// What is known of some names.
#[derive(Debug)]
pub(crate) struct Named<T> {
    pub(crate) names: Vec<String>,
    known: BTreeMap<String, T>,
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self { names: Vec::new(), known: BTreeMap::new() }
    }
}

impl<T: Default> Named<T> {
    /// The value of `name`, made at the first call.
    pub(crate) fn named(&mut self, name: &str) -> &mut T {
        if !self.known.contains_key(name) {
            self.names.push(name.to_owned());
        }
        self.known.entry(name.to_owned()).or_default()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.known.iter().map(|(name, known)| (name.as_str(), known))
    }
}
