//! Commands of the system itself, and the refusal of what moved.

use std::rc::Rc;

use kahuna_protocol::error::{ErrorCode, ErrorReply};
use kahuna_protocol::frame::to_owned;
use kahuna_protocol::meta::{
    ArchivedFinishReplacement, ArchivedPlaceGroups, ArchivedReplaceReplica, ArchivedSetLed, ArchivedUpsertNode, Done,
};
use kahuna_protocol::{Hlc, Outcome};

use super::Now;
use crate::Machine;
use crate::state::{Meta, Range};

/// How far ahead of its batch's stamp a tick may reach, beyond the skew of clocks, in milliseconds: a day. A leader in order
/// ticks by the clock that it stamps by. What is further ahead would end every lease, and no clock would catch up.
const MAX_TICK_MS: u64 = 24 * 3_600_000;

impl Machine {
    /// Moves machine time to at least `to`.
    ///
    /// # Errors
    /// `BadRequest` when that is further ahead of the leader's clock than any leader in order asks for.
    pub(super) fn tick(&mut self, to: Hlc, now: Now) -> Result<Outcome, ErrorReply> {
        let most_ms = now.batch_ms.saturating_add(self.state.skew_ms()).saturating_add(MAX_TICK_MS);
        if to.millis() > most_ms {
            let by_ms = to.millis() - now.batch_ms;
            let text = format!("a tick {by_ms} ms ahead of the leader's clock: at most a day and max_clock_skew_ms");
            return Err(ErrorReply::new(ErrorCode::BadRequest, text));
        }
        self.state.time = self.state.time.max(to);
        Ok(Done {}.into())
    }

    /// Takes the first placement of all groups.
    pub(super) fn place_groups(&mut self, body: &ArchivedPlaceGroups) -> Result<Outcome, ErrorReply> {
        let groups = to_owned(body);
        self.change_meta(|meta| meta.place(groups))
    }

    /// Notes that a group was led.
    pub(super) fn set_led(&mut self, body: &ArchivedSetLed) -> Result<Outcome, ErrorReply> {
        let group = body.group.to_native();
        self.change_meta(|meta| meta.set_led(group))
    }

    /// Writes down a node.
    pub(super) fn upsert_node(&mut self, body: &ArchivedUpsertNode) -> Result<Outcome, ErrorReply> {
        let info = to_owned(&body.info);
        self.change_meta(|meta| meta.upsert_node(info))
    }

    /// Mints a replica in the place of a lost one, or names the one that was.
    pub(super) fn replace_replica(&mut self, body: &ArchivedReplaceReplica) -> Result<Outcome, ErrorReply> {
        let asked = to_owned(body);
        let at = (asked.group, asked.incarnation);
        self.change_meta(|meta| meta.replace(&asked))?;
        let replacement = self.state.meta.replacement(at.0, at.1).expect("it was there, or was minted now");
        Ok(replacement.clone().into())
    }

    /// Gives a new replica the place of a lost one.
    pub(super) fn finish_replacement(&mut self, body: &ArchivedFinishReplacement) -> Result<Outcome, ErrorReply> {
        let finished = to_owned(body);
        self.change_meta(|meta| meta.finish(&finished))
    }

    /// What a request for a position outside of the range is answered.
    pub(crate) fn moved(&self) -> ErrorReply {
        ErrorReply::new(
            ErrorCode::Moved,
            format!("the name is not in the range of this partition (epoch {}): read the map again", self.epoch()),
        )
    }

    fn change_meta(&mut self, change: impl FnOnce(&mut Meta) -> Result<bool, String>) -> Result<Outcome, ErrorReply> {
        if self.state.range != Range::none() {
            return Err(ErrorReply::new(ErrorCode::BadRequest, "a data partition keeps no nodes and no placements"));
        }
        let mut meta = Meta::clone(&self.state.meta);
        let changed = change(&mut meta).map_err(|text| ErrorReply::new(ErrorCode::BadRequest, text))?;
        if changed {
            self.state.meta = Rc::new(meta);
            self.state.meta_version += 1;
        }
        Ok(Done {}.into())
    }
}
