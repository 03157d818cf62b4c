//! Claim: a write that arrives twice is applied once, and both answers are the first one's.
//!
//! The client's core repeats what stays without answer all the time, and the history shows it when a repetition is applied
//! again. Here the same frame goes to two nodes at once on connections of their own, as no well-behaved client does: the
//! answers, if there are two, must be equal.

use std::time::Duration;

use kahuna_protocol::{
    Durability, Outcome as Answer, ReadLevel, Request, RequestPrelude, SessionId, sequence::SequenceNext,
};

use super::{Asks, Process};
use crate::{
    check::Kind,
    finding::{Finding, Judge},
    recorder::words::fill,
};

/// How long such a request may be applied, and how long its answer is waited for.
const PATIENCE: Duration = Duration::from_secs(4);
/// The sequence that duplicates draw from.
const NUMBER: u64 = 1;

impl<A: Asks> Process<A> {
    pub(super) async fn duplicate_step(&mut self) {
        let name = self.names().sequence(NUMBER);
        let request = Request::from(SequenceNext { name: name.into(), idempotency_key: Vec::new() });
        let valid_for = u64::try_from(PATIENCE.as_millis()).expect("seconds");
        let prelude = RequestPrelude {
            // A session for this one request.
            session: SessionId(self.rng.draw().max(1)),
            number: 1,
            acknowledged: 1,
            valid_until_ms: self.asker.unix_ms() + valid_for,
            timeout_ms: u32::try_from(valid_for).expect("seconds"),
            read: ReadLevel::Linearizable,
            durability: Durability::Persistent,
        };
        let endpoints = self.asker.endpoints();
        let pick = || endpoints[self.rng.below(endpoints.len() as u64) as usize].as_str();
        let two_nodes = [pick(), pick()];
        let invoked = self.invocation(&request);
        self.recorder.begin(&invoked);
        let answers = self.asker.call_both(two_nodes, &prelude, &request, PATIENCE).await;
        let decided = |answer: Option<Answer>| answer.filter(|answer| matches!(answer, Answer::Allocated(_)));
        let [one, two] = answers.map(decided);
        if let (Some(one), Some(two)) = (&one, &two) {
            self.recorder.count_duplicate();
            self.recorder.find(judge_answers(one, two));
        }
        // Without an answer the fate is unknown: the other node may still apply it.
        let mut completed = invoked.completion(Kind::Info, self.recorder.now_ns());
        if let Some(answer) = one.or(two) {
            completed.kind = Kind::Ok;
            fill(&mut completed, &answer);
        }
        self.recorder.end(&completed);
    }
}

/// One request has one answer, from whichever node.
pub(crate) fn judge_answers(one: &Answer, two: &Answer) -> Option<Finding> {
    let text = || format!("one request was answered {one:?} and {two:?}");
    (one != two).then(|| Finding::new(Judge::ExactlyOnce, text()))
}
