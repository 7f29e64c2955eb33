//! The command line: what can be asked for. An option is declared once, and its value is checked here; `run` does the rest.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod value;

pub use value::{At, Btf};

/// The exit codes, for those who write scripts.
const EXIT: &str = "Exit status: 0 fine, 1 findings at or above --fail-on, 2 an error, 3 cannot tell";

/// The same for the doctor, who finds what is missing.
const DOCTOR_EXIT: &str = "Exit status: 0 everything works, 1 something is missing or works in a lesser form, 2 nothing \
                           can be observed, or an error";

/// Everything that can be typed.
#[derive(Debug, Parser)]
#[command(
    name = "profiler",
    version,
    about,
    after_help = EXIT,
    max_term_width = 100,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// What to do; nothing is `live`.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of `live`.
    #[command(flatten)]
    pub live: LiveArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch this host on the terminal; this is what `profiler` does without a command
    Live(LiveArgs),
    /// Record this host into a capture
    #[command(after_help = "Exit status: 0 recorded (also when ended by Ctrl-C), 2 an error; with CMD, its own")]
    Record(RecordArgs),
    /// Watch a capture on the terminal
    Replay(ReplayArgs),
    /// Print what was found, and the tables behind it, of a capture or of this host
    #[command(after_help = EXIT)]
    Report(ReportArgs),
    /// Tell what this kernel and these privileges allow, probe by probe
    #[command(after_help = DOCTOR_EXIT)]
    Doctor(DoctorArgs),
    /// Tell what a finding means, how it comes about, how to check it by hand, and what to do
    Explain(ExplainArgs),
    /// Attach empty programs to hooks until interrupted: what any tracer pays there
    #[command(hide = true)]
    Floor(FloorArgs),
}

/// `profiler live`
#[derive(Args, Debug)]
pub struct LiveArgs {
    /// Also write a capture
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// How it looks.
    #[command(flatten)]
    pub screen: ScreenArgs,
    /// How to observe.
    #[command(flatten)]
    pub observe: ObserveArgs,
}

/// `profiler record`
#[derive(Args, Debug)]
pub struct RecordArgs {
    /// Where to; `-` is the standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// How long; without it, until Ctrl-C
    #[arg(long = "for", value_name = "DURATION", value_parser = value::duration, conflicts_with = "command")]
    pub duration: Option<Duration>,
    /// Replace the file if it exists
    #[arg(long)]
    pub force: bool,
    /// Record as long as this command runs, and exit as it does
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
    /// How to observe.
    #[command(flatten)]
    pub observe: ObserveArgs,
}

/// `profiler replay`
#[derive(Args, Debug)]
pub struct ReplayArgs {
    /// The capture
    pub file: PathBuf,
    /// Start at this moment and wait: `+90s` from the beginning, `15:04:05`, or a (part of a) date and time as
    /// `2026-01-31T15:04`, both UTC
    #[arg(long, value_name = "TIME")]
    pub at: Option<At>,
    /// How it looks.
    #[command(flatten)]
    pub screen: ScreenArgs,
}

/// `profiler report`
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// The capture, `-` is the standard input; without it, this host is observed
    pub file: Option<PathBuf>,
    /// How long to observe this host [default: 10s]
    #[arg(long = "for", value_name = "DURATION", value_parser = value::duration, conflicts_with = "file")]
    pub duration: Option<Duration>,
    /// For people or for programs
    #[arg(long, value_enum, default_value_t, env = "PROFILER_FORMAT", hide_env_values = true)]
    pub format: Format,
    /// Exit with 1 if something at least this bad was found, with 3 if nothing was but not all could be checked
    #[arg(long, value_name = "SEVERITY", value_enum)]
    pub fail_on: Option<FailOn>,
    /// How to observe.
    #[command(flatten)]
    pub observe: ObserveArgs,
}

/// `profiler doctor`
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// For programs
    #[arg(long)]
    pub json: bool,
    /// How to observe.
    #[command(flatten)]
    pub observe: ObserveArgs,
}

