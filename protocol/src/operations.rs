//! The table of requests: one row per kind. Everything that differs by kind alone is made from it.
//!
//! An *operation* is decided by one data partition, about one name or bucket: it is what a transaction holds. The other
//! requests are about a node, or belong to the system itself.

/// Hands all rows to the macro `$make`, which may be of another crate:
///
/// ```text
/// operations { KIND Body: CLASS { ROOM at PLACE -> Answer { Outcome, .. } }; .. }   the answer type is made of these outcomes;
///                                                                                   without them another row makes it
/// others     { KIND Body: CLASS { Outcome }; .. }
///
/// CLASS  write, read, node, system: see `Class`
/// ROOM   grows: is refused while the disk is full; keeps: goes on
/// PLACE  the field that holds its name, or `start`: a method of the archived body
/// ```
/// All rows begin alike, so that a macro to which their ends are nothing takes
/// `$( $section:ident { $( $kind:literal $Body:ident: $class:ident $end:tt; )+ } )+`.
/// The arguments of an operation are checked by `check` of its archived body.
#[macro_export]
macro_rules! operations {
    ($make:path) => {
        $make! {
            operations {
                0x0101 LockAcquire: write { grows at name -> AcquireAnswer { Acquired, Held } };
                0x0102 LockExtend: write { keeps at name -> LockExtendAnswer { LockExtended, NotHeld, NotOwner } };
                0x0103 LockRelease: write { keeps at name -> ReleaseAnswer { Released, NotHeld, NotOwner } };
                0x0104 LockInfo: read { keeps at name -> InfoAnswer { LockState, NotHeld } };
                0x0201 KeySet: write { grows at key -> SetAnswer { Set, NotSet } };
                0x0202 KeyGet: read { keeps at key -> GetAnswer { Value, NotFound, Compacted } };
                0x0203 KeyExists: read { keeps at key -> ExistsAnswer { Exists, NotFound, Compacted } };
                0x0204 KeyDelete: write { keeps at key -> DeleteAnswer { Deleted, NotFound, NotSet } };
                0x0205 KeyExtend: write { grows at key -> KeyExtendAnswer { KeyExtended, NotFound } };
                0x0206 KeyPersist: write { grows at key -> KeyExtendAnswer };
                0x0207 KeyScan: read { keeps at start -> ScanAnswer { Page, Compacted } };
                0x0208 KeyAppend: write { grows at key -> AppendAnswer { Set, NotSet } };
                0x0301 SequenceCreate: write { grows at name -> CreateAnswer { SequenceCreated, SequenceExists } };
                0x0302 SequenceNext: write { grows at name -> AllocateAnswer { Allocated, Exhausted, SequenceNotFound } };
                0x0303 SequenceReserve: write { grows at name -> AllocateAnswer };
                0x0304 SequenceGet: read { keeps at name -> SequenceAnswer { SequenceState, SequenceNotFound } };
                0x0305 SequenceDelete: write { keeps at name -> SequenceDeleteAnswer { SequenceDeleted, SequenceNotFound } };
            }
            others {
                0x0401 MapGet: node { Map };
                0x0402 StatusGet: node { Status };
                0x0501 Tick: system { Done };
                0x0502 PlaceGroups: system { Done };
                0x0503 SetLed: system { Done };
                0x0504 UpsertNode: system { Done };
                0x0505 ReplaceReplica: system { Replacement };
                0x0506 FinishReplacement: system { Done };
            }
        }
    };
}
