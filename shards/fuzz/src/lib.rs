//! A real replica on the simulated world ([`stage`]), and two puppets in the places of its group's other two ([`puppet`]):
//! they say what the fuzzer's bytes describe ([`script`]), some of it honest.

pub mod puppet;
pub mod script;
pub mod stage;
