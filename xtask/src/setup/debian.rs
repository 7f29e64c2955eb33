//! Debian packages: what is there, and installing the rest without asking.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::child;

/// A slow mirror is fine, a dead one is not.
const INSTALL_LIMIT: Duration = Duration::from_mins(15);

/// Whether packages are managed by apt here.
pub fn is_here() -> bool {
    child::find_program("apt-get").is_some() && child::find_program("dpkg-query").is_some()
}

/// Installs those of `packages` that are missing; the error names the command for somebody with the rights.
pub fn install(packages: &[&str]) -> Result<()> {
    if !is_here() {
        bail!("apt is not here, so these Debian packages could not be installed: {}", packages.join(" "));
    }
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(());
    }
    let Some(rights) = Rights::find() else {
        let names = missing.join(" ");
        match missing.iter().find(|package| !is_offered(package)) {
            Some(unknown) => bail!("this system's package lists do not offer `{unknown}`"),
            None => bail!("missing packages, and no right to install them; type: sudo apt-get install {names}"),
        }
    };
    eprintln!("setup: installing Debian packages: {}", missing.join(" "));
    if !missing.iter().all(|package| is_offered(package)) {
        child::run_within(rights.apt_get().arg("update"), INSTALL_LIMIT).context("failed to read the package lists")?;
    }
    if let Some(unknown) = missing.iter().find(|package| !is_offered(package)) {
        bail!("this system's package lists do not offer `{unknown}`");
    }
    let mut apt = rights.apt_get();
    apt.args(["install", "--yes", "--no-install-recommends"]).args(&missing);
    child::run_within(&mut apt, INSTALL_LIMIT).context("failed to install Debian packages")
}

fn missing<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    // The query fails as a whole when it does not know one of the names, so each is asked on its own.
    let installed = |package: &str| {
        let query = child::answer(Command::new("dpkg-query").args(["-W", "-f=${db:Status-Status}", package]));
        query.is_some_and(|status| status == "installed")
    };
    packages.iter().copied().filter(|package| !installed(package)).collect()
}

fn is_offered(package: &str) -> bool {
    let policy = child::answer(Command::new("apt-cache").args(["policy", package]).env("LC_ALL", "C"));
    policy.is_some_and(|text| text.contains("Candidate:") && !text.contains("Candidate: (none)"))
}

/// How we may install packages.
enum Rights {
    Root,
    Sudo,
}

impl Rights {
    /// `None` when installing would need a password.
    fn find() -> Option<Self> {
        if is_root() {
            return Some(Self::Root);
        }
        child::answer(Command::new("sudo").args(["-n", "true"])).map(|_| Self::Sudo)
    }

    fn apt_get(&self) -> Command {
        let mut command = match self {
            Self::Root => Command::new("env"),
            Self::Sudo => {
                let mut sudo = Command::new("sudo");
                sudo.args(["-n", "env"]);
                sudo
            }
        };
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet", "-o", "DPkg::Lock::Timeout=120"]);
        command
    }
}

/// Whether we are root. Asked of a program, because the standard library has no such question.
pub fn is_root() -> bool {
    child::answer(Command::new("id").arg("-u")).is_some_and(|id| id.trim() == "0")
}
