//! Nodes whose lines nobody reads go on: a collector that ended, that has no room, that does not read any more.

use std::fs::File;
use std::io::{PipeReader, Read, Write, pipe};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Stdio;

use kahuna_client::blocking::Client;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::nodes::{Cluster, PATIENCE};

/// Where a node's lines go.
type Sink = (Stdio, Stdio);

/// A pipe whose reader has ended.
fn closed() -> Sink {
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    (writer.try_clone().expect("a descriptor").into(), writer.into())
}

/// A disk without room.
fn full_disk() -> Sink {
    let full = || File::options().write(true).open("/dev/full").expect("every Linux has it");
    (full().into(), full().into())
}

/// A pipe that is full to its last byte, and its reader, which does not read.
fn stalled() -> (PipeReader, Sink) {
    let (reader, writer) = pipe().expect("a pipe");
    let blocking = fcntl_getfl(&writer).expect("its flags");
    fcntl_setfl(&writer, blocking | OFlags::NONBLOCK).expect("a pipe may not block");
    let mut file = File::from(OwnedFd::from(writer));
    while file.write(b"x").is_ok() {}
    fcntl_setfl(&file, blocking).expect("a pipe may block");
    (reader, (file.try_clone().expect("a descriptor").into(), file.into()))
}

/// What a browser, or a scanner, sends; returns once the node has closed the connection.
fn knock(address: &str) {
    let mut stream = TcpStream::connect(address).expect("the node listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: kahuna\r\n\r\n").expect("the node takes a few bytes");
    // It may close while we still write.
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.read_to_end(&mut Vec::new());
}

/// Claim: nodes whose stdout and stderr cannot be written, each in another way, form a cluster, refuse strangers at both
/// doors, serve, lose a member and take it back, and drain when told to.
#[test]
fn nodes_whose_lines_nobody_reads_go_on() {
    let mut cluster = Cluster::new(3, 2, 2);
    let (_reader, stalled) = stalled();
    for (at, (out, err)) in [closed(), full_disk(), stalled].into_iter().enumerate() {
        let command = cluster.command(at, 2);
        cluster.spawn_to(at, command, out, err);
    }
    cluster.wait_until_led();
    let client: Client = cluster.client();
    for round in 0..3 {
        for node in &cluster.nodes {
            knock(&node.client_address);
            knock(&node.peer_address);
        }
        client.set("bystander", format!("{round}"), None).expect("the cluster serves");
    }
    // A member that goes and comes back is talked about by the others.
    cluster.kill(0);
    client.set("bystander", "two of three", None).expect("a majority serves");
    let ((out, err), command) = (closed(), cluster.command(0, 2));
    cluster.spawn_to(0, command, out, err);
    cluster.wait_until_led();
    for at in 0..3 {
        assert_eq!(cluster.terminate(at), Some(0), "node {} drains", at + 1);
    }
}

/// Claim: a start that is refused ends with its code although nobody reads why.
#[test]
fn a_refused_start_ends_although_nobody_reads_why() {
    let mut cluster = Cluster::running(1, 1, 1);
    let (_reader, (out, err)) = stalled();
    let mut command = cluster.command(0, 1);
    let mut second = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().expect("the binary starts");
    assert_eq!(second.wait().expect("our own child").code(), Some(78), "the directory is in use");
    assert_eq!(cluster.terminate(0), Some(0));
}
