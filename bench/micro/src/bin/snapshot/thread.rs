//! What a thread has used, and what it spent a while with.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use kahuna_microbench::ThreadClock;
use kahuna_shards::env::Env;
use kahuna_shards::linux::Linux;

use crate::ticks::{PERIOD, Ticks};

/// Two looks at the clock that are further apart than this had something else in between.
const LOOK: Duration = Duration::from_micros(50);

/// The meters of one thread.
pub struct Meters {
    ran: ThreadClock,
    /// None where the system lets nobody sample.
    ticks: Option<Ticks>,
    queue: RunQueue,
}

/// What they showed at one moment.
#[derive(Clone, Copy, Default)]
pub struct Reading {
    /// The clock that goes on whatever happens.
    clock: Duration,
    /// Processor time, in user and kernel mode. Where the kernel hears from its host what that took (paravirtual time
    /// accounting), stolen time is not in it.
    ran: Duration,
    /// Ticks of that time that were seen.
    ticks: Option<u64>,
    /// Time in which the thread was ready and others of this machine had its CPU.
    waited: Duration,
    /// Pages touched for the first time.
    faults: u64,
    /// Times the thread gave its CPU up by itself: it waited in a system call.
    waits: u64,
}

/// What became of the time between two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// When it ended, as time since boot: to find it in a trace.
    pub ended: Duration,
    /// As the clock has it.
    pub whole: Duration,
    /// The thread ran, or seemed to.
    pub ran: Duration,
    /// Of that, the time in which its virtual processor stood still for certain: see [`Ticks`].
    pub stood: Duration,
    /// It waited in a system call. Not less than that: what the host took meanwhile is counted here too.
    pub blocked: Duration,
    /// It was ready, and others of this machine had its CPU.
    pub waited: Duration,
    /// Pages touched for the first time.
    pub faults: u64,
    /// Waits in system calls.
    pub waits: u64,
}

impl Meters {
    /// Of the calling thread; read them there.
    pub fn of_this_thread() -> Self {
        Self { ran: ThreadClock::start(), ticks: Ticks::of_this_thread().ok(), queue: RunQueue::of_this_thread() }
    }

    /// All of them, as of one moment.
    pub fn read(&self) -> Reading {
        loop {
            let clock = Linux::boot_clock();
            let (faults, waits) = usage();
            let ticks = self.ticks.as_ref().map(Ticks::count);
            let (ran, waited) = (self.ran.elapsed(), self.queue.waited());
            let reading = Reading { clock, ran, ticks, waited, faults, waits };
            if Linux::boot_clock() - clock < LOOK {
                return reading;
            }
        }
    }
}

impl Spent {
    /// Since `before`, until `after`.
    pub fn between(before: &Reading, after: &Reading) -> Self {
        let (whole, ran) = (after.clock - before.clock, after.ran - before.ran);
        let (waited, waits) = (after.waited - before.waited, after.waits - before.waits);
        let blocked = if waits == 0 { Duration::ZERO } else { whole.saturating_sub(ran + waited) };
        // Between so many ticks and one more lies less than that many periods.
        let seen = after.ticks.zip(before.ticks).map(|(after, before)| PERIOD * (after - before + 1) as u32);
        let stood = seen.map_or(Duration::ZERO, |seen| ran.saturating_sub(seen));
        Self { ended: after.clock, stood, whole, ran, blocked, waited, faults: after.faults - before.faults, waits }
    }

    /// What the thread itself did with it. The rest is what other threads and the host took.
    pub fn own(&self) -> Duration {
        self.ran - self.stood + self.blocked
    }
}

/// Faults of the calling thread that needed no disk, and how often it gave its CPU up by itself.
fn usage() -> (u64, u64) {
    // SAFETY: the structure is plain numbers, for which zeros will do, and the kernel writes nothing but it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
        usage
    };
    (usage.ru_minflt as u64, usage.ru_nvcsw as u64)
}

/// How long a thread was ready to run and had no CPU.
struct RunQueue(File);

impl RunQueue {
    fn of_this_thread() -> Self {
        Self(File::open("/proc/thread-self/schedstat").expect("every Linux has it"))
    }

