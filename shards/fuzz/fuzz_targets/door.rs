//! Whatever two of three replicas say, the third one goes on: nothing panics, nothing that it has committed changes, and it
//! follows an honest leader again.

#![no_main]

use kahuna_shards_fuzz::script::Script;
use kahuna_shards_fuzz::stage::play;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|script: Script| play(&script));