/// `profiler explain`
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// Number of the finding, such as `S1`; without it, all are listed
    pub id: Option<String>,
}

/// `profiler floor`
#[derive(Args, Debug)]
pub struct FloorArgs {
    /// The hooks
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "sys_enter,sys_exit,sched_switch")]
    pub hooks: Vec<String>,
}

/// How this host is observed: the same wherever it is.
#[derive(Args, Debug)]
#[command(next_help_heading = "Observing this host")]
pub struct ObserveArgs {
    /// Length of an interval, 100ms to 60s
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = value::tick,
        default_value = "1s",
        env = "PROFILER_TICK",
        hide_env_values = true
    )]
    pub tick: Duration,
    /// The kernel's types, for a kernel that carries none; `none` does without [default: the running kernel's]
    #[arg(long, value_name = "FILE|none", env = "PROFILER_BTF", hide_env_values = true)]
    pub btf: Option<Btf>,
    /// Do without this probe; may be repeated
    #[arg(long, value_name = "NAME", value_delimiter = ',', env = "PROFILER_DENY_PROBE", hide_env_values = true)]
    pub deny_probe: Vec<String>,
    /// Share of the time in which latencies of calls are sampled, 0 to 100
    #[arg(
        long = "sample",
        value_name = "PERCENT",
        value_parser = value::permille_of_percent,
        default_value = "5",
        env = "PROFILER_SAMPLE",
        hide_env_values = true
    )]
    pub sample_permille: u32,
    /// Write a log, of this level and worse
    #[arg(long, value_name = "LEVEL", value_enum, env = "PROFILER_LOG", hide_env_values = true)]
    pub log: Option<LogLevel>,
    /// Where the log goes [default: profiler/profiler.log in `$XDG_STATE_HOME` or `~/.local/state`]
    #[arg(long, value_name = "PATH", env = "PROFILER_LOG_FILE", hide_env_values = true)]
    pub log_file: Option<PathBuf>,
}

/// How the screen looks: live and replayed.
#[derive(Args, Debug)]
#[command(next_help_heading = "Screen")]
pub struct ScreenArgs {
    /// Leave the mouse to the terminal
    #[arg(long)]
    pub no_mouse: bool,
    /// Colors
    #[arg(long, value_enum, default_value_t, env = "PROFILER_THEME", hide_env_values = true)]
    pub theme: Theme,
    /// Draw with ASCII only
    #[arg(long)]
    pub ascii: bool,
}

/// Which colors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Theme {
    /// The sixteen colors of the terminal
    #[default]
    Default,
    /// Blue and orange, told apart with any kind of color vision
    Colorblind,
    /// No colors
    Mono,
}

/// For whom a report is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// The least severity that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Anything
    Low,
    /// What hurts somebody
    Medium,
    /// What dominates somebody's time
    High,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What failed
    Error,
    /// What may matter
    Warn,
    /// What happened
    Info,
    /// What developers look for
    Debug,
    /// Everything
    Trace,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_is_live() {
        let cli = Cli::try_parse_from(["profiler", "--tick", "2s", "--record", "a.cap"]).unwrap();
        assert!(cli.command.is_none());
        assert_eq!(cli.live.observe.tick, Duration::from_secs(2));
        assert_eq!(cli.live.record, Some(PathBuf::from("a.cap")));
    }

    #[test]
    fn what_contradicts_is_refused() {
        for line in [
            "profiler --tick 2s record -o a.cap",
            "profiler record",
            "profiler record -o a.cap --for 5s -- make",
            "profiler report a.cap --for 5s",
            "profiler live --tick 50ms",
            "profiler report --fail-on never",
            "profiler replay",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }

    #[test]
    fn a_command_keeps_its_own_options() {
        let cli = Cli::try_parse_from(["profiler", "record", "-o", "a.cap", "--", "make", "--tick", "x"]).unwrap();
        let Some(Command::Record(args)) = cli.command else { panic!("not record") };
        assert_eq!(args.command, ["make", "--tick", "x"]);
    }
}
