//! One run from its seed to its report.

use std::{
    cell::Cell,
    pin::pin,
    rc::Rc,
    time::{Duration, Instant},
};

use futures_util::future::{Either, select};
use kahuna_shards::env::Env;

use super::{Plan, RunReport, watch::Watch};
use crate::{
    Sim, World,
    check::{self, Event, History, Limits, Verdict},
    cluster::Cluster,
    finding::{Finding, Judge},
    nemesis::Nemesis,
    workload::{Process, Recorder},
};

/// After the last fault: how long until everything must be answered, how long it is watched, and how soon each answer must
/// come then.
const SETTLE: Duration = Duration::from_secs(3);
const DEMAND_FOR: Duration = Duration::from_secs(1);
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// How long clients may take to come to an end, and replicas to agree.
const END_LIMIT: Duration = Duration::from_secs(30);
const AGREE_LIMIT: Duration = Duration::from_secs(20);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What the clients of a run share with its driver.
struct Crowd {
    recorder: Rc<Recorder>,
    stop: Rc<Cell<bool>>,
    running: Rc<Cell<u64>>,
}

impl Crowd {
    /// Starts client `number`, which does `work`.
    fn start<F: Future<Output = ()> + 'static>(
        &self,
        cluster: &Cluster,
        plan: &Plan,
        number: u64,
        work: impl FnOnce(Process) -> F + 'static,
    ) {
        let (recorder, running) = (self.recorder.clone(), self.running.clone());
        let (endpoints, rng, think_ms) = (cluster.shape().endpoints(), plan.client_rng(number), plan.think_ms);
        running.set(running.get() + 1);
        cluster.world().spawn_on(Cluster::client_node(number), async move {
            work(Process::new(number, endpoints, recorder, rng, think_ms)).await;
            running.set(running.get() - 1);
        });
    }

    /// Waits until no client works any more; false if that takes too long.
    async fn ended(&self) -> bool {
        reached(END_LIMIT, || self.running.get() == 0).await
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
    let crowd = Crowd { recorder: Rc::default(), stop: Rc::default(), running: Rc::default() };
    let (acks, without) = (crowd.recorder.acks(), plan.without_faults.clone());
    let nemesis = Nemesis::new(&cluster, plan.clients, acks, plan.nemesis_rng(), without);
    let (mut problems, virtual_ms) = world.block_on(async {
        let began = Sim::boot_clock();
        let problems = match select(pin!(watch.run()), pin!(play(plan, &cluster, &nemesis, &watch, &crowd))).await {
            Either::Left(((), _)) => Vec::new(),
            Either::Right((problems, _)) => problems,
        };
        (problems, u64::try_from((Sim::boot_clock() - began).as_millis()).expect("a run is short"))
    });
    problems.extend(watch.problems());
    problems.extend(crowd.recorder.problems());
    problems.extend(nemesis.late().into_iter().map(|text| Finding::new(Judge::Liveness, text)));
    problems.extend(watch.ends(|node, at| nemesis.excuses(node, at)));
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
        faults: Default::default(),
        struck: Vec::new(),
        virtual_ms,
        elapsed_ms: 0,
        problems,
        shortfalls: Vec::new(),
    };
    match History::from_events(&events) {
        Ok(history) => {
            let limits = Limits { min_reads_with_value: 20, min_concurrent_pairs: 20, ..Limits::default() };
            report.judge(&check::check(&history, &limits), nemesis.struck());
        }
        Err(error) => {
            report.problems.push(Finding::new(Judge::History, error.to_string()));
            report.outcome = Verdict::Invalid;
        }
    }
    report.elapsed_ms = u64::try_from(began.elapsed().as_millis()).expect("a run is short");
    (report, events)
}

/// The run itself; what went wrong on the way.
async fn play(plan: &Plan, cluster: &Cluster, nemesis: &Nemesis<'_>, watch: &Watch<'_>, crowd: &Crowd) -> Vec<Finding> {
    let mut problems = Vec::new();
    let late = |text: String| Finding::new(Judge::Liveness, text);
    for (node, shards) in plan.shape.numbers().zip(&plan.shards) {
        cluster.start_with_shards(node, *shards);
    }
    crowd.start(cluster, plan, 0, |mut process| async move { process.prepare().await });
    if !crowd.ended().await {
        problems.push(late(format!("the cluster does not form: {}", watch.describe())));
        return problems;
    }
    for number in 0..plan.clients {
        let stop = crowd.stop.clone();
        crowd.start(cluster, plan, number, |mut process| async move {
            while !stop.get() {
                process.step().await;
            }
        });
    }
    nemesis.rage(plan.faults_for).await;
    Sim::sleep(SETTLE).await;
    crowd.recorder.demand_answers(ANSWER_WITHIN);
    Sim::sleep(DEMAND_FOR).await;
    crowd.stop.set(true);
    if !crowd.ended().await {
        problems.push(late(format!("operations without an end: {:?}", crowd.recorder.open())));
    }
    if crowd.recorder.demanded() == 0 {
        problems.push(late("the cluster is whole, and nobody asked it anything".into()));
    }
    if !reached(AGREE_LIMIT, || watch.look_at_states()).await {
        problems.push(late(format!("the replicas do not come to agree: {}", watch.describe())));
    }
    crowd.start(cluster, plan, plan.clients, |mut process| async move { process.read_all().await });
    if !crowd.ended().await {
        problems.push(late("the last reads are not answered".into()));
    }
    problems
}
