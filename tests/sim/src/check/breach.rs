//! Answers that no object can give, found without a search.

/// The lines that show it, and what is wrong, for people.
pub(super) struct Breach {
    pub lines: Vec<usize>,
    pub text: String,
}
