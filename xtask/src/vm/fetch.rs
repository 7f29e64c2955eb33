//! Kernels from the Debian archive that this machine's packages come from: downloaded and unpacked, never installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::matrix::Kernel;
use crate::child;
use crate::layout::Layout;

/// A slow mirror is fine, a dead one is not.
const LIMIT: Duration = Duration::from_mins(5);

/// A kernel on disk.
pub struct Fetched {
    /// What to boot.
    pub image: PathBuf,
    /// Its modules, `lib/modules/RELEASE`.
    pub modules: PathBuf,
    /// The packages that it came in, with versions.
    pub packages: String,
}

/// Fetches a kernel, unless that was done before.
pub fn fetch(layout: &Layout, kernel: &Kernel) -> Result<Fetched> {
    let folder = layout.vm().join("kernels").join(kernel.name);
    let done = folder.join("packages");
    if !done.is_file() {
        let packages = Apt::new(layout, kernel.suite)?.unpack(kernel, &folder);
        let packages = packages.with_context(|| format!("failed to fetch kernel {}", kernel.name))?;
        fs::write(&done, packages).with_context(|| format!("failed to write `{}`", done.display()))?;
    }
    let packages = fs::read_to_string(&done).with_context(|| format!("failed to read `{}`", done.display()))?;
    let modules = ["usr/lib/modules", "lib/modules"].iter().find_map(|place| only_entry(&folder.join(place)));
    let modules = modules.with_context(|| format!("`{packages}` holds no modules"))?;
    let release = modules.file_name().unwrap_or_default().to_string_lossy();
    // The newest packages have their image beside the modules.
    let images = [folder.join("boot").join(format!("vmlinuz-{release}")), modules.join("vmlinuz")];
    let image = images.into_iter().find(|image| image.is_file());
    let image = image.with_context(|| format!("`{packages}` holds no kernel image"))?;
    Ok(Fetched { image, modules, packages })
}

fn only_entry(folder: &Path) -> Option<PathBuf> {
    fs::read_dir(folder).ok()?.next()?.ok().map(|entry| entry.path())
}

/// apt with lists of its own: another suite of the same archive, signed by the same keys.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    fn new(layout: &Layout, suite: &str) -> Result<Self> {
        let folder = layout.vm().join("apt").join(suite);
        let apt = Self { folder };
        for part in ["lists/partial", "cache/archives/partial"] {
            let part = apt.folder.join(part);
            fs::create_dir_all(&part).with_context(|| format!("failed to create `{}`", part.display()))?;
        }
        let (name, source) = own_source(suite)?;
        fs::write(apt.folder.join(name), source).context("failed to write a list of sources")?;
        let mut update = apt.command("apt-get");
        update.arg(format!("-oDir::Etc::SourceList={}", apt.folder.join(name).display())).arg("update");
        child::run_within(&mut update, LIMIT)
            .with_context(|| format!("failed to read the package lists of {suite}"))?;
        Ok(apt)
    }

    /// Downloads and unpacks the newest packages that match; says which these were.
    fn unpack(&self, kernel: &Kernel, folder: &Path) -> Result<String> {
        fs::create_dir_all(folder).with_context(|| format!("failed to create `{}`", folder.display()))?;
        let mut packages = Vec::new();
        for pattern in kernel.packages {
            let found = child::answer(self.command("apt-cache").args(["search", "--names-only", pattern]));
            let package = newest(&found.unwrap_or_default());
            let package = package.with_context(|| format!("{} offers no package like {pattern}", kernel.suite))?;
            let before = archives(folder)?;
            child::run_within(self.command("apt-get").args(["download", &package]).current_dir(folder), LIMIT)?;
            for archive in archives(folder)?.iter().filter(|archive| !before.contains(archive)) {
                child::run_within(Command::new("dpkg").arg("-x").arg(archive).arg(folder), LIMIT)?;
                fs::remove_file(archive).with_context(|| format!("failed to remove `{}`", archive.display()))?;
                packages.extend(archive.file_stem().map(|name| name.to_string_lossy().into_owned()));
            }
        }
        Ok(packages.join(" "))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let list = ["source.sources", "source.list"].map(|name| self.folder.join(name));
        let list = list.into_iter().find(|list| list.is_file()).unwrap_or_default();
        for (option, value) in [
            ("Dir::State::Lists", self.folder.join("lists")),
            ("Dir::Cache", self.folder.join("cache")),
            ("Dir::Etc::SourceList", list),
            ("Dir::Etc::SourceParts", "-".into()),
        ] {
            command.arg(format!("-o{option}={}", value.display()));
        }
        // Never the machine's own locks; and nobody else may read what root downloads.
        command.args(["-oDebug::NoLocking=1", "-oAPT::Sandbox::User=root", "-oAcquire::Languages=none", "--quiet=2"]);
        command
    }
}

