//! The client itself.

use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use kahuna_protocol::key::Page;
use tokio::runtime::Handle;

use super::shared::{Answer, Shared};
use crate::call::ScanAnswer;
use crate::core::Core;
use crate::scan::ScanCursor;
use crate::session::random_session;
use crate::verbs::{millis, names, verbs};
use crate::{Call, CallOptions, ClientError, Clock, Options};

/// A session with a cluster, for tokio. Cheap to clone. See the [module](super).
#[derive(Clone, Debug)]
pub struct Client {
    handle: Arc<Owner>,
}

/// The last one dropped ends the client's tasks.
#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Client {
    /// A client with a session of its own, on the current runtime. Connections are opened when they are needed.
    ///
    /// # Errors
    /// Outside of a tokio runtime.
    pub fn new(options: Options) -> io::Result<Self> {
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        let core = Core::new(options, random_session());
        let shared = Shared::start(core, Clock::default(), runtime);
        Ok(Self { handle: Arc::new(Owner { shared }) })
    }

    /// Sends a request at once; the future gives its answer. Many may be under way.
    pub fn submit<C: Call>(&self, call: C, options: CallOptions) -> Pending<C> {
        let shared = &self.handle.shared;
        let answer = shared.submit(&call.into(), options);
        Pending { answer, clock: shared.clock, call: PhantomData }
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn call<C: Call>(&self, call: C) -> Result<C::Answer, ClientError> {
        self.submit(call, CallOptions::default()).await
    }

    /// Like [`Client::call`], with options.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn call_with<C: Call>(&self, call: C, options: CallOptions) -> Result<C::Answer, ClientError> {
        self.submit(call, options).await
    }

    verbs! { {async} {.await} }
}

/// A request under way. If this is dropped, the request goes on and its outcome is lost.
#[derive(Debug)]
#[must_use = "the answer comes out of awaiting it"]
pub struct Pending<C> {
    answer: Answer,
    clock: Clock,
    call: PhantomData<fn() -> C>,
}

impl<C: Call> Future for Pending<C> {
    type Output = Result<C::Answer, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let clock = self.clock;
        Pin::new(&mut self.answer).poll(cx).map(|answer| match answer {
            Ok(result) => C::answer(result?, &clock),
            Err(_) => Err(ClientError::Unknown { text: String::from("the client was closed") }),
        })
    }
}

/// The pages of a scan.
#[derive(Debug)]
pub struct Pages<'a> {
    client: &'a Client,
    cursor: ScanCursor,
    options: CallOptions,
}

impl Pages<'_> {
    /// The next page; `None` behind the last one, after `Compacted`, and after an error.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn next(&mut self) -> Option<Result<ScanAnswer, ClientError>> {
        let request = self.cursor.request()?;
        let answer = self.client.call_with(request, self.options.clone()).await;
        match &answer {
            Ok(ScanAnswer::Page(page)) => self.cursor.advance(page),
            Ok(ScanAnswer::Compacted(_)) | Err(_) => self.cursor.stop(),
        }
        Some(answer)
    }

    /// The next page alone; `Compacted` counts as the end.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn next_page(&mut self) -> Result<Option<Page>, ClientError> {
        match self.next().await {
            Some(Ok(ScanAnswer::Page(page))) => Ok(Some(page)),
            Some(Ok(ScanAnswer::Compacted(_))) | None => Ok(None),
            Some(Err(error)) => Err(error),
        }
    }
}
