//! What we may do. Capabilities are read, not tried: one message tells everything that is missing.

use std::fs;

use crate::error::Error;

/// What we ask for, in the words of setcap: everything below, and a way past the permissions of tracefs.
const SETCAP: &str = "cap_bpf,cap_perfmon,cap_sys_admin,cap_sys_ptrace,cap_sys_resource,cap_dac_read_search+ep";
/// Where capabilities reach the kernel.
pub const OUTSIDE: &str = "run it on the host, or in a container that is privileged and not rootless";
/// `PROC_USER_INIT_INO`: the user namespace that the kernel itself asks for capabilities in.
const INITIAL_USER_NAMESPACE: &str = "user:[4026531837]";

/// Capabilities, and what is lost without them.
const USES: [(Capability, &str, &[&str]); 4] = [
    (Capability::Bpf, "CAP_BPF", &["no program can be loaded"]),
    (Capability::Perfmon, "CAP_PERFMON", &["no program may look into the kernel"]),
    (
        Capability::SysAdmin,
        "CAP_SYS_ADMIN",
        &[
            "other network namespaces cannot be looked at",
            "the time that the kernel spends in our programs is not known",
        ],
    ),
    (
        Capability::SysPtrace,
        "CAP_SYS_PTRACE",
        &[
            "network namespaces of other users' processes cannot be opened",
            "other users' command lines are hidden where `/proc` has `hidepid`",
        ],
    ),
];

/// Bits of `CapEff`.
#[derive(Clone, Copy)]
enum Capability {
    SysPtrace = 19,
    SysAdmin = 21,
    Perfmon = 38,
    Bpf = 39,
}

/// A capability that matters to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Privilege {
    /// As `CAP_BPF`.
    pub name: &'static str,
    /// Whether we have it.
    pub held: bool,
    /// What is lost without it.
    pub without: &'static [&'static str],
}

/// What we may do, and how to be allowed more.
#[derive(Clone, Debug, Default)]
pub struct Rights {
    /// Every capability that matters.
    pub privileges: Vec<Privilege>,
    /// Why no program can be loaded, if so.
    pub refusal: Option<String>,
    /// They are those of a user namespace, which do not reach the kernel.
    pub confined: bool,
    /// The command that gives the program all of them.
    pub setcap: String,
}

/// What we may do.
#[must_use]
pub fn rights() -> Rights {
    Privileges::read().rights()
}

/// Whether the programs can be loaded and attached. The error names everything that is missing.
pub fn check_privileges() -> Result<(), Error> {
    Privileges::read().check()
}

/// What is lost with the capabilities that we have, in words; empty with all of them.
#[must_use]
pub fn capability_notes() -> Vec<String> {
    Privileges::read().notes()
}

/// What decides about our rights.
#[derive(Clone, Debug, Default)]
struct Privileges {
    effective: u64,
    user_namespace: Option<String>,
    unprivileged_bpf_disabled: Option<String>,
    program: String,
}

impl Privileges {
    fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).ok();
        let link = |path: &str| fs::read_link(path).ok().map(|target| target.display().to_string());
        Self {
            effective: text("/proc/self/status").and_then(|status| effective(&status)).unwrap_or(0),
            user_namespace: link("/proc/self/ns/user"),
            unprivileged_bpf_disabled: text("/proc/sys/kernel/unprivileged_bpf_disabled"),
            program: link("/proc/self/exe").unwrap_or_else(|| "profiler".to_owned()),
        }
    }

    fn rights(&self) -> Rights {
        let privilege = |(capability, name, without)| Privilege { name, held: self.is_granted(capability), without };
        Rights {
            privileges: USES.map(privilege).to_vec(),
            refusal: self.refusal(),
            confined: self.is_confined(),
            setcap: self.setcap(),
        }
    }

    fn check(&self) -> Result<(), Error> {
        let Some(why) = self.refusal() else { return Ok(()) };
        let hint = if self.missing().is_empty() {
            OUTSIDE.to_owned()
        } else {
            format!("run `sudo profiler …`, or once `{}`", self.setcap())
        };
        Err(Error::Unsupported { what: format!("failed to load the kernel programs: {why}"), hint })
    }

    fn refusal(&self) -> Option<String> {
        let missing = self.missing().join(" and ");
        if missing.is_empty() {
            let confined = "the capabilities of a user namespace do not reach the kernel";
            return self.is_confined().then(|| confined.to_owned());
        }
        // A setting of 0 opens the door for socket filters only, but those who see it expect more from it.
        let open = self.unprivileged_bpf_disabled.as_deref().is_some_and(|setting| setting.trim() == "0");
        let but = if open { " (`kernel.unprivileged_bpf_disabled` is 0, which does not cover tracing)" } else { "" };
        Some(format!("{missing} missing{but}"))
    }

    /// What no program can be loaded without, and we do not have.
    fn missing(&self) -> Vec<&'static str> {
        let needed = USES.iter().filter(|(capability, ..)| is_part_of_admin(*capability));
        needed.filter(|(capability, ..)| !self.is_granted(*capability)).map(|(_, name, _)| *name).collect()
    }

    fn setcap(&self) -> String {
        format!("sudo setcap {SETCAP} {}", quoted(&self.program))
    }

    fn notes(&self) -> Vec<String> {
        let lost = USES.iter().filter(|(capability, ..)| !self.is_granted(*capability));
        lost.flat_map(|(_, name, without)| without.iter().map(move |lost| format!("without {name}: {lost}"))).collect()
    }

    fn is_granted(&self, capability: Capability) -> bool {
        self.has(capability) || is_part_of_admin(capability) && self.has(Capability::SysAdmin)
    }

    fn has(&self, capability: Capability) -> bool {
        self.effective & (1 << capability as u32) != 0
    }

    fn is_confined(&self) -> bool {
        self.user_namespace.as_deref().is_some_and(|namespace| namespace != INITIAL_USER_NAMESPACE)
    }
}

