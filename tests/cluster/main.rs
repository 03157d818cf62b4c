//! Real processes of the real binary: killed, paused, cut short and fed with garbage, under load.
//!
//! Each test starts its own cluster on ports that the kernel picks, with its data in a temporary directory on a real
//! disk. A failure leaves the nodes' stderr and the recorded history behind and prints where.

mod load;
mod mounts;
mod nodes;
mod progress;

mod chaos;
mod clocks;
mod crowd;
mod damage;
mod disk_fails;
mod disk_full;
mod durability;
mod failover;
mod faults;
mod frames;
mod moves;
mod recover;
mod start;
mod unheard;
