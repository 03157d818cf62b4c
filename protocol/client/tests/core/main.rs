//! The session core against scripted nodes: what it sends, where, when again, and what it says at the end.

mod chaos;
mod doors;
mod fate;
mod leases;
mod retries;
mod routing;
mod script;
mod times;
