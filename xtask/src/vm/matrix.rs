//! What is booted, and what each kernel is expected to lack.

/// A kernel as the Debian archive has it.
pub struct Kernel {
    pub name: &'static str,
    pub suite: &'static str,
    /// Patterns of package names; of each the newest match.
    pub packages: &'static [&'static str],
}

/// All kernels.
pub const KERNELS: &[Kernel] = &[
    Kernel { name: "5.10", suite: "bullseye", packages: &["^linux-image-5[.]10[.][0-9]+-[0-9]+-cloud-amd64$"] },
    Kernel { name: "6.1", suite: "bookworm", packages: &["^linux-image-6[.]1[.][0-9]+-[0-9]+-cloud-amd64$"] },
    Kernel { name: "6.12", suite: "trixie", packages: &["^linux-image-6[.]12[.][0-9]+[+]deb13-cloud-amd64$"] },
    Kernel { name: "6.12-generic", suite: "trixie", packages: &["^linux-image-6[.]12[.][0-9]+[+]deb13-amd64$"] },
    Kernel { name: "6.12-rt", suite: "trixie", packages: &["^linux-image-6[.]12[.][0-9]+[+]deb13-rt-amd64$"] },
    Kernel {
        name: "7.2",
        suite: "sid",
        packages: &[
            "^linux-binary-7[.][0-9.]+[+]deb14-cloud-amd64$",
            "^linux-modules-7[.][0-9.]+[+]deb14-cloud-amd64$",
        ],
    },
];

/// A kernel and how it is booted.
#[derive(Clone, Copy)]
pub struct Guest {
    pub name: &'static str,
    /// Name of one of [`KERNELS`].
    pub kernel: &'static str,
    /// Words of the kernel's command line. `guest.NAME=VALUE` is `GUEST_NAME` in the tests' environment.
    pub append: &'static str,
    /// CPUs, and how many there could be.
    pub cpus: &'static str,
    /// Probes that are not in their best form there.
    pub short: &'static [Short],
}

/// A probe that a kernel does not take in its best form.
#[derive(Clone, Copy)]
pub struct Short {
    pub probe: &'static str,
    /// The form that it takes instead, if any.
    pub form: Option<&'static str>,
    /// Part of the reason that the profiler gives.
    pub why: &'static str,
}

const fn absent(probe: &'static str, why: &'static str) -> Short {
    Short { probe, form: None, why }
}

const fn partial(probe: &'static str, why: &'static str) -> Short {
    Short { probe, form: Some("tp_btf"), why }
}

/// Debian's cloud kernel on two CPUs.
const PLAIN: Guest = Guest { name: "", kernel: "", append: "", cpus: "2", short: &[] };

const SOCKETLESS_RESETS: Short = partial("tcp_send_reset", "only resets that a socket sends");

/// All guests.
pub const GUESTS: &[Guest] = &[
    Guest {
        name: "5.10",
        kernel: "5.10",
        short: &[absent("iter_listed", "task and socket storage"), SOCKETLESS_RESETS],
        ..PLAIN
    },
    Guest { name: "6.1", kernel: "6.1", short: &[SOCKETLESS_RESETS], ..PLAIN },
    Guest { name: "6.12", kernel: "6.12", ..PLAIN },
    Guest { name: "7.2", kernel: "7.2", ..PLAIN },
    Guest { name: "6.1-cgroup1", kernel: "6.1", append: "guest.cgroup=1", short: &[SOCKETLESS_RESETS], ..PLAIN },
    Guest { name: "6.12-64cpu", kernel: "6.12", cpus: "2,maxcpus=64", ..PLAIN },
    Guest { name: "6.12-generic", kernel: "6.12-generic", ..PLAIN },
    Guest { name: "6.12-rt", kernel: "6.12-rt", ..PLAIN },
    Guest { name: "6.12-lockdown", kernel: "6.12", append: "lockdown=confidentiality", ..PLAIN },
];

impl Guest {
    /// Names of the probes that are missing there.
    pub fn absent(&self) -> impl Iterator<Item = &str> {
        self.short.iter().filter(|short| short.form.is_none()).map(|short| short.probe)
    }
}
