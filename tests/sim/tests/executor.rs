//! The simulated executor: openraft's runtime suite, determinism, kills, clocks.

use std::{cell::RefCell, panic::AssertUnwindSafe, rc::Rc, time::Duration};

use kahuna_shards::env::{Env, ExitCode, local::LocalOneshot};
use kahuna_sim::{DiskOptions, Sim, SimDisk, SimRuntime, World};
use kahuna_wal::{AlignedBuf, Disk, DiskFile, Durability, OpenMode};
use openraft::AsyncRuntime;
use openraft_rt::testing::Suite;

#[test]
fn passes_the_runtime_suite_of_openraft() {
    Suite::<SimRuntime>::test_all();
}

/// Tasks that race on everything a world draws from its seed: order, delays, random numbers.
fn race(seed: u64) -> (u64, Vec<u64>) {
    let world = World::new(seed);
    let order = world.block_on(async {
        let order = Rc::new(RefCell::new(Vec::new()));
        let (lane, messages) = flume::unbounded();
        let disk = SimDisk::new(DiskOptions { seed, ..DiskOptions::default() });
        let tasks: Vec<_> = (0..20_u64)
            .map(|task| {
                let (order, lane, disk) = (order.clone(), lane.clone(), disk.clone());
                Runtime::spawn(async move {
                    for step in 0..10 {
                        match SimRuntime::thread_rng().below(3) {
                            0 => Sim::yield_now().await,
                            1 => Sim::sleep(Duration::from_millis(step)).await,
                            _ => assert!(!disk.exists("/nothing".as_ref()).await.expect("works")),
                        }
                        order.borrow_mut().push(task);
                        lane.send(task).expect("received");
                    }
                })
            })
            .collect();
        drop(lane);
        while let Ok(task) = messages.recv_async().await {
            order.borrow_mut().push(100 + task);
        }
        for task in tasks {
            task.await.expect("ends");
        }
        order.take()
    });
    (world.trace(), order)
}

type Runtime = SimRuntime;

#[test]
fn one_seed_is_one_run() {
    for seed in 0..20 {
        assert_eq!(race(seed), race(seed), "seed {seed}");
    }
}

#[test]
fn another_seed_is_another_run() {
    let (traces, orders): (Vec<_>, Vec<_>) = (0..20).map(race).unzip();
    for later in 1..20 {
        assert!(!traces[..later].contains(&traces[later]) && !orders[..later].contains(&orders[later]), "seed {later}");
    }
}

#[test]
fn an_hour_takes_no_time() {
    World::new(1).block_on(async {
        let before = Sim::boot_clock();
        Sim::sleep(Duration::from_secs(3600)).await;
        let slept = Sim::boot_clock() - before;
        assert!(slept >= Duration::from_secs(3600) && slept < Duration::from_secs(3601), "{slept:?}");
    });
}

#[test]
fn who_waits_by_yielding_does_not_stop_the_clock() {
    World::new(1).block_on(async {
        let until = Sim::boot_clock() + Duration::from_millis(1);
        while Sim::boot_clock() < until {
            Sim::yield_now().await;
        }
    });
}

#[test]
#[should_panic(expected = "nothing can ever happen again")]
fn a_deadlock_is_told() {
    let (_kept, never) = LocalOneshot::pair::<()>();
    let _ = World::new(1).block_on(never);
}

#[test]
#[should_panic(expected = "in a task")]
fn a_panic_in_a_task_fails_the_test() {
    World::new(1).block_on(async {
        Sim::spawn(async { panic!("in a task") });
        Sim::sleep(Duration::from_secs(1)).await;
    });
}

/// Tells when it is dropped.
struct Told(Rc<RefCell<Vec<&'static str>>>, &'static str);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.borrow_mut().push(self.1);
    }
}

#[test]
fn a_killed_node_stops_where_it_stands() {
    let world = World::new(1);
    let told = Rc::new(RefCell::new(Vec::new()));
    for (node, name) in [(1, "one"), (2, "two")] {
        let told = told.clone();
        world.spawn_on(node, async move {
            // A child belongs to the node of its parent.
            Sim::spawn(async move {
                let _told = Told(told, name);
                Sim::sleep(Duration::from_secs(10)).await;
            });
        });
    }
    world.block_on(async {
        Sim::sleep(Duration::from_secs(1)).await;
        world.kill(1);
        assert_eq!(*told.borrow(), ["one"]);
        Sim::sleep(Duration::from_secs(8)).await;
        assert_eq!(*told.borrow(), ["one"]);
        Sim::sleep(Duration::from_secs(2)).await;
        assert_eq!(*told.borrow(), ["one", "two"]);
    });
    assert_eq!(world.exits(), []);
}

