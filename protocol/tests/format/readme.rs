//! The tables of FORMAT.md, made from the compiled types.

use std::collections::BTreeMap;
use std::fmt::Write;

use kahuna_protocol::error::{Advice, ErrorCode, Fate};
use kahuna_protocol::handshake::{KIND_HELLO, KIND_WELCOME};
use kahuna_protocol::{Outcome, Request};

use crate::golden::check_block;
use crate::shape::layouts;

fn kinds() -> BTreeMap<String, u16> {
    let requests = Request::KINDS.iter().map(|&kind| (Request::kind_name(kind), kind));
    let outcomes = Outcome::KINDS.iter().map(|&kind| (Outcome::kind_name(kind), kind));
    let mut kinds: BTreeMap<_, _> =
        requests.chain(outcomes).map(|(name, kind)| (name.expect("listed").to_owned(), kind)).collect();
    let error = kinds.remove("Error").expect("a kind of its own");
    kinds.insert("ErrorReply".into(), error);
    kinds.insert("Hello".into(), KIND_HELLO);
    kinds.insert("Welcome".into(), KIND_WELCOME);
    kinds
}

#[test]
fn layouts_are_as_documented_and_without_gaps() {
    let kinds = kinds();
    let mut text = String::from("```text\n");
    let mut seen = 0;
    for (name, size, rows) in layouts() {
        let kind = kinds.get(&name).map_or_else(|| "part".to_owned(), |kind| format!("{kind:#06x}"));
        seen += usize::from(kinds.contains_key(&name));
        writeln!(text, "{name}  {kind}  {size} bytes").expect("a String takes everything");
        let mut end = 0;
        for row in rows {
            assert_eq!(row.offset, end, "{name}.{}: fields follow each other", row.field);
            end += row.size;
            writeln!(text, "  {:3} {:3}  {:<27} {}", row.offset, row.size, row.field, row.kind)
                .expect("a String takes everything");
        }
        // An empty struct takes no byte.
        assert_eq!(end, size, "{name} has no padding");
    }
    assert_eq!(seen, kinds.len(), "every kind has its layout");
    text.push_str("```\n");
    check_block("layouts", &text);
}

/// One line of the table of requests: kind, name, class, room, outcomes.
macro_rules! request_rows {
    (
        operations { $(
            $kind:literal $Body:ident: $class:ident {
                $room:ident at $_place:ident -> $Answer:ident $({ $($Outcome:ident),+ })?
            };
        )+ }
        others { $($_others:tt)+ }
    ) => {
        fn request_rows() -> Vec<String> {
            let mut outcomes = BTreeMap::new();
            $( $( outcomes.insert(stringify!($Answer), [$(stringify!($Outcome)),+].join(", ")); )? )+
            vec![$( format!(
                "| {:#06x} {} | {} | {} | {} |\n",
                $kind, stringify!($Body), stringify!($class), stringify!($room), outcomes[stringify!($Answer)],
            ) ),+]
        }
    };
}

kahuna_protocol::operations!(request_rows);

#[test]
fn requests_are_as_documented() {
    let head = "| request | class | room | outcomes, besides `ErrorReply` |\n|---|---|---|---|\n";
    let others = "| 0x0401 MapGet | node | keeps | Map |\n| 0x0402 StatusGet | node | keeps | Status |\n";
    check_block("requests", &[head, &request_rows().concat(), others].concat());
}

#[test]
fn archived_types_have_alignment_one() {
    assert_eq!(align_of::<kahuna_protocol::handshake::ArchivedWelcome>(), 1);
    assert_eq!(align_of::<kahuna_protocol::key::ArchivedKeySet>(), 1);
    assert_eq!(align_of::<kahuna_protocol::meta::ArchivedStatus>(), 1);
    assert_eq!(align_of::<kahuna_protocol::sequence::ArchivedSequenceCreate>(), 1);
}

#[test]
fn errors_are_as_documented() {
    let mut text = String::from("| number | name | this attempt | then |\n|---|---|---|---|\n");
    for &code in ErrorCode::ALL {
        let fate = match code.fate() {
            Fate::NotApplied => "not applied",
            Fate::Unknown => "unknown",
        };
        let advice = match code.advice() {
            Advice::Never => "repeating cannot help",
            Advice::SameNode => "the same node again",
            Advice::OtherNode => "the node named, or another one",
        };
        writeln!(text, "| {} | `{code}` | {fate} | {advice} |", code as u16).expect("a String takes everything");
        assert_eq!(ErrorCode::from_number(code as u16), Some(code));
    }
    check_block("errors", &text);
}
