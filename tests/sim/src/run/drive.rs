//! One run from its seed to its report.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::{Either, select};
use kahuna_shards::env::Env;

use super::{Plan, RunReport, watch::Watch};
use crate::{
    Sim, World,
    check::{self, Event, History, Limits, Verdict},
    claims::{Habits, Naming, Process},
    cluster::{Cluster, SimAsker},
    finding::{Finding, Judge},
    nemesis::{Clients, Nemesis},
    recorder::Recorder,
};

/// After the last fault: how long until everything must be answered, how long it is watched, and how soon each answer must
/// come then.
const SETTLE: Duration = Duration::from_secs(3);
const DEMAND_FOR: Duration = Duration::from_secs(1);
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// A cluster that has just been started has so long to form itself and to serve.
const FORMING: Duration = Duration::from_secs(30);
/// What clients work on, and how many bytes a large value has more than others.
const KEYS: u64 = 8;
const LOCKS: u64 = 3;
const LARGE_BYTES: usize = 3_000;
/// How long clients may take to finish, and replicas to agree.
const END_LIMIT: Duration = Duration::from_secs(30);
const AGREE_LIMIT: Duration = Duration::from_secs(60);
/// What clocks may seem apart for want of a fast network.
const CLOCK_BLUR: Duration = Duration::from_millis(25);
/// More than there are places for clients.
const PLACES: u64 = 100;
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The clients of a run, each in a place of its own.
struct Crowd<'a> {
    cluster: &'a Cluster,
    plan: &'a Plan,
    recorder: Arc<Recorder>,
    stop: Rc<Cell<bool>>,
    /// Who works in which place.
    working: Rc<RefCell<BTreeMap<u64, u64>>>,
    /// How many processes each place has had.
    starts: RefCell<BTreeMap<u64, u64>>,
}

impl<'a> Crowd<'a> {
    fn new(cluster: &'a Cluster, plan: &'a Plan) -> Self {
        let recorder = Arc::new(Recorder::in_memory(Sim::boot_clock));
        let (stop, working) = (Rc::default(), Rc::default());
        Self { cluster, plan, recorder, stop, working, starts: RefCell::default() }
    }

    /// Starts a process in `place`, which does `work`.
    fn start<F: Future<Output = ()> + 'static>(&self, place: u64, work: impl FnOnce(Process<SimAsker>) -> F + 'static) {
        let start = *self.starts.borrow_mut().entry(place).and_modify(|starts| *starts += 1).or_default();
        // Whatever happens in other places, it is the same one.
        let number = start * PLACES + place;
        let (recorder, working) = (self.recorder.clone(), self.working.clone());
        let (endpoints, rng) = (self.cluster.shape().endpoints(), self.plan.client_rng(number));
        let habits = Habits {
            think_ms: (1, self.plan.think_ms),
            workloads: self.plan.workloads(),
            naming: Naming::Same,
            keys: KEYS,
            locks: LOCKS,
            large_bytes: LARGE_BYTES,
            patience_on_demand: Duration::ZERO,
        };
        working.borrow_mut().insert(place, number);
        self.cluster.world().spawn_on(Cluster::client_node(place), async move {
            work(Process::new(number, SimAsker::new(endpoints), recorder, habits, rng)).await;
            working.borrow_mut().remove(&place);
        });
    }

    /// Starts a process that works until it is stopped.
    fn start_client(&self, place: u64) {
        let stop = self.stop.clone();
        self.start(place, |mut process| async move {
            while !stop.get() {
                process.step().await;
            }
        });
    }

    /// Ends the process of that place where it stands, and starts another one.
    fn restart_client(&self, place: u64) {
        if self.plan.clients().all(|other| other != place) {
            return;
        }
        self.cluster.world().kill(Cluster::client_node(place));
        let ended = self.working.borrow_mut().remove(&place);
        ended.into_iter().for_each(|number| self.recorder.forget(number));
        self.start_client(place);
    }

    /// Waits until no client works any more; false if that takes too long.
    async fn ended(&self) -> bool {
        reached(END_LIMIT, || self.working.borrow().is_empty()).await
    }
}

/// Whether `goal` holds within `limit`.
async fn reached(limit: Duration, goal: impl Fn() -> bool) -> bool {
    let until = Sim::boot_clock() + limit;
    while !goal() {
        if Sim::boot_clock() > until {
            return false;
        }
        Sim::sleep(LOOK_EVERY).await;
    }
    true
}