#[test]
fn a_node_that_aborts_ends_alone() {
    let world = World::new(1);
    let told = Rc::new(RefCell::new(Vec::new()));
    let (kept, ours) = (told.clone(), told.clone());
    world.spawn_on(1, async move {
        let _told = Told(kept, "the other task");
        Sim::sleep(Duration::from_secs(10)).await;
    });
    world.spawn_on(1, async move {
        let _told = Told(ours, "the task itself");
        Sim::sleep(Duration::from_secs(1)).await;
        Sim::abort(ExitCode::DiskFailed, "no disk");
    });
    world.run_for(Duration::from_secs(2));
    told.borrow_mut().sort_unstable();
    assert_eq!(*told.borrow(), ["the other task", "the task itself"]);
    let exits = world.exits();
    assert_eq!(exits.len(), 1);
    assert_eq!((exits[0].node, exits[0].code, exits[0].message.as_str()), (1, ExitCode::DiskFailed, "no disk"));
}

#[test]
fn a_joined_task_of_a_killed_node_is_gone() {
    let world = World::new(1);
    let (hand_over, taken) = LocalOneshot::pair();
    world.spawn_on(1, async move {
        let task = Runtime::spawn(Sim::sleep(Duration::from_secs(10)));
        assert!(hand_over.send(task).is_ok());
        Sim::sleep(Duration::from_secs(10)).await;
    });
    world.block_on(async {
        let task = taken.await.expect("sent");
        world.kill(1);
        task.await.expect_err("killed");
    });
}

#[test]
fn a_jump_of_the_host_clock_is_not_noticed_before_the_check() {
    let world = World::new(1);
    let told = Rc::new(RefCell::new(Vec::new()));
    let theirs = told.clone();
    world.spawn_on(1, async move {
        let before = Sim::wall_clock();
        Sim::sleep(Duration::from_secs(2)).await;
        let drifted = Sim::wall_clock().ahead_of(before + Duration::from_secs(2));
        assert!((0..1_000_000).contains(&drifted), "{drifted} ns");
        theirs.borrow_mut().push(Sim::resync_wall_clock());
        theirs.borrow_mut().push(Sim::resync_wall_clock());
        assert!(Sim::wall_clock() < before);
    });
    world.block_on(async {
        Sim::sleep(Duration::from_secs(1)).await;
        world.jump_wall_clock(1, -10_000_000_000);
        Sim::sleep(Duration::from_secs(2)).await;
    });
    assert_eq!(*told.borrow(), [-10_000_000_000, 0]);
}

#[test]
fn worlds_end_with_all_their_tasks() {
    let told = Rc::new(RefCell::new(Vec::new()));
    let world = World::new(1);
    let theirs = told.clone();
    world.spawn_on(1, async move {
        let _told = Told(theirs, "ended");
        Sim::sleep(Duration::from_secs(10)).await;
    });
    world.run_for(Duration::from_secs(1));
    drop(world);
    assert_eq!(*told.borrow(), ["ended"]);
}

#[test]
fn worlds_do_not_nest() {
    let nested = std::panic::catch_unwind(AssertUnwindSafe(|| {
        World::new(1).block_on(async { World::new(2).block_on(async {}) });
    }));
    assert!(nested.is_err());
    // The failed attempt leaves the thread usable.
    World::new(3).run_for(Duration::from_secs(1));
}

#[test]
fn a_write_of_a_killed_node_arrives_and_may_tear() {
    let world = World::new(1);
    let disk = SimDisk::new(DiskOptions { latency_nanos: (1_000_000, 1_000_000), ..DiskOptions::default() });
    let theirs = disk.clone();
    world.spawn_on(1, async move {
        let file = theirs.open("/log".as_ref(), OpenMode::CreateDirect).await.expect("created");
        theirs.sync_dir("/".as_ref()).await.expect("synced");
        file.write_at(0, AlignedBuf::copy_of(&[7; 64 << 10]), Durability::Durable).await.expect("never seen");
        unreachable!("killed before");
    });
    // Two operations of 1 ms are over, the third is under way.
    world.run_for(Duration::from_micros(2_500));
    world.kill(1);
    assert_eq!(disk.contents("/log".as_ref()).expect("there"), [7; 64 << 10]);
    disk.crash();
    let left = disk.contents("/log".as_ref()).expect("its name was durable");
    let sectors: Vec<bool> = left.chunks(512).map(|sector| sector.iter().all(|byte| *byte == 7)).collect();
    assert!(sectors.contains(&true) && sectors.contains(&false), "128 sectors, each by a toss");
}
