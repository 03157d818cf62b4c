//! One client connection as its shard and its node count it.

use std::rc::Rc;

use crate::admission::Admitted;
use crate::env::Env;
use crate::shard::Shard;

/// Counts one client connection while it lives.
pub(super) struct OpenConnection<E: Env> {
    _counted: Counted<E>,
    admitted: Admitted,
}

impl<E: Env> OpenConnection<E> {
    pub(super) fn count(shard: &Rc<Shard<E>>, admitted: Admitted) -> Self {
        shard.connection_opened();
        Self { _counted: Counted(shard.clone()), admitted }
    }

    /// The shard counts it no more; the node does, wherever it goes.
    pub(super) fn into_admitted(self) -> Admitted {
        self.admitted
    }
}

/// One among the connections of a shard.
struct Counted<E: Env>(Rc<Shard<E>>);

impl<E: Env> Drop for Counted<E> {
    fn drop(&mut self) {
        self.0.connection_closed();
    }
}
