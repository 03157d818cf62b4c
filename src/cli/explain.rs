//! `explain`: the meaning of an error code, or of a process's exit code, and what to do.

use kahuna_client::protocol::{Advice, ErrorCode, Fate};

use super::exit::{Exit, Failure};
use super::output::{Format, Record, print};

/// Prints what is known of a code, given by its name or number; an exit code is given as `exit-65`.
pub fn run(code: &str, format: Format) -> Result<Exit, Failure> {
    if let Some(exit) = code.strip_prefix("exit-") {
        return explain_exit(exit, format);
    }
    let by_number = code.parse().ok().and_then(ErrorCode::from_number);
    let by_name = || ErrorCode::ALL.iter().copied().find(|known| known.name().eq_ignore_ascii_case(code));
    let Some(found) = by_number.or_else(by_name) else {
        let all: Vec<&str> = ErrorCode::ALL.iter().map(|known| known.name()).collect();
        return Err(Failure::Usage(format!("no error is called {code:?}; there are {}", all.join(", "))));
    };
    let exit = Exit::of_code(found);
    let record = Record::new("error")
        .field("code", found.name())
        .field("number", found as u16)
        .field("fate", fate(found.fate()))
        .field("retry", advice(found.advice()))
        .field("exit_code", exit as u8)
        .field("exit_meaning", exit.meaning())
        .field("meaning", meaning(found));
    print(&record, format)?;
    Ok(Exit::Ok)
}

/// The exit codes of a node that does not start or does not go on.
const NODE_EXITS: &[(u8, &str, &str)] = &[
    (
        65,
        "data damaged",
        "Stored data does not verify; the message names file and offset. With a majority of the other nodes up, follow \
         what the message says. Without one, or for a single node: `kahuna recover --dry-run` says what can be kept.",
    ),
    (70, "bug", "A broken invariant. Keep the message and the data directory, report it, and start the node again."),
    (74, "disk failed", "A write or a flush failed. Mend the disk, then start the node again."),
    (
        78,
        "host not fit",
        "The host lacks something, such as room on the disk, or a newer version wrote the data. The message says what; \
         `kahuna check` names the command that mends a host.",
    ),
];

fn explain_exit(code: &str, format: Format) -> Result<Exit, Failure> {
    let found = code.parse().ok().and_then(|number: u8| NODE_EXITS.iter().find(|(exit, ..)| *exit == number));
    let Some((number, name, meaning)) = found else {
        let all: Vec<String> = NODE_EXITS.iter().map(|(exit, ..)| format!("exit-{exit}")).collect();
        return Err(Failure::Usage(format!("no exit code {code:?} is explained; there are {}", all.join(", "))));
    };
    print(
        &Record::new("exit").field("exit_code", *number).field("exit_meaning", *name).field("meaning", *meaning),
        format,
    )?;
    Ok(Exit::Ok)
}

fn fate(fate: Fate) -> &'static str {
    match fate {
        Fate::NotApplied => "this attempt was not applied",
        Fate::Unknown => "it may have been applied, or may still be",
    }
}

fn advice(advice: Advice) -> &'static str {
    match advice {
        Advice::Never => "never",
        Advice::SameNode => "same node, after the hint",
        Advice::OtherNode => "the leader named, or another node",
    }
}

fn meaning(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::BadFrame => "The bytes sent are no valid frame. A bug of the client, or a broken network.",
        ErrorCode::BadVersion => "Client and node share no protocol version. Use a client of the node's release.",
        ErrorCode::BadRequest => "An argument is out of its range. The text names it; correct it.",
        ErrorCode::TooLarge => "A size limit. The text says limit, value and setting; `kahuna limits` lists them all.",
        ErrorCode::Unsupported => "The node does not do this yet. Leave the option out, or upgrade the cluster.",
        ErrorCode::WrongCluster => "The address belongs to another cluster. Correct --endpoints.",
        ErrorCode::Busy => "Too much is in flight here. Wait as the hint says, send less at once.",
        ErrorCode::Overloaded => {
            "The partition has as many client sessions, idempotency keys, or bytes of answers kept for repeats, as it takes. \
             The text says which. Wait: they go as answers are acknowledged and expire."
        }
        ErrorCode::NotReady => {
            "The node opens its logs, waits for its peers, or is to be fed again after damage to its disk. `kahuna status` says what it misses."
        }
        ErrorCode::NoLeader => "The group has no leader: a majority of its nodes is down or just starting.",
        ErrorCode::NotLeader => "Another node leads. Clients follow by themselves; an old map mends itself.",
        ErrorCode::Moved => "The name belongs to another partition now. Clients read the map again by themselves.",
        ErrorCode::Draining => "The node stops. Ask another one.",
        ErrorCode::TimedOut => "The time given passed before anything was proposed. Repeat, or raise --timeout.",
        ErrorCode::DiskFull => {
            "The disk of the leader, or of a majority, is full. The text says where and how much is missing; free that \
             much, or delete keys. Deletes, releases, lock extends and reads go on."
        }
        ErrorCode::Unknown => {
            "The time passed, or the leader was lost, after the write was proposed. Read to learn what holds; \
             a repeat by the same client under the same number is safe."
        }
        ErrorCode::Expired => "The request came after its valid_until: it never was and never will be applied.",
        ErrorCode::Forgotten => "So late that its record is gone: this attempt is not applied, an earlier one may be.",
        ErrorCode::Conflict => "The same number or idempotency key was used with another request before.",
    }
}
