//! What a check found.

/// One check's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, in a word or two.
    pub what: &'static str,
    /// What is there, or what is wrong.
    pub result: Result<String, Trouble>,
}

/// What is wrong, and what mends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What was found, with the numbers that matter.
    pub cause: String,
    /// The command or the flag that mends it.
    pub remedy: String,
    /// The data itself is damaged, not the host.
    pub damaged: bool,
}

impl Trouble {
    pub(super) fn new(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { cause: cause.into(), remedy: remedy.into(), damaged: false }
    }
}

impl Finding {
    pub(super) fn new(what: &'static str, result: Result<String, Trouble>) -> Self {
        Self { what, result }
    }

    /// The trouble in one line, if there is any.
    pub fn trouble(&self) -> Option<String> {
        let trouble = self.result.as_ref().err()?;
        Some(format!("{}: {}; {}", self.what, trouble.cause, trouble.remedy))
    }
}