fn archives(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("failed to list `{}`", folder.display()))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    Ok(paths.filter(|path| path.extension().is_some_and(|end| end == "deb")).collect())
}

/// The machine's first source with another suite, and the name that tells apt its format.
fn own_source(suite: &str) -> Result<(&'static str, String)> {
    let folder = Path::new("/etc/apt/sources.list.d");
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "sources")).collect();
    files.sort();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| format!("failed to read `{}`", file.display()))?;
        if let Some(stanza) = other_suite(&text, suite) {
            return Ok(("source.sources", stanza));
        }
    }
    let text = fs::read_to_string("/etc/apt/sources.list").unwrap_or_default();
    match other_suite_of_line(&text, suite) {
        Some(line) => Ok(("source.list", line)),
        None => bail!("found no Debian source in /etc/apt: add one, or take the kernels from another machine's target"),
    }
}

/// The first stanza that has packages, for another suite.
fn other_suite(text: &str, suite: &str) -> Option<String> {
    let stanza = text.split("\n\n").find(|stanza| stanza.lines().any(|line| line.starts_with("Suites:")))?;
    let lines = stanza.lines().filter(|line| !line.starts_with('#'));
    let lines =
        lines.map(|line| if line.starts_with("Suites:") { format!("Suites: {suite}") } else { line.to_owned() });
    Some(lines.fold(String::new(), |text, line| text + &line + "\n"))
}

/// The same for `deb [options] place suite component`.
fn other_suite_of_line(text: &str, suite: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("deb "))?;
    let mut words: Vec<_> = line.split_whitespace().collect();
    let place = words.iter().position(|word| word.contains("://"))?;
    *words.get_mut(place + 1)? = suite;
    Some(words.join(" ") + "\n")
}

/// The highest version among the names that `apt-cache search` lists.
fn newest(found: &str) -> Option<String> {
    let names = found.lines().filter_map(|line| line.split(' ').next());
    names.max_by_key(|name| numbers(name)).map(str::to_owned)
}

/// All numbers in a name, in order: how versions of the same pattern compare.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|letter: char| !letter.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_suite_of_the_same_archive() {
        let text = "# old\nTypes: deb\n# note\nURIs: http://a/debian\nSuites: one two\n\nTypes: deb\nSuites: three\n";
        assert_eq!(other_suite(text, "sid").as_deref(), Some("Types: deb\nURIs: http://a/debian\nSuites: sid\n"));
        let text = "# a\ndeb-src http://a/d one main\ndeb [signed-by=/k] http://a/d one main\n";
        assert_eq!(other_suite_of_line(text, "sid").as_deref(), Some("deb [signed-by=/k] http://a/d sid main\n"));
        assert_eq!(other_suite_of_line("deb one", "sid"), None);
    }

    #[test]
    fn versions_compare_by_their_numbers() {
        let found = "linux-image-6.1.0-9-cloud-amd64 - a\nlinux-image-6.1.0-50-cloud-amd64 - b\n";
        assert_eq!(newest(found).as_deref(), Some("linux-image-6.1.0-50-cloud-amd64"));
        assert_eq!(newest(""), None);
    }
}
