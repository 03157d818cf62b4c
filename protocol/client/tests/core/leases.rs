//! Claim: a lock's safe deadline never lies behind the end of its lease.

use std::time::Duration;

use kahuna_client::protocol::lock::{Acquired, LockAcquire};

use crate::script::{Script, options};

const MS: Duration = Duration::from_millis(1);

fn acquire() -> LockAcquire {
    LockAcquire { name: b"l".to_vec(), owner: b"me".to_vec(), ttl_ms: 10_000, wait_ms: 0 }
}

#[test]
fn it_counts_from_the_first_sending() {
    let (mut script, first) = Script::connected(options());
    script.submit(&acquire().into());
    script.take_sent();
    let sent_at = script.now.elapsed;
    script.pass(200 * MS);
    let granted_ms = script.hlc().millis();
    script.disconnect(first);
    script.welcome("n2:1", 2, 0);
    let again = script.take_sent();
    script.pass(300 * MS);
    script.reply(&again, Acquired { token: 1, deadline_ms: granted_ms + 10_000 });
    let safe_until = script.take_done().expect("granted").safe_until.expect("a lease");
    assert!(safe_until <= sent_at + 10_000 * MS);
    assert_eq!(safe_until, sent_at + 9_700 * MS * 999 / 1000, "what was left of the grant when the answer was made");
}

#[test]
fn an_older_grant_that_is_only_confirmed_ends_earlier() {
    let (mut script, _) = Script::connected(options());
    script.submit(&acquire().into());
    let sent = script.take_sent();
    let deadline_ms = script.hlc().millis() + 1500;
    script.reply(&sent, Acquired { token: 1, deadline_ms });
    assert_eq!(script.take_done().expect("granted").safe_until, Some(script.now.elapsed + 1500 * MS * 999 / 1000));
}

#[test]
fn a_queued_acquire_gets_the_time_to_wait() {
    let (mut script, _) = Script::connected(options());
    script.submit(&LockAcquire { wait_ms: 20_000, ..acquire() }.into());
    let sent = script.take_sent();
    assert_eq!(sent.prelude.timeout_ms, 21_000);
    assert!(sent.prelude.valid_until_ms >= script.hlc().millis() + 20_000, "the wait ends before valid_until");
    script.advance(24_999 * MS);
    assert!(script.done.is_empty());
}
