//! The window in each interval in which the entry hook is attached, so that latencies of calls are sampled.

use std::time::Duration;

use aya::Ebpf;
use aya::programs::Program;
use aya::programs::raw_trace_point::RawTracePointLinkId;
use aya::programs::tp_btf::BtfTracePointLinkId;

use crate::batch::ProbeStatus;
use crate::config::Options;
use crate::kernel::load::raw_name;
use crate::kernel::probe::{At, PROBES, Probe};

/// Attaches and detaches the entry hook.
pub struct Sampler {
    probe: &'static Probe,
    tracepoint: &'static str,
    permille: u32,
    window: Option<Window>,
    /// State of a small generator: windows start at places that no workload keeps step with.
    seed: u64,
}

/// The attached hook.
enum Window {
    Typed(BtfTracePointLinkId),
    Raw(RawTracePointLinkId),
}

impl Sampler {
    /// `None` if the hook could not be loaded, or nobody wants it.
    #[must_use]
    pub fn new(options: &Options, probes: &[ProbeStatus]) -> Option<Self> {
        let (probe, tracepoint) = PROBES.iter().find_map(|probe| match probe.at {
            At::Sampled(tracepoint) => Some((probe, tracepoint)),
            _ => None,
        })?;
        let loaded = probes.iter().any(|status| status.name == probe.name && status.form.is_some());
        let permille = options.sample_permille.min(1_000);
        (loaded && permille > 0).then_some(Self { probe, tracepoint, permille, window: None, seed: 0x9e37_79b9 })
    }

    /// Share of the time in which calls are sampled.
    #[must_use]
    pub fn share(&self) -> f64 {
        f64::from(self.permille) / 1_000.0
    }

    /// Where in the next interval of this length the window begins and how long it is.
    pub fn plan(&mut self, tick: Duration) -> (Duration, Duration) {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let length = tick * self.permille / 1_000;
        let room = tick.saturating_sub(length);
        let place = u32::try_from(self.seed >> 54).unwrap_or(0);
        (room * place / 1_024, length)
    }

    /// Attaches the hook. Failure means fewer samples, not wrong ones.
    pub fn open(&mut self, ebpf: &mut Ebpf) {
        if self.window.is_some() {
            return;
        }
        if let Some(Program::BtfTracePoint(program)) = ebpf.program_mut(self.probe.name)
            && program.fd().is_ok()
        {
            self.window = program.attach().ok().map(Window::Typed);
        } else if let Some(Program::RawTracePoint(program)) = ebpf.program_mut(&raw_name(self.probe)) {
            self.window = program.attach(self.tracepoint).ok().map(Window::Raw);
        }
    }

    /// Detaches it.
    pub fn close(&mut self, ebpf: &mut Ebpf) {
        let detached = match (self.window.take(), ebpf.program_mut(self.probe.name)) {
            (Some(Window::Typed(link)), Some(Program::BtfTracePoint(program))) => program.detach(link),
            (Some(Window::Raw(link)), _) => match ebpf.program_mut(&raw_name(self.probe)) {
                Some(Program::RawTracePoint(program)) => program.detach(link),
                _ => Ok(()),
            },
            _ => Ok(()),
        };
        // A link that is gone already is as good as detached.
        drop(detached);
    }
}
