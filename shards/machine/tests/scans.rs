//! A scan of a bucket: every live key once, in order, as of one time, in bounded pages.

mod common;

use common::*;
use kahuna_machine::Range;
use kahuna_protocol::key::{KeyScan, KeySet, Page};
use kahuna_protocol::{ErrorCode, Position};

fn after(page: &Page, first: &KeyScan) -> Option<KeyScan> {
    let from = page.more.clone()?;
    Some(KeyScan { from, after: true, as_of: Some(page.as_of), ..first.clone() })
}

/// All pages of a scan; their keys.
fn all(bench: &mut Bench, first: KeyScan) -> Vec<String> {
    let (mut found, mut request) = (Vec::new(), Some(first.clone()));
    while let Some(scan) = request {
        let page = bench.page(scan);
        found.extend(names(&page));
        request = after(&page, &first);
    }
    found
}

fn filled() -> Bench {
    let mut bench = Bench::new();
    for bucket in ["a", "a/b", "b"] {
        for n in 0..10 {
            bench.set(&format!("{bucket}/{n}"), &format!("{bucket}{n}"));
        }
    }
    bench
}

fn expected(bucket: &str, range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| format!("{bucket}/{n}")).collect()
}

#[test]
fn a_bucket_is_its_own_names_in_order() {
    let mut bench = filled();
    for bucket in ["a", "a/b", "b"] {
        assert_eq!(all(&mut bench, scan(bucket, 100)), expected(bucket, 0..10));
    }
    assert_eq!(all(&mut bench, scan("none", 100)), Vec::<String>::new());
    bench.set("b", "the name of the bucket itself");
    assert_eq!(all(&mut bench, scan("b", 1))[..2], ["b", "b/0"]);
}

#[test]
fn pages_join_without_gap_or_overlap_and_more_is_said_only_when_there_is() {
    let mut bench = filled();
    for limit in 1..=11 {
        assert_eq!(all(&mut bench, scan("a", limit)), expected("a", 0..10), "limit {limit}");
    }
    assert_eq!(bench.page(scan("a", 10)).more, None);
    assert_eq!(bench.page(scan("a", 9)).more, Some(b"a/8".to_vec()));
}

#[test]
fn from_after_and_prefix_choose_a_part() {
    let mut bench = filled();
    let from = |from: &str, after| KeyScan { from: from.into(), after, ..scan("a", 100) };
    assert_eq!(all(&mut bench, from("a/4", false)), expected("a", 4..10));
    assert_eq!(all(&mut bench, from("a/4", true)), expected("a", 5..10));
    let prefix = |prefix: &str, limit| KeyScan { prefix: prefix.into(), ..scan("a", limit) };
    bench.set("a/44", "");
    assert_eq!(all(&mut bench, prefix("a/4", 1)), ["a/4", "a/44"]);
    assert_eq!(bench.page(prefix("a/4", 2)).more, None, "a/5 is no reason for another page");
    assert_eq!(all(&mut bench, prefix("a", 100)).len(), 11);
    assert_eq!(all(&mut bench, prefix("", 100)).len(), 11);
    assert_eq!(all(&mut bench, prefix("b", 100)), Vec::<String>::new());
}

#[test]
fn locks_sequences_and_the_dead_are_not_in_it() {
    let mut bench = filled();
    bench.acquire("a/2", "o", 1_000);
    bench.acquire("a/20", "o", 1_000);
    bench.run(create("a/3", 0, 1, None));
    bench.run(delete("a/4"));
    bench.run(KeySet { ttl_ms: Some(100), ..set("a/5", "") });
    bench.clock_ms += 1_000;
    let live: Vec<String> = expected("a", 0..10).into_iter().filter(|name| name != "a/4" && name != "a/5").collect();
    assert_eq!(all(&mut bench, scan("a", 3)), live);
}

