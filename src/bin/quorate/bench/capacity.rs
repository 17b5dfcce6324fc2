//! What more cores may be expected to do, from parameters; the formulas are the library's.

use quorate::bench::{Capacity, Limit, bound_by};
use quorate::server::Failure;

const ASSUMED: Capacity = Capacity::ASSUMED;

#[derive(clap::Args)]
#[command(
    after_help = "Formulas, where each number comes from, and where they break: src/bench/capacity.rs\n\nExamples:\n  quorate bench capacity\n  quorate bench capacity --cores 4,8 --flush-us 30 --network-gbit 100"
)]
pub struct Args {
    /// Cores of each of the three hosts: one for the replica, the others for fronts
    #[arg(long, value_delimiter = ',', default_value = "2,16,64", value_parser = clap::value_parser!(u32).range(1..=256))]
    cores: Vec<u32>,
    /// Operations outstanding, of all clients
    #[arg(long, default_value_t = ASSUMED.outstanding, value_parser = outstanding)]
    outstanding: f64,
    /// Bytes of a value
    #[arg(long, default_value_t = ASSUMED.value_bytes, value_parser = above_zero)]
    value_bytes: f64,
    /// CPU that each write takes of the three servers
    #[arg(long, default_value_t = ASSUMED.write_us, value_parser = above_zero)]
    write_us: f64,
    /// CPU that each entry of the log takes of them, however many writes it carries
    #[arg(long, default_value_t = ASSUMED.entry_us, value_parser = above_zero)]
    entry_us: f64,
    /// The leader's part in both
    #[arg(long, default_value_t = ASSUMED.leader_share, value_parser = share)]
    leader_share: f64,
    /// CPU of a front for a request and its answer
    #[arg(long, default_value_t = ASSUMED.front_us, value_parser = above_zero)]
    front_us: f64,
    /// CPU of each front for a change that any client made
    #[arg(long, default_value_t = ASSUMED.mirror_us, value_parser = above_zero)]
    mirror_us: f64,
    /// CPU of the replica's core to tell one front of an entry
    #[arg(long, default_value_t = ASSUMED.notice_us, value_parser = above_zero)]
    notice_us: f64,
    /// From one core to another that sleeps
    #[arg(long, default_value_t = ASSUMED.hop_us, value_parser = above_zero)]
    hop_us: f64,
    /// A small durable write (`quorate iotest`)
    #[arg(long, default_value_t = ASSUMED.flush_us, value_parser = above_zero)]
    flush_us: f64,
    /// What large durable writes get through, in GB/s
    #[arg(long, default_value_t = ASSUMED.disk_gb_per_s, value_parser = above_zero)]
    disk_gb: f64,
    /// Between two hosts, there and back
    #[arg(long, default_value_t = ASSUMED.round_trip_us, value_parser = above_zero)]
    round_trip_us: f64,
    /// The leader's network, in Gbit/s
    #[arg(long, default_value_t = ASSUMED.network_gbit_per_s, value_parser = above_zero)]
    network_gbit: f64,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let model = model(args);
    if !crate::output::is_json() {
        return crate::print_line(&format!("{}\nthousands a second; expected, not measured", model.table(&args.cores)));
    }
    args.cores.iter().try_for_each(|cores| crate::print_line(&json(&model, *cores)))
}

fn model(args: &Args) -> Capacity {
    Capacity {
        outstanding: args.outstanding,
        value_bytes: args.value_bytes,
        write_us: args.write_us,
        entry_us: args.entry_us,
        leader_share: args.leader_share,
        front_us: args.front_us,
        mirror_us: args.mirror_us,
        notice_us: args.notice_us,
        hop_us: args.hop_us,
        flush_us: args.flush_us,
        disk_gb_per_s: args.disk_gb,
        round_trip_us: args.round_trip_us,
        network_gbit_per_s: args.network_gbit,
    }
}

/// One object a number of cores.
fn json(model: &Capacity, cores: u32) -> String {
    let told = |limits: &[Limit]| {
        let named: serde_json::Map<_, _> =
            limits.iter().map(|(name, per_s)| ((*name).into(), (*per_s).into())).collect();
        let (name, per_s) = bound_by(limits);
        serde_json::json!({ "expected_per_s": per_s, "bound_by": name, "limits_per_s": named })
    };
    let (writes, reads) = (told(&model.writes(cores)), told(&model.reads(cores)));
    serde_json::json!({ "cores": cores, "writes": writes, "reads": reads }).to_string()
}

fn above_zero(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|value: &f64| value.is_finite() && *value > 0.0);
    value.ok_or_else(|| "a number above zero is wanted".into())
}

fn outstanding(text: &str) -> Result<f64, String> {
    above_zero(text).ok().filter(|value| *value >= 1.0).ok_or_else(|| "one or more are outstanding".into())
}

fn share(text: &str) -> Result<f64, String> {
    above_zero(text).ok().filter(|share| *share <= 1.0).ok_or_else(|| "a share is above 0 and at most 1".into())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        args: Args,
    }

    fn parsed(options: &[&str]) -> Option<Args> {
        Alone::try_parse_from([&["capacity"], options].concat()).ok().map(|alone| alone.args)
    }

    #[test]
    fn each_option_is_its_own_parameter() {
        let plain = parsed(&["--outstanding", "512"]).expect("options of the command");
        let expected = Capacity { outstanding: 512.0, ..ASSUMED };
        assert_eq!(format!("{:?}", model(&plain)), format!("{expected:?}"), "what is not given is assumed");
        let thin = parsed(&["--cores", "4", "--network-gbit", "1"]).expect("options of the command");
        let told: serde_json::Value = serde_json::from_str(&json(&model(&thin), thin.cores[0])).expect("JSON");
        assert_eq!((&told["cores"], &told["writes"]["bound_by"]), (&4.into(), &"network".into()), "{told}");
        assert_eq!(told["reads"]["limits_per_s"]["network"], told["reads"]["expected_per_s"], "{told}");
        for wrong in [["--outstanding", "0"], ["--leader-share", "1.5"], ["--flush-us", "-1"], ["--cores", "0"]] {
            assert!(parsed(&wrong).is_none(), "{wrong:?}");
        }
    }
}
