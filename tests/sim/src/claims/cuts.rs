//! Claim: a scan of several pages shows its bucket as it was at one moment.
//!
//! Every process writes a bucket of its own, one key after the other, and scans its own and others', page by page. Between
//! the pages of its own bucket it continues to write. After a write of unknown outcome it begins another bucket.

use kahuna_client::scan::ScanCursor;
use kahuna_protocol::{
    Outcome as Answer, ReadLevel,
    key::{Condition, KeyScan, KeySet, Page},
};

use super::{Asks, Process};
use crate::{finding::Judge, recorder::BUCKET_KEYS as KEYS};

/// Keys of a page.
const PAGE: u32 = 2;
/// Most writes at one go: together with those before a scan, fewer than the revisions that are kept of each key.
const WRITES: u64 = 4;
/// Others' buckets that are scanned are among the newest few.
const NEWEST: usize = 8;

fn key(bucket: &str, number: usize) -> String {
    format!("{bucket}/{number}")
}

impl<A: Asks> Process<A> {
    pub(super) async fn cut_step(&mut self) {
        match self.rng.below(4) {
            0 => self.write_some().await,
            1 => {
                if let Some(bucket) = self.draw_bucket() {
                    self.scan(&bucket).await;
                }
            }
            _ => self.scan(&self.own_bucket()).await,
        }
    }

    fn own_bucket(&self) -> String {
        format!("bucket-{}-{}", self.number, self.given_up)
    }

    fn draw_bucket(&self) -> Option<String> {
        let buckets = self.recorder.books.buckets();
        let newest = &buckets.names[buckets.names.len().saturating_sub(NEWEST)..];
        newest.get(self.rng.below(newest.len() as u64) as usize).cloned()
    }

    async fn write_some(&mut self) {
        for _ in 0..self.rng.between(1, WRITES) {
            if !self.write_in_turn().await {
                break;
            }
        }
    }

    /// The next write to this process's bucket; false when its outcome is unknown.
    async fn write_in_turn(&mut self) -> bool {
        let bucket = self.own_bucket();
        let (number, value) = self.recorder.books.buckets().named(&bucket).begins(self.recorder.now());
        let (key, value) = (key(&bucket, number), value.to_string());
        let set = KeySet {
            key: key.clone().into(),
            value: value.into(),
            ttl_ms: None,
            condition: Condition::default(),
            no_history: false,
        };
        match self.ask(ReadLevel::Linearizable, &key, set).await {
            Ok(Answer::Set(_)) => {
                self.recorder.books.buckets().named(&bucket).ended(self.recorder.now());
                return true;
            }
            Ok(other) => self.recorder.problem(Judge::Protocol, format!("{other:?} in answer to a set of {key}")),
            Err(_) => {}
        }
        self.given_up += 1;
        false
    }

    async fn scan(&mut self, bucket: &str) {
        let mut cursor = ScanCursor::new(KeyScan {
            space: bucket.into(),
            from: Vec::new(),
            after: false,
            prefix: Vec::new(),
            limit: PAGE,
            as_of: None,
            keys_only: false,
        });
        let (begun, mut cut_by) = (self.recorder.now(), None);
        let mut seen = vec![None; KEYS];
        while let Some(request) = cursor.request() {
            if cut_by.is_some() {
                self.between_pages(bucket).await;
            }
            let page = match self.ask(ReadLevel::Linearizable, bucket, request).await {
                Ok(Answer::Page(page)) => page,
                // The cut is not kept any more, or no node answered: nothing to judge.
                Ok(Answer::Compacted(_)) | Err(_) => return,
                Ok(other) => {
                    let text = format!("{other:?} in answer to a scan of {bucket}");
                    return self.recorder.problem(Judge::Protocol, text);
                }
            };
            cut_by.get_or_insert_with(|| self.recorder.now());
            if let Err(text) = add(bucket, &page, &mut seen) {
                return self.recorder.problem(Judge::Cut, text);
            }
            cursor.advance(&page);
        }
        let cut_by = cut_by.expect("a scan has a first page");
        self.recorder.books.buckets().named(bucket).scanned(begun, cut_by, self.recorder.now(), seen);
    }

    /// The bucket goes on while it is scanned: by this process if it is its own, else perhaps by the other one.
    async fn between_pages(&mut self, bucket: &str) {
        if bucket == self.own_bucket() {
            self.write_some().await;
        } else {
            self.pause(self.habits.think_ms).await;
        }
    }
}

/// Adds what a page shows of the bucket: known keys, each once, with the numbers that were written to them.
fn add(bucket: &str, page: &Page, seen: &mut [Option<u64>]) -> Result<(), String> {
    for item in &page.items {
        let place = (0..KEYS).find(|number| key(bucket, *number).as_bytes() == item.key);
        let number = std::str::from_utf8(&item.value).ok().and_then(|value| value.parse().ok());
        match place {
            Some(place) if seen[place].is_none() && number.is_some() => seen[place] = number,
            _ => return Err(format!("{item:?} in a scan of {bucket} that had shown {seen:?}")),
        }
    }
    Ok(())
}
