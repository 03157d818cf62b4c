//! One run from its plan to its report.

use std::{
    fs::{self, File},
    io::BufReader,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use kahuna_client::{Options, blocking::Client};

use super::{
    ChaosError, ChaosReport, Plan, Stop,
    crowd::Crowd,
    hosts::{enter, within},
    leftovers,
    murk::Middleman,
    nemesis::{Episode, Nemesis},
    nodes::Nodes,
    stop::sleep,
    timeline,
};
use crate::{
    check::{self, History, Limits, Verdict},
    finding::Judge,
    recorder::Recorder,
};

const HISTORY: &str = "history.jsonl";
const TIMELINE: &str = "timeline.svg";
const REPORT: &str = "report.json";
/// A cluster that has just been started has so long to form itself and to serve.
const FORMING: Duration = Duration::from_secs(60);
/// How long the whole cluster is watched at the end of each round.
const DEMAND_FOR: Duration = Duration::from_secs(2);
/// Between two looks whether clients have their answers.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What happened besides what clients saw.
#[derive(Debug, Default)]
struct Events {
    episodes: Vec<Episode>,
    rounds: u64,
}

/// Runs `plan` and judges it; `stop` ends it early. Everything that it makes outside of its directory is gone afterwards.
///
/// # Errors
/// See [`ChaosError`]; nothing was tested then.
pub fn run(plan: &Plan, stop: &Stop) -> Result<ChaosReport, ChaosError> {
    let began = Instant::now();
    if !plan.binary.is_file() {
        return Err(ChaosError::NoBinary(plan.binary.display().to_string()));
    }
    leftovers::remove();
    clear(&plan.out)?;
    let history = plan.out.join(HISTORY);
    let recorder = Arc::new(Recorder::to_file(&history).map_err(ChaosError::at(&history))?);
    let nodes = Nodes::new(plan, recorder.clone())?;
    let events = play(plan, &nodes, stop)?;
    recorder.flush();
    let mut report = ChaosReport::new(plan, &events.episodes);
    report.rounds = events.rounds;
    (report.demanded, report.duplicates) = (recorder.demand.begun(), recorder.duplicates());
    report.full_disks = (0..nodes.count()).map(|at| nodes.full_disks(at)).sum();
    (report.refused_for_room, report.full_unnoticed) = nodes.full();
    report.murky_packets = nodes.hosts.middleman.as_ref().map_or(0, Middleman::packets);
    drop(nodes);
    let books = &recorder.books;
    (report.ended_keys, report.scans) = (books.ended_keys(), books.scans());
    (report.reads_back, report.fenced_writes) = (books.reads_back(), books.fenced_writes());
    (report.appended_values, report.existences) = (books.appended_values(), books.existences());
    report.note(&recorder.judge(plan.clock_bounds()));
    if stop.is_asked() {
        report.shortfalls.push("it was ended early".into());
    }
    judge(&history, &mut report, &events.episodes, &plan.out.join(TIMELINE))?;
    report.elapsed_ms = u64::try_from(began.elapsed().as_millis()).expect("a run is short");
    let path = plan.out.join(REPORT);
    let text = serde_json::to_string_pretty(&report).expect("plain fields with string keys always serialise");
    fs::write(&path, text + "\n").map_err(ChaosError::at(&path))?;
    Ok(report)
}

/// Makes the directory, without what an earlier run left there.
fn clear(out: &Path) -> Result<(), ChaosError> {
    fs::create_dir_all(out).map_err(ChaosError::at(out))?;
    for entry in fs::read_dir(out).map_err(ChaosError::at(out))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_ours =
            [HISTORY, TIMELINE, REPORT].contains(&name.as_str()) || name.ends_with(".log") || name.ends_with(".img");
        if is_ours {
            fs::remove_file(entry.path()).map_err(ChaosError::at(&entry.path()))?;
        }
    }
    Ok(())
}

fn play(plan: &Plan, nodes: &Nodes, stop: &Stop) -> Result<Events, ChaosError> {
    let temper = plan.profile.temper();
    let clients = temper.clients_per_group * temper.groups;
    let recorder = nodes.recorder.clone();
    let working = Stop::default();
    let crowd = Crowd::new(plan, nodes.endpoints(), recorder.clone(), working.clone());
    (0..nodes.count()).try_for_each(|at| nodes.start(at))?;
    let host = |number| nodes.hosts.client_host(number);
    within(host(0), || crowd.prepare(clients, FORMING))?;
    if !recorder.findings().is_empty() {
        return Ok(Events::default());
    }
    let events = thread::scope(|scope| {
        let work = |number| {
            let crowd = crowd.clone();
            scope.spawn(move || -> Result<(), ChaosError> {
                enter(host(number))?;
                crowd.work(number)
            })
        };
        let workers: Vec<_> = (0..clients).map(work).collect();
        let events = within(host(0), || rounds(plan, nodes, stop));
        working.ask();
        for worker in workers {
            match worker.join() {
                Ok(done) => done?,
                Err(_) => recorder.problem(Judge::Panic, "a client panicked".into()),
            }
        }
        events
    })?;
    within(host(0), || crowd.read_all(clients))?;
    nodes.look()?;
    thread::scope(|scope| {
        (0..nodes.count()).for_each(|at| drop(scope.spawn(move || nodes.stop(at))));
    });
    Ok(events)
}