#[test]
fn all_pages_are_one_cut_whatever_is_written_between() {
    let mut bench = filled();
    let first = scan("a", 4);
    let page = bench.page(first.clone());
    bench.set("a/05", "new, before the cursor");
    bench.set("a/55", "new, behind the cursor");
    bench.set("a/6", "changed");
    bench.run(delete("a/7"));
    let mut rest = Vec::new();
    let mut request = after(&page, &first);
    while let Some(scan) = request {
        let page = bench.page(scan);
        rest.extend(page.items.iter().map(|item| item.value.clone()));
        request = after(&page, &first);
    }
    assert_eq!(rest, [&b"a4"[..], b"a5", b"a6", b"a7", b"a8", b"a9"]);
}

#[test]
fn a_page_is_bounded_in_bytes_and_has_one_item_at_least() {
    let mut bench = Bench::new();
    let large = "x".repeat(700 << 10);
    for n in 0..3 {
        bench.set(&format!("a/{n}"), &large);
    }
    let page = bench.page(scan("a", 100));
    assert_eq!((names(&page), page.more.clone()), (vec!["a/0".to_owned()], Some(b"a/0".to_vec())));
    assert_eq!(all(&mut bench, scan("a", 100)), expected("a", 0..3));
    let names_only = KeyScan { keys_only: true, ..scan("a", 100) };
    let page = bench.page(names_only);
    assert_eq!(page.items.len(), 3);
    assert!(page.items.iter().all(|item| item.value.is_empty() && item.revision == 1));
}

#[test]
fn a_long_run_of_the_dead_is_crossed_over_several_pages() {
    let mut bench = Bench::new();
    for n in 0..20_000 {
        bench.acquire(&format!("a/{n:05}"), "o", 1_000);
    }
    bench.set("a/99999", "v");
    let page = bench.page(scan("a", 1));
    assert!(page.items.is_empty() && page.more.is_some());
    assert_eq!(all(&mut bench, scan("a", 1)), ["a/99999"]);
}

#[test]
fn a_scan_goes_on_in_the_next_partition_behind_the_cut() {
    let cut = Position::after_name(b"a/4").encoded().clone();
    let mut left = Bench::with(settings(), Range { end: Some(cut.clone()), ..Range::all(1) });
    let mut right = Bench::with(settings(), Range { start: cut, ..Range::all(1) });
    for n in 0..10 {
        if n <= 4 { &mut left } else { &mut right }.set(&format!("a/{n}"), "");
    }
    left.run(delete("a/4"));
    let page = left.page(scan("a", 100));
    assert_eq!((names(&page), page.more.clone()), (expected("a", 0..4), Some(b"a/4".to_vec())));
    let next = KeyScan { as_of: None, ..after(&page, &scan("a", 100)).expect("there is more") };
    assert_eq!(code(&answer(left.read(next.clone()))), Some(ErrorCode::Moved), "the next page is the other's");
    let page = right.page(next);
    assert_eq!((names(&page), page.more), (expected("a", 5..10), None));
    // A part that ends before the cut needs no other partition.
    let page = left.page(KeyScan { prefix: b"a/3".to_vec(), ..scan("a", 100) });
    assert_eq!((names(&page), page.more), (vec!["a/3".to_owned()], None));
}

#[test]
fn a_cut_that_no_name_tells_ends_a_scan_with_an_error_that_no_repeat_helps() {
    let cut = Position::of_name(b"a/5").encoded().clone();
    let mut left = Bench::with(settings(), Range { end: Some(cut), ..Range::all(1) });
    // Neither without an item nor with one is there a name to go on after.
    for round in 0..2 {
        let outcome = answer(left.read(scan("a", 100)));
        assert_eq!(code(&outcome), Some(ErrorCode::Unsupported), "round {round}: {outcome:?}");
        left.set("a/1", "");
    }
    assert_eq!(ErrorCode::Unsupported.advice(), kahuna_protocol::Advice::Never);
}
