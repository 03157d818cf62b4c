//! Names become small numbers, so that states are cheap to compare. Only names that some sure answer or some condition
//! mentions are told apart; all others are one, since nothing observed can depend on which of them it was.

use std::collections::HashMap;

/// No value, or nobody.
pub(super) const NONE: u32 = 0;
/// Some name that is never mentioned.
pub(super) const ANY: u32 = 1;

#[derive(Default)]
pub(super) struct Numbering {
    numbers: HashMap<String, u32>,
    names: Vec<String>,
}

impl Numbering {
    /// Tells this name apart from now on.
    pub(super) fn mention(&mut self, name: &str) {
        if !self.numbers.contains_key(name) {
            let number = u32::try_from(self.names.len()).expect("fewer names than operations") + ANY + 1;
            self.numbers.insert(name.to_owned(), number);
            self.names.push(name.to_owned());
        }
    }

    pub(super) fn of(&self, name: &str) -> u32 {
        self.numbers.get(name).copied().unwrap_or(ANY)
    }

    /// For people: the name in quotes.
    pub(super) fn show(&self, number: u32) -> String {
        match number.checked_sub(ANY + 1).and_then(|at| self.names.get(at as usize)) {
            Some(name) => format!("{name:?}"),
            None if number == NONE => "nothing".into(),
            None => "a value that no answer mentions".into(),
        }
    }
}
