//! The pace of the campaigns of a shard's replicas.

use std::cell::Cell;
use std::marker::PhantomData;
use std::time::Duration;

use crate::env::Env;

/// Between two campaigns: what one costs its shard, and more. A thousand groups are elected in half a second.
const GAP: Duration = Duration::from_micros(500);
/// As many gaps as this may be used up at once.
const BURST: Duration = Duration::from_millis(8);

/// Lets so many campaigns of a shard begin that the shard can do its other work, and the candidates are answered in time.
#[derive(Debug)]
pub struct Campaigns<E> {
    /// When the next one may begin if all gaps are kept, as time since boot.
    next: Cell<Duration>,
    env: PhantomData<E>,
}

impl<E> Default for Campaigns<E> {
    fn default() -> Self {
        Self { next: Cell::new(Duration::ZERO), env: PhantomData }
    }
}

impl<E: Env> Campaigns<E> {
    /// Returns when one more campaign may begin.
    pub async fn admit(&self) {
        let now = E::boot_clock();
        let begin = self.next.get().max(now.saturating_sub(BURST));
        self.next.set(begin + GAP);
        if begin > now {
            E::sleep(begin - now).await;
        }
    }
}