    /// Since the thread began.
    fn waited(&self) -> Duration {
        let mut text = [0; 96];
        let read = self.0.read_at(&mut text, 0).expect("the thread lives");
        let text = std::str::from_utf8(&text[..read]).expect("numbers");
        // Time on a CPU, time waiting for one, turns.
        let waited = text.split_ascii_whitespace().nth(1).and_then(|nanos| nanos.parse().ok());
        Duration::from_nanos(waited.expect("three numbers"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::thread::{CpuSet, NanosleepRelativeResult, Timespec, nanosleep, sched_getaffinity, sched_setaffinity};

    use super::*;

    const WHILE: Duration = Duration::from_millis(3);

    /// What `work` spends, as its own thread's meters have it.
    fn spent(work: impl FnOnce()) -> Spent {
        let meters = Meters::of_this_thread();
        let before = meters.read();
        work();
        Spent::between(&before, &meters.read())
    }

    fn spin() {
        let clock = ThreadClock::start();
        while clock.elapsed() < WHILE {}
    }

    #[test]
    fn work_counts_as_its_own() {
        // The host may take some of it, but not always.
        let worked = |_| {
            let spent = spent(spin);
            assert!(spent.ran >= WHILE && spent.whole >= WHILE, "{spent:?}");
            spent.own() >= WHILE - PERIOD
        };
        assert!((0..1000).any(worked));
    }

    #[test]
    fn a_wait_in_a_system_call_counts_as_its_own() {
        let asked = Timespec { tv_sec: 0, tv_nsec: WHILE.as_nanos() as i64 };
        let spent = spent(|| assert!(matches!(nanosleep(&asked), NanosleepRelativeResult::Ok)));
        assert!(spent.waits > 0 && spent.blocked + spent.ran >= WHILE - LOOK, "{spent:?}");
    }

    #[test]
    fn a_wait_for_the_cpu_does_not() {
        let here = sched_getaffinity(None).expect("this thread is somewhere");
        let cpu = (0..CpuSet::MAX_CPU).find(|&cpu| here.is_set(cpu)).expect("on some CPU");
        let mut only = CpuSet::new();
        only.set(cpu);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                sched_setaffinity(None, &only).expect("one of ours");
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
            sched_setaffinity(None, &only).expect("one of ours");
            let pushed_away = loop {
                let spent = spent(spin);
                if spent.waited >= WHILE && spent.waits == 0 {
                    break spent;
                }
            };
            over.store(true, Ordering::Relaxed);
            assert_eq!(pushed_away.own() + pushed_away.stood, pushed_away.ran);
            assert!(pushed_away.own() + pushed_away.waited <= pushed_away.whole + 2 * LOOK, "{pushed_away:?}");
        });
    }

    #[test]
    fn what_is_missing_is_the_hosts_unless_the_thread_waited() {
        let ms = Duration::from_millis;
        let before = Reading { clock: ms(5), ran: ms(1), ticks: None, waited: ms(2), faults: 7, waits: 3 };
        let after = Reading { clock: ms(25), ran: ms(2), ticks: None, waited: ms(6), faults: 9, waits: 3 };
        let stolen = Spent::between(&before, &after);
        assert_eq!((stolen.whole, stolen.blocked, stolen.own(), stolen.faults), (ms(20), ms(0), ms(1), 2));
        let blocked = Spent::between(&before, &Reading { waits: 4, ..after });
        assert_eq!((blocked.blocked, blocked.own(), blocked.waits), (ms(15), ms(16), 1));
    }
    #[test]
    fn what_is_missing_between_two_ticks_is_the_hosts() {
        let before = Reading { ticks: Some(70), ..Reading::default() };
        let after = |ticks| Reading { clock: 20 * PERIOD, ran: 10 * PERIOD, ticks: Some(ticks), ..Reading::default() };
        let [all, most, few] = [80, 79, 72].map(|ticks| Spent::between(&before, &after(ticks)));
        assert_eq!((all.stood, most.stood, few.stood), (Duration::ZERO, Duration::ZERO, 7 * PERIOD));
        assert_eq!((all.own(), few.own()), (10 * PERIOD, 3 * PERIOD));
    }
}
