//! The real log on the memory disk, killed and powered off at any moment: what comes back is always what was appended up
//! to some point, and that point is never before the last acknowledged record.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    path::Path,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use kahuna_shards::env::Env;
use kahuna_sim::{DiskOptions, Sim, SimDisk, SimRng, SimRuntime, World};
use kahuna_wal::{GroupId, GroupLog, Log, LogEntry, LogIdentity, LogOptions, Record};
use openraft::AsyncRuntime;

const DIR: &str = "/data/log";
const NODE: u64 = 1;
const GROUPS: GroupId = 3;
/// Lives of the node in one run, each ended by a kill, half of them by a power loss.
const LIVES: u64 = 10;

type Groups = BTreeMap<GroupId, GroupLog>;

fn identity() -> LogIdentity {
    LogIdentity { cluster: [7; 16], incarnation: 1, shard: 0 }
}

/// What one record does, said once more in the plainest way.
fn apply(groups: &mut Groups, group: GroupId, record: &Record) {
    let log = groups.entry(group).or_default();
    match record.clone() {
        Record::Entry { index, meta, payload } => {
            log.entries.retain(|entry| entry.index < index);
            log.entries.push_back(LogEntry { index, meta, payload });
        }
        Record::Vote(vote) => log.vote = Some(vote),
        Record::Committed(committed) => log.committed = Some(committed),
        Record::Truncate { from } => log.entries.retain(|entry| entry.index < from),
        Record::Purge { upto, log_id } => {
            log.entries.retain(|entry| entry.index > upto);
            log.purged = Some((upto, log_id));
        }
        Record::Snapshot(pointer) => log.snapshot = Some(pointer),
        Record::GroupCreated(facts) => log.created = Some(facts),
        Record::GroupDestroyed => drop(groups.remove(&group)),
        Record::Moved { .. } => unreachable!("only the log itself copies entries"),
    }
}

/// What the node has told the outside: it survives the node.
#[derive(Default)]
struct Told {
    /// What was there when the log was last opened.
    base: RefCell<Groups>,
    /// What is there now, with all that was appended since.
    now: RefCell<Groups>,
    /// What was appended since, in order.
    appended: RefCell<Vec<(GroupId, Record)>>,
    /// How many of those are acknowledged.
    acknowledged: Cell<usize>,
    /// How often a log was opened, and how many records were acknowledged over all lives.
    opened: Cell<u64>,
    total: Cell<usize>,
}

impl Told {
    /// Checks what an opened log holds, and goes on from there.
    fn reopened(&self, found: Groups) {
        let mut expected = self.base.borrow().clone();
        let appended = self.appended.take();
        let mut matches = false;
        for (count, (group, record)) in appended.iter().enumerate() {
            matches |= count >= self.acknowledged.get() && expected == found;
            apply(&mut expected, *group, record);
        }
        matches |= expected == found;
        let acknowledged = self.acknowledged.take();
        assert!(matches, "no state after {acknowledged} to {} records: {found:#?}", appended.len());
        self.total.set(self.total.get() + acknowledged);
        self.opened.set(self.opened.get() + 1);
        self.now.replace(found.clone());
        self.base.replace(found);
    }

    fn append(&self, group: GroupId, record: &Record) {
        apply(&mut self.now.borrow_mut(), group, record);
        self.appended.borrow_mut().push((group, record.clone()));
    }
}

/// Something a group might append next.
fn draw(rng: &SimRng, group: &GroupLog) -> Vec<Record> {
    let stamp = Bytes::copy_from_slice(&rng.draw().to_le_bytes());
    let last = group.last_index().unwrap_or(0);
    let purged = group.purged.as_ref().map_or(0, |(upto, _)| *upto);
    let entry = |index| Record::Entry {
        index,
        meta: [rng.draw() as u8; 16],
        payload: Bytes::from(vec![rng.draw() as u8; rng.below(3_000) as usize]),
    };
    match rng.below(12) {
        0 => vec![Record::Vote(stamp)],
        1 => vec![Record::Committed(stamp), entry(last + 1)],
        2 if last > purged => vec![Record::Truncate { from: rng.between(purged + 1, last) }],
        3 if last > purged => vec![entry(rng.between(purged + 1, last))],
        4 if last > purged => vec![Record::Purge { upto: rng.between(purged + 1, last), log_id: stamp }],
        5 => vec![Record::Snapshot(stamp)],
        _ => (1..=rng.between(1, 4)).map(|next| entry(last + next)).collect(),
    }
}

async fn live(disk: SimDisk, told: Rc<Told>) {
    let opened = Log::open(disk, Path::new(DIR), identity(), LogOptions::small()).await;
    let (log, recovered) = opened.expect("no damage, only losses");
    told.reopened(recovered.groups);
    let writer = log.clone();
    Sim::spawn(async move { writer.run().await.expect("the disk works") });
    for group in 1..=GROUPS {
        let (log, told) = (log.clone(), told.clone());
        Sim::spawn(async move {
            let rng = SimRuntime::thread_rng();
            loop {
                let records = draw(&rng, told.now.borrow().get(&group).unwrap_or(&GroupLog::default()));
                records.iter().for_each(|record| told.append(group, record));
                let upto = told.appended.borrow().len();
                let theirs = told.clone();
                log.append(group, records, move |outcome| {
                    outcome.expect("the disk works");
                    assert!(theirs.acknowledged.replace(upto) <= upto, "acknowledged in order");
                });
                match rng.below(4) {
                    0 => {}
                    1 => log.seal_if_idle(),
                    _ => {}
                }
                Sim::sleep(Duration::from_micros(rng.below(1_000))).await;
            }
        });
    }
}

fn run(seed: u64) -> (u64, usize) {
    let world = World::new(seed);
    let rng = SimRng::new(seed, 99);
    let disk = SimDisk::new(DiskOptions { seed, ..DiskOptions::default() });
    let told = Rc::new(Told::default());
    for _ in 0..LIVES {
        world.spawn_on(NODE, live(disk.clone(), told.clone()));
        // Often within the opening, which takes a few milliseconds.
        world.run_for(Duration::from_micros(rng.between(100, 30_000)));
        world.kill(NODE);
        if rng.below(2) == 0 {
            disk.crash();
        }
    }
    world.spawn_on(NODE, live(disk, told.clone()));
    world.run_for(Duration::from_millis(50));
    (told.opened.get(), told.total.get())
}

#[test]
fn the_log_comes_back_with_all_it_acknowledged() {
    let (mut opened, mut acknowledged) = (0, 0);
    // 125 dies between an opening's first rename and its first batch, and again.
    for seed in (0..40).chain([125]) {
        let (lives, records) = run(seed);
        opened += lives;
        acknowledged += records;
    }
    assert!(opened > 200 && acknowledged > 2_000, "too little happened: {opened} openings, {acknowledged} records");
}
