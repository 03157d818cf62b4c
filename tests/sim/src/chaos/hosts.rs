//! Hosts: network namespaces on one switch, which is a namespace too. Nothing of it is seen from outside.

use std::{fs::File, net::Ipv4Addr, process, thread};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{ChaosError, murk::Middleman, tools};

/// What the names of all namespaces and mounts of chaos runs begin with; the process id follows.
pub(super) const PREFIX: &str = "kahuna-chaos-";
/// Client hosts: one of them may be on the other side of a cut.
pub(super) const CLIENT_HOSTS: usize = 2;
const BRIDGE: &str = "bridge";
/// Where `ip` keeps namespaces by name.
const NAMESPACES: &str = "/run/netns";

/// The name of something that belongs to this process.
pub(super) fn own_name(what: &str) -> String {
    format!("{PREFIX}{}-{what}", process::id())
}

/// A host: where it is and how it is reached.
#[derive(Debug, Clone)]
pub(super) struct Host {
    /// `n1`, `c1`.
    pub name: String,
    pub namespace: String,
    pub address: Ipv4Addr,
    pub mac: [u8; 6],
}

impl Host {
    /// Its hardware address, for `ip`.
    pub(super) fn mac(&self) -> String {
        self.mac.map(|byte| format!("{byte:02x}")).join(":")
    }
}

/// All hosts: first the nodes, then the client hosts. They are gone when this is dropped.
#[derive(Debug)]
pub(super) struct Hosts {
    pub all: Vec<Host>,
    pub nodes: usize,
    /// Where packets of murky wires go; none where the kernel has no tap devices.
    pub middleman: Option<Middleman>,
    switch: String,
}

impl Hosts {
    /// Makes the hosts and connects all with all.
    ///
    /// # Errors
    /// `NotAllowed` when `ip` cannot.
    pub(super) fn new(nodes: usize, seed: u64) -> Result<Self, ChaosError> {
        let number = |at: usize| u8::try_from(at + 1).expect("few hosts");
        let node = |at| (format!("n{}", number(at)), number(at));
        let client = |at| (format!("c{}", number(at)), 100 + number(at));
        let all = (0..nodes).map(node).chain((0..CLIENT_HOSTS).map(client)).map(|(name, number)| Host {
            namespace: own_name(&name),
            address: Ipv4Addr::new(10, 77, 0, number),
            mac: [2, 0, 0, 0, 0, number],
            name,
        });
        let mut hosts = Self { all: all.collect(), nodes, middleman: None, switch: own_name("switch") };
        hosts.make()?;
        let known = hosts.all.iter().map(|host| (host.address, host.mac)).collect();
        match within(&hosts.switch, || Middleman::new(BRIDGE, known, seed)) {
            Ok(middleman) => hosts.middleman = Some(middleman),
            Err(error) => eprintln!("chaos: no murky wires: {error}"),
        }
        Ok(hosts)
    }

    fn make(&self) -> Result<(), ChaosError> {
        tools::run("ip", &["netns", "add", &self.switch])?;
        self.on_switch(&format!("link add {BRIDGE} type bridge\nlink set {BRIDGE} up\n"))?;
        for host in &self.all {
            let Host { name, namespace, address, .. } = host;
            let mac = host.mac();
            tools::run("ip", &["netns", "add", namespace])?;
            self.on_switch(&format!(
                "link add {name} type veth peer name eth0 netns {namespace}\n\
                 link set {name} master {BRIDGE}\nlink set {name} up\n"
            ))?;
            let lines = format!(
                "link set lo up\nlink set eth0 address {mac}\naddress add {address}/24 dev eth0\nlink set eth0 up\n"
            );
            tools::feed("ip", &["-n", namespace, "-batch", "-"], &lines)?;
        }
        Ok(())
    }

    fn on_switch(&self, lines: &str) -> Result<String, ChaosError> {
        tools::feed("ip", &["-n", &self.switch, "-batch", "-"], lines)
    }

    /// The namespace's name of client host `number`, counted round.
    pub(super) fn client_host(&self, number: u64) -> &str {
        let clients = &self.all[self.nodes..];
        &clients[usize::try_from(number).unwrap_or_default() % clients.len()].namespace
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        // Its device would go with its namespace.
        self.middleman = None;
        for namespace in self.all.iter().map(|host| &host.namespace).chain([&self.switch]) {
            // Of a half made set some are not there.
            let _ = tools::run("ip", &["netns", "delete", namespace]);
        }
    }
}

/// Moves this thread, and the threads and processes that it starts from now on, into a namespace.
///
/// # Errors
/// `NotAllowed` when the kernel refuses.
pub(super) fn enter(namespace: &str) -> Result<(), ChaosError> {
    let path = format!("{NAMESPACES}/{namespace}");
    let refused = |error: std::io::Error| ChaosError::NotAllowed(format!("{path}: {error}"));
    let file = File::open(&path).map_err(refused)?;
    let network = Some(LinkNameSpaceType::Network);
    move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), network).map_err(|error| refused(error.into()))
}

/// Does something in a namespace, in a thread of its own.
///
/// # Errors
/// Of `work`, and `NotAllowed` when the kernel refuses the namespace.
pub(super) fn within<T: Send>(
    namespace: &str,
    work: impl FnOnce() -> Result<T, ChaosError> + Send,
) -> Result<T, ChaosError> {
    thread::scope(|scope| {
        let worker = scope.spawn(|| enter(namespace).and_then(|()| work()));
        worker.join().expect("what is done in a namespace does not panic")
    })
}
