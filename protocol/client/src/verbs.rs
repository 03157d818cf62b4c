//! One method per verb, the same for every adapter.

/// The verbs, as methods that hand a request to `self.call`. `$suffix` is `.await` where calls are asynchronous.
/// In scope where it is used: `names`, `millis`, `CallOptions`, `ClientError`, `Duration`, `Client` and its `Pages`.
macro_rules! verbs {
    ({ $($async:tt)* } { $($suffix:tt)* }) => {
        /// Takes the lock `name` for `owner`, or finds it taken. Its live holder gets the same grant again.
        ///
        /// # Errors
        /// See [`ClientError`].
        pub $($async)* fn lock_acquire(
            &self,
            name: impl Into<Vec<u8>>,
            owner: impl Into<Vec<u8>>,
            ttl: Duration,
        ) -> Result<names::AcquireAnswer, ClientError> {
            let (name, owner, ttl_ms) = (name.into(), owner.into(), millis(ttl));
            self.call(names::LockAcquire { name, owner, ttl_ms, wait_ms: 0 })$($suffix)*
        }

        /// Sets the deadline of a held lock to now + `ttl`.
        ///
        /// # Errors
        /// See [`ClientError`].
        pub $($async)* fn lock_extend(
            &self,
            name: impl Into<Vec<u8>>,
            owner: impl Into<Vec<u8>>,
            ttl: Duration,
        ) -> Result<names::LockExtendAnswer, ClientError> {
            self.call(names::LockExtend { name: name.into(), owner: owner.into(), ttl_ms: millis(ttl) })$($suffix)*
        }

        /// Gives a held lock back.
        ///
        /// # Errors
        /// See [`ClientError`].
        pub $($async)* fn lock_release(
            &self,
            name: impl Into<Vec<u8>>,
            owner: impl Into<Vec<u8>>,
        ) -> Result<names::ReleaseAnswer, ClientError> {
            self.call(names::LockRelease { name: name.into(), owner: owner.into() })$($suffix)*
        }

        /// Who holds the lock `name`.
        ///
        /// # Errors
        /// See [`ClientError`].
        pub $($async)* fn lock_info(&self, name: impl Into<Vec<u8>>) -> Result<names::InfoAnswer, ClientError> {
            self.call(names::LockInfo { name: name.into() })$($suffix)*
        }

        /// Writes a key, whatever is there. For conditions hand a [`kahuna_protocol::key::KeySet`] to `call`.
        ///
        /// # Errors
        /// See [`ClientError`].
        pub $($async)* fn set(
            &self,
            key: impl Into<Vec<u8>>,
            value: impl Into<Vec<u8>>,
            ttl: Option<Duration>,
        ) -> Result<names::SetAnswer, ClientError> {
            let (key, value, ttl_ms) = (key.into(), value.into(), ttl.map(millis));
            let condition = names::Condition::default();
            self.call(names::KeySet { key, value, ttl_ms, condition, no_history: false })$($suffix)*
        }

        /// Writes a key's value with `suffix` behind it; a key that does not exist begins empty. For conditions hand a
        /// [`kahuna_protocol::key::KeyAppend`] to `call`.
        ///
        /// # Errors
        /// See [`ClientError`]; `TooLarge` when the value would be longer than
        /// [`MAX_APPENDED_BYTES`](kahuna_protocol::key::MAX_APPENDED_BYTES).
        pub $($async)* fn append(
            &self,
            key: impl Into<Vec<u8>>,
            suffix: impl Into<Vec<u8>>,
        ) -> Result<names::AppendAnswer, ClientError> {
            let (key, suffix, condition) = (key.into(), suffix.into(), names::Condition::default());
            self.call(names::KeyAppend { key, suffix, condition, no_history: false })$($suffix)*
        }

        /// Reads the newest revision of a key.
        ///
        /// # Errors
        /// See [`ClientError`].
        pub $($async)* fn get(&self, key: impl Into<Vec<u8>>) -> Result<names::GetAnswer, ClientError> {
            self.call(names::KeyGet { key: key.into(), revision: None, as_of: None })$($suffix)*
        }

        /// Like `get`, without the value.
        ///
        /// # Errors
        /// See [`ClientError`].
        pub $($async)* fn exists(&self, key: impl Into<Vec<u8>>) -> Result<names::ExistsAnswer, ClientError> {
            self.call(names::KeyExists { key: key.into(), revision: None, as_of: None })$($suffix)*
        }

        /// Removes a key.
        ///
        /// # Errors
        /// See [`ClientError`].
        pub $($async)* fn delete(&self, key: impl Into<Vec<u8>>) -> Result<names::DeleteAnswer, ClientError> {
            self.call(names::KeyDelete { key: key.into(), condition: names::Condition::default() })$($suffix)*
        }

        /// Sets a key's deadline to now + `ttl`.
        ///
        /// # Errors
        /// See [`ClientError`].
        pub $($async)* fn extend(
            &self,
            key: impl Into<Vec<u8>>,
            ttl: Duration,
        ) -> Result<names::KeyExtendAnswer, ClientError> {
            self.call(names::KeyExtend { key: key.into(), ttl_ms: millis(ttl) })$($suffix)*
        }

        /// Removes a key's ttl.
        ///
        /// # Errors
        /// See [`ClientError`].
        pub $($async)* fn persist(&self, key: impl Into<Vec<u8>>) -> Result<names::KeyExtendAnswer, ClientError> {
            self.call(names::KeyPersist { key: key.into() })$($suffix)*
        }

        /// Creates a sequence; the first value drawn is `initial + increment`.
        ///
        /// # Errors
        /// See [`ClientError`].
        pub $($async)* fn sequence_create(
            &self,
            name: impl Into<Vec<u8>>,
            initial: i64,
            increment: i64,
            max: Option<i64>,
        ) -> Result<names::CreateAnswer, ClientError> {
            self.call(names::SequenceCreate { name: name.into(), initial, increment, max })$($suffix)*
        }

        /// Draws the next value.
        ///
        /// # Errors
        /// See [`ClientError`].
        pub $($async)* fn sequence_next(&self, name: impl Into<Vec<u8>>) -> Result<names::AllocateAnswer, ClientError> {
            self.call(names::SequenceNext { name: name.into(), idempotency_key: Vec::new() })$($suffix)*
        }

        /// Draws `count` values in one piece.
        ///
        /// # Errors
        /// See [`ClientError`].
        pub $($async)* fn sequence_reserve(
            &self,
            name: impl Into<Vec<u8>>,
            count: u64,
        ) -> Result<names::AllocateAnswer, ClientError> {
            self.call(names::SequenceReserve { name: name.into(), count, idempotency_key: Vec::new() })$($suffix)*
        }

        /// Reads a sequence without drawing.
        ///
        /// # Errors
        /// See [`ClientError`].
        pub $($async)* fn sequence_get(&self, name: impl Into<Vec<u8>>) -> Result<names::SequenceAnswer, ClientError> {
            self.call(names::SequenceGet { name: name.into() })$($suffix)*
        }

        /// Removes a sequence.
        ///
        /// # Errors
        /// See [`ClientError`].
        pub $($async)* fn sequence_delete(
            &self,
            name: impl Into<Vec<u8>>,
        ) -> Result<names::SequenceDeleteAnswer, ClientError> {
            self.call(names::SequenceDelete { name: name.into() })$($suffix)*
        }

        /// The range map and the nodes, as some node knows them.
        ///
        /// # Errors
        /// See [`ClientError`].
        pub $($async)* fn map(&self) -> Result<names::Map, ClientError> {
            self.call(names::MapGet {})$($suffix)*
        }

        /// The state of the node at `endpoint`, from that node and no other.
        ///
        /// # Errors
        /// See [`ClientError`].
        pub $($async)* fn status(&self, endpoint: impl Into<String>) -> Result<names::Status, ClientError> {
            let options = CallOptions { endpoint: Some(endpoint.into()), ..CallOptions::default() };
            self.call_with(names::StatusGet {}, options)$($suffix)*
        }

        /// The pages of one bucket, in name order, one consistent cut.
        pub fn scan(&self, scan: names::KeyScan) -> Pages<'_> {
            Pages { client: self, cursor: names::ScanCursor::new(scan), options: CallOptions::default() }
        }

        /// Like [`Client::scan`], with options for every page.
        pub fn scan_with(&self, scan: names::KeyScan, options: CallOptions) -> Pages<'_> {
            Pages { client: self, cursor: names::ScanCursor::new(scan), options }
        }
    };
}

/// What the methods name.
pub(crate) mod names {
    pub(crate) use kahuna_protocol::bodies::*;

    pub(crate) use crate::call::*;
    pub(crate) use crate::scan::ScanCursor;
}

pub(crate) use verbs;

/// Whole milliseconds, rounded up, so that what is short does not become none.
pub(crate) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
