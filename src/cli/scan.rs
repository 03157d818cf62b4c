//! `scan`: a prefix becomes the bucket it names.

use std::io::Write;

use clap::Args;
use kahuna_client::CallOptions;
use kahuna_client::call::ScanAnswer;
use kahuna_client::protocol::key::{KeyScan, PageItem};
use kahuna_client::protocol::{Hlc, Outcome};

use super::as_of::AsOf;
use super::client_args::ClientArgs;
use super::exit::{Exit, Failure};
use super::freshness::Freshness;
use super::outcome::record;
use super::output::{Format, Record, print, print_bytes, table};

/// Most keys asked for in one page; a page is bounded in bytes as well.
const PAGE_KEYS: u32 = 1000;

#[derive(Args, Debug)]
pub struct ScanArgs {
    /// What the keys start with. The bucket is what stands before the last `/`
    prefix: String,
    /// At most this many keys
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Leave the values out
    #[arg(long)]
    keys_only: bool,
    /// As of when: a stamp as `modified` shows it, Unix milliseconds, or a time ago such as 30s, by the servers' clock
    #[arg(long)]
    as_of: Option<AsOf>,
    /// How fresh the answer must be
    #[arg(long, value_enum, default_value_t)]
    read: Freshness,
}

/// Lists the keys that start with a prefix, page by page, one consistent cut. It ends where its reader has seen enough.
pub fn scan(args: ScanArgs, client: &ClientArgs) -> Result<Exit, Failure> {
    let Some((space, _)) = args.prefix.rsplit_once('/') else {
        return Err(Failure::Usage(format!(
            "{:?} names no bucket: a scan over all buckets is unsupported as yet; write BUCKET/ or BUCKET/NAME-PREFIX",
            args.prefix
        )));
    };
    kahuna_shards::say!("scan of bucket {space:?}, names that start with {:?}", args.prefix);
    let mut left = args.limit.unwrap_or(u32::MAX);
    let (session, options) = (client.client()?, CallOptions { read: args.read.into(), ..CallOptions::default() });
    let newest = KeyScan {
        space: space.as_bytes().to_vec(),
        from: Vec::new(),
        after: false,
        prefix: args.prefix.clone().into_bytes(),
        limit: 1,
        as_of: None,
        keys_only: true,
    };
    let as_of = args.as_of.map(|as_of| as_of.stamp(&session, newest.clone(), options.clone())).transpose()?;
    let request = KeyScan { limit: left.min(PAGE_KEYS), as_of, keys_only: args.keys_only, ..newest };
    let mut listing = Listing::new(client.format(), args.keys_only);
    let mut more = false;
    for answer in session.scan_with(request, options) {
        let page = match answer? {
            ScanAnswer::Page(page) => page,
            ScanAnswer::Compacted(body) => {
                let outcome = Outcome::Compacted(body);
                let exit = Exit::of_outcome(&outcome);
                print(&record(outcome), client.format())?;
                return Ok(exit);
            }
        };
        let taken = page.items.len().min(left as usize);
        more = page.more.is_some() || taken < page.items.len();
        left -= u32::try_from(taken).expect("cut to a u32");
        listing.add(page.items.into_iter().take(taken), page.as_of)?;
        if left == 0 {
            break;
        }
    }
    listing.finish(more)?;
    if more {
        kahuna_shards::say!("there are more keys: raise --limit");
    }
    Ok(Exit::Ok)
}

/// Prints at once what can be, and gathers the rest.
struct Listing {
    format: Format,
    keys_only: bool,
    gathered: Vec<Record>,
    as_of: u64,
}

impl Listing {
    fn new(format: Format, keys_only: bool) -> Self {
        Self { format, keys_only, gathered: Vec::new(), as_of: 0 }
    }

    fn add(&mut self, items: impl Iterator<Item = PageItem>, as_of: u64) -> Result<(), Failure> {
        self.as_of = as_of;
        let mut out = std::io::stdout().lock();
        for item in items {
            match self.format {
                Format::Table | Format::Json => self.gathered.push(self.item(&item)),
                Format::Jsonl => out.write_all(&super::output::render(&self.item(&item), Format::Jsonl))?,
                Format::Plain if !self.keys_only => {
                    out.write_all(&[&item.key[..], b"\t", &item.value, b"\n"].concat())?;
                }
                Format::Plain | Format::Raw => out.write_all(&[&item.key[..], b"\n"].concat())?,
            }
        }
        Ok(())
    }

    fn item(&self, item: &PageItem) -> Record {
        let record = Record::without_outcome().bytes("key", "key_base64", &item.key);
        let record = if self.keys_only { record } else { record.bytes("value", "value_base64", &item.value) };
        record
            .field("revision", item.revision)
            .field("modified", Hlc(item.modified).to_string())
            .optional("deadline", item.deadline_ms)
    }

    fn finish(self, more: bool) -> Result<(), Failure> {
        match self.format {
            Format::Json => {
                let items: Vec<_> = self.gathered.iter().map(Record::json).collect();
                let page = Record::new("page").field("items", items).field("more", more);
                print(&page.field("as_of", Hlc(self.as_of).to_string()), Format::Json)?;
            }
            Format::Table => {
                let head: &[&str] = if self.keys_only { &["key", "revision"] } else { &["key", "revision", "value"] };
                let rows: Vec<Vec<String>> =
                    self.gathered.iter().map(|item| head.iter().map(|name| item.text(name)).collect()).collect();
                print_bytes(table(head, &rows).as_bytes())?;
            }
            Format::Plain | Format::Jsonl | Format::Raw => {}
        }
        Ok(())
    }
}
