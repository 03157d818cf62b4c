//! The simulated wires: order, delay, cuts, kills.

use std::{
    cell::Cell,
    io::{ErrorKind, IoSlice},
    net::{Shutdown, SocketAddr},
    rc::Rc,
    time::Duration,
};

use kahuna_shards::env::{Env, Listener, Net, ReadHalf, Socket, Stream, WriteHalf, local::LocalOneshot};
use kahuna_sim::{OUTSIDE, Sim, SimNet, World};

const LIMIT: Duration = Duration::from_secs(1);

fn server() -> SocketAddr {
    "10.0.0.1:2070".parse().expect("an address")
}

/// Node 1 sends back what it gets, on every connection.
fn echo(world: &World) {
    world.spawn_on(1, async {
        let mut listener = SimNet::listen(server(), false).expect("free");
        loop {
            let (mut reader, mut writer) = listener.accept().await.expect("a connection").split();
            Sim::spawn(async move {
                let mut buf = [0; 1000];
                while let Ok(len @ 1..) = reader.read(&mut buf).await {
                    if writer.write_all(&buf[..len]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
}

async fn connect() -> <SimNet as Net>::Stream {
    loop {
        match SimNet::connect(server(), LIMIT).await {
            Ok(stream) => return stream,
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionRefused),
        }
    }
}

#[test]
fn bytes_keep_their_order_and_take_their_time() {
    for seed in 0..10 {
        let world = World::new(seed);
        echo(&world);
        world.block_on(async {
            let (mut reader, mut writer) = connect().await.split();
            // Far more than both pipes hold at once.
            let sent: Vec<u8> = (0..2_000_000_u32).map(|i| (i.wrapping_mul(i) >> 5) as u8).collect();
            let expected = sent.clone();
            let began = Sim::boot_clock();
            Sim::spawn(async move {
                for part in sent.chunks(70_000) {
                    let (one, two) = part.split_at(100);
                    let mut slices = [IoSlice::new(one), IoSlice::new(&[]), IoSlice::new(two)];
                    writer.write_vectored_all(&mut slices).await.expect("open");
                }
                writer.shutdown(Shutdown::Write).expect("open");
            });
            let mut received = Vec::new();
            let mut buf = vec![0; 5_000];
            while let len @ 1.. = reader.read(&mut buf).await.expect("open") {
                received.extend_from_slice(&buf[..len]);
            }
            assert!(received == expected, "{} of {} bytes, or others", received.len(), expected.len());
            assert!(Sim::boot_clock() - began >= Duration::from_micros(100), "two delays of at least 50 us");
        });
    }
}

#[test]
fn nobody_listens_is_refused_and_a_cut_times_out() {
    let world = World::new(1);
    world.block_on(async {
        let refused = SimNet::connect(server(), LIMIT).await.map(drop).expect_err("nobody");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        echo(&world);
        drop(connect().await);
        world.net().cut(OUTSIDE, 1);
        let cut = SimNet::connect(server(), LIMIT).await.map(drop).expect_err("cut");
        assert_eq!(cut.kind(), ErrorKind::TimedOut);
        world.net().heal_all();
        drop(connect().await);
    });
}

#[test]
fn what_a_cut_holds_back_arrives_when_healed() {
    let world = World::new(1);
    echo(&world);
    world.block_on(async {
        let mut stream = connect().await;
        world.net().cut(1, OUTSIDE);
        stream.write_all(b"hello").await.expect("our direction works");
        let mut buf = [0; 16];
        assert!(Sim::timeout(LIMIT, stream.read(&mut buf)).await.is_none());
        world.net().heal(1, OUTSIDE);
        assert_eq!(stream.read(&mut buf).await.expect("healed"), 5);
        assert_eq!(&buf[..5], b"hello");
    });
}

#[test]
fn a_killed_node_resets_its_connections_unless_cut() {
    for cut in [false, true] {
        let world = World::new(1);
        echo(&world);
        world.block_on(async {
            let mut stream = connect().await;
            if cut {
                world.net().cut(1, OUTSIDE);
            }
            world.kill(1);
            let mut buf = [0; 16];
            let read = Sim::timeout(LIMIT, stream.read(&mut buf)).await;
            let write = stream.write_all(b"hello").await;
            if cut {
                assert!(read.is_none() && write.is_ok(), "nothing can be heard of it");
                world.net().heal_all();
            } else {
                assert_eq!(read.expect("heard").expect_err("reset").kind(), ErrorKind::ConnectionReset);
            }
            stream.write_all(b"hello").await.expect_err("heard by now");
            let refused = SimNet::connect(server(), LIMIT).await.map(drop).expect_err("dead");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            // It may start again and have its address back.
            echo(&world);
            drop(connect().await);
        });
    }
}

#[test]
fn a_detached_connection_goes_on_elsewhere() {
    let world = World::new(1);
    echo(&world);
    world.block_on(async {
        let mut stream = connect().await;
        stream.write_all(b"hello world").await.expect("open");
        let mut hello = [0; 5];
        assert_eq!(stream.read(&mut hello).await.expect("open"), 5);
        let detached = stream.detach().expect("open");
        let (hand_over, taken) = LocalOneshot::pair();
        Sim::spawn(async move {
            let mut stream = SimNet::adopt(detached).expect("handed over");
            let mut world = [0; 6];
            assert_eq!(stream.read(&mut world).await.expect("open"), 6);
            hand_over.send(world).expect("awaited");
        });
        assert_eq!(&taken.await.expect("read"), b" world");
    });
}

#[test]
fn listeners_of_one_node_share_a_port_when_asked() {
    let world = World::new(1);
    let served = Rc::new([Cell::new(0), Cell::new(0)]);
    let counts = served.clone();
    world.spawn_on(1, async move {
        for shard in 0..2 {
            let mut listener = SimNet::listen(server(), true).expect("shared");
            let counts = counts.clone();
            Sim::spawn(async move {
                while let Ok(_stream) = listener.accept().await {
                    counts[shard].set(counts[shard].get() + 1);
                }
            });
        }
        let taken = SimNet::listen(server(), false).map(drop).expect_err("taken");
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    });
    world.spawn_on(2, async {
        Sim::sleep(Duration::from_millis(1)).await;
        let taken = SimNet::listen(server(), true).map(drop).expect_err("another node's");
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    });
    world.block_on(async {
        for _ in 0..50 {
            drop(connect().await);
        }
        Sim::sleep(LIMIT).await;
    });
    let [one, two] = [served[0].get(), served[1].get()];
    assert!(one + two == 50 && one > 5 && two > 5, "{one} and {two}");
}

#[test]
fn a_late_reset_brings_what_was_sent_and_then_the_news() {
    let world = World::new(1);
    let got = Rc::new(Cell::new((0, None)));
    let kept = got.clone();
    world.spawn_on(1, async move {
        let mut listener = SimNet::listen(server(), false).expect("free");
        let (mut reader, _writer) = listener.accept().await.expect("a connection").split();
        let mut buf = [0; 1000];
        loop {
            match reader.read(&mut buf).await {
                Ok(len) => kept.set((kept.get().0 + len, None)),
                Err(error) => return kept.set((kept.get().0, Some(error.kind()))),
            }
        }
    });
    world.block_on(async {
        let (mut reader, mut writer) = connect().await.split();
        writer.write_all(b"under way").await.expect("open");
        let lag = Duration::from_secs(1);
        let broken = world.net().reset_late(OUTSIDE, 1, lag);
        let reset = writer.write_all(b"more").await.expect_err("broken on this side");
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
        assert_eq!(reader.read(&mut [0; 10]).await.expect_err("both ways").kind(), ErrorKind::ConnectionReset);
        Sim::sleep(lag / 2).await;
        assert_eq!(got.get(), (0, None), "it is late");
        Sim::sleep(lag).await;
        assert_eq!(got.get(), (9, None), "it has arrived, and the other side knows nothing");
        drop(broken);
        Sim::sleep(lag).await;
        assert_eq!(got.get(), (9, Some(ErrorKind::ConnectionReset)));
    });
}

#[test]
fn a_slow_link_is_slow_in_its_direction() {
    let world = World::new(1);
    echo(&world);
    world.block_on(async {
        let (mut reader, mut writer) = connect().await.split();
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).expect("short");
        let mut took = Vec::new();
        for slow in [None, Some((nanos(LIMIT), nanos(LIMIT))), None] {
            world.net().set_link_delay_nanos((1, OUTSIDE), slow);
            let began = Sim::boot_clock();
            writer.write_all(b"?").await.expect("open");
            reader.read(&mut [0; 1]).await.expect("an answer");
            took.push(Sim::boot_clock() - began);
        }
        assert!(took[0] < LIMIT && took[2] < LIMIT && (LIMIT..2 * LIMIT).contains(&took[1]), "{took:?}");
    });
}
