//! The client on simulated wires: its sans-I/O core, and the hands that do what it asks.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
    net::{Shutdown, SocketAddr},
    rc::Rc,
    time::Duration,
};

use kahuna_client::{
    CallOptions, ClientError, Core, Now, Options, Reply,
    core::{ConnectionId, Output, RequestToken},
};
use kahuna_protocol::{Request, SessionId};
use kahuna_shards::env::{
    Env, Net, ReadHalf, Socket, Stream, WriteHalf,
    local::{LocalOneshot, OneshotSender},
};
use openraft::AsyncRuntime;

use crate::{Sim, SimNet, SimRuntime};

/// Bytes asked for in one read.
const READ_BYTES: usize = 64 << 10;

type Answer = Result<Reply, ClientError>;

/// A session with a cluster. Clones share it. Its connections belong to the process whose task uses it.
#[derive(Clone)]
pub struct SimClient(Rc<Shared>);

struct Shared {
    core: RefCell<Core>,
    connect_timeout: Duration,
    waiting: RefCell<BTreeMap<RequestToken, OneshotSender<Answer>>>,
    outgoing: RefCell<BTreeMap<ConnectionId, flume::Sender<Vec<u8>>>>,
    /// When the timer means to wake.
    armed: Cell<Option<Duration>>,
    rearm: flume::Sender<()>,
}

impl fmt::Debug for SimClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimClient").field(&self.0.core.borrow().session()).finish()
    }
}

fn now() -> Now {
    Now { elapsed: Sim::boot_clock(), unix_ms: Sim::wall_clock().as_millis() }
}

impl SimClient {
    /// A client with a session of its own, drawn from the seed.
    pub fn new(endpoints: Vec<String>) -> Self {
        let options = Options { name: "kahuna-sim".into(), ..Options::new(endpoints) };
        let connect_timeout = options.connect_timeout;
        let core = Core::new(options, SessionId(SimRuntime::thread_rng().draw().max(1)));
        let (rearm, rearmed) = flume::bounded(1);
        let shared = Rc::new(Shared {
            core: RefCell::new(core),
            connect_timeout,
            waiting: RefCell::default(),
            outgoing: RefCell::default(),
            armed: Cell::new(None),
            rearm,
        });
        Sim::spawn(shared.clone().run_timer(rearmed));
        Self(shared)
    }

    /// Sends a request and waits for its outcome, at most until its time is up.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn call(&self, request: impl Into<Request>, timeout: Duration) -> Answer {
        self.call_with(request, CallOptions { timeout: Some(timeout), ..CallOptions::default() }).await
    }

    /// Like [`call`](Self::call), with options.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn call_with(&self, request: impl Into<Request>, options: CallOptions) -> Answer {
        let token = self.0.core.borrow_mut().submit(&request.into(), options, now());
        let (done, outcome) = LocalOneshot::pair();
        self.0.waiting.borrow_mut().insert(token, done);
        self.0.carry_out();
        outcome.await.expect("the client lives as long as this handle")
    }
}

impl Shared {
    /// Gives the core one input and does what it asks for then.
    fn with_core(self: &Rc<Self>, input: impl FnOnce(&mut Core, Now)) {
        input(&mut self.core.borrow_mut(), now());
        self.carry_out();
    }

    fn carry_out(self: &Rc<Self>) {
        while let Some(output) = self.next_output() {
            match output {
                Output::Open { connection, endpoint } => {
                    let (send, outgoing) = flume::unbounded();
                    self.outgoing.borrow_mut().insert(connection, send);
                    Sim::spawn(self.clone().run_connection(connection, endpoint, outgoing));
                }
                Output::Send { connection, bytes } => {
                    if let Some(out) = self.outgoing.borrow().get(&connection) {
                        // It is on its way to be closed if nobody takes this.
                        let _ = out.send(bytes);
                    }
                }
                Output::Close { connection } => drop(self.outgoing.borrow_mut().remove(&connection)),
                Output::Done { token, result } => {
                    let waiter = self.waiting.borrow_mut().remove(&token);
                    if let Some(waiter) = waiter {
                        // Whoever asked may have stopped waiting.
                        let _ = waiter.send(result);
                    }
                }
            }
        }
        let next = self.core.borrow().next_wakeup();
        if next.is_some_and(|next| self.armed.get().is_none_or(|armed| next < armed)) {
            // Full: the timer was woken already and has not looked yet.
            let _ = self.rearm.try_send(());
        }
    }

    fn next_output(&self) -> Option<Output> {
        self.core.borrow_mut().poll()
    }

    async fn run_timer(self: Rc<Self>, rearmed: flume::Receiver<()>) {
        loop {
            let next = self.core.borrow().next_wakeup();
            self.armed.set(next);
            match next {
                None => {
                    if rearmed.recv_async().await.is_err() {
                        return;
                    }
                }
                Some(at) => {
                    let pause = at.saturating_sub(Sim::boot_clock());
                    if Sim::timeout(pause, rearmed.recv_async()).await.is_none() {
                        self.with_core(Core::tick);
                    }
                }
            }
        }
    }

    async fn run_connection(self: Rc<Self>, id: ConnectionId, endpoint: String, outgoing: flume::Receiver<Vec<u8>>) {
        let reason = self.serve(id, &endpoint, outgoing).await;
        let gone = self.outgoing.borrow_mut().remove(&id);
        drop(gone);
        self.with_core(|core, now| core.disconnected(id, &reason, now));
    }

    /// Returns why the connection has ended.
    async fn serve(self: &Rc<Self>, id: ConnectionId, endpoint: &str, outgoing: flume::Receiver<Vec<u8>>) -> String {
        let address: SocketAddr = endpoint.parse().expect("simulated endpoints are written out");
        let stream = match SimNet::connect(address, self.connect_timeout).await {
            Ok(stream) => stream,
            Err(error) => return error.to_string(),
        };
        let (mut read, mut write) = stream.split();
        self.with_core(|core, now| core.opened(id, now));
        Sim::spawn(async move {
            while let Ok(bytes) = outgoing.recv_async().await {
                if write.write_all(&bytes).await.is_err() {
                    break;
                }
            }
            // An error says that it is closed already.
            let _ = write.shutdown(Shutdown::Both);
        });
        let mut buf = vec![0; READ_BYTES];
        loop {
            match read.read(&mut buf).await {
                Ok(0) => return "the node closed the connection".into(),
                Ok(len) => self.with_core(|core, now| core.received(id, &buf[..len], now)),
                Err(error) => return error.to_string(),
            }
        }
    }
}
