//! From options to a live source.

use crate::cli::{Btf, ObserveArgs};
use crate::error::Error;
use crate::kernel::probe::PROBES;
use crate::run::logger;
use crate::source::live::{Live, Options, Types};

/// Starts the log if one is wanted, and observes this host.
pub(super) fn attach(args: &ObserveArgs) -> Result<Live, Error> {
    Live::attach(&prepare(args)?)
}

/// Starts the log if one is wanted; says how to observe.
pub(super) fn prepare(args: &ObserveArgs) -> Result<Options, Error> {
    let options = options(args)?;
    if let Some(level) = args.log {
        logger::start(level, args.log_file.as_deref())?;
    }
    Ok(options)
}

fn options(args: &ObserveArgs) -> Result<Options, Error> {
    let unknown = args.deny_probe.iter().find(|name| PROBES.iter().all(|probe| probe.name != **name));
    if let Some(name) = unknown {
        let names: Vec<_> = PROBES.iter().map(|probe| probe.name).collect();
        let hint = format!("probes are {}", names.join(", "));
        return Err(Error::Refused { what: format!("there is no probe `{name}`"), hint });
    }
    Ok(Options {
        tick: args.tick,
        types: match &args.btf {
            None => Types::Running,
            Some(Btf::None) => Types::None,
            Some(Btf::File(path)) => Types::File(path.clone()),
        },
        deny: args.deny_probe.clone(),
        log_programs: args.log.is_some(),
        sample_permille: args.sample_permille,
    })
}