/// Before 5.8 there was nothing smaller than `CAP_SYS_ADMIN`, and it still includes these.
fn is_part_of_admin(capability: Capability) -> bool {
    matches!(capability, Capability::Bpf | Capability::Perfmon)
}

fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// For a shell.
fn quoted(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte);
    if path.bytes().all(plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(capabilities: &[Capability]) -> Privileges {
        Privileges {
            effective: capabilities.iter().map(|capability| 1_u64 << *capability as u32).sum(),
            user_namespace: Some(INITIAL_USER_NAMESPACE.to_owned()),
            unprivileged_bpf_disabled: Some("2\n".to_owned()),
            program: "/usr/bin/profiler".to_owned(),
        }
    }

    fn refusal(privileges: &Privileges) -> String {
        privileges.check().map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn capabilities_are_a_line_of_status() {
        assert_eq!(effective("Name:\tx\nCapPrm:\t00\nCapEff:\t000001ffffffffff\n"), Some(0x1ff_ffff_ffff));
        assert_eq!(effective("Name:\tx\n"), None);
    }

    #[test]
    fn the_small_capabilities_or_the_large_one_suffice() {
        assert_eq!(refusal(&with(&[Capability::Bpf, Capability::Perfmon])), "");
        assert_eq!(refusal(&with(&[Capability::SysAdmin])), "");
    }

    #[test]
    fn one_message_names_all_that_is_missing() {
        let hint = "hint: run `sudo profiler …`, or once `sudo setcap cap_bpf,cap_perfmon,cap_sys_admin,cap_sys_ptrace,\
                    cap_sys_resource,cap_dac_read_search+ep /usr/bin/profiler`";
        let message = "failed to load the kernel programs: CAP_BPF and CAP_PERFMON missing";
        assert_eq!(refusal(&with(&[])), format!("{message}\n{hint}"));
        let half = refusal(&with(&[Capability::Bpf]));
        assert!(half.starts_with("failed to load the kernel programs: CAP_PERFMON missing\n"), "{half}");
        let open = refusal(&Privileges { unprivileged_bpf_disabled: Some("0\n".to_owned()), ..with(&[]) });
        assert!(open.contains("does not cover tracing"), "{open}");
    }

    #[test]
    fn capabilities_of_a_user_namespace_do_not_count() {
        let inside =
            Privileges { user_namespace: Some("user:[4026532211]".to_owned()), ..with(&[Capability::SysAdmin]) };
        assert!(refusal(&inside).contains("user namespace"));
        let unknown = Privileges { user_namespace: None, ..inside };
        assert_eq!(refusal(&unknown), "");
    }

    #[test]
    fn what_is_lost_is_said() {
        let few = with(&[Capability::Bpf, Capability::Perfmon]).notes();
        assert_eq!(few.len(), 4, "{few:?}");
        assert!(few[0].starts_with("without CAP_SYS_ADMIN: other network namespaces"), "{few:?}");
    }

    #[test]
    fn rights_are_a_list_of_capabilities() {
        let held = |capabilities: &[Capability]| {
            let rights = with(capabilities).rights();
            rights
                .privileges
                .iter()
                .filter(|privilege| privilege.held)
                .map(|privilege| privilege.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(held(&[]), [""; 0]);
        assert_eq!(held(&[Capability::SysAdmin]), ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN"]);
        assert_eq!(held(&[Capability::Bpf, Capability::SysPtrace]), ["CAP_BPF", "CAP_SYS_PTRACE"]);
    }

    #[test]
    fn odd_paths_are_quoted() {
        assert_eq!(quoted("/opt/my tools/it's"), r"'/opt/my tools/it'\''s'");
        assert_eq!(quoted("/usr/bin/profiler"), "/usr/bin/profiler");
    }
}
