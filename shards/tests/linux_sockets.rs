//! Sockets of the Linux side of the seam: what is read, written, accepted, handed over and closed, and when.

mod linux_support;

use std::{
    cell::Cell,
    io::{IoSlice, Read, Write},
    net::Shutdown,
    rc::Rc,
    time::Duration,
};

use kahuna_shards::{
    env::{Env, Listener, Net, ReadHalf, Socket, Stream, WriteHalf, local::behind_ready_tasks},
    linux::{Linux, Runtime, ShardOptions, Tcp, spawn_shard},
};
use linux_support::{LIMIT, any_port, on_shard};
use openraft::AsyncRuntime;

/// The end may have come before the bytes ahead of it were read: nothing is reported after it.
#[test]
fn an_end_right_behind_the_last_bytes_is_read() {
    on_shard(async || {
        let mut listener = Tcp::listen(any_port(), false).expect("a free port");
        let addr = listener.local_addr().expect("an address");
        for waits_before in [false, true] {
            let (ends, end) = flume::bounded::<()>(0);
            let client = std::thread::spawn(move || {
                let mut client = std::net::TcpStream::connect(addr).expect("somebody listens");
                client.write_all(b"first").expect("open");
                let _ = end.recv();
                client.write_all(b"last").expect("open");
                client.shutdown(Shutdown::Write).expect("open");
                client
            });
            let mut server = listener.accept().await.expect("a connection");
            let mut buf = [0; 64];
            assert_eq!(server.read(&mut buf).await.expect("open"), 5);
            if waits_before {
                // The socket is watched from here on.
                assert!(Linux::timeout(Duration::from_millis(1), server.read(&mut buf)).await.is_none());
            }
            drop(ends);
            let client = client.join().expect("it writes");
            assert_eq!(server.read(&mut buf).await.expect("open"), 4);
            assert_eq!(server.read(&mut buf).await.expect("open"), 0, "the end");
            assert_eq!(server.read(&mut buf).await.expect("open"), 0, "and again");
            drop(client);
        }
    });
}

/// Claim: what is dropped right before a shard ends is closed, though another task is left behind.
#[test]
fn a_connection_that_is_dropped_last_is_closed() {
    let (port, ports) = flume::bounded(1);
    let shard = spawn_shard(ShardOptions::new(0), move || async move {
        let mut listener = Tcp::listen(any_port(), false).expect("a free port");
        port.send(listener.local_addr().expect("an address")).expect("the test waits");
        let mut server = listener.accept().await.expect("a connection");
        Linux::spawn(Linux::sleep(LIMIT));
        // It is watched from here on.
        assert!(Linux::timeout(Duration::from_millis(1), server.read(&mut [0; 8])).await.is_none());
        drop(server);
    })
    .expect("a shard");
    let mut client = std::net::TcpStream::connect(ports.recv().expect("a port")).expect("somebody listens");
    client.set_read_timeout(Some(LIMIT)).expect("a socket takes a timeout");
    assert_eq!(client.read(&mut [0; 8]).expect("the end, not the time limit"), 0);
    shard.join();
}

/// Claim: a write waits for room, though the other end, which reads late, has ended its own direction.
#[test]
fn a_write_to_a_half_closed_peer_waits_for_room() {
    const MANY: usize = 4 << 20;
    on_shard(async || {
        let mut listener = Tcp::listen(any_port(), false).expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let (reads, may_read) = flume::bounded::<()>(0);
        let client = std::thread::spawn(move || {
            let mut client = std::net::TcpStream::connect(addr).expect("somebody listens");
            client.shutdown(Shutdown::Write).expect("open");
            let _ = may_read.recv();
            let mut received = Vec::new();
            client.read_to_end(&mut received).expect("readable");
            received.len()
        });
        let mut server = listener.accept().await.expect("a connection");
        assert_eq!(server.read(&mut [0; 8]).await.expect("open"), 0, "the other end's end");
        let polls = Rc::new(Cell::new(0_u32));
        let counted = polls.clone();
        let write = Runtime::spawn(async move {
            let bytes = vec![1; MANY];
            {
                let mut write = std::pin::pin!(server.write_all(&bytes));
                std::future::poll_fn(|cx| {
                    counted.set(counted.get() + 1);
                    write.as_mut().poll(cx)
                })
                .await
                .expect("it is read in the end");
            }
            server.shutdown(Shutdown::Write).expect("open");
        });
        Linux::sleep(Duration::from_millis(50)).await;
        assert!(polls.get() < 20, "{} polls while there is no room", polls.get());
        drop(reads);
        write.await.expect("it ends");
        assert_eq!(client.join().expect("it reads"), MANY);
    });
}

