//! Whole worlds of gateways, one seed each: several shards, NATs, bad lines, attackers, and a controller that connects lines
//! to each other and to its trunk.
//!
//! What is left out and how one is replayed: `support/seeds.rs`.

#[path = "support/seeds.rs"]
mod seeds;

use portolan_shards::sim::Language;
use portolan_shards::sim::plan::Speech;
use seeds::Worlds;

const fn worlds(language: Language, replay: &'static str) -> Worlds {
    Worlds { speech: Speech::Gateways(language), count: 400, slices: 2, replay }
}

const MGCP: Worlds = worlds(Language::Mgcp, "sim_gateways replay_mgcp");
const H248_TEXT: Worlds = worlds(Language::H248Text, "sim_gateways replay_h248_text");
const H248_BINARY: Worlds = worlds(Language::H248Binary, "sim_gateways replay_h248_binary");

macro_rules! slices {
    ($worlds:ident $replay:ident $($name:ident $nth:literal)+) => {
        $(#[test] fn $name() { $worlds.slice($nth); })+
        #[test]
        fn $replay() { $worlds.replay(); }
    };
}

slices! { MGCP replay_mgcp mgcp_0 0 mgcp_1 1 }
slices! { H248_TEXT replay_h248_text h248_text_0 0 h248_text_1 1 }
slices! { H248_BINARY replay_h248_binary h248_binary_0 0 h248_binary_1 1 }
