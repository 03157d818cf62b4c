//! What the tasks of one client share: the core behind a lock, and the hands that do what it asks.

use std::collections::{BTreeMap, HashMap};
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::BytesMut;
use kahuna_protocol::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::core::{ConnectionId, Core, Output, Reply, RequestToken};
use crate::{CallOptions, ClientError, Clock, Now};

const READ_BYTES: usize = 64 << 10;

pub(super) type Answer = oneshot::Receiver<Result<Reply, ClientError>>;

/// The parts of a client that outlive a call.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    runtime: Handle,
    state: Mutex<State>,
    /// Signalled when the core's next wake-up may have come nearer.
    timer: Notify,
}

#[derive(Debug)]
struct State {
    core: Core,
    waiting: HashMap<RequestToken, oneshot::Sender<Result<Reply, ClientError>>>,
    connections: BTreeMap<ConnectionId, Connection>,
    timer: Option<AbortHandle>,
    closed: bool,
}

#[derive(Debug)]
struct Connection {
    frames: mpsc::UnboundedSender<Vec<u8>>,
    task: AbortHandle,
}

impl Shared {
    pub(super) fn start(core: Core, clock: Clock, runtime: Handle) -> Arc<Self> {
        let (waiting, connections) = (HashMap::new(), BTreeMap::new());
        let state = Mutex::new(State { core, waiting, connections, timer: None, closed: false });
        let shared = Arc::new(Self { clock, runtime, state, timer: Notify::new() });
        let timer = shared.runtime.spawn(shared.clone().run_timer()).abort_handle();
        shared.lock().timer = Some(timer);
        shared
    }

    pub(super) fn submit(self: &Arc<Self>, request: &Request, options: CallOptions) -> Answer {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.lock();
        let token = state.core.submit(request, options, self.clock.now());
        state.waiting.insert(token, sender);
        self.carry_out(state);
        receiver
    }

    /// Ends every task.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.timer.take().into_iter().for_each(|timer| timer.abort());
        std::mem::take(&mut state.connections).into_values().for_each(|connection| connection.task.abort());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the core's lock")
    }

    fn with_core(self: &Arc<Self>, input: impl FnOnce(&mut Core, Now)) {
        let mut state = self.lock();
        if !state.closed {
            input(&mut state.core, self.clock.now());
            self.carry_out(state);
        }
    }

    async fn run_timer(self: Arc<Self>) {
        loop {
            let next = self.lock().core.next_wakeup();
            let sleep = async {
                match next {
                    Some(at) => tokio::time::sleep_until(self.clock.instant(at).into()).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = sleep => self.with_core(|core, now| core.tick(now)),
                () = self.timer.notified() => {}
            }
        }
    }

    fn carry_out(self: &Arc<Self>, mut guard: MutexGuard<'_, State>) {
        let state = &mut *guard;
        while let Some(output) = state.core.poll() {
            match output {
                Output::Open { connection, endpoint } => {
                    let (frames, queue) = mpsc::unbounded_channel();
                    let task = self.runtime.spawn(self.clone().run_connection(connection, endpoint, queue));
                    state.connections.insert(connection, Connection { frames, task: task.abort_handle() });
                }
                Output::Send { connection, bytes } => {
                    if let Some(connection) = state.connections.get(&connection) {
                        // Fails only if the task ended, which then reports the lost connection to the core.
                        let _ = connection.frames.send(bytes);
                    }
                }
                Output::Close { connection } => {
                    if let Some(connection) = state.connections.remove(&connection) {
                        connection.task.abort();
                    }
                }
                Output::Done { token, result } => {
                    if let Some(waiting) = state.waiting.remove(&token) {
                        // The asker may have stopped waiting.
                        let _ = waiting.send(result);
                    }
                }
            }
        }
        drop(guard);
        self.timer.notify_one();
    }

    async fn run_connection(
        self: Arc<Self>,
        id: ConnectionId,
        endpoint: String,
        queue: mpsc::UnboundedReceiver<Vec<u8>>,
    ) {
        let reason = match self.serve(id, &endpoint, queue).await {
            Ok(()) => String::from("the node closed the connection"),
            Err(error) => error.to_string(),
        };
        self.with_core(|core, now| core.disconnected(id, &reason, now));
        self.lock().connections.remove(&id);
    }

    async fn serve(
        self: &Arc<Self>,
        id: ConnectionId,
        endpoint: &str,
        queue: mpsc::UnboundedReceiver<Vec<u8>>,
    ) -> io::Result<()> {
        let stream = TcpStream::connect(endpoint).await?;
        stream.set_nodelay(true)?;
        let (mut reading, writing) = stream.into_split();
        self.with_core(|core, now| core.opened(id, now));
        let read = async {
            let mut buffer = BytesMut::with_capacity(READ_BYTES);
            loop {
                buffer.clear();
                if reading.read_buf(&mut buffer).await? == 0 {
                    return Ok(());
                }
                self.with_core(|core, now| core.received(id, &buffer, now));
            }
        };
        tokio::select! {
            ended = read => ended,
            ended = write(writing, queue) => ended,
        }
    }
}

/// Writes frames as they come, all that wait at once.
async fn write(
    mut writing: tokio::net::tcp::OwnedWriteHalf,
    mut queue: mpsc::UnboundedReceiver<Vec<u8>>,
) -> io::Result<()> {
    while let Some(mut bytes) = queue.recv().await {
        while let Ok(more) = queue.try_recv() {
            bytes.extend_from_slice(&more);
        }
        writing.write_all(&bytes).await?;
    }
    Ok(())
}
