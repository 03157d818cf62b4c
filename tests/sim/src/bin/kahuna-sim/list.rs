//! Lists on the command line: items with commas between them, or nothing at all.

use std::collections::BTreeSet;

use kahuna_sim::{claims::Workload, nemesis::SimFault};

fn items<T: Ord>(text: &str, item: impl Fn(&str) -> Option<T>) -> Result<BTreeSet<T>, String> {
    let words = text.split(',').filter(|word| !word.is_empty());
    words.map(|word| item(word).ok_or_else(|| format!("{word:?} is none"))).collect()
}

pub(crate) fn numbers(text: &str) -> Result<BTreeSet<u64>, String> {
    items(text, |word| word.parse().ok())
}

pub(crate) fn workloads(text: &str) -> Result<BTreeSet<Workload>, String> {
    items(text, Workload::named)
}

pub(crate) fn faults(text: &str) -> Result<BTreeSet<SimFault>, String> {
    items(text, |word| SimFault::ALL.map(|(fault, _)| fault).into_iter().find(|fault| fault.name() == word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_may_be_empty() {
        assert_eq!(numbers(""), Ok([].into()));
        assert_eq!(numbers("3,1"), Ok([1, 3].into()));
        assert!(numbers("3,x").is_err());
        assert_eq!(workloads("locks"), Ok([Workload::Locks].into()));
        assert_eq!(faults("power_loss,kill"), Ok([SimFault::Kill, SimFault::PowerLoss].into()));
    }
}
