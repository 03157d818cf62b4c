//! Many processes at once on real objects: histories that are right, with lost and failed operations among them.

use kahuna_sim::check::{Action, Conditions, Ending, History, Operation, Reply};
use rand::RngExt;
use rand::rngs::SmallRng;

use super::world::World;

/// What the history is to look like.
#[derive(Clone, Debug)]
pub struct Crowd {
    pub processes: usize,
    /// Names of each kind.
    pub names: usize,
    pub operations: usize,
    /// Operations in a thousand of unknown outcome; half of them take effect, some of these much later.
    pub lost_per_mille: u32,
    pub failed_per_mille: u32,
    /// Whether answers carry revisions.
    pub revisions: bool,
    /// How many values keys have; none: every set writes a value of its own.
    pub values: Option<u64>,
    /// Locks and sequences beside keys.
    pub all_kinds: bool,
}

enum Process {
    Idle,
    Asked(usize),
    Answered(usize, Reply),
}

const STEP_NS: u64 = 10_000;

struct Stage<'a> {
    crowd: &'a Crowd,
    rng: &'a mut SmallRng,
    world: World,
    now_ns: u64,
    operations: Vec<Operation>,
    /// Of unknown outcome, still to take effect.
    ghosts: Vec<usize>,
    /// The newest answer about each key.
    known: Vec<(String, u64)>,
    lines: usize,
}

impl Crowd {
    /// A history that a real set of objects produced, with a last read of every key.
    pub fn history(&self, rng: &mut SmallRng) -> Vec<Operation> {
        let mut stage = Stage {
            crowd: self,
            rng,
            world: World::new(4),
            now_ns: 0,
            operations: Vec::new(),
            ghosts: Vec::new(),
            known: vec![(String::new(), 0); self.names],
            lines: 0,
        };
        let mut processes: Vec<Process> = (0..self.processes).map(|_| Process::Idle).collect();
        while stage.operations.len() < self.operations || processes.iter().any(|one| !matches!(one, Process::Idle)) {
            let number = stage.rng.random_range(0..processes.len());
            let process = std::mem::replace(&mut processes[number], Process::Idle);
            processes[number] = stage.advance(number, process);
        }
        for key in 0..self.names {
            let number = stage.invoke(0, format!("key{key}"), Action::Get);
            stage.end(number, true);
        }
        stage.operations
    }
}

/// A history to check, of operations that were made directly.
pub fn history_of(operations: &[Operation]) -> History {
    let mut history = History::default();
    history.operations = operations.to_vec();
    history
}

impl Stage<'_> {
    fn chance(&mut self, per_mille: u32) -> bool {
        self.rng.random_ratio(per_mille, 1000)
    }

    fn tick(&mut self) -> (u64, usize) {
        self.now_ns += STEP_NS;
        self.lines += 1;
        if !self.ghosts.is_empty() && self.chance(100) {
            let ghost = self.ghosts.swap_remove(self.rng.random_range(0..self.ghosts.len()));
            self.effect(ghost);
        }
        (self.now_ns, self.lines)
    }

    fn invoke(&mut self, process: usize, key: String, action: Action) -> usize {
        let (invoked_ns, line) = self.tick();
        let ending = Ending::Unknown;
        self.operations.push(Operation {
            process: process as u64,
            key,
            action,
            invoked_ns,
            ending,
            line,
            end_line: line,
        });
        self.operations.len() - 1
    }

    fn effect(&mut self, number: usize) -> Reply {
        let operation = &self.operations[number];
        self.world.apply(self.now_ns, &operation.key, &operation.action, self.rng)
    }

    fn end(&mut self, number: usize, now: bool) -> Process {
        let reply = self.effect(number);
        if now { self.answer(number, reply) } else { Process::Answered(number, reply) }
    }

    fn answer(&mut self, number: usize, mut reply: Reply) -> Process {
        let (at_ns, end_line) = self.tick();
        if let Reply::Value { revision, .. }
        | Reply::Set { revision }
        | Reply::NotSet { revision }
        | Reply::Deleted { revision }
        | Reply::NotFound { revision } = &mut reply
        {
            let key = self.operations[number].key.trim_start_matches("key").parse::<usize>().expect("a key's name");
            let known = &mut self.known[key];
            known.1 = revision.unwrap_or(0);
            match (&reply, &self.operations[number].action) {
                (Reply::Value { value, .. }, _) | (Reply::Set { .. }, Action::Set { value, .. }) => {
                    known.0.clone_from(value);
                }
                _ => {}
            }
        }
        if !self.crowd.revisions {
            strip(&mut reply);
        }
        let operation = &mut self.operations[number];
        operation.ending = Ending::Ok { at_ns, reply };
        operation.end_line = end_line;
        Process::Idle
    }

    fn advance(&mut self, number: usize, process: Process) -> Process {
        match process {
            Process::Idle if self.operations.len() >= self.crowd.operations => Process::Idle,
            Process::Idle => {
                let (key, action) = self.ask(number);
                Process::Asked(self.invoke(number, key, action))
            }
            Process::Asked(operation) if self.chance(self.crowd.failed_per_mille) => {
                self.operations[operation].ending = Ending::Fail;
                Process::Idle
            }
            Process::Asked(operation) if self.chance(self.crowd.lost_per_mille) => {
                match self.rng.random_range(0..4) {
                    0 => self.ghosts.push(operation),
                    1 => drop(self.effect(operation)),
                    _ => {}
                }
                Process::Idle
            }
            Process::Asked(operation) => self.end(operation, false),
            Process::Answered(operation, reply) => self.answer(operation, reply),
        }
    }

    fn ask(&mut self, process: usize) -> (String, Action) {
        let name = self.rng.random_range(0..self.crowd.names);
        if self.crowd.all_kinds && self.rng.random_ratio(1, 3) {
            return match self.rng.random_range(0..8) {
                0 => (format!("seq{name}"), Action::Draw { count: self.rng.random_range(1..5), increment: 1 }),
                1 | 2 => (format!("seq{name}"), Action::Draw { count: 1, increment: 1 }),
                other => (format!("lock{name}"), self.ask_lock(process, other)),
            };
        }
        (format!("key{name}"), self.ask_key(name))
    }

    fn ask_lock(&mut self, process: usize, choice: u32) -> Action {
        let owner = format!("owner{process}");
        let ttl_ms = Some(self.rng.random_range(1..4));
        match choice {
            3 | 4 => Action::Acquire { owner, ttl_ms },
            5 => Action::Extend { owner, ttl_ms },
            6 => Action::Release { owner },
            _ => Action::LockInfo,
        }
    }

    fn ask_key(&mut self, name: usize) -> Action {
        let choice = self.rng.random_range(0..20);
        let (known_value, known_revision) = self.known[name].clone();
        let mut conditions = Conditions::default();
        match choice {
            0..8 => return Action::Get,
            8 | 9 if self.crowd.revisions => conditions.revision = Some(known_revision),
            10 | 11 | 18 => conditions.value = Some(known_value),
            12 => conditions.absent = true,
            _ => {}
        }
        let value = match self.crowd.values {
            Some(values) => self.rng.random_range(0..values).to_string(),
            None => format!("v{}", self.operations.len()),
        };
        if choice < 18 { Action::Set { value, conditions } } else { Action::Delete { conditions } }
    }
}

fn strip(reply: &mut Reply) {
    if let Reply::Value { revision, .. }
    | Reply::Set { revision }
    | Reply::NotSet { revision }
    | Reply::Deleted { revision }
    | Reply::NotFound { revision } = reply
    {
        *revision = None;
    }
}
