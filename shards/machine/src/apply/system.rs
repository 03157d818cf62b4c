//! Commands of the system itself.

use kahuna_protocol::Hlc;
use kahuna_protocol::error::{ErrorCode, ErrorReply};
use kahuna_protocol::frame::to_owned;
use kahuna_protocol::meta::{
    ArchivedFinishReplacement, ArchivedPlaceGroups, ArchivedReplaceReplica, ArchivedSetLed, ArchivedTick,
    ArchivedUpsertNode, Done, Replacement,
};

use super::decide::{Decide, How, Refused};
use super::draft::{Draft, Write};
use crate::state::Meta;

/// How far ahead of its batch's stamp a tick may reach, beyond the skew of clocks, in milliseconds: a day. A leader in order
/// ticks by the clock that it stamps by. What is further ahead would end every lease, and no clock would catch up.
const MAX_TICK_MS: u64 = 24 * 3_600_000;

/// Moves machine time to at least `to`; `BadRequest` when that is further ahead of the leader's clock than any leader in order
/// asks for.
impl Decide for ArchivedTick {
    fn decide(&self, draft: &mut Draft<'_>, _: How) -> Result<Done, Refused> {
        let (to, batch_ms) = (Hlc(self.to.to_native()), draft.now().batch_ms);
        let most_ms = batch_ms.saturating_add(draft.skew_ms()).saturating_add(MAX_TICK_MS);
        if to.millis() > most_ms {
            let by_ms = to.millis() - batch_ms;
            return Err(bad(format!(
                "a tick {by_ms} ms ahead of the leader's clock: at most a day and max_clock_skew_ms"
            )));
        }
        draft.write(Write::Time(to));
        Ok(Done {})
    }
}

/// Takes the first placement of all groups.
impl Decide for ArchivedPlaceGroups {
    fn decide(&self, draft: &mut Draft<'_>, _: How) -> Result<Done, Refused> {
        let groups = to_owned(self);
        change_meta(draft, |meta| meta.place(groups)).map(drop)?;
        Ok(Done {})
    }
}

/// Notes that a group was led.
impl Decide for ArchivedSetLed {
    fn decide(&self, draft: &mut Draft<'_>, _: How) -> Result<Done, Refused> {
        change_meta(draft, |meta| meta.set_led(to_owned(&self.group))).map(drop)?;
        Ok(Done {})
    }
}

/// Writes down a node.
impl Decide for ArchivedUpsertNode {
    fn decide(&self, draft: &mut Draft<'_>, _: How) -> Result<Done, Refused> {
        let info = to_owned(&self.info);
        change_meta(draft, |meta| meta.upsert_node(info)).map(drop)?;
        Ok(Done {})
    }
}

/// Mints a replica in the place of a lost one, or names the one that was.
impl Decide for ArchivedReplaceReplica {
    fn decide(&self, draft: &mut Draft<'_>, _: How) -> Result<Replacement, Refused> {
        let asked = to_owned(self);
        let meta = change_meta(draft, |meta| meta.replace(&asked))?;
        let replacement = meta.replacement(asked.group, asked.incarnation);
        Ok(replacement.expect("it was there, or was minted now").clone())
    }
}

/// Gives a new replica the place of a lost one.
impl Decide for ArchivedFinishReplacement {
    fn decide(&self, draft: &mut Draft<'_>, _: How) -> Result<Done, Refused> {
        let finished = to_owned(self);
        change_meta(draft, |meta| meta.finish(&finished)).map(drop)?;
        Ok(Done {})
    }
}

/// What the meta group keeps once `change` is made to it, if anything changes.
fn change_meta(draft: &mut Draft<'_>, change: impl FnOnce(&mut Meta) -> Result<bool, String>) -> Result<Meta, Refused> {
    let Some(meta) = draft.meta() else {
        return Err(bad("a data partition keeps no nodes and no placements".to_owned()));
    };
    let mut meta = meta.clone();
    if change(&mut meta).map_err(bad)? {
        draft.write(Write::Meta(meta.clone()));
    }
    Ok(meta)
}

fn bad(text: String) -> Refused {
    ErrorReply::new(ErrorCode::BadRequest, text).into()
}