#[test]
fn bytes_go_both_ways_through_split_connections() {
    on_shard(async || {
        let mut listener = Tcp::listen(any_port(), false).expect("a free port");
        let addr = listener.local_addr().expect("an address");
        Linux::spawn(async move {
            let (mut reader, mut writer) = listener.accept().await.expect("a connection").split();
            let mut buf = vec![0; 64 << 10];
            loop {
                let len = reader.read(&mut buf).await.expect("readable");
                if len == 0 {
                    return writer.shutdown(Shutdown::Write).expect("open until now");
                }
                writer.write_all(&buf[..len]).await.expect("writable");
            }
        });
        let (mut reader, mut writer) = Tcp::connect(addr, LIMIT).await.expect("somebody listens").split();
        assert_eq!(reader.peer_addr().expect("connected"), addr);
        // More than the sockets buffer, in slices of all sizes and more of them than one call takes.
        let sent: Vec<u8> = (0..8_000_000_u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
        let expected = sent.clone();
        Linux::spawn(async move {
            let mut slices = Vec::new();
            let mut rest = &sent[..];
            for len in (0..4_000).cycle() {
                let (slice, left) = rest.split_at(len.min(rest.len()));
                slices.push(IoSlice::new(slice));
                rest = left;
                if rest.is_empty() {
                    break;
                }
            }
            writer.write_vectored_all(&mut slices).await.expect("writable");
            writer.write_vectored_all(&mut []).await.expect("nothing to write");
            writer.shutdown(Shutdown::Write).expect("open until now");
        });
        let mut received = Vec::new();
        let mut buf = vec![0; 100_000];
        loop {
            match reader.read(&mut buf).await.expect("readable") {
                0 => break,
                len => received.extend_from_slice(&buf[..len]),
            }
        }
        assert!(received == expected, "{} of {} bytes, or others", received.len(), expected.len());
    });
}

#[test]
fn a_connection_moves_to_another_shard() {
    let (hand_over, taken) = flume::bounded(1);
    let (port, ports) = flume::bounded(1);
    let first = spawn_shard(ShardOptions::new(0), move || async move {
        let mut listener = Tcp::listen(any_port(), true).expect("a free port");
        port.send(listener.local_addr().expect("an address")).expect("the test waits");
        let mut stream = listener.accept().await.expect("a connection");
        let mut hello = [0; 5];
        let len = stream.read(&mut hello).await.expect("readable");
        hand_over.send((stream.detach().expect("a descriptor is left"), hello[..len].to_vec())).expect("a taker");
    })
    .expect("a shard");
    let second = spawn_shard(ShardOptions::new(1), move || async move {
        let (detached, mut unread) = Linux::across_threads(taken.recv_async()).await.expect("a connection");
        let mut stream = Tcp::adopt(detached).expect("a socket");
        let mut buf = [0; 64];
        while unread.len() < 11 {
            let len = stream.read(&mut buf).await.expect("readable");
            assert!(len > 0, "the connection outlives its first shard's handle");
            unread.extend_from_slice(&buf[..len]);
        }
        stream.write_all(&unread).await.expect("writable");
    })
    .expect("a shard");
    let mut client = std::net::TcpStream::connect(ports.recv().expect("a port")).expect("somebody listens");
    client.write_all(b"hello").expect("writable");
    first.join();
    client.write_all(b" world").expect("writable");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("readable");
    assert_eq!(answer, "hello world");
    second.join();
}

#[test]
fn a_taken_port_and_a_dead_one_are_errors() {
    on_shard(async || {
        let listener = Tcp::listen(any_port(), false).expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let taken = Tcp::listen(addr, false).map(drop).expect_err("taken");
        assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
        drop(listener);
        let dead = Tcp::connect(addr, LIMIT).await.map(drop).expect_err("nobody listens");
        assert_eq!(dead.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn shards_share_a_port_when_asked() {
    on_shard(async || {
        let one = Tcp::listen(any_port(), true).expect("a free port");
        let addr = one.local_addr().expect("an address");
        let two = Tcp::listen(addr, true).expect("shared");
        assert_eq!(two.local_addr().expect("an address"), addr);
    });
}

#[test]
fn shutting_down_ends_a_pending_read() {
    on_shard(async || {
        let mut listener = Tcp::listen(any_port(), false).expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let silent = Tcp::connect(addr, LIMIT).await.expect("somebody listens");
        let (mut reader, writer) = listener.accept().await.expect("a connection").split();
        let read = Runtime::spawn(async move { reader.read(&mut [0; 8]).await });
        Linux::yield_now().await;
        writer.shutdown(Shutdown::Both).expect("open");
        assert_eq!(read.await.expect("ends").expect("no error"), 0);
        drop(silent);
    });
}

/// Claim: connections that wait to be accepted hold up no other task of the shard.
#[test]
fn accepting_lets_other_tasks_run() {
    const MANY: u32 = 64;
    on_shard(async || {
        let mut listener = Tcp::listen(any_port(), false).expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let connect = |_| std::net::TcpStream::connect(addr).expect("the backlog has room");
        let waiting: Vec<_> = (0..MANY).map(connect).collect();
        let (rounds, done) = (Rc::new(Cell::new(0_u32)), Rc::new(Cell::new(false)));
        let (counted, ends) = (rounds.clone(), done.clone());
        Linux::spawn(async move {
            while !ends.get() {
                counted.set(counted.get() + 1);
                behind_ready_tasks().await;
            }
        });
        let before = rounds.get();
        for _ in 0..MANY {
            listener.accept().await.expect("a connection waits");
        }
        assert!(rounds.get() >= before + 3, "{} rounds in {MANY} accepts", rounds.get() - before);
        done.set(true);
        drop(waiting);
    });
}
