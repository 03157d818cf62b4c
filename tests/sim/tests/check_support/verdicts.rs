//! What the checker must say of a history, and why.

use kahuna_sim::check::{History, Limits, Report, Verdict, check};

use super::notation::{Line, events};

/// Asks for nothing but an order.
pub fn no_minima() -> Limits {
    Limits {
        min_ok: 0,
        min_reads_with_value: 0,
        min_concurrent_pairs: 0,
        max_uncovered_keys: u64::MAX,
        ..Limits::default()
    }
}

pub fn judge(lines: &[Line], limits: &Limits) -> Report {
    check(&History::from_events(&events(lines)).expect("a well-formed history"), limits)
}

#[track_caller]
pub fn accept(lines: &[Line]) {
    let report = judge(lines, &no_minima());
    assert_eq!(report.outcome, Verdict::Valid, "{report:#?}");
}

/// Rejected, and cured by leaving out the operations at `cure`: they, and nothing else, were wrong.
#[track_caller]
pub fn reject(lines: &[Line], cure: &[usize]) {
    let report = judge(lines, &no_minima());
    assert_eq!(report.outcome, Verdict::Invalid, "{report:#?}");
    let healthy: Vec<Line> =
        lines.iter().enumerate().filter(|(at, _)| !cure.contains(at)).map(|(_, line)| line.clone()).collect();
    accept(&healthy);
}
