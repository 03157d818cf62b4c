//! The client itself.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use kahuna_protocol::key::Page;

use super::pending::Pending;
use super::shared::Shared;
use crate::call::ScanAnswer;
use crate::core::Core;
use crate::scan::ScanCursor;
use crate::session::random_session;
use crate::verbs::{millis, names, verbs};
use crate::{Call, CallOptions, ClientError, Clock, Options};

/// A session with a cluster, for threads. See the [module](super).
#[derive(Clone, Debug)]
pub struct Client {
    handle: Arc<Handle>,
}

/// The last one dropped ends the client's threads.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Client {
    /// A client with a session of its own. Connections are opened when the first request needs them.
    ///
    /// # Errors
    /// Of the operating system, when it gives no thread for the timer.
    pub fn new(options: Options) -> std::io::Result<Self> {
        let options = options.bounded();
        let connect_timeout = options.connect_timeout;
        let core = Core::new(options, random_session());
        let shared = Arc::new(Shared::new(core, Clock::default(), connect_timeout));
        let timer = shared.clone();
        std::thread::Builder::new().name(String::from("kahuna-timer")).spawn(move || timer.run_timer())?;
        Ok(Self { handle: Arc::new(Handle { shared }) })
    }

    /// Sends a request without waiting for its answer; many may be under way at once.
    pub fn submit<C: Call>(&self, call: C, options: CallOptions) -> Pending<C> {
        let shared = &self.handle.shared;
        let slot = shared.submit(&call.into(), options);
        Pending { slot, clock: shared.clock, call: PhantomData }
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn call<C: Call>(&self, call: C) -> Result<C::Answer, ClientError> {
        self.submit(call, CallOptions::default()).wait()
    }

    /// Like [`Client::call`], with options.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn call_with<C: Call>(&self, call: C, options: CallOptions) -> Result<C::Answer, ClientError> {
        self.submit(call, options).wait()
    }

    verbs! { {} {} }
}

/// The pages of a scan. It ends behind the last page, with `Compacted`, and after an error.
#[derive(Debug)]
pub struct Pages<'a> {
    client: &'a Client,
    cursor: ScanCursor,
    options: CallOptions,
}

impl Iterator for Pages<'_> {
    type Item = Result<ScanAnswer, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        let request = self.cursor.request()?;
        let answer = self.client.call_with(request, self.options.clone());
        match &answer {
            Ok(ScanAnswer::Page(page)) => self.cursor.advance(page),
            Ok(ScanAnswer::Compacted(_)) | Err(_) => self.cursor.stop(),
        }
        Some(answer)
    }
}

impl Pages<'_> {
    /// The next page alone; `Compacted` counts as the end.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn next_page(&mut self) -> Result<Option<Page>, ClientError> {
        match self.next() {
            Some(Ok(ScanAnswer::Page(page))) => Ok(Some(page)),
            Some(Ok(ScanAnswer::Compacted(_))) | None => Ok(None),
            Some(Err(error)) => Err(error),
        }
    }
}