/// Faults, and whole clusters in between, until the time is up.
fn rounds(plan: &Plan, nodes: &Nodes, stop: &Stop) -> Result<Events, ChaosError> {
    let began = Instant::now();
    let mut nemesis = Nemesis::new(plan, nodes, stop.clone());
    let mut events = Events::default();
    while began.elapsed() < plan.duration && !stop.is_asked() {
        let left = plan.duration.saturating_sub(began.elapsed());
        events.episodes.extend(nemesis.rage(plan.profile.temper().round.min(left))?);
        if !stop.pause(plan.settle) {
            break;
        }
        demand(plan, nodes, stop);
        nodes.look()?;
        events.rounds += 1;
        eprintln!(
            "{:.0} s, round {}: {} answered, {} faults, {} problems",
            began.elapsed().as_secs_f64(),
            events.rounds,
            nodes.recorder.acks(),
            events.episodes.len(),
            nodes.recorder.findings().len()
        );
    }
    Ok(events)
}

/// The cluster is whole: what begins now is answered in time, by each node.
fn demand(plan: &Plan, nodes: &Nodes, stop: &Stop) {
    let recorder = &nodes.recorder;
    let late = |text| recorder.problem(Judge::Liveness, text);
    recorder.demand.set(Some(plan.answer_within));
    stop.pause(DEMAND_FOR);
    recorder.demand.set(None);
    for endpoint in nodes.endpoints() {
        let options =
            Options { timeout: plan.answer_within, follow_leaders: false, ..Options::new([endpoint.clone()]) };
        match Client::new(options).map(|client| client.get("probe")) {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => late(format!("the cluster is whole, and {endpoint} does not serve: {error}")),
            Err(error) => late(format!("a client does not start: {error}")),
        }
    }
    let until = Instant::now() + plan.answer_within * 3;
    while recorder.demand.open() > 0 {
        if Instant::now() > until {
            return late(format!("operations without an end: {}", recorder.demand.open()));
        }
        sleep(LOOK_EVERY);
    }
}

/// Judges what is in the file, and draws it.
fn judge(path: &Path, report: &mut ChaosReport, episodes: &[Episode], picture: &Path) -> Result<(), ChaosError> {
    let file = File::open(path).map_err(ChaosError::at(path))?;
    match History::read(BufReader::new(file)) {
        Ok(history) => {
            let limits = Limits { min_reads_with_value: 20, min_concurrent_pairs: 20, ..Limits::default() };
            report.judge(&check::check(&history, &limits));
            let drawn = timeline::draw(&history, episodes);
            fs::write(picture, drawn).map_err(ChaosError::at(picture))
        }
        Err(error) => {
            report.problems.push(format!("the history is malformed: {error}"));
            report.outcome = Verdict::Invalid;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::{
        chaos::Profile,
        check::{Event, Kind, Op, Outcome},
    };

    const TTL_MS: u64 = 10_000;

    /// Report on a history in which a lock is granted for ten seconds, and to another client this long after the first
    /// request: recorded and judged as in a run.
    fn judged(granted_again_after: Duration) -> ChaosReport {
        let dir = tempfile::tempdir().expect("a directory");
        let plan = Plan {
            seed: 1,
            nodes: 3,
            profile: Profile::Quiet,
            duration: Duration::ZERO,
            binary: PathBuf::new(),
            out: dir.path().to_owned(),
            shards: 1,
            partitions: 1,
            heartbeat: Duration::ZERO,
            election: (Duration::ZERO, Duration::ZERO),
            answer_within: Duration::ZERO,
            settle: Duration::ZERO,
            skew_ms: 0,
        };
        let path = plan.out.join(HISTORY);
        let recorder = Recorder::to_file(&path).expect("a file");
        let again_ns = u64::try_from(granted_again_after.as_nanos()).expect("seconds");
        for (process, asked_ns) in [(1, 1_000), (2, 1_000 + again_ns)] {
            let mut asked = Event::new(process, Kind::Invoke, Op::LockAcquire, "lock", asked_ns);
            (asked.owner, asked.ttl_ms) = (Some(format!("owner-{process}")), Some(TTL_MS));
            let mut granted = asked.completion(Kind::Ok, asked_ns + 1_000);
            (granted.outcome, granted.token) = (Some(Outcome::Acquired), Some(process));
            recorder.begin(&asked);
            recorder.end(&granted);
        }
        recorder.flush();
        let mut report = ChaosReport::new(&plan, &[]);
        judge(&path, &mut report, &[], &plan.out.join(TIMELINE)).expect("the directory is there");
        report
    }

    /// Claim: a lease that ends early makes a run invalid, one that lasts does not.
    #[test]
    fn a_broken_lease_is_seen() {
        let lease = Duration::from_millis(TTL_MS);
        let broken = judged(lease - Duration::from_millis(1));
        assert_eq!((broken.outcome, broken.problems.len()), (Verdict::Invalid, 1), "{:?}", broken.problems);
        assert!(broken.problems[0].starts_with("lock \"lock\""), "{:?}", broken.problems);
        let sound = judged(lease);
        assert_eq!((sound.outcome, sound.problems), (Verdict::Unknown, Vec::new()), "nothing but too short");
    }
}