/// Runs `plan` and judges it. Also gives the history, which a failure is studied with.
pub fn run(plan: &Plan) -> (RunReport, Vec<Event>) {
    let began = Instant::now();
    let world = World::new(plan.seed);
    let cluster = Cluster::new(&world, plan.shape.clone());
    let watch = Watch::new(&cluster);
    let crowd = Rc::new(Crowd::new(&cluster, plan));
    let (driven, counting) = (crowd.clone(), crowd.recorder.clone());
    let clients = Clients {
        count: plan.clients,
        acks: Rc::new(move || counting.acks()),
        restart: Rc::new(move |place| driven.restart_client(place)),
    };
    let nemesis = Nemesis::new(&cluster, clients, plan.nemesis_rng(), plan.clocks, plan.only_faults.clone());
    let (mut problems, virtual_ms) = world.block_on(async {
        let began = Sim::boot_clock();
        let problems = match select(pin!(watch.run()), pin!(play(&crowd, &nemesis, &watch))).await {
            Either::Left(((), _)) => Vec::new(),
            Either::Right((problems, _)) => problems,
        };
        (problems, u64::try_from((Sim::boot_clock() - began).as_millis()).expect("a run is short"))
    });
    problems.extend(watch.problems());
    problems.extend(crowd.recorder.judge(plan.clock_bounds()));
    problems.extend(nemesis.late().into_iter().map(|text| Finding::new(Judge::Liveness, text)));
    problems.extend(watch.ends(|node, at| nemesis.excuses(node, at)));
    problems.extend(plan.judge_forbidden(&nemesis.struck()));
    let events = crowd.recorder.events();
    let mut report = RunReport {
        seed: plan.seed,
        outcome: Verdict::Unknown,
        trace: format!("{:016x}", world.trace()),
        nodes: plan.shape.nodes,
        partitions: plan.shape.partitions,
        acks: 0,
        unknown: 0,
        failed: 0,
        duplicates: crowd.recorder.duplicates(),
        terms: watch.terms(),
        snapshots: watch.snapshots(),
        installs: watch.installs(),
        equal_states: watch.equal_states(),
        ended_keys: crowd.recorder.books.ended_keys(),
        scans: crowd.recorder.books.scans(),
        reads_back: crowd.recorder.books.reads_back(),
        fenced_writes: crowd.recorder.books.fenced_writes(),
        appended_values: crowd.recorder.books.appended_values(),
        existences: crowd.recorder.books.existences(),
        faults: Default::default(),
        struck: Vec::new(),
        virtual_ms,
        elapsed_ms: 0,
        problems,
        shortfalls: Vec::new(),
    };
    match read_history(&events) {
        Ok(history) => {
            let limits = Limits { min_reads_with_value: 20, min_concurrent_pairs: 20, ..Limits::default() };
            report.judge(&check::check(&history, &limits), nemesis.struck());
        }
        Err(finding) => {
            report.problems.push(finding);
            report.outcome = Verdict::Invalid;
        }
    }
    report.elapsed_ms = u64::try_from(began.elapsed().as_millis()).expect("a run is short");
    (report, events)
}

/// What the clients saw, as a history.
pub(super) fn read_history(events: &[Event]) -> Result<History, Finding> {
    History::from_events(events).map_err(|error| Finding::new(Judge::History, error.to_string()))
}

/// The run itself; what went wrong on the way.
async fn play(crowd: &Crowd<'_>, nemesis: &Nemesis<'_>, watch: &Watch<'_>) -> Vec<Finding> {
    let Crowd { cluster, plan, .. } = crowd;
    let mut problems = Vec::new();
    let late = |text: String| Finding::new(Judge::Liveness, text);
    for (node, shards) in plan.shape.numbers().zip(&plan.shards) {
        cluster.start_with_shards(node, *shards);
    }
    crowd.start(0, |mut process| async move { process.prepare(FORMING).await });
    if !crowd.ended().await {
        problems.push(late(format!("the cluster does not form: {}", watch.describe())));
        return problems;
    }
    for place in plan.clients() {
        crowd.start_client(place);
    }
    nemesis.rage(plan.faults_for).await;
    Sim::sleep(SETTLE).await;
    crowd.recorder.demand.set(Some(ANSWER_WITHIN));
    Sim::sleep(DEMAND_FOR).await;
    crowd.stop.set(true);
    if !crowd.ended().await {
        problems.push(late(format!("operations without an end: {:?}", crowd.recorder.open())));
    }
    if crowd.recorder.demand.begun() == 0 && plan.has_all_clients() {
        problems.push(late("the cluster is whole, and nobody asked it anything".into()));
    }
    if !reached(AGREE_LIMIT, || watch.look_at_states()).await {
        problems.push(late(format!("the replicas do not come to agree: {}", watch.describe())));
    }
    // Each is within half of the skew of their median, as well as a round trip shows it.
    let near = plan.clock_bounds().skew + CLOCK_BLUR;
    if !reached(AGREE_LIMIT, || watch.clocks_apart().is_some_and(|apart| apart <= near)).await {
        problems.push(late(format!("the clocks that the nodes go by differ by {:?}", watch.clocks_apart())));
    }
    if !reached(AGREE_LIMIT, || watch.leaders_are_told()).await {
        problems.push(late(format!("nodes do not tell their clients who leads: {}", watch.describe_told())));
    }
    crowd.start(plan.clients, |mut process| async move { process.read_all().await });
    if !crowd.ended().await {
        problems.push(late("the last reads are not answered".into()));
    }
    problems
}
