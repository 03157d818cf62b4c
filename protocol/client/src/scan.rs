//! Where a paged scan stands.

use kahuna_protocol::key::{KeyScan, Page};

/// Gives the request for each page of a scan, one consistent cut over all of them.
#[derive(Clone, Debug)]
pub struct ScanCursor {
    next: Option<KeyScan>,
}

impl ScanCursor {
    /// Before the first page.
    pub fn new(scan: KeyScan) -> Self {
        Self { next: Some(scan) }
    }

    /// The request for the next page; `None` behind the last one.
    pub fn request(&self) -> Option<KeyScan> {
        self.next.clone()
    }

    /// Takes a page: the scan continues behind it, as of the same stamp.
    pub fn advance(&mut self, page: &Page) {
        let Some(mut scan) = self.next.take() else { return };
        let Some(more) = &page.more else { return };
        scan.from = page.items.last().map_or_else(|| more.clone(), |item| item.key.clone());
        scan.after = true;
        scan.as_of = Some(page.as_of);
        self.next = Some(scan);
    }

    /// No further page is wanted.
    pub fn stop(&mut self) {
        self.next = None;
    }
}
