//! What we may do. Capabilities are read, not tried: one message tells everything that is missing.

use std::fs;

use crate::error::Error;

/// What we ask for, in the words of setcap: everything below, and a way past the permissions of tracefs.
const SETCAP: &str = "cap_bpf,cap_perfmon,cap_sys_admin,cap_sys_ptrace,cap_sys_resource,cap_dac_read_search+ep";
/// `PROC_USER_INIT_INO`: the user namespace that the kernel itself asks for capabilities in.
const INITIAL_USER_NAMESPACE: &str = "user:[4026531837]";

/// Bits of `CapEff`.
#[derive(Clone, Copy)]
enum Capability {
    SysPtrace = 19,
    SysAdmin = 21,
    Perfmon = 38,
    Bpf = 39,
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

    fn check(&self) -> Result<(), Error> {
        let missing = [(Capability::Bpf, "CAP_BPF"), (Capability::Perfmon, "CAP_PERFMON")]
            .into_iter()
            // Before 5.8 there was nothing smaller than CAP_SYS_ADMIN, and it still includes both.
            .filter(|(capability, _)| !self.has(*capability) && !self.has(Capability::SysAdmin))
            .map(|(_, name)| name)
            .collect::<Vec<_>>()
            .join(" and ");
        if !missing.is_empty() {
            // A setting of 0 opens the door for socket filters only, but those who see it expect more from it.
            let open = self.unprivileged_bpf_disabled.as_deref().is_some_and(|setting| setting.trim() == "0");
            let but =
                if open { " (`kernel.unprivileged_bpf_disabled` is 0, which does not cover tracing)" } else { "" };
            return Err(Error::Unsupported {
                what: format!("failed to load the kernel programs: {missing} missing{but}"),
                hint: format!("run `sudo profiler …`, or once `sudo setcap {SETCAP} {}`", quoted(&self.program)),
            });
        }
        if self.is_confined() {
            return Err(Error::Unsupported {
                what:
                    "failed to load the kernel programs: the capabilities of a user namespace do not reach the kernel"
                        .to_owned(),
                hint: "run it on the host, or in a container that is privileged and not rootless".to_owned(),
            });
        }
        Ok(())
    }

    fn notes(&self) -> Vec<String> {
        let lost = [
            (Capability::SysAdmin, "CAP_SYS_ADMIN", "other network namespaces cannot be looked at"),
            (Capability::SysAdmin, "CAP_SYS_ADMIN", "the time that the kernel spends in our programs is not known"),
            (Capability::SysPtrace, "CAP_SYS_PTRACE", "network namespaces of other users' processes cannot be opened"),
            (
                Capability::SysPtrace,
                "CAP_SYS_PTRACE",
                "other users' command lines are hidden where `/proc` has `hidepid`",
            ),
        ];
        lost.iter()
            .filter(|(capability, ..)| !self.has(*capability))
            .map(|(_, name, without)| format!("without {name}: {without}"))
            .collect()
    }

    fn has(&self, capability: Capability) -> bool {
        self.effective & (1 << capability as u32) != 0
    }

    fn is_confined(&self) -> bool {
        self.user_namespace.as_deref().is_some_and(|namespace| namespace != INITIAL_USER_NAMESPACE)
    }
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
    fn odd_paths_are_quoted() {
        assert_eq!(quoted("/opt/my tools/it's"), r"'/opt/my tools/it'\''s'");
        assert_eq!(quoted("/usr/bin/profiler"), "/usr/bin/profiler");
    }
}
